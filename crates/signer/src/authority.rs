//! The certificate authority: a root, an intermediate, and short-lived leaves.
//!
//! The authority's keys are P-384 and lie in a [`Custody`]; their signatures are ECDSA with SHA-384. The shapes satisfy the Notary
//! Project signature specification, Certificate Requirements, as the stock `notation` checks
//! them:
//!
//! | certificate | basic constraints | key usage (critical) | extended | lives |
//! |---|---|---|---|---|
//! | root | critical, CA | keyCertSign, cRLSign | – | 40 years |
//! | intermediate | critical, CA, path length 0 | keyCertSign, cRLSign | – | 20 years, renewed in time |
//! | leaf | not a CA | digitalSignature | codeSigning | [`LeafTimes`] |
//!
//! The root key is opened only to make or renew the intermediate. The intermediate keeps its key
//! and name when it is renewed, so one revocation list serves all leaves; that list's address
//! stands in the leaves only, because a root that is not at hand cannot sign fresh lists.
//!
//! Subjects are `C, ST, O, CN`: the three attributes that an `x509.subject` identity of a trust
//! policy must name, and the profile. `C, ST, O` are chosen when the authority is made and cannot
//! be changed later: trust policies name them.

mod crl;
mod leaf;
mod subject;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use der::{Decode as _, DecodePem as _, Encode as _};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;

pub use crl::{CrlTimes, RevocationEntry};
pub(crate) use leaf::Leaf;
pub use leaf::{LEAF_LIFE, LeafTimes};
pub use subject::{AuthoritySubject, SubjectError};

use crate::custody::{Custody, CustodyError, KdfCost, KeyAlgorithm, files};
use crate::keys::AuthorityKey;

/// The life of the root.
pub const ROOT_LIFE: Duration = Duration::days(40 * 365);
/// The life of an intermediate.
pub const INTERMEDIATE_LIFE: Duration = Duration::days(20 * 365);
/// An intermediate with less than this left is renewed at the next start: the longest signature
/// validity (135 months) and some months to spare.
pub const INTERMEDIATE_RENEWAL: Duration = Duration::days(12 * 365);

const ROOT_COMMON_NAME: &str = "Countersign Root CA";
const INTERMEDIATE_COMMON_NAME: &str = "Countersign Signing CA";
/// Authorities are valid from a little before they are made, for verifiers whose clock is behind.
const BACKDATED: Duration = Duration::hours(1);
const MAX_PEM_BYTES: usize = 16 * 1024;

/// How an authority is opened, or made when the folder holds none.
#[derive(Clone, Debug)]
pub struct AuthorityConfig {
    /// The folder of `root.pem` and `intermediate.pem`, and of the sealed keys where these are in
    /// files.
    pub folder: PathBuf,
    /// The subject attributes of a new authority.
    pub subject: AuthoritySubject,
    /// Where verifiers find the revocation list; stands in every leaf.
    pub crl_url: Option<String>,
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
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library(#[from] Unspecified),
}

/// The certificate authority, ready to issue leaves.
pub struct Authority {
    subject: AuthoritySubject,
    crl_url: Option<String>,
    root_der: Vec<u8>,
    intermediate_der: Vec<u8>,
    issuer: Issuer<'static, AuthorityKey>,
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
        let (root, new_root_key) = vault.root(now)?;
        let subject = AuthoritySubject::of_certificate(&root)?;
        let (intermediate, key) = vault.intermediate(&subject, new_root_key, now)?;
        Ok(Self {
            root_der: to_der(&root)?,
            intermediate_der: to_der(&intermediate)?,
            issuer: Issuer::new(intermediate_params(&subject, now)?, key),
            crl_url: config.crl_url,
            subject,
            custody,
        })
    }

    /// Returns where the keys lie.
    pub fn custody(&self) -> &Arc<dyn Custody> {
        &self.custody
    }

    /// Returns the root certificate in PEM: the trust anchor.
    pub fn root_pem(&self) -> String {
        pem(&self.root_der)
    }

    /// Returns the intermediate and the root in PEM, in that order.
    pub fn chain_pem(&self) -> String {
        pem(&self.intermediate_der) + &pem(&self.root_der)
    }

    /// Returns SHA-256 of the public keys (SubjectPublicKeyInfo) of the certificates that issue
    /// leaves, in hexadecimal.
    pub fn issuer_keys_sha256(&self) -> Vec<String> {
        let issuer = trust::Certificate::from_der(&self.intermediate_der);
        let key = issuer.map(|issuer| issuer.public_key().sha256().to_owned());
        key.into_iter().collect()
    }

    /// Returns where the leaves say that the revocation list is.
    pub fn crl_url(&self) -> Option<&str> {
        self.crl_url.as_deref()
    }

    /// Returns the attributes that all subjects share.
    pub fn subject(&self) -> &AuthoritySubject {
        &self.subject
    }
}

/// The certificates of an authority, and where its keys lie.
struct Vault<'a> {
    config: &'a AuthorityConfig,
    custody: &'a dyn Custody,
}

impl Vault<'_> {
    /// Returns the root, and its key only if that was made now: opening it takes a moment, and it
    /// is seldom needed.
    fn root(
        &self,
        now: OffsetDateTime,
    ) -> Result<(Certificate, Option<AuthorityKey>), AuthorityError> {
        if let Some(certificate) = self.certificate("root")? {
            if !self.custody.contains("root")? {
                return Err(self.key_missing("root"));
            }
            return Ok((certificate, None));
        }
        let key = self.key_or_new("root")?;
        let params = root_params(&self.config.subject, now)?;
        let signed = params
            .self_signed(&key)
            .map_err(|error| not_signed(error, &key))?;
        let certificate = self.keep_certificate("root", signed.der())?;
        Ok((certificate, Some(key)))
    }

    fn intermediate(
        &self,
        subject: &AuthoritySubject,
        root_key: Option<AuthorityKey>,
        now: OffsetDateTime,
    ) -> Result<(Certificate, AuthorityKey), AuthorityError> {
        let kept = self.certificate("intermediate")?;
        if kept.is_some() && !self.custody.contains("intermediate")? {
            return Err(self.key_missing("intermediate"));
        }
        let key = self.key_or_new("intermediate")?;
        if let Some(certificate) = kept {
            self.check_pair("intermediate", &certificate, &key)?;
            if not_after(&certificate) - now >= INTERMEDIATE_RENEWAL {
                return Ok((certificate, key));
            }
        }
        let root_key = root_key.map_or_else(|| self.key_or_new("root"), Ok)?;
        let issuer = Issuer::new(root_params(subject, now)?, root_key);
        let signed = intermediate_params(subject, now)?
            .signed_by(&key, &issuer)
            .map_err(|error| not_signed(error, issuer.key()))?;
        Ok((self.keep_certificate("intermediate", signed.der())?, key))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.config.folder.join(name)
    }

    fn key_missing(&self, name: &str) -> AuthorityError {
        AuthorityError::KeyMissing {
            certificate: self.path(&format!("{name}.pem")),
            key: name.to_owned(),
            custody: self.custody.describe(),
        }
    }

    fn certificate(&self, name: &str) -> Result<Option<Certificate>, AuthorityError> {
        let path = self.path(&format!("{name}.pem"));
        match read(&path, MAX_PEM_BYTES)? {
            None => Ok(None),
            Some(text) => match Certificate::from_pem(&text) {
                Ok(certificate) => Ok(Some(certificate)),
                Err(error) => Err(unusable(path, error.to_string())),
            },
        }
    }

    fn keep_certificate(&self, name: &str, der: &[u8]) -> Result<Certificate, AuthorityError> {
        let path = self.path(&format!("{name}.pem"));
        write(&path, pem(der).as_bytes())?;
        Certificate::from_der(der).map_err(|error| unusable(path, error.to_string()))
    }

    fn key_or_new(&self, name: &str) -> Result<AuthorityKey, AuthorityError> {
        let handle = match self.custody.open(name)? {
            Some(handle) => handle,
            None => self.custody.generate(name, KeyAlgorithm::P384)?,
        };
        Ok(AuthorityKey::new(handle)?)
    }

    fn check_pair(
        &self,
        name: &str,
        certificate: &Certificate,
        key: &AuthorityKey,
    ) -> Result<(), AuthorityError> {
        let info = certificate.tbs_certificate().subject_public_key_info();
        if info.subject_public_key.raw_bytes() == key.public_bits() {
            return Ok(());
        }
        let path = self.path(&format!("{name}.pem"));
        Err(unusable(
            path,
            format!("it is not the certificate of key `{name}`"),
        ))
    }
}

/// Returns why `key` did not sign: what its custody said, where that is why.
fn not_signed(error: rcgen::Error, key: &AuthorityKey) -> AuthorityError {
    match (error, key.last_failure()) {
        (rcgen::Error::RemoteKeyError, Some(failure)) => failure.into(),
        (error, _) => AuthorityError::Encode(error),
    }
}

fn root_params(
    subject: &AuthoritySubject,
    now: OffsetDateTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = authority_params(now, ROOT_LIFE)?;
    params.distinguished_name = subject.with_common_name(ROOT_COMMON_NAME)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}

fn intermediate_params(
    subject: &AuthoritySubject,
    now: OffsetDateTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = authority_params(now, INTERMEDIATE_LIFE)?;
    params.distinguished_name = subject.with_common_name(INTERMEDIATE_COMMON_NAME)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn authority_params(
    now: OffsetDateTime,
    life: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(random_serial()?);
    params.not_before = whole_seconds(now - BACKDATED);
    params.not_after = whole_seconds(now + life);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::Sha256;
    Ok(params)
}

/// Returns a serial number of 16 random bytes, positive and of full length (RFC 5280 §4.1.2.2).
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
    let since_epoch = certificate.tbs_certificate().validity().not_after;
    OffsetDateTime::UNIX_EPOCH + since_epoch.to_unix_duration()
}

pub(crate) fn pem(der: &[u8]) -> String {
    let encoded = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der);
    encoded.expect("a certificate is far below the limit of a PEM encoding")
}

fn to_der(certificate: &Certificate) -> Result<Vec<u8>, AuthorityError> {
    let path = PathBuf::new();
    certificate
        .to_der()
        .map_err(|error| unusable(path, error.to_string()))
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
