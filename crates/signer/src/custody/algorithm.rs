//! The kinds of keys, and the forms of their signatures and public halves.

use std::fmt;
use std::str::FromStr;

use der::asn1::{BitStringRef, UintRef};
use der::{Decode as _, Encode as _, Sequence};
use serde::{Deserialize, Serialize};
use x509_cert::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A kind and size of key, which decides its hash: there is one algorithm per key, so that nobody
/// can negotiate a weaker one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    #[default]
    P384,
    /// RSA of 3072 bits with SHA-384.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
}

/// Says that a text names no kind of key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of key: use `p256`, `p384` or `rsa-3072`")]
pub struct KeyAlgorithmError(String);

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::Rsa3072];

    /// Returns the name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa3072 => "rsa-3072",
        }
    }

    /// Returns whether its signatures are ECDSA's.
    pub fn is_ecdsa(self) -> bool {
        self != Self::Rsa3072
    }

    /// Returns the algorithm of the envelopes that such a key signs.
    pub fn of_envelopes(self) -> trust::SignatureAlgorithm {
        match self {
            Self::P256 => trust::SignatureAlgorithm::Es256,
            Self::P384 => trust::SignatureAlgorithm::Es384,
            Self::Rsa3072 => trust::SignatureAlgorithm::Ps384,
        }
    }

    /// Returns the algorithm of the certificates that such a key signs.
    pub fn of_certificates(self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Rsa3072 => &rcgen::PKCS_RSA_SHA384,
        }
    }

    /// Returns the hash of `message` that such a key signs.
    pub fn hash(self, message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::P256 => &aws_lc_rs::digest::SHA256,
            Self::P384 | Self::Rsa3072 => &aws_lc_rs::digest::SHA384,
        };
        aws_lc_rs::digest::digest(algorithm, message)
            .as_ref()
            .to_vec()
    }

    /// Returns the kind of the key whose public half, a SubjectPublicKeyInfo, is `der`.
    pub fn of_public_key(der: &[u8]) -> Option<Self> {
        let info = SubjectPublicKeyInfoRef::from_der(der).ok()?;
        let algorithm = &info.algorithm;
        if algorithm.oid == RSA_ENCRYPTION {
            let key = RsaPublicKey::from_der(info.subject_public_key.raw_bytes()).ok()?;
            return (key.modulus.as_bytes().len() == 384).then_some(Self::Rsa3072);
        }
        let curve = algorithm.parameters.as_ref()?;
        let curve = curve.decode_as::<ObjectIdentifier>().ok()?;
        match (algorithm.oid == EC_PUBLIC_KEY, curve) {
            (true, P256) => Some(Self::P256),
            (true, P384) => Some(Self::P384),
            _ => None,
        }
    }

    /// Returns the SubjectPublicKeyInfo whose key is `bits`: an uncompressed point, or an
    /// RSAPublicKey in DER.
    pub fn public_key_info(self, bits: &[u8]) -> Option<Vec<u8>> {
        let curve = match self {
            Self::P256 => der::Any::encode_from(&P256),
            Self::P384 => der::Any::encode_from(&P384),
            Self::Rsa3072 => der::Any::encode_from(&der::asn1::Null),
        };
        let info = x509_cert::spki::SubjectPublicKeyInfo {
            algorithm: x509_cert::spki::AlgorithmIdentifier {
                oid: if self.is_ecdsa() {
                    EC_PUBLIC_KEY
                } else {
                    RSA_ENCRYPTION
                },
                parameters: Some(curve.ok()?),
            },
            subject_public_key: BitStringRef::from_bytes(bits).ok()?,
        };
        info.to_der().ok()
    }

    /// Returns an ECDSA signature in ASN.1 as `r ‖ s`, each as wide as the curve (RFC 7518 §3.4).
    pub fn fixed_width(self, asn1: &[u8]) -> Option<Vec<u8>> {
        let width = self.coordinate_bytes()?;
        let pair = EcdsaSignature::from_der(asn1).ok()?;
        let mut fixed = vec![0; 2 * width];
        for (half, number) in fixed.chunks_mut(width).zip([pair.r, pair.s]) {
            let bytes = number.as_bytes();
            half[width.checked_sub(bytes.len())?..].copy_from_slice(bytes);
        }
        Some(fixed)
    }

    /// Returns an ECDSA signature `r ‖ s` in ASN.1.
    pub fn asn1(self, fixed: &[u8]) -> Option<Vec<u8>> {
        let width = self.coordinate_bytes()?;
        let (r, s) = fixed.split_at_checked(width)?;
        if s.len() != width {
            return None;
        }
        let (r, s) = (UintRef::new(r).ok()?, UintRef::new(s).ok()?);
        EcdsaSignature { r, s }.to_der().ok()
    }

    /// Returns the curve's object identifier in DER; `None` for RSA.
    pub(crate) fn curve_der(self) -> Option<Vec<u8>> {
        match self {
            Self::P256 => P256.to_der().ok(),
            Self::P384 => P384.to_der().ok(),
            Self::Rsa3072 => None,
        }
    }

    fn coordinate_bytes(self) -> Option<usize> {
        match self {
            Self::P256 => Some(32),
            Self::P384 => Some(48),
            Self::Rsa3072 => None,
        }
    }
}

/// Returns the key itself of a SubjectPublicKeyInfo: a point, or an RSAPublicKey.
pub(crate) fn key_bits(der: &[u8]) -> Option<Vec<u8>> {
    let info = SubjectPublicKeyInfoRef::from_der(der).ok()?;
    Some(info.subject_public_key.raw_bytes().to_vec())
}

/// Ecdsa-Sig-Value (RFC 3279 §2.2.3).
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// RSAPublicKey (RFC 8017 §A.1.1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = KeyAlgorithmError;

    fn from_str(text: &str) -> Result<Self, KeyAlgorithmError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| KeyAlgorithmError(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_text_and_in_json() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            let json = serde_json::to_string(&algorithm).unwrap();
            assert_eq!(json, format!("\"{algorithm}\""));
        }
        assert!("P384".parse::<KeyAlgorithm>().is_err());
    }

    #[test]
    fn a_public_key_says_what_it_is() {
        use testkit::{KeyKind, TestKey};
        for (kind, expected) in [
            (KeyKind::P256, Some(KeyAlgorithm::P256)),
            (KeyKind::P384, Some(KeyAlgorithm::P384)),
            (KeyKind::P521, None),
            (KeyKind::Rsa2048, None),
            (KeyKind::Rsa3072, Some(KeyAlgorithm::Rsa3072)),
            (KeyKind::Rsa4096, None),
        ] {
            let pair = rcgen::KeyPair::try_from(TestKey::new(kind).pkcs8()).unwrap();
            let info = rcgen::PublicKeyData::subject_public_key_info(&pair);
            assert_eq!(KeyAlgorithm::of_public_key(&info), expected, "{kind:?}");
            if let Some(algorithm) = expected {
                let bits = key_bits(&info).unwrap();
                assert_eq!(algorithm.public_key_info(&bits).unwrap(), info);
            }
        }
        assert_eq!(KeyAlgorithm::of_public_key(b"nonsense"), None);
    }

    #[test]
    fn both_forms_of_a_signature_hold_the_same_numbers() {
        // r has a leading zero byte, s its highest bit set: both change the length in ASN.1.
        let mut fixed = vec![0x11; 96];
        (fixed[0], fixed[48]) = (0, 0xff);
        let asn1 = KeyAlgorithm::P384.asn1(&fixed).unwrap();
        assert_eq!(asn1.len(), 2 + 2 + 47 + 2 + 49);
        assert_eq!(KeyAlgorithm::P384.fixed_width(&asn1).unwrap(), fixed);
        // Numbers that are too wide for the curve, and lengths that do not fit.
        assert_eq!(KeyAlgorithm::P256.fixed_width(&asn1), None);
        assert_eq!(KeyAlgorithm::P256.asn1(&fixed), None);
        assert_eq!(KeyAlgorithm::P384.asn1(&fixed[..40]), None);
        assert_eq!(KeyAlgorithm::Rsa3072.asn1(&fixed), None);
    }
}
