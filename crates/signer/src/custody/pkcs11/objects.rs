//! The objects on a token: found by label, checked, made.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use der::asn1::{OctetStringRef, UintRef};
use der::{Decode as _, Encode as _, Sequence};

use super::TokenFailure;
use super::sessions::LoggedIn;
use crate::custody::{CustodyError, KeyAlgorithm};

/// A key pair that was found.
pub(super) struct FoundKey {
    pub(super) algorithm: KeyAlgorithm,
    pub(super) public_key: Vec<u8>,
    pub(super) private: ObjectHandle,
    pub(super) generation: u64,
}

/// Returns the key pair whose objects are labelled `object_label`, if there is one.
pub(super) fn find(
    session: &LoggedIn,
    label: &str,
    object_label: &[u8],
) -> Result<Option<FoundKey>, TokenFailure> {
    let of_class = |class| {
        let template = [
            Attribute::Token(true),
            Attribute::Class(class),
            Attribute::Label(object_label.to_vec()),
        ];
        session.session.find_objects(&template)
    };
    let private = match of_class(ObjectClass::PRIVATE_KEY)?[..] {
        [] => return Ok(None),
        [one] => one,
        _ => return Err(unusable(label, "the token has several keys of that label")),
    };
    let [public] = of_class(ObjectClass::PUBLIC_KEY)?[..] else {
        let reason = "the token has not one public key beside it";
        return Err(unusable(label, reason));
    };
    stays_inside(session, label, private)?;
    let public_key = public_key(session, public)?;
    let known = public_key.and_then(|info| Some((KeyAlgorithm::of_public_key(&info)?, info)));
    let Some((algorithm, public_key)) = known else {
        let reason = "it is not of a kind that is known (P-256, P-384, RSA-3072)";
        return Err(unusable(label, reason));
    };
    Ok(Some(FoundKey {
        algorithm,
        public_key,
        private,
        generation: session.generation,
    }))
}

/// Makes a key pair that never leaves the token.
pub(super) fn generate(
    session: &LoggedIn,
    object_label: &[u8],
    algorithm: KeyAlgorithm,
) -> Result<(), TokenFailure> {
    let id = session.session.generate_random_vec(16)?;
    let (mechanism, kind) = match algorithm.curve_der() {
        Some(curve) => (Mechanism::EccKeyPairGen, vec![Attribute::EcParams(curve)]),
        None => (
            Mechanism::RsaPkcsKeyPairGen,
            vec![
                Attribute::ModulusBits(3072.into()),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ],
        ),
    };
    let named = [
        Attribute::Token(true),
        Attribute::Label(object_label.to_vec()),
        Attribute::Id(id),
    ];
    let public = [
        named.as_slice(),
        &kind,
        &[Attribute::Private(false), Attribute::Verify(true)],
    ];
    let private = [
        named.as_slice(),
        &[
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ],
    ];
    session
        .session
        .generate_key_pair(&mechanism, &public.concat(), &private.concat())?;
    Ok(())
}

/// Refuses a key that can be taken out of the token.
fn stays_inside(
    session: &LoggedIn,
    label: &str,
    private: ObjectHandle,
) -> Result<(), TokenFailure> {
    let asked = [AttributeType::Sensitive, AttributeType::Extractable];
    let found = session.session.get_attributes(private, &asked)?;
    let stays = found.contains(&Attribute::Sensitive(true))
        && found.contains(&Attribute::Extractable(false));
    if stays {
        return Ok(());
    }
    let reason = "it can be taken out of the token: make one that is sensitive and not extractable";
    Err(unusable(label, reason))
}

/// Returns the public half as SubjectPublicKeyInfo.
fn public_key(session: &LoggedIn, public: ObjectHandle) -> Result<Option<Vec<u8>>, TokenFailure> {
    let kind = session
        .session
        .get_attributes(public, &[AttributeType::KeyType])?;
    if kind.contains(&Attribute::KeyType(KeyType::RSA)) {
        let asked = [AttributeType::Modulus, AttributeType::PublicExponent];
        let found = session.session.get_attributes(public, &asked)?;
        return Ok(rsa_public_key(&found));
    }
    let asked = [AttributeType::EcParams, AttributeType::EcPoint];
    let found = session.session.get_attributes(public, &asked)?;
    Ok(ec_public_key(&found))
}

fn ec_public_key(found: &[Attribute]) -> Option<Vec<u8>> {
    let [Attribute::EcParams(curve), Attribute::EcPoint(point)] = found else {
        return None;
    };
    let mut ecdsa = [KeyAlgorithm::P256, KeyAlgorithm::P384].into_iter();
    let algorithm = ecdsa.find(|one| one.curve_der().as_ref() == Some(curve))?;
    // An octet string by the standard; some modules give the point itself.
    let point = match <&OctetStringRef>::from_der(point) {
        Ok(inner) => inner.as_bytes(),
        Err(_) => point,
    };
    algorithm.public_key_info(point)
}

/// RSAPublicKey (RFC 8017 §A.1.1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

fn rsa_public_key(found: &[Attribute]) -> Option<Vec<u8>> {
    let [
        Attribute::Modulus(modulus),
        Attribute::PublicExponent(exponent),
    ] = found
    else {
        return None;
    };
    let key = RsaPublicKey {
        modulus: UintRef::new(modulus).ok()?,
        exponent: UintRef::new(exponent).ok()?,
    };
    KeyAlgorithm::Rsa3072.public_key_info(&key.to_der().ok()?)
}

fn unusable(label: &str, reason: &str) -> TokenFailure {
    TokenFailure::Unusable(CustodyError::Unusable {
        label: label.to_owned(),
        reason: reason.to_owned(),
    })
}
