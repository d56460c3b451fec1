//! What signed structures beside certificates share: names of algorithms, and times.

use der::asn1::{GeneralizedTime, Null};
use der::oid::ObjectIdentifier;
use der::{Any, DateTime};
use time::OffsetDateTime;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::AuthorityError;
use crate::custody::KeyAlgorithm;

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const RSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");

/// Returns the name of the signatures of such a key (RFC 5758 §3.2, RFC 4055 §5).
pub(super) fn algorithm_of(key: KeyAlgorithm) -> AlgorithmIdentifierOwned {
    let (oid, parameters) = match key {
        KeyAlgorithm::P256 => (ECDSA_WITH_SHA256, None),
        KeyAlgorithm::P384 => (ECDSA_WITH_SHA384, None),
        KeyAlgorithm::Rsa3072 => (RSA_WITH_SHA384, Any::encode_from(&Null).ok()),
    };
    AlgorithmIdentifierOwned { oid, parameters }
}

/// Returns the name of the hash of such a key; its parameters are absent (RFC 5754 §2).
pub(super) fn hash_of(key: KeyAlgorithm) -> AlgorithmIdentifierOwned {
    let oid = match key {
        KeyAlgorithm::P256 => SHA256,
        KeyAlgorithm::P384 | KeyAlgorithm::Rsa3072 => SHA384,
    };
    AlgorithmIdentifierOwned {
        oid,
        parameters: None,
    }
}

/// Returns `time` as GeneralizedTime, in whole seconds.
pub(super) fn generalized(time: OffsetDateTime) -> Result<GeneralizedTime, AuthorityError> {
    let seconds = u64::try_from(time.unix_timestamp()).map_err(|_| der::ErrorKind::DateTime);
    let since_epoch = std::time::Duration::from_secs(seconds.map_err(der::Error::from)?);
    let time = DateTime::from_unix_duration(since_epoch)?;
    Ok(GeneralizedTime::from_date_time(time))
}
