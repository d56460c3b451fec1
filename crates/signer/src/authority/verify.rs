//! Checking the signatures of what is imported: requests and lists. Chains are checked by `trust`.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use der::oid::ObjectIdentifier;
use x509_cert::Certificate;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// Signature algorithms and how each is checked. A key on another curve than the algorithm's does
/// not parse, so no signature of it verifies.
const ALGORITHMS: [(&str, &dyn VerificationAlgorithm); 5] = [
    ("1.2.840.10045.4.3.2", &ECDSA_P256_SHA256_ASN1),
    ("1.2.840.10045.4.3.3", &ECDSA_P384_SHA384_ASN1),
    ("1.2.840.113549.1.1.11", &RSA_PKCS1_2048_8192_SHA256),
    ("1.2.840.113549.1.1.12", &RSA_PKCS1_2048_8192_SHA384),
    ("1.2.840.113549.1.1.13", &RSA_PKCS1_2048_8192_SHA512),
];

/// Returns whether the certificate's key made the signature over `message`.
pub(super) fn is_signed_by(
    certificate: &Certificate,
    signature: (ObjectIdentifier, &[u8]),
    message: &[u8],
) -> bool {
    let info = certificate.tbs_certificate().subject_public_key_info();
    verifies(info, signature, message)
}

/// Returns whether the key made the signature, of this algorithm, over `message`.
pub(super) fn verifies(
    info: &SubjectPublicKeyInfoOwned,
    (algorithm, signature): (ObjectIdentifier, &[u8]),
    message: &[u8],
) -> bool {
    let name = algorithm.to_string();
    let known = ALGORITHMS.into_iter().find(|(oid, _)| *oid == name);
    known.is_some_and(|(_, algorithm)| {
        let key = UnparsedPublicKey::new(algorithm, info.subject_public_key.raw_bytes());
        key.verify(message, signature).is_ok()
    })
}
