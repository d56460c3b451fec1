//! Tokens of OpenID Connect issuers, verified: JSON Web Tokens (RFC 7519) in compact JWS (RFC
//! 7515), with keys from a JSON Web Key Set (RFC 7517), after the best practices of RFC 8725.
//!
//! The algorithms are an allow-list of four; `none` and the HMACs, under which a public key would
//! be taken for a secret, do not exist here. A key is found by `kid` in the issuer's own set and
//! in nothing that the token carries. Fetching the set, and remembering which tokens were used,
//! is left to the caller: this takes bytes and the time.

mod claims;
mod keys;

use aws_lc_rs::signature::UnparsedPublicKey;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

pub use claims::{Claims, MAX_CLAIM_BYTES, MAX_SUBJECT_BYTES};
pub use keys::{KeySet, KeySetError, MAX_KEY_SET_BYTES, MAX_KEYS, TokenAlgorithm};

use crate::encoding::from_base64url;

/// The longest token, in bytes: those of CI systems have two thousand.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How far two clocks may differ.
pub const CLOCK_SKEW: Duration = Duration::minutes(1);
/// The longest life of a token: that of a long job of a CI system.
pub const MAX_TOKEN_LIFE: Duration = Duration::DAY;

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer, exactly.
    pub issuer: &'a str,
    /// The audience that must be among those of the token.
    pub audience: &'a str,
    /// The time.
    pub now: OffsetDateTime,
}

/// Says why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefused {
    /// It cannot be read, or could be read in two ways.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Its algorithm is not one of ours.
    #[error("the token's algorithm `{0}` is not accepted: only RS256, PS256, ES256 and ES384 are")]
    Algorithm(String),
    /// It names no key.
    #[error("the token names no key: it has no `kid`")]
    NoKeyId,
    /// The issuer has no such key.
    #[error("the issuer has no key `{0}`")]
    UnknownKey(String),
    /// The key is not for this algorithm.
    #[error("key `{key}` of the issuer is not for {algorithm}")]
    KeyMismatch {
        /// The key.
        key: String,
        /// The algorithm of the token.
        algorithm: &'static str,
    },
    /// The signature is not by that key over these bytes.
    #[error("the token's signature does not verify under key `{0}` of the issuer")]
    Signature(String),
    /// It is from another issuer.
    #[error("the token is from issuer `{found}`, not `{expected}`")]
    Issuer {
        /// What it says.
        found: String,
        /// What it must say.
        expected: String,
    },
    /// It is for somebody else.
    #[error("the token is for {found}, not for audience `{expected}`")]
    Audience {
        /// What it says.
        found: String,
        /// What it must say.
        expected: String,
    },
    /// It is over.
    #[error("the token expired at {}", crate::encoding::rfc3339(*.0))]
    Expired(OffsetDateTime),
    /// It is from the future.
    #[error("the token is not valid before {}: compare the clocks", crate::encoding::rfc3339(*.0))]
    NotYet(OffsetDateTime),
    /// It lives too long to be a token of one job.
    #[error("the token lives longer than a day")]
    TooLong,
}

impl TokenRefused {
    /// Returns a stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "token-malformed",
            Self::Algorithm(_) | Self::KeyMismatch { .. } => "token-algorithm-refused",
            Self::NoKeyId | Self::UnknownKey(_) => "token-key-unknown",
            Self::Signature(_) => "token-signature-invalid",
            Self::Issuer { .. } => "token-issuer-mismatch",
            Self::Audience { .. } => "token-audience-mismatch",
            Self::Expired(_) => "token-expired",
            Self::NotYet(_) => "token-not-yet-valid",
            Self::TooLong => "token-lives-too-long",
        }
    }
}

/// A token that was taken apart, and is not verified.
#[derive(Debug)]
pub struct UnverifiedToken<'a> {
    algorithm: TokenAlgorithm,
    key_id: String,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Claims,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is not a compact JWS with an algorithm of ours and the claims that count.
    pub fn parse(token: &'a str) -> Result<Self, TokenRefused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefused::Malformed("it is longer than 16 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenRefused::Malformed(
                "it is not three parts with dots between",
            ));
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let (algorithm, key_id) = read_header(&decoded(header)?)?;
        Ok(Self {
            algorithm,
            key_id,
            signed,
            signature: decoded(signature)?,
            claims: Claims::parse(&decoded(payload)?)?,
        })
    }

    /// Returns the issuer that it claims to be from: good for finding that issuer's keys, and for
    /// nothing else.
    pub fn claimed_issuer(&self) -> &str {
        &self.claims.issuer
    }

    /// Returns the key that it claims to be signed with.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Verifies signature, issuer, audience and times, in this order.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(
        self,
        keys: &KeySet,
        expected: Expected<'_>,
    ) -> Result<VerifiedToken, TokenRefused> {
        let key = keys.find(&self.key_id)?;
        let key = key
            .of(self.algorithm)
            .ok_or_else(|| TokenRefused::KeyMismatch {
                key: self.key_id.clone(),
                algorithm: self.algorithm.name(),
            })?;
        key.verify(self.signed.as_bytes(), &self.signature)
            .map_err(|()| TokenRefused::Signature(self.key_id.clone()))?;
        self.claims.check(expected)?;
        Ok(VerifiedToken {
            replay_id: replay_id(&self.claims, self.signed),
            claims: self.claims,
        })
    }
}

/// A token that an issuer signed, for us, for now.
#[derive(Debug)]
pub struct VerifiedToken {
    claims: Claims,
    replay_id: String,
}

impl VerifiedToken {
    /// Returns what it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns what no other token of any issuer has: a token whose id was seen is a replay.
    pub fn replay_id(&self) -> &str {
        &self.replay_id
    }

    /// Returns until when the id must be remembered.
    pub fn remember_until(&self) -> OffsetDateTime {
        self.claims.expires + CLOCK_SKEW
    }
}

/// By `jti`, or by the signed bytes where there is none. Never by the signature's bytes: to a
/// signature with ECDSA whoever sees it can make a second.
fn replay_id(claims: &Claims, signed: &str) -> String {
    let text = match &claims.id {
        Some(id) => format!("{}\n{id}", claims.issuer),
        None => signed.to_owned(),
    };
    oci::Digest::sha256(text.as_bytes()).hex().to_owned()
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenRefused> {
    from_base64url(part).ok_or(TokenRefused::Malformed("a part is not base64url"))
}

fn read_header(bytes: &[u8]) -> Result<(TokenAlgorithm, String), TokenRefused> {
    let members = object(bytes)?;
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let is_jwt =
        |kind: &str| kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt");
    if members.contains_key("typ") && !text("typ").is_some_and(is_jwt) {
        return Err(TokenRefused::Malformed("its `typ` is not `JWT`"));
    }
    // RFC 7515 §4.1.11: what is critical and not understood must be refused.
    if members.contains_key("crit") {
        return Err(TokenRefused::Malformed("it has critical extensions"));
    }
    let name = text("alg").ok_or(TokenRefused::Malformed("it has no `alg`"))?;
    let algorithm = TokenAlgorithm::parse(name)
        .ok_or_else(|| TokenRefused::Algorithm(name.chars().take(20).collect()))?;
    match text("kid") {
        Some(kid) if (1..=256).contains(&kid.len()) => Ok((algorithm, kid.to_owned())),
        Some(_) => Err(TokenRefused::Malformed(
            "its `kid` is empty or longer than 256 bytes",
        )),
        None => Err(TokenRefused::NoKeyId),
    }
}

fn object(bytes: &[u8]) -> Result<serde_json::Map<String, Value>, TokenRefused> {
    let malformed = TokenRefused::Malformed("a part is not a JSON object, or has a member twice");
    match crate::json::from_slice(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(malformed),
    }
}

/// A key with the algorithm that it is used with.
struct ReadyKey<'a> {
    key: &'a keys::Material,
    algorithm: TokenAlgorithm,
}

impl ReadyKey<'_> {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), ()> {
        let verified = match self.key {
            keys::Material::Rsa(components) => {
                components.verify(self.algorithm.of_rsa(), message, signature)
            }
            keys::Material::Ec { point, .. } => {
                UnparsedPublicKey::new(self.algorithm.of_ec(), point).verify(message, signature)
            }
        };
        verified.map_err(|_| ())
    }
}

#[cfg(test)]
mod tests;
