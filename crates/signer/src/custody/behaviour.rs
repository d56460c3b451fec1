//! What every custody must do, as a check that runs against any of them.
//!
//! The tests of each back end run it, and so can an operator before keys are made in a device that
//! nobody has tried (`countersign custody check`). It makes one key and leaves it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};

use super::algorithm::key_bits;
use super::{Custody, CustodyError, KeyAlgorithm, KeyHandle, KeyUse};

/// Says what a custody did not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BehaviourError {
    /// It failed where it should not.
    #[error("it failed when asked to {asked}")]
    Failed {
        /// What was asked.
        asked: &'static str,
        /// What it said.
        #[source]
        source: CustodyError,
    },
    /// It did something else.
    #[error("{0}")]
    Wrong(&'static str),
}

/// Checks that `custody` makes, finds and uses a key under `label`, which must be free and stays
/// taken.
pub fn check(
    custody: &dyn Custody,
    label: &str,
    algorithm: KeyAlgorithm,
) -> Result<(), BehaviourError> {
    let open = |asked| custody.open(label).map_err(|source| failed(asked, source));
    ensure(
        open("look for a key")?.is_none(),
        "a free label holds a key",
    )?;
    let made = custody
        .generate(label, algorithm)
        .map_err(|source| failed("make a key", source))?;
    check_key(made.as_ref(), algorithm)?;
    let found =
        open("open a key again")?.ok_or(BehaviourError::Wrong("a made key is not found"))?;
    check_key(found.as_ref(), algorithm)?;
    let same = found.public_key_der() == made.public_key_der();
    ensure(same, "the key that is found is another than was made")?;
    let contained = custody.contains(label);
    let contained = contained.map_err(|source| failed("look for a key", source))?;
    ensure(contained, "a made key is not said to be there")?;
    match custody.generate(label, algorithm) {
        Err(CustodyError::Exists { .. }) => Ok(()),
        Err(source) => Err(failed("make a key under a taken label", source)),
        Ok(_) => Err(BehaviourError::Wrong("a key was made in place of another")),
    }
}

fn check_key(key: &dyn KeyHandle, algorithm: KeyAlgorithm) -> Result<(), BehaviourError> {
    let of_public = KeyAlgorithm::of_public_key(key.public_key_der());
    ensure(key.algorithm() == algorithm, "the key is of another kind")?;
    ensure(
        of_public == Some(algorithm),
        "the public half is of another kind",
    )?;
    // Longer than what an HSM or a KMS takes unhashed.
    let message = vec![0x5a; 5000];
    for usage in [KeyUse::Certificate, KeyUse::Envelope] {
        let signature = key
            .sign(usage, &message)
            .map_err(|source| failed("sign", source))?;
        let verified = verifies(key, usage, (&message, &signature));
        ensure(
            verified,
            "a signature does not verify under the public half",
        )?;
        let other = verifies(key, usage, (&message[1..], &signature));
        ensure(!other, "a signature verifies over another message")?;
    }
    Ok(())
}

/// Returns whether the signature verifies under the key's public half.
pub fn verifies(key: &dyn KeyHandle, usage: KeyUse, (message, signature): (&[u8], &[u8])) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match (key.algorithm(), usage) {
        (KeyAlgorithm::P256, _) => &ECDSA_P256_SHA256_ASN1,
        (KeyAlgorithm::P384, _) => &ECDSA_P384_SHA384_ASN1,
        (KeyAlgorithm::Rsa3072, KeyUse::Certificate) => &RSA_PKCS1_2048_8192_SHA384,
        (KeyAlgorithm::Rsa3072, KeyUse::Envelope) => &RSA_PSS_2048_8192_SHA384,
    };
    let bits = key_bits(key.public_key_der()).unwrap_or_default();
    let key = UnparsedPublicKey::new(algorithm, bits);
    key.verify(message, signature).is_ok()
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), BehaviourError> {
    if holds {
        Ok(())
    } else {
        Err(BehaviourError::Wrong(otherwise))
    }
}

fn failed(asked: &'static str, source: CustodyError) -> BehaviourError {
    BehaviourError::Failed { asked, source }
}
