//! The folder of an authority: which intermediates there are, and where their keys lie.
//!
//! | file | holds |
//! |---|---|
//! | `root.pem` | the root that `countersign ca init`, or the first start, made |
//! | `intermediate.pem`, `intermediate-2.pem`, … | the signing intermediates, the newest last: each with what is above it |
//! | `timestamping-ca.pem`, … | the same for time-stamping |
//! | `timestamping.pem` | the certificate of the time-stamping key |
//! | `root.crl` | the revocation list of the root |
//!
//! A key lies in the custody under the name of its file. One without a certificate has asked the
//! root for one.

use std::path::{Path, PathBuf};

use der::{Decode as _, DecodePem as _, Encode as _};
use time::OffsetDateTime;
use x509_cert::Certificate;

use super::issuer::SigningIssuer;
use super::request::{CertificateRequest, request_pem};
use super::root::{INTERMEDIATE_LIFE, ROOT, RootAuthority, root_certificate};
use super::root_list::RootList;
use super::timestamp::{self, TIMESTAMPING_LIFE, TimestampAuthority};
use super::{
    AuthorityConfig, AuthorityError, AuthoritySubject, INTERMEDIATE_RENEWAL, IssuerRole,
    MAX_PEM_BYTES, not_after, pem, read, unusable, write,
};
use crate::custody::{Custody, KeyAlgorithm, KeyHandle};
use crate::keys::AuthorityKey;

/// The most intermediates of one kind, one after the other: one a year for longer than a root lives.
const MAX_GENERATIONS: u32 = 64;
/// The most certificates in one file: an intermediate and what is above it.
pub(super) const MAX_BUNDLE: usize = 8;
/// The label of the time-stamping key.
const TIMESTAMPING: &str = "timestamping";

/// The certificates of an authority, and where its keys lie.
pub(super) struct Vault<'a> {
    pub(super) config: &'a AuthorityConfig,
    pub(super) custody: &'a dyn Custody,
}

/// The certificates in an authority's folder. No key is needed to read them.
#[derive(Clone, Copy)]
pub(super) struct Certificates<'a>(pub(super) &'a Path);

impl Certificates<'_> {
    /// Returns how many intermediates of this kind have certificates.
    pub(super) fn generations(&self, role: IssuerRole) -> Result<u32, AuthorityError> {
        let mut count = 0;
        while count < MAX_GENERATIONS && self.path(role, count + 1).exists() {
            count += 1;
        }
        Ok(count)
    }

    /// Returns an intermediate's certificate and what is above it, the root last.
    pub(super) fn bundle(
        &self,
        role: IssuerRole,
        generation: u32,
    ) -> Result<Vec<Certificate>, AuthorityError> {
        let path = self.path(role, generation);
        let text = read(&path, MAX_BUNDLE * MAX_PEM_BYTES)?.unwrap_or_default();
        let mut bundle = Certificate::load_pem_chain(&text)
            .map_err(|error| unusable(path.clone(), error.to_string()))?;
        let Some(last) = bundle.last().map(Certificate::tbs_certificate) else {
            return Err(unusable(path, "there is no certificate in it".to_owned()));
        };
        if last.subject() != last.issuer() {
            let root = root_certificate(self.0)?;
            let root =
                root.ok_or_else(|| unusable(path, "it does not end in a root".to_owned()))?;
            bundle.push(root);
        }
        Ok(bundle)
    }

    /// Returns the list of the root that ends the chain of the newest signing intermediate.
    pub(super) fn root_list(&self) -> Result<Option<RootList>, AuthorityError> {
        let generation = self.generations(IssuerRole::Signing)?;
        let bundle = self.bundle(IssuerRole::Signing, generation)?;
        RootList::load(self.0, &bundle[bundle.len() - 1])
    }

    pub(super) fn timestamping_certificate(&self) -> Result<Option<Certificate>, AuthorityError> {
        let path = self.timestamping_path();
        match read(&path, MAX_PEM_BYTES)? {
            None => Ok(None),
            Some(text) => Certificate::from_pem(&text)
                .map(Some)
                .map_err(|error| unusable(path, error.to_string())),
        }
    }

    pub(super) fn path(&self, role: IssuerRole, generation: u32) -> PathBuf {
        let label = role.label(generation);
        self.0.join(format!("{label}.pem"))
    }

    fn timestamping_path(&self) -> PathBuf {
        self.0.join(format!("{TIMESTAMPING}.pem"))
    }
}

impl Vault<'_> {
    /// Returns the certificates.
    pub(super) fn kept(&self) -> Certificates<'_> {
        Certificates(self.folder())
    }

    /// Makes what a first start needs, and renews what ends: where the root's key lies in the
    /// custody. Where it does not, somebody has to bring what is missing.
    pub(super) fn complete(&self, now: OffsetDateTime) -> Result<(), AuthorityError> {
        let root = root_certificate(self.folder())?;
        let has_intermediate = self.kept().generations(IssuerRole::Signing)? > 0;
        if root.is_some() && !has_intermediate && !self.custody.contains(ROOT)? {
            return Err(self.key_missing(ROOT));
        }
        if root.is_none() && has_intermediate {
            return Ok(());
        }
        if root.is_some() && !self.custody.contains(ROOT)? {
            return Ok(());
        }
        self.complete_under_root(now)
    }

    /// Returns whether the root's key lies in the custody.
    pub(super) fn root_lies_beside(&self) -> Result<bool, AuthorityError> {
        Ok(root_certificate(self.folder())?.is_some() && self.custody.contains(ROOT)?)
    }

    fn complete_under_root(&self, now: OffsetDateTime) -> Result<(), AuthorityError> {
        // The root's key is opened only if it is needed: that takes a moment.
        let mut root = None;
        for role in IssuerRole::ALL {
            let generation = self.kept().generations(role)?.max(1);
            if self.ends_soon(role, generation, now)? {
                let root = self.opened(&mut root, now)?;
                self.certify(root, (role, generation), now)?;
            }
        }
        if self.config.pki.root_crl_url.is_some() && self.list_is_old(now)? {
            self.opened(&mut root, now)?.refresh_list(now)?;
        }
        Ok(())
    }

    fn opened<'r>(
        &self,
        root: &'r mut Option<RootAuthority>,
        now: OffsetDateTime,
    ) -> Result<&'r RootAuthority, AuthorityError> {
        if root.is_none() {
            let (folder, subject) = (self.folder(), &self.config.subject);
            *root = Some(RootAuthority::make(folder, subject, self.custody, now)?);
        }
        root.as_ref()
            .ok_or(AuthorityError::Library(aws_lc_rs::error::Unspecified))
    }

    /// Has the root certify the key of an intermediate; the key is made if there is none.
    pub(super) fn certify(
        &self,
        root: &RootAuthority,
        (role, generation): (IssuerRole, u32),
        now: OffsetDateTime,
    ) -> Result<(), AuthorityError> {
        let request = self.request(root.subject(), (role, generation))?;
        let request = CertificateRequest::from_pem(request.as_bytes())?;
        let list_url = self.config.pki.root_crl_url.as_deref();
        let bundle = root.certify(&request, list_url, now)?;
        write(&self.kept().path(role, generation), bundle.as_bytes())
    }

    /// Returns the request of an intermediate's key, in PEM; the key is made if there is none.
    pub(super) fn request(
        &self,
        subject: &AuthoritySubject,
        (role, generation): (IssuerRole, u32),
    ) -> Result<String, AuthorityError> {
        let key = self.key_or_new(&role.label(generation))?;
        request_pem(subject, (role, generation), &AuthorityKey::new(key)?)
    }

    /// Returns the intermediates of this kind, the newest last.
    pub(super) fn issuers(&self, role: IssuerRole) -> Result<Vec<SigningIssuer>, AuthorityError> {
        let generations = 1..=self.kept().generations(role)?;
        generations.map(|one| self.issuer(role, one)).collect()
    }

    fn issuer(&self, role: IssuerRole, generation: u32) -> Result<SigningIssuer, AuthorityError> {
        let path = self.kept().path(role, generation);
        let bundle = self.kept().bundle(role, generation)?;
        let label = role.label(generation);
        let Some(key) = self.custody.open(&label)? else {
            return Err(self.key_missing(&label));
        };
        let key = AuthorityKey::new(key)?;
        let info = bundle[0].tbs_certificate().subject_public_key_info();
        if info.subject_public_key.raw_bytes() != key.public_bits() {
            let reason = format!("it is not the certificate of key `{label}`");
            return Err(unusable(path, reason));
        }
        SigningIssuer::new(generation, bundle, key)
    }

    /// Returns the time-stamping authority, if there is an intermediate for it. The certificate of
    /// its key is made, and renewed when half of its life is over.
    pub(super) fn timestamping(
        &self,
        now: OffsetDateTime,
    ) -> Result<Option<TimestampAuthority>, AuthorityError> {
        let generation = self.kept().generations(IssuerRole::TimeStamping)?;
        if generation == 0 {
            return Ok(None);
        }
        let key = self.key_or_new(TIMESTAMPING)?;
        let kept = self.kept().timestamping_certificate()?;
        let issuer_name = self.kept().bundle(IssuerRole::TimeStamping, generation)?;
        let fits = |one: &Certificate| {
            let tbs = one.tbs_certificate();
            let info = tbs.subject_public_key_info().to_der();
            tbs.issuer() == issuer_name[0].tbs_certificate().subject()
                && info.is_ok_and(|info| info == key.public_key_der())
                && not_after(one) - now >= TIMESTAMPING_LIFE / 2
        };
        let certificate = match kept.filter(fits) {
            Some(certificate) => certificate,
            None => self.certify_timestamping(generation, &key, now)?,
        };
        let mut chain = vec![certificate];
        chain.extend(issuer_name.into_iter().rev().skip(1).rev());
        let policy = self.config.pki.timestamp_policy;
        Ok(Some(TimestampAuthority::new(key, chain, policy)))
    }

    fn certify_timestamping(
        &self,
        generation: u32,
        key: &std::sync::Arc<dyn KeyHandle>,
        now: OffsetDateTime,
    ) -> Result<Certificate, AuthorityError> {
        let issuer = self.issuer(IssuerRole::TimeStamping, generation)?;
        let params = timestamp::certificate_params(issuer.subject(), now)?;
        let der = issuer.issue(params, &AuthorityKey::new(key.clone())?)?;
        write(&self.kept().timestamping_path(), pem(&der).as_bytes())?;
        Ok(Certificate::from_der(&der)?)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.config.folder
    }

    fn ends_soon(
        &self,
        role: IssuerRole,
        generation: u32,
        now: OffsetDateTime,
    ) -> Result<bool, AuthorityError> {
        if !self.kept().path(role, generation).exists() {
            return Ok(true);
        }
        if !self.custody.contains(&role.label(generation))? {
            return Err(self.key_missing(&role.label(generation)));
        }
        let bundle = self.kept().bundle(role, generation)?;
        Ok(not_after(&bundle[0]) - now < INTERMEDIATE_RENEWAL)
    }

    fn list_is_old(&self, now: OffsetDateTime) -> Result<bool, AuthorityError> {
        let list = self.kept().root_list()?;
        Ok(list
            .is_none_or(|list| now > list.this_update + (list.next_update - list.this_update) / 2))
    }

    fn key_or_new(&self, label: &str) -> Result<std::sync::Arc<dyn KeyHandle>, AuthorityError> {
        Ok(match self.custody.open(label)? {
            Some(key) => key,
            None => self.custody.generate(label, KeyAlgorithm::P384)?,
        })
    }

    fn key_missing(&self, label: &str) -> AuthorityError {
        AuthorityError::KeyMissing {
            certificate: self.folder().join(format!("{label}.pem")),
            key: label.to_owned(),
            custody: self.custody.describe(),
        }
    }
}

const _: () = assert!(
    INTERMEDIATE_RENEWAL.whole_seconds() < INTERMEDIATE_LIFE.whole_seconds(),
    "an intermediate that was just made would be renewed"
);
