//! The time-stamping authority (RFC 3161, RFC 5816).
//!
//! Its key is its own, and so is its certificate, which an intermediate of its own issued: when the
//! signing intermediate is revoked, time-stamps stay good, and they are what still proves when
//! something was signed. The extended key usage is critical and `timeStamping` alone (§2.3).
//!
//! The time is the one that it is told. A time before that of the last token by more than the
//! accuracy, or outside the life of the certificate, is not a time to vouch for: the answer is
//! `timeNotAvailable`.

mod request;
mod token;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use der::Encode as _;
use der::asn1::Uint;
use der::oid::ObjectIdentifier;
use rcgen::{CertificateParams, CustomExtension, IsCa, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;

pub use request::{MAX_TIMESTAMP_REQUEST_BYTES, TimestampRefusal, TimestampRequest};

use super::signed::generalized;
use super::{AuthorityError, AuthoritySubject, BACKDATED, not_after, not_before, random_serial};
use super::{pem, whole_seconds};
use crate::custody::KeyHandle;
use token::{Accuracy, TokenSigner, TstInfo};

/// The life of the certificate that signs tokens. Renewed, with its key, when half of it is over.
pub const TIMESTAMPING_LIFE: Duration = Duration::days(10 * 365);
/// The policy under which tokens are issued (RFC 3161 §2.4.2, TSAPolicyId).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampPolicy(ObjectIdentifier);

/// Says that a text is not an object identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an object identifier: expected numbers with dots, such as `1.3.6.1.4.1.32473.1`"
)]
pub struct TimestampPolicyError(String);

impl FromStr for TimestampPolicy {
    type Err = TimestampPolicyError;

    fn from_str(text: &str) -> Result<Self, TimestampPolicyError> {
        let parsed = ObjectIdentifier::new(text).map(Self);
        parsed.map_err(|_| TimestampPolicyError(text.chars().take(80).collect()))
    }
}

impl Default for TimestampPolicy {
    /// Returns an arc that RFC 5612 keeps for documentation: nobody has given us one.
    fn default() -> Self {
        Self(ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.3161"))
    }
}

impl fmt::Display for TimestampPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far off the time may be, in seconds: tokens have whole seconds.
const ACCURACY_SECS: u8 = 1;
const COMMON_NAME: &str = "Countersign Time-Stamping";
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

/// A time-stamping authority, ready to sign.
pub struct TimestampAuthority {
    key: Arc<dyn KeyHandle>,
    /// The certificate of the key, and those above it without the root.
    chain: Vec<Certificate>,
    policy: ObjectIdentifier,
    last: Mutex<OffsetDateTime>,
}

impl TimestampAuthority {
    /// Returns the authority of `key`, whose certificate comes first in `chain`.
    pub(super) fn new(
        key: Arc<dyn KeyHandle>,
        chain: Vec<Certificate>,
        policy: TimestampPolicy,
    ) -> Self {
        let last = Mutex::new(OffsetDateTime::UNIX_EPOCH);
        Self {
            key,
            chain,
            policy: policy.0,
            last,
        }
    }

    /// Returns the certificate of the key and those above it, without the root, in PEM.
    pub fn chain_pem(&self) -> Result<String, AuthorityError> {
        let texts = self.chain.iter().map(|one| Ok(pem(&one.to_der()?)));
        texts.collect()
    }

    /// Returns the answer to a request, in DER: a token, or why there is none.
    pub fn respond(&self, der: &[u8], now: OffsetDateTime) -> Result<Vec<u8>, AuthorityError> {
        let request = TimestampRequest::parse(der).and_then(|request| {
            self.check_policy(&request)?;
            self.check_time(now)?;
            Ok(request)
        });
        match request {
            Err(refusal) => token::refuse(&refusal),
            Ok(request) => self.grant(request, now),
        }
    }

    /// Returns the answer of an authority that failed.
    pub fn failed() -> Result<Vec<u8>, AuthorityError> {
        token::refuse(&TimestampRefusal::System)
    }

    fn grant(
        &self,
        asked: TimestampRequest,
        now: OffsetDateTime,
    ) -> Result<Vec<u8>, AuthorityError> {
        let info = TstInfo {
            version: 1,
            policy: self.policy,
            imprint: asked.imprint,
            serial: Uint::new(random_serial()?.as_ref())?,
            time: generalized(now)?,
            accuracy: Accuracy {
                seconds: ACCURACY_SECS,
            },
            nonce: asked.nonce,
        };
        let [certificate, ..] = &self.chain[..] else {
            return Err(aws_lc_rs::error::Unspecified.into());
        };
        info.grant(&TokenSigner {
            key: self.key.as_ref(),
            certificate,
            carried: match asked.wants_certificates {
                true => &self.chain,
                false => &[],
            },
        })
    }

    fn check_policy(&self, request: &TimestampRequest) -> Result<(), TimestampRefusal> {
        match request.policy {
            Some(asked) if asked != self.policy => Err(TimestampRefusal::Policy {
                asked,
                ours: self.policy,
            }),
            _ => Ok(()),
        }
    }

    fn check_time(&self, now: OffsetDateTime) -> Result<(), TimestampRefusal> {
        let lives = |one: &Certificate| (not_before(one)..=not_after(one)).contains(&now);
        if !self.chain.iter().all(lives) {
            let reason = "the clock is outside the life of the time-stamping certificate";
            return Err(TimestampRefusal::Time(reason.to_owned()));
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now + Duration::seconds(ACCURACY_SECS.into()) < *last {
            let reason = "the clock went back behind the last token";
            return Err(TimestampRefusal::Time(reason.to_owned()));
        }
        *last = now.max(*last);
        Ok(())
    }
}

/// Returns what the certificate of a time-stamping key says.
pub(super) fn certificate_params(
    subject: &AuthoritySubject,
    now: OffsetDateTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(random_serial()?);
    params.not_before = whole_seconds(now - BACKDATED);
    params.not_after = whole_seconds(now + TIMESTAMPING_LIFE);
    params.distinguished_name = subject.with_common_name(COMMON_NAME)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    // rcgen writes this extension as not critical.
    let usages = vec![TIME_STAMPING].to_der()?;
    let mut usage = CustomExtension::from_oid_content(EXTENDED_KEY_USAGE, usages);
    usage.set_criticality(true);
    params.custom_extensions = vec![usage];
    Ok(params)
}

#[cfg(test)]
mod tests;
