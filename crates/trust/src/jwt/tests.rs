use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use proptest::prelude::*;
use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::encoding::base64url;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const ISSUER: &str = "https://token.ci.example";

/// Made once: an RSA key takes a while.
static SHARED: std::sync::LazyLock<Issuer> = std::sync::LazyLock::new(Issuer::new);

/// An issuer with a key of each kind, and another's key of the same name as its first.
struct Issuer {
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        Self {
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    fn document(&self) -> Value {
        let ec = |key: &EcdsaKeyPair, curve: &str, id: &str| {
            let point = &key.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            json!({"kty": "EC", "crv": curve, "kid": id, "x": base64url(x), "y": base64url(y)})
        };
        let (n, e) = self.rsa_components();
        let rsa = json!({"kty": "RSA", "kid": "rsa", "n": base64url(&n), "e": base64url(&e)});
        let other = json!({"kty": "oct", "kid": "hmac", "k": "AAAA"});
        let sealing = json!({"kty": "RSA", "use": "enc", "kid": "sealing", "n": "AA", "e": "AQAB"});
        json!({"keys": [ec(&self.p256, "P-256", "p256"), ec(&self.p384, "P-384", "p384"), rsa, other, sealing]})
    }

    /// Modulus and exponent.
    fn rsa_components(&self) -> (Vec<u8>, Vec<u8>) {
        #[derive(der::Sequence)]
        struct RsaPublicKey<'a> {
            n: der::asn1::UintRef<'a>,
            e: der::asn1::UintRef<'a>,
        }
        let key: RsaPublicKey<'_> = der::Decode::from_der(self.rsa.public_key().as_ref()).unwrap();
        (key.n.as_bytes().to_vec(), key.e.as_bytes().to_vec())
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(self.document().to_string().as_bytes()).unwrap()
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa
                .sign(padding, &random, message, &mut signature)
                .unwrap();
            signature
        };
        match algorithm {
            "ES256" => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            _ => Vec::new(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(
            &header.to_string(),
            &claims.to_string(),
            header["alg"].as_str().unwrap_or(""),
        )
    }

    fn token_of(&self, header: &str, claims: &str, algorithm: &str) -> String {
        let signed = format!(
            "{}.{}",
            base64url(header.as_bytes()),
            base64url(claims.as_bytes())
        );
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", base64url(&signature))
    }
}

fn header(algorithm: &str, kid: &str) -> Value {
    json!({"alg": algorithm, "kid": kid, "typ": "JWT"})
}

fn claims() -> Value {
    let now = NOW.unix_timestamp();
    json!({
        "iss": ISSUER, "sub": "repo:shop/web:ref:refs/heads/main", "aud": "countersign",
        "exp": now + 300, "iat": now - 5, "nbf": now - 5, "jti": "one",
        "repository": "shop/web", "run_number": 7, "protected": true, "list": [1],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn verify(token: &str, keys: &KeySet) -> Result<VerifiedToken, TokenRefused> {
    let expected = Expected {
        issuer: ISSUER,
        audience: "countersign",
        now: NOW,
    };
    UnverifiedToken::parse(token)?.verify(keys, expected)
}

fn code(token: &str, keys: &KeySet) -> &'static str {
    match verify(token, keys) {
        Ok(_) => "ok",
        Err(refused) => refused.code(),
    }
}

#[test]
fn all_four_algorithms_verify_with_their_keys_and_no_other() {
    let issuer = &*SHARED;
    let keys = issuer.keys();
    for algorithm in ["ES256", "ES384", "RS256", "PS256"] {
        for kid in ["p256", "p384", "rsa"] {
            let fits = match algorithm {
                "ES256" => kid == "p256",
                "ES384" => kid == "p384",
                _ => kid == "rsa",
            };
            let expected = if fits {
                "ok"
            } else {
                "token-algorithm-refused"
            };
            let token = issuer.token(&header(algorithm, kid), &claims());
            assert_eq!(code(&token, &keys), expected, "{algorithm} {kid}");
        }
    }
}

#[test]
fn a_key_that_names_its_algorithm_is_used_with_that_alone() {
    let issuer = &*SHARED;
    let mut document = issuer.document();
    document["keys"][2]["alg"] = json!("RS256");
    let keys = KeySet::parse(document.to_string().as_bytes()).unwrap();
    let token = |algorithm| issuer.token(&header(algorithm, "rsa"), &claims());
    assert_eq!(code(&token("RS256"), &keys), "ok");
    assert_eq!(code(&token("PS256"), &keys), "token-algorithm-refused");
}

#[test]
fn each_check_refuses_by_itself() {
    let issuer = &*SHARED;
    let keys = issuer.keys();
    let now = NOW.unix_timestamp();
    let good = header("ES256", "p256");
    for (claims, expected) in [
        (claims(), "ok"),
        (
            with("iss", json!("https://token.ci.example/")),
            "token-issuer-mismatch",
        ),
        (with("aud", json!("other")), "token-audience-mismatch"),
        (with("aud", json!(["other", "countersign"])), "ok"),
        (with("aud", json!([])), "token-audience-mismatch"),
        (with("aud", json!([7])), "token-malformed"),
        (without("aud"), "token-malformed"),
        (with("exp", json!(now - 59)), "ok"),
        (with("exp", json!(now - 60)), "token-expired"),
        (with("exp", json!(now - 300)), "token-expired"),
        (without("exp"), "token-malformed"),
        (with("exp", json!("never")), "token-malformed"),
        (with("exp", json!(-1)), "token-malformed"),
        (with("exp", json!(1e30)), "token-malformed"),
        (with("exp", json!(now as f64 + 300.5)), "ok"),
        (with("exp", json!(now + 86_401)), "token-lives-too-long"),
        (with("iat", json!(now + 60)), "ok"),
        (with("iat", json!(now + 61)), "token-not-yet-valid"),
        (without("iat"), "token-malformed"),
        (with("nbf", json!(now + 61)), "token-not-yet-valid"),
        (without("nbf"), "ok"),
        (without("sub"), "token-malformed"),
        (with("sub", json!("")), "token-malformed"),
        (with("sub", json!("a\nb")), "token-malformed"),
        (
            with("sub", json!("x".repeat(MAX_SUBJECT_BYTES + 1))),
            "token-malformed",
        ),
        (without("jti"), "ok"),
        (with("jti", json!(7)), "token-malformed"),
    ] {
        let token = issuer.token(&good, &claims);
        assert_eq!(code(&token, &keys), expected, "{claims}");
    }
}

#[test]
fn headers_that_could_mislead_are_refused() {
    let issuer = &*SHARED;
    let keys = issuer.keys();
    for (header, expected) in [
        (
            json!({"alg": "none", "kid": "p256"}),
            "token-algorithm-refused",
        ),
        (
            json!({"alg": "None", "kid": "p256"}),
            "token-algorithm-refused",
        ),
        (
            json!({"alg": "HS256", "kid": "rsa"}),
            "token-algorithm-refused",
        ),
        (
            json!({"alg": "HS256", "kid": "hmac"}),
            "token-algorithm-refused",
        ),
        (
            json!({"alg": "ES512", "kid": "p256"}),
            "token-algorithm-refused",
        ),
        (json!({"kid": "p256"}), "token-malformed"),
        (json!({"alg": "ES256"}), "token-key-unknown"),
        (json!({"alg": "ES256", "kid": ""}), "token-malformed"),
        (
            json!({"alg": "ES256", "kid": "nobody"}),
            "token-key-unknown",
        ),
        (
            json!({"alg": "RS256", "kid": "sealing"}),
            "token-key-unknown",
        ),
        (
            json!({"alg": "ES256", "kid": "p256", "crit": ["b64"], "b64": false}),
            "token-malformed",
        ),
        (
            json!({"alg": "ES256", "kid": "p256", "typ": "dpop+jwt"}),
            "token-malformed",
        ),
        (
            json!({"alg": "ES256", "kid": "p256", "typ": 1}),
            "token-malformed",
        ),
    ] {
        let token = issuer.token(&header, &claims());
        assert_eq!(code(&token, &keys), expected, "{header}");
    }
    let twice = issuer.token_of(
        r#"{"alg":"ES256","kid":"p256","alg":"none"}"#,
        &claims().to_string(),
        "ES256",
    );
    assert_eq!(code(&twice, &keys), "token-malformed");
    let twice = claims()
        .to_string()
        .replacen('{', r#"{"sub":"repo:evil","#, 1);
    let twice = issuer.token_of(&header("ES256", "p256").to_string(), &twice, "ES256");
    assert_eq!(code(&twice, &keys), "token-malformed");
}

/// The classic: the public key, which everybody has, taken for the secret of an HMAC.
#[test]
fn a_public_key_is_never_a_secret() {
    use aws_lc_rs::hmac;
    let issuer = &*SHARED;
    let (modulus, _) = issuer.rsa_components();
    let der = issuer.rsa.public_key().as_ref().to_vec();
    let point = issuer.p256.public_key().as_ref().to_vec();
    for secret in [modulus, der, point] {
        let signed = format!(
            "{}.{}",
            base64url(json!({"alg": "HS256", "kid": "rsa"}).to_string().as_bytes()),
            base64url(claims().to_string().as_bytes())
        );
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &secret),
            signed.as_bytes(),
        );
        let token = format!("{signed}.{}", base64url(tag.as_ref()));
        assert_eq!(code(&token, &issuer.keys()), "token-algorithm-refused");
        // And under the name of another algorithm it is no signature.
        let signed = format!(
            "{}.{}",
            base64url(header("RS256", "rsa").to_string().as_bytes()),
            base64url(claims().to_string().as_bytes())
        );
        let token = format!("{signed}.{}", base64url(tag.as_ref()));
        assert_eq!(code(&token, &issuer.keys()), "token-signature-invalid");
    }
}

#[test]
fn another_issuers_key_of_the_same_name_does_not_verify() {
    let (issuer, other) = (&*SHARED, Issuer::new());
    for (algorithm, kid) in [
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("RS256", "rsa"),
        ("PS256", "rsa"),
    ] {
        let token = other.token(&header(algorithm, kid), &claims());
        assert_eq!(code(&token, &issuer.keys()), "token-signature-invalid");
    }
}

#[test]
fn a_replay_is_known_whatever_its_signature() {
    let issuer = &*SHARED;
    let keys = issuer.keys();
    let id = |claims: &Value| {
        let token = issuer.token(&header("ES256", "p256"), claims);
        verify(&token, &keys).unwrap().replay_id().to_owned()
    };
    // Two signatures over the same bytes differ; the id does not.
    assert_eq!(id(&without("jti")), id(&without("jti")));
    assert_eq!(id(&claims()), id(&with("nbf", json!(1))));
    assert_ne!(id(&claims()), id(&with("jti", json!("two"))));
}

#[test]
fn claims_are_kept_as_texts() {
    let issuer = &*SHARED;
    let token = issuer.token(&header("ES256", "p256"), &claims());
    let verified = verify(&token, &issuer.keys()).unwrap();
    let names = ["repository", "run_number", "protected", "list", "none"];
    let kept = verified.claims().selected(names.into_iter());
    let expected = [
        ("protected", "true"),
        ("repository", "shop/web"),
        ("run_number", "7"),
    ];
    assert!(
        kept.iter()
            .map(|(name, text)| (&**name, &**text))
            .eq(expected)
    );
}

#[test]
fn sets_of_keys_are_bounded_and_unambiguous() {
    let issuer = &*SHARED;
    let document = issuer.document();
    let one = document["keys"][0].clone();
    let check = |value: Value| {
        KeySet::parse(value.to_string().as_bytes())
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(check(json!([])), KeySetError::Shape);
    assert_eq!(check(json!({"keys": []})), KeySetError::NoKey);
    assert_eq!(
        check(json!({"keys": [{"kty": "oct", "kid": "a", "k": "AA"}]})),
        KeySetError::NoKey
    );
    assert_eq!(
        check(json!({"keys": vec![one.clone(); MAX_KEYS + 1]})),
        KeySetError::TooMany(65)
    );
    assert_eq!(
        check(json!({"keys": [one.clone(), one.clone()]})),
        KeySetError::Twice("p256".to_owned())
    );
    let mut short = one;
    short["x"] = json!("AAAA");
    assert_eq!(check(json!({"keys": [short]})), KeySetError::NoKey);
    let long = vec![b' '; MAX_KEY_SET_BYTES + 1];
    assert_eq!(
        KeySet::parse(&long).unwrap_err(),
        KeySetError::TooLong(long.len())
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,300}") {
        prop_assert!(UnverifiedToken::parse(&text).is_err());
    }

    #[test]
    fn no_document_makes_it_panic(header in "\\PC{0,100}", claims in "\\PC{0,100}", signature in proptest::collection::vec(any::<u8>(), 0..80)) {
        let token = format!("{}.{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()), base64url(&signature));
        prop_assert!(UnverifiedToken::parse(&token).is_err());
        let _ = KeySet::parse(claims.as_bytes());
    }

    /// Whatever is changed in a good token, it is refused.
    #[test]
    fn a_changed_byte_is_noticed(place in 0usize..10_000, flip in 1u8..=255) {
        let issuer = &*SHARED;
        let token = issuer.token(&header("ES256", "p256"), &claims());
        let mut bytes = token.into_bytes();
        let place = place % bytes.len();
        bytes[place] ^= flip;
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert!(verify(&changed, &issuer.keys()).is_err());
    }
}
