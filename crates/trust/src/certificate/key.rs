//! Public keys, and the verification of signatures with them.
//!
//! RFC 4055, 5480, 5758 for certificates; RFC 7518 §3.4 and §3.5 for envelopes. The mathematics is
//! aws-lc-rs's; what stands here is which combinations are allowed.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use der::{Decode, Sequence, SliceReader};
use oci::Digest;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::SignatureAlgorithm;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    /// The point of an elliptic curve, or an RSAPublicKey in DER: the form that aws-lc-rs takes.
    bytes: Vec<u8>,
    sha256: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Rsa { bits: usize },
    P256,
    P384,
    P521,
    Other(ObjectIdentifier),
}

/// A hash function, as signature algorithms of certificates combine it with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// The bytes that an issuer signed, with the signature.
#[derive(Clone, Debug)]
pub(crate) struct SignedBytes {
    to_be_signed: Vec<u8>,
    algorithm: Option<SignedWith>,
    signature: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignedWith {
    Pkcs1(Hash),
    Pss(Hash),
    Ecdsa(Hash),
}

impl PublicKey {
    pub(super) fn from_x509(info: &SubjectPublicKeyInfoOwned) -> Result<Self, der::Error> {
        use der::Encode as _;
        let bytes = info.subject_public_key.raw_bytes().to_vec();
        let kind = match info.algorithm.oid {
            RSA => KeyKind::Rsa {
                bits: modulus_bits(&bytes)?,
            },
            EC => curve(&info.algorithm)?,
            other => KeyKind::Other(other),
        };
        let sha256 = Digest::sha256(&info.to_der()?).hex().to_owned();
        Ok(Self {
            kind,
            bytes,
            sha256,
        })
    }

    /// Returns SHA-256 of the SubjectPublicKeyInfo in DER, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the kind and size in words, such as `RSA-2048` or `P-384`.
    pub fn name(&self) -> String {
        match self.kind {
            KeyKind::Rsa { bits } => format!("RSA-{bits}"),
            KeyKind::P256 => "P-256".to_owned(),
            KeyKind::P384 => "P-384".to_owned(),
            KeyKind::P521 => "P-521".to_owned(),
            KeyKind::Other(oid) => oid.to_string(),
        }
    }

    /// Returns the one algorithm that this key may sign envelopes with (R041).
    pub fn algorithm(&self) -> Option<SignatureAlgorithm> {
        match self.kind {
            KeyKind::Rsa { bits: 2048 } => Some(SignatureAlgorithm::Ps256),
            KeyKind::Rsa { bits: 3072 } => Some(SignatureAlgorithm::Ps384),
            KeyKind::Rsa { bits: 4096 } => Some(SignatureAlgorithm::Ps512),
            KeyKind::P256 => Some(SignatureAlgorithm::Es256),
            KeyKind::P384 => Some(SignatureAlgorithm::Es384),
            KeyKind::P521 => Some(SignatureAlgorithm::Es512),
            KeyKind::Rsa { .. } | KeyKind::Other(_) => None,
        }
    }

    /// Returns whether the key is long enough to stand in a chain: RSA of 2048 to 8192 bits, or
    /// one of the three curves (R046; the upper bound is what aws-lc-rs verifies).
    pub(crate) fn is_strong(&self) -> bool {
        match self.kind {
            KeyKind::Rsa { bits } => (2048..=8192).contains(&bits),
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => true,
            KeyKind::Other(_) => false,
        }
    }

    /// Verifies the signature of an envelope, with the one algorithm of this key. An ECDSA
    /// signature must be `r ‖ s` in fixed width.
    pub(crate) fn verify_envelope(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some(algorithm) = self.algorithm() else {
            return false;
        };
        let algorithm: &'static dyn VerificationAlgorithm = match algorithm {
            SignatureAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            SignatureAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            SignatureAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            SignatureAlgorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            SignatureAlgorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            SignatureAlgorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        };
        let key = UnparsedPublicKey::new(algorithm, &self.bytes);
        key.verify(message, signature).is_ok()
    }

    /// Verifies what an issuer with this key signed: a certificate or a revocation list.
    pub(crate) fn verify_signed(&self, signed: &SignedBytes) -> bool {
        let Some(with) = signed.algorithm else {
            return false;
        };
        let Some(algorithm) = self.issuing_algorithm(with) else {
            return false;
        };
        let key = UnparsedPublicKey::new(algorithm, &self.bytes);
        key.verify(&signed.to_be_signed, &signed.signature).is_ok()
    }

    fn issuing_algorithm(&self, with: SignedWith) -> Option<&'static dyn VerificationAlgorithm> {
        use Hash::{Sha256, Sha384, Sha512};
        use KeyKind::{P256, P384, P521, Rsa};
        Some(match (self.kind, with) {
            (Rsa { .. }, SignedWith::Pkcs1(Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Rsa { .. }, SignedWith::Pkcs1(Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Rsa { .. }, SignedWith::Pkcs1(Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Rsa { .. }, SignedWith::Pss(Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
            (Rsa { .. }, SignedWith::Pss(Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
            (Rsa { .. }, SignedWith::Pss(Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
            (P256, SignedWith::Ecdsa(Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
            (P256, SignedWith::Ecdsa(Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
            (P256, SignedWith::Ecdsa(Sha512)) => &signature::ECDSA_P256_SHA512_ASN1,
            (P384, SignedWith::Ecdsa(Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
            (P384, SignedWith::Ecdsa(Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
            (P384, SignedWith::Ecdsa(Sha512)) => &signature::ECDSA_P384_SHA512_ASN1,
            (P521, SignedWith::Ecdsa(Sha256)) => &signature::ECDSA_P521_SHA256_ASN1,
            (P521, SignedWith::Ecdsa(Sha384)) => &signature::ECDSA_P521_SHA384_ASN1,
            (P521, SignedWith::Ecdsa(Sha512)) => &signature::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        })
    }
}

impl SignedBytes {
    /// Returns SHA-384 of what was signed, in lower-case hexadecimal.
    pub(super) fn sha384(&self) -> String {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, &self.to_be_signed);
        hex::encode(hash)
    }

    pub(crate) fn new(
        to_be_signed: Vec<u8>,
        algorithm: &AlgorithmIdentifierOwned,
        signature: &[u8],
    ) -> Self {
        Self {
            to_be_signed,
            algorithm: SignedWith::from_x509(algorithm),
            signature: signature.to_vec(),
        }
    }

    /// Returns whether the signature algorithm is on our list. SHA-1 and MD5 are not.
    pub(crate) fn is_supported(&self) -> bool {
        self.algorithm.is_some()
    }
}

impl SignedWith {
    fn from_x509(algorithm: &AlgorithmIdentifierOwned) -> Option<Self> {
        Some(match algorithm.oid {
            RSA_SHA256 => Self::Pkcs1(Hash::Sha256),
            RSA_SHA384 => Self::Pkcs1(Hash::Sha384),
            RSA_SHA512 => Self::Pkcs1(Hash::Sha512),
            ECDSA_SHA256 => Self::Ecdsa(Hash::Sha256),
            ECDSA_SHA384 => Self::Ecdsa(Hash::Sha384),
            ECDSA_SHA512 => Self::Ecdsa(Hash::Sha512),
            RSA_PSS => Self::Pss(pss_hash(algorithm)?),
            _ => return None,
        })
    }
}

/// The parameters of RSASSA-PSS (RFC 4055 §3.1); their defaults mean SHA-1, which is refused.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AnyRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt_length: Option<u16>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u8>,
}

/// Returns the hash of PSS parameters. The mask's hash needs no look: aws-lc-rs verifies with the
/// same hash for both, and any other would not verify.
fn pss_hash(algorithm: &AlgorithmIdentifierOwned) -> Option<Hash> {
    use der::Encode as _;
    let bytes = algorithm.parameters.as_ref()?.to_der().ok()?;
    let parameters = PssParameters::from_der(&bytes).ok()?;
    match parameters.hash?.oid {
        SHA256 => Some(Hash::Sha256),
        SHA384 => Some(Hash::Sha384),
        SHA512 => Some(Hash::Sha512),
        _ => None,
    }
}

fn curve(algorithm: &AlgorithmIdentifierOwned) -> Result<KeyKind, der::Error> {
    let parameters = algorithm.parameters.as_ref();
    let oid = parameters.map(|any| any.decode_as::<ObjectIdentifier>());
    Ok(match oid.transpose()? {
        Some(P256) => KeyKind::P256,
        Some(P384) => KeyKind::P384,
        Some(P521) => KeyKind::P521,
        Some(other) => KeyKind::Other(other),
        None => KeyKind::Other(EC),
    })
}

/// Returns the length of the modulus in an RSAPublicKey (RFC 8017 A.1.1), in bits.
fn modulus_bits(public_key: &[u8]) -> Result<usize, der::Error> {
    let mut outer = SliceReader::new(public_key)?;
    let body = AnyRef::decode(&mut outer)?;
    let mut reader = SliceReader::new(body.value())?;
    let modulus = UintRef::decode(&mut reader)?;
    let bytes = modulus.as_bytes();
    let leading = bytes.first().map_or(0, |byte| byte.leading_zeros());
    Ok(bytes.len() * 8 - usize::try_from(leading).unwrap_or_default())
}
