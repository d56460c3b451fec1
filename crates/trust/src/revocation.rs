//! Revocation: what is known about the certificates of a chain, given from outside.
//!
//! trust-store-trust-policy.md, Certificate Revocation Evaluation (R081–R086). `client` asks
//! [`revocation_needs`] which lists it should fetch, puts what it got into a
//! [`RevocationEvidence`], and verification judges: who signed the list, whether it is young
//! enough, and whether the certificate is on it.
//!
//! Where an authority pushes its revocations ([`feed`]), or gave them out in a bundle, that goes
//! before lists for the leaves of its issuers: it is younger, and it also tells of single
//! signatures that share a leaf.

mod crl;
pub mod feed;

use std::collections::BTreeMap;
use std::sync::Arc;

use oci::MediaType;
use serde::Serialize;
use time::OffsetDateTime;

pub use crl::{CrlError, MAX_CRL_BYTES};

use crate::certificate::Certificate;
use crate::chain::CertificateChain;
use crl::Crl;
use feed::{Bundle, FeedHandle, Questioned};

/// What is known about the revocation of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum RevocationStatus {
    /// It is not revoked.
    Good,
    /// It is revoked.
    Revoked {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
        /// Why, in the words of RFC 5280 §5.3.1.
        reason: String,
    },
    /// It is not known.
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// What is known about revocation, by the address of a list and by certificate.
#[derive(Clone, Debug, Default)]
pub struct RevocationEvidence {
    lists: BTreeMap<String, List>,
    statuses: BTreeMap<String, RevocationStatus>,
    pushed: Vec<Pushed>,
}

/// Revocations that an authority pushes, or gave out as a whole.
#[derive(Clone, Debug)]
pub enum Pushed {
    /// The feed, as far as it was heard by now.
    Feed(FeedHandle),
    /// A bundle.
    Bundle(Arc<Bundle>),
}

impl Pushed {
    fn covers(&self, issuer: &Certificate) -> bool {
        let key = issuer.public_key().sha256();
        match self {
            Self::Feed(feed) => feed.covers(key),
            Self::Bundle(bundle) => bundle.covers(key),
        }
    }

    fn judge(&self, asked: &Questioned<'_>, now: OffsetDateTime) -> RevocationStatus {
        match self {
            Self::Feed(feed) => feed.judge(asked, now),
            Self::Bundle(bundle) => bundle.judge(asked, now),
        }
    }
}

#[derive(Clone, Debug)]
enum List {
    Fetched(Box<Crl>),
    Failed(String),
}

impl RevocationEvidence {
    /// Adds the revocation list that was fetched from `url`, in DER or PEM. Its signature is
    /// checked later, against the issuer in the chain; here it must be readable and not from the
    /// future. What cannot be read is remembered as the reason why nothing is known.
    pub fn add_crl(
        &mut self,
        url: &str,
        bytes: &[u8],
        now: OffsetDateTime,
    ) -> Result<(), CrlError> {
        let parsed = Crl::parse(bytes).and_then(|crl| crl.not_from_the_future(now));
        let (list, result) = match parsed {
            Ok(crl) => (List::Fetched(Box::new(crl)), Ok(())),
            Err(error) => (List::Failed(error.to_string()), Err(error)),
        };
        self.lists.insert(url.to_owned(), list);
        result
    }

    /// Remembers why the list at `url` could not be fetched, for the reason of the outcome.
    pub fn add_failure(&mut self, url: &str, reason: &str) {
        let list = List::Failed(reason.to_owned());
        self.lists.insert(url.to_owned(), list);
    }

    /// Sets what is known about one certificate, from another source than a list. It goes before
    /// every list, so it must come from something as trustworthy as the issuer.
    pub fn set(&mut self, certificate_sha256: &str, status: RevocationStatus) {
        self.statuses
            .insert(certificate_sha256.to_ascii_lowercase(), status);
    }

    /// Adds what an authority pushes. For the leaves of its issuers it goes before every list.
    pub fn add_pushed(&mut self, pushed: Pushed) {
        self.pushed.push(pushed);
    }

    /// Returns the addresses of the lists that the verification of an envelope needs beside what
    /// is here already, as [`revocation_needs`] does.
    pub fn needs(&self, media_type: &MediaType, envelope: &[u8]) -> Vec<String> {
        let chain = chain_of(media_type, envelope);
        let issued = chain.iter().flat_map(CertificateChain::issued);
        let mut issued = issued.peekable();
        // The leaf comes first.
        if let Some((_, issuer)) = issued.peek()
            && self.pushed.iter().any(|pushed| pushed.covers(issuer))
        {
            issued.next();
        }
        list_urls(issued.map(|(certificate, _)| certificate))
    }

    /// Returns what is pushed about the signature of a leaf; `None` if nobody does for its issuer.
    /// That one source says revoked goes before that another one does not know.
    pub(crate) fn pushed_status(
        &self,
        issuer: &Certificate,
        asked: &Questioned<'_>,
        now: OffsetDateTime,
    ) -> Option<RevocationStatus> {
        let covering = self.pushed.iter().filter(|pushed| pushed.covers(issuer));
        let statuses = covering.map(|pushed| pushed.judge(asked, now));
        statuses.max_by_key(|status| match status {
            RevocationStatus::Good => 0,
            RevocationStatus::Unknown { .. } => 1,
            RevocationStatus::Revoked { .. } => 2,
        })
    }

    /// Returns whether the list at this address, or the failure to get it, is here already.
    pub fn has_list(&self, url: &str) -> bool {
        self.lists.contains_key(url)
    }

    /// Returns what is known about a certificate.
    ///
    /// `signed_at` is the authentic signing time, if there is one: a certificate that became
    /// invalid only later does not harm what was signed before.
    pub(crate) fn status(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        signed_at: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> RevocationStatus {
        if let Some(status) = self.statuses.get(&certificate.sha256()) {
            return status.clone();
        }
        let extensions = &certificate.extensions;
        if extensions.crl_urls.is_empty() {
            return match extensions.ocsp_urls.first() {
                None => RevocationStatus::Good,
                Some(url) => unknown(format!(
                    "it names only the OCSP responder `{url}`, and OCSP is not supported yet"
                )),
            };
        }
        let mut problems = Vec::new();
        for url in &extensions.crl_urls {
            match self.status_by_list(url, certificate, issuer, signed_at, now) {
                Ok(status) => return status,
                Err(problem) => problems.push(format!("`{url}`: {problem}")),
            }
        }
        unknown(problems.join("; "))
    }

    fn status_by_list(
        &self,
        url: &str,
        certificate: &Certificate,
        issuer: &Certificate,
        signed_at: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<RevocationStatus, String> {
        match self.lists.get(url) {
            Some(List::Fetched(crl)) => crl.status(certificate, issuer, signed_at, now),
            Some(List::Failed(reason)) => Err(reason.clone()),
            None if !is_fetched(url) => Err("only `http` addresses are fetched".to_owned()),
            None => Err("the revocation list was not fetched".to_owned()),
        }
    }
}

/// Returns the addresses of the revocation lists that the verification of an envelope needs, each
/// once, `http` only: lists are signed, and fetching them over TLS could need another list (R083).
///
/// An envelope that cannot be read needs none: verification will say what is wrong with it.
pub fn revocation_needs(media_type: &MediaType, envelope: &[u8]) -> Vec<String> {
    let chain = chain_of(media_type, envelope);
    list_urls(chain.iter().flat_map(CertificateChain::below_root))
}

fn chain_of(media_type: &MediaType, envelope: &[u8]) -> Option<CertificateChain> {
    match media_type {
        _ if *media_type == MediaType::JOSE_JSON => crate::jws::chain_of(envelope),
        _ if *media_type == MediaType::DSSE => crate::dsse::chain_of(envelope),
        _ => None,
    }
}

fn list_urls<'a>(certificates: impl Iterator<Item = &'a Certificate>) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for certificate in certificates {
        for url in &certificate.extensions.crl_urls {
            if is_fetched(url) && !urls.contains(url) {
                urls.push(url.clone());
            }
        }
    }
    urls
}

fn is_fetched(url: &str) -> bool {
    url.get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

fn unknown(reason: String) -> RevocationStatus {
    RevocationStatus::Unknown { reason }
}
