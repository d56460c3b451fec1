//! The certificate authority: a root, an intermediate, and short-lived leaves.
//!
//! The authority's keys are P-384 and lie in a [`Custody`]; their signatures are ECDSA with
//! SHA-384. The shapes satisfy the Notary Project signature specification, Certificate
//! Requirements, as the stock `notation` checks them:
//!
//! | certificate | basic constraints | key usage (critical) | extended | lives |
//! |---|---|---|---|---|
//! | root | critical, CA | keyCertSign, cRLSign | – | 40 years |
//! | intermediate | critical, CA, path length 0 | keyCertSign, cRLSign | – | 20 years, renewed in time |
//! | leaf | not a CA | digitalSignature | codeSigning | [`LeafTimes`] |
//!
//! | OCSP responder | not a CA | digitalSignature | OCSPSigning | 30 days |
//! | time-stamping | not a CA | digitalSignature | timeStamping (critical) | 10 years, under an intermediate of its own |
//!
//! The root's key is needed only to certify and revoke intermediates, and belongs elsewhere: the
//! ceremony ([`Ceremony`]) takes a request to it and brings certificates back. Where it lies beside
//! the service, intermediates are certified and renewed without anybody.
//!
//! There may be several signing intermediates, one after the other. The newest issues; those before
//! it go on answering for what they issued, each with a revocation list at an address of its own
//! and a responder of its own.
//!
//! Subjects are `C, ST, O, CN`: the three attributes that an `x509.subject` identity of a trust
//! policy must name, and the profile. `C, ST, O` are chosen when the authority is made and cannot
//! be changed later: trust policies name them.

mod crl;
mod issuer;
mod leaf;
pub mod ocsp;
mod pki;
mod signed;
mod subject;
pub mod timestamp;

mod ceremony;
mod request;
mod root;
mod root_list;
mod vault;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use rcgen::SerialNumber;
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;

pub use ceremony::{Ceremony, Imported, ShownAuthority, ShownCertificate, show};
pub use crl::{CrlTimes, RevocationEntry};
pub use issuer::IssuerRole;
pub(crate) use issuer::SigningIssuer;
pub(crate) use leaf::Leaf;
pub use leaf::{LEAF_LIFE, LeafSerial, LeafTimes};
pub use pki::PkiSettings;
pub use request::{CertificateRequest, MAX_REQUEST_BYTES};
pub use root::{INTERMEDIATE_LIFE, ROOT_LIFE, ROOT_LIST_LIFE, RootAuthority, first_certificate};
pub use root_list::RootList;
pub use subject::{AuthoritySubject, SubjectError};
pub use timestamp::TimestampAuthority;

use crate::custody::{Custody, CustodyError, KdfCost, files};
use crate::keys::AuthorityKey;
use vault::Vault;

/// An intermediate with less than this left is renewed at the next start: the longest signature
/// validity (135 months) and some months to spare.
pub const INTERMEDIATE_RENEWAL: Duration = Duration::days(12 * 365);

/// Authorities are valid from a little before they are made, for verifiers whose clock is behind.
const BACKDATED: Duration = Duration::hours(1);
const MAX_PEM_BYTES: usize = 16 * 1024;

/// How an authority is opened, or made when the folder holds none.
#[derive(Clone, Debug)]
pub struct AuthorityConfig {
    /// The folder of the certificates, and of the sealed keys where these are in files.
    pub folder: PathBuf,
    /// The subject attributes of a new authority.
    pub subject: AuthoritySubject,
    /// What stands in certificates: where verifiers find lists and answers.
    pub pki: PkiSettings,
    /// The cost of guessing the unlocking secret, for keys that are written now.
    pub kdf_cost: KdfCost,
}

/// Says why the authority could not be opened or made, or could not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// A key cannot be opened or made, or did not sign.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// A certificate on disk is not one, or not of the key beside it.
    #[error("`{path}` cannot be used: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A certificate is there, and its key is not: making a new one would orphan every signature.
    #[error(
        "`{certificate}` is there but its key `{key}` is missing in {custody}: restore the key \
         from a backup"
    )]
    KeyMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's label.
        key: String,
        /// Where it should be.
        custody: String,
    },
    /// The subject attributes cannot be used.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A certificate or list could not be written in DER.
    #[error("cannot encode a certificate or revocation list")]
    Encode(#[source] rcgen::Error),
    /// A structure cannot be read or written in DER.
    #[error("not a certificate, request or list in DER")]
    Der(#[from] der::Error),
    /// What was brought from outside cannot be used.
    #[error("it cannot be used: {0}")]
    Unfit(String),
    /// The newest intermediate is on the root's revocation list: nothing may be signed with it.
    #[error(
        "`{subject}` is revoked by the root: bring in a new intermediate with `countersign ca renew`"
    )]
    Revoked {
        /// Its subject.
        subject: String,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library(#[from] Unspecified),
}

/// The certificate authority, ready to issue leaves.
pub struct Authority {
    pki: PkiSettings,
    /// The signing intermediates, the newest last; there is one at least.
    signing: Vec<SigningIssuer>,
    timestamping: Option<TimestampAuthority>,
    root_list: Option<RootList>,
    root_key_beside: bool,
    custody: Arc<dyn Custody>,
}

impl Authority {
    /// Opens the authority in the folder, or makes one when there is none.
    ///
    /// Making it resumes where an earlier attempt was interrupted: what exists is never replaced.
    pub fn open(
        config: AuthorityConfig,
        custody: Arc<dyn Custody>,
        now: OffsetDateTime,
    ) -> Result<Self, AuthorityError> {
        let vault = Vault {
            config: &config,
            custody: custody.as_ref(),
        };
        files::create_private_folder(&config.folder).map_err(|source| AuthorityError::File {
            action: "make",
            path: config.folder.clone(),
            source,
        })?;
        vault.complete(now)?;
        let root_list = vault.kept().root_list()?;
        let signing = vault.issuers(IssuerRole::Signing)?;
        let current = &signing[signing.len() - 1].certificates()[0];
        if root_list.as_ref().is_some_and(|list| list.revokes(current)) {
            let subject = current.tbs_certificate().subject().to_string();
            return Err(AuthorityError::Revoked { subject });
        }
        Ok(Self {
            timestamping: vault.timestamping(now)?,
            root_key_beside: vault.root_lies_beside()?,
            root_list,
            signing,
            pki: config.pki,
            custody,
        })
    }

    /// Returns where the keys lie.
    pub fn custody(&self) -> &Arc<dyn Custody> {
        &self.custody
    }

    /// Returns whether the root's key lies beside the service, where whoever takes the service
    /// over takes the root as well.
    pub fn root_key_beside(&self) -> bool {
        self.root_key_beside
    }

    /// Returns the root certificate in PEM: the trust anchor.
    pub fn root_pem(&self) -> String {
        let chain = self.current().chain();
        pem(&chain[chain.len() - 1])
    }

    /// Returns the newest intermediate, what is above it, and the root in PEM, in that order.
    pub fn chain_pem(&self) -> String {
        self.current().chain().iter().map(|der| pem(der)).collect()
    }

    /// Returns SHA-256 of the public keys (SubjectPublicKeyInfo) of the certificates that issue
    /// leaves, in hexadecimal.
    pub fn issuer_keys_sha256(&self) -> Vec<String> {
        let ders = self.signing.iter().map(|issuer| &issuer.chain()[0]);
        let keys = ders.filter_map(|der| {
            let issuer = trust::Certificate::from_der(der).ok()?;
            Some(issuer.public_key().sha256().to_owned())
        });
        keys.collect()
    }

    /// Returns where the leaves that are issued now say that the revocation list is.
    pub fn crl_url(&self) -> Option<String> {
        self.pki.crl_url_of(&self.current().key_id())
    }

    /// Returns where the lists of all intermediates are, with the identifiers of their keys.
    pub fn list_urls(&self) -> Vec<(String, String)> {
        let ids = self.signing.iter().map(SigningIssuer::key_id);
        ids.filter_map(|id| Some((self.pki.crl_url_of(&id)?, id)))
            .collect()
    }

    /// Returns the revocation list of the root.
    pub fn root_list(&self) -> Option<&RootList> {
        self.root_list.as_ref()
    }

    /// Returns what certificates say of lists and answers.
    pub fn pki(&self) -> &PkiSettings {
        &self.pki
    }

    /// Returns the time-stamping authority, where there is an intermediate for it.
    pub fn timestamping(&self) -> Option<&TimestampAuthority> {
        self.timestamping.as_ref()
    }

    /// Returns the attributes that all subjects share.
    pub fn subject(&self) -> &AuthoritySubject {
        self.current().subject()
    }

    pub(crate) fn current(&self) -> &SigningIssuer {
        &self.signing[self.signing.len() - 1]
    }

    /// Returns the signing intermediates, the newest last.
    pub(crate) fn issuers(&self) -> &[SigningIssuer] {
        &self.signing
    }

    /// Returns the signing intermediate whose key has this identifier, in hexadecimal.
    pub(crate) fn issuer_by_key(&self, key_id: &str) -> Option<&SigningIssuer> {
        let mut issuers = self.signing.iter().rev();
        issuers.find(|issuer| issuer.key_id() == key_id)
    }
}

/// Returns why `key` did not sign: what its custody said, where that is why.
fn not_signed(error: rcgen::Error, key: &AuthorityKey) -> AuthorityError {
    match (error, key.last_failure()) {
        (rcgen::Error::RemoteKeyError, Some(failure)) => failure.into(),
        (error, _) => AuthorityError::Encode(error),
    }
}

/// Returns a serial number of 16 random bytes, positive and of full length (RFC 5280 §4.1.2.2).
/// Its first byte is above that of any job's identifier, whose time it would be.
fn random_serial() -> Result<SerialNumber, Unspecified> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Returns `time` without its fraction of a second, which X.509 cannot hold.
pub(crate) fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time - Duration::nanoseconds(time.nanosecond().into())
}

fn not_after(certificate: &Certificate) -> OffsetDateTime {
    moment(&certificate.tbs_certificate().validity().not_after)
}

fn not_before(certificate: &Certificate) -> OffsetDateTime {
    moment(&certificate.tbs_certificate().validity().not_before)
}

fn moment(time: &x509_cert::time::Time) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time.to_unix_duration()
}

pub(crate) fn pem(der: &[u8]) -> String {
    let encoded = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der);
    encoded.expect("a certificate is far below the limit of a PEM encoding")
}

fn unusable(path: PathBuf, reason: String) -> AuthorityError {
    AuthorityError::Certificate { path, reason }
}

fn read(path: &Path, limit_bytes: usize) -> Result<Option<Vec<u8>>, AuthorityError> {
    files::read_bounded(path, limit_bytes).map_err(|source| AuthorityError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorityError> {
    files::write_replacing(path, bytes).map_err(|source| AuthorityError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
