//! Reads a Notary JWS that anybody may have written, and verifies its signature.
//!
//! Stricter than the reference implementation on purpose (R026): what could be read in two ways is
//! refused, so that no two verifiers can be made to see different things.

use std::collections::BTreeMap;

use oci::{Digest, MediaType};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::aws::{self, AwsAttributes};
use super::{MAX_ENVELOPE_BYTES, header};
use crate::chain::CertificateChain;
use crate::encoding::{from_base64, from_base64url, from_rfc3339};
use crate::outcome::{FailureCode, Refusal};
use crate::{SignatureAlgorithm, SigningScheme, TargetArtifact, json};

/// Header parameters that RFC 7515 and RFC 7797 register, which `crit` must not name (R021).
const REGISTERED: &[&str] = &[
    "alg", "jku", "jwk", "kid", "x5u", "x5c", "x5t", "x5t#S256", "typ", "cty", "crit",
];
/// Members of the protected header that we understand.
const UNDERSTOOD: &[&str] = &[
    "alg",
    "cty",
    "crit",
    header::SIGNING_SCHEME,
    header::SIGNING_TIME,
    header::AUTHENTIC_SIGNING_TIME,
    header::EXPIRY,
    header::VERIFICATION_PLUGIN,
    header::PLUGIN_MIN_VERSION,
];

/// An envelope that could be read. Nobody may look at its payload yet.
#[derive(Clone, Debug)]
pub struct ParsedEnvelope {
    attributes: SignedAttributes,
    chain: CertificateChain,
    agent: Option<String>,
    has_timestamp: bool,
    payload: Vec<u8>,
    signing_input: Vec<u8>,
    signature: Vec<u8>,
}

/// The signed attributes of an envelope (R006–R012). Before verification they are claims.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedAttributes {
    /// The algorithm that the header names.
    pub algorithm: SignatureAlgorithm,
    /// The signing scheme.
    pub scheme: SigningScheme,
    /// The signing time, authentic or not, depending on the scheme.
    #[serde(with = "time::serde::rfc3339")]
    pub signing_time: OffsetDateTime,
    /// From when on the signature is no longer to be trusted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expiry: Option<OffsetDateTime>,
    /// The plugin that a verifier must ask.
    pub verification_plugin: Option<String>,
    /// The attributes that a verifier must understand.
    pub critical: Vec<String>,
    /// Attributes that the specification does not know.
    pub extended: BTreeMap<String, Value>,
}

/// An envelope whose signature holds under the key of its leaf certificate. Whether that leaf is
/// trusted is another question.
#[derive(Clone, Debug)]
pub struct VerifiedEnvelope {
    attributes: SignedAttributes,
    aws: Option<AwsAttributes>,
    chain: CertificateChain,
    has_timestamp: bool,
    target: TargetArtifact,
    signed_sha256: String,
}

impl VerifiedEnvelope {
    /// Returns the signed attributes.
    pub fn attributes(&self) -> &SignedAttributes {
        &self.attributes
    }

    /// Returns what the AWS Signer dialect adds, if the envelope is of it.
    pub fn aws(&self) -> Option<&AwsAttributes> {
        self.aws.as_ref()
    }

    /// Returns the certificate chain.
    pub fn chain(&self) -> &CertificateChain {
        &self.chain
    }

    /// Returns whether a timestamp token is there.
    pub fn has_timestamp(&self) -> bool {
        self.has_timestamp
    }

    /// Returns SHA-256 of the bytes that were signed, in hexadecimal.
    pub fn signed_sha256(&self) -> &str {
        &self.signed_sha256
    }

    /// Returns what was signed.
    pub fn target(&self) -> &TargetArtifact {
        &self.target
    }
}

impl ParsedEnvelope {
    /// Reads an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            let size = bytes.len();
            return Err(malformed(format!(
                "it has {size} bytes, more than {MAX_ENVELOPE_BYTES}"
            )));
        }
        let top = object(bytes, "the envelope")?;
        let known = ["payload", "protected", "header", "signature"];
        if let Some(other) = top.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(malformed(format!("member `{}` is not allowed", cut(other))));
        }
        let protected_text = text(&top, "protected")?;
        let payload_text = text(&top, "payload")?;
        let protected = object(&base64url(protected_text, "protected")?, "`protected`")?;
        let unprotected = match top.get("header") {
            Some(Value::Object(members)) => members,
            _ => return Err(malformed("member `header` is not an object")),
        };
        check_disjoint(&protected, unprotected)?;
        Ok(Self {
            attributes: SignedAttributes::read(&protected)?,
            chain: chain(unprotected)?,
            agent: optional_text(unprotected, header::SIGNING_AGENT)?,
            has_timestamp: optional_text(unprotected, header::TIMESTAMP_SIGNATURE)?.is_some(),
            payload: base64url(payload_text, "payload")?,
            signing_input: format!("{protected_text}.{payload_text}").into_bytes(),
            signature: base64url(text(&top, "signature")?, "signature")?,
        })
    }

    /// Returns the signed attributes, which are only claims yet.
    pub fn claimed_attributes(&self) -> &SignedAttributes {
        &self.attributes
    }

    /// Returns the certificate chain that the envelope carries.
    pub fn chain(&self) -> &CertificateChain {
        &self.chain
    }

    /// Returns what says that it made the signature. Nobody vouches for it.
    pub fn claimed_agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// Returns the target that the payload claims, for showing only.
    pub(crate) fn claimed_target(&self) -> Option<TargetArtifact> {
        TargetArtifact::parse(&self.payload).ok()
    }

    /// Verifies the signature with the key of the leaf, and only then reads the payload (R005,
    /// R071). Everything critical must be understood (R011, R013).
    pub fn verify(self) -> Result<VerifiedEnvelope, Refusal> {
        let aws = self.attributes.check_understood()?;
        let key = self.chain.leaf().public_key();
        if key.algorithm() != Some(self.attributes.algorithm) {
            let problem = format!(
                "the header names {}, which is not the algorithm of the leaf's key, {}",
                self.attributes.algorithm,
                key.name()
            );
            return Err(Refusal::new(FailureCode::SignatureInvalid, problem));
        }
        if !key.verify_envelope(&self.signing_input, &self.signature) {
            let problem = format!(
                "the signature was not made over this content with the key of `{}`",
                self.chain.leaf().subject()
            );
            return Err(Refusal::new(FailureCode::SignatureInvalid, problem));
        }
        if let Some(aws) = &aws {
            aws.check_leaf(self.chain.leaf())?;
        }
        let target = TargetArtifact::parse(&self.payload).map_err(|e| malformed(e.to_string()))?;
        Ok(VerifiedEnvelope {
            attributes: self.attributes,
            aws,
            chain: self.chain,
            has_timestamp: self.has_timestamp,
            target,
            signed_sha256: Digest::sha256(&self.signing_input).hex().to_owned(),
        })
    }
}

impl SignedAttributes {
    fn read(protected: &Map<String, Value>) -> Result<Self, Refusal> {
        if let Some(name) = json::case_variant(protected, UNDERSTOOD) {
            let name = cut(name);
            return Err(malformed(format!(
                "`{name}` differs from a known member only in case"
            )));
        }
        let content_type = text(protected, "cty")?;
        if content_type != MediaType::NOTARY_PAYLOAD.as_str() {
            let problem = format!("content type `{}` is not supported", cut(content_type));
            return Err(unsupported(problem));
        }
        let algorithm = text(protected, "alg")?;
        let algorithm = SignatureAlgorithm::from_name(algorithm).ok_or_else(|| {
            unsupported(format!(
                "signature algorithm `{}` is not supported",
                cut(algorithm)
            ))
        })?;
        let scheme = text(protected, header::SIGNING_SCHEME)?;
        let scheme = SigningScheme::from_name(scheme).ok_or_else(|| {
            unsupported(format!("signing scheme `{}` is not supported", cut(scheme)))
        })?;
        let attributes = Self {
            algorithm,
            scheme,
            signing_time: signing_time(protected, scheme)?,
            expiry: optional_time(protected, header::EXPIRY)?,
            verification_plugin: optional_text(protected, header::VERIFICATION_PLUGIN)?,
            critical: critical(protected)?,
            extended: extended(protected),
        };
        attributes.check_critical()?;
        Ok(attributes)
    }

    /// Checks that what must be marked critical is (R021).
    fn check_critical(&self) -> Result<(), Refusal> {
        let authority = self.scheme == SigningScheme::SigningAuthority;
        let required = [
            (header::SIGNING_SCHEME, true),
            (header::AUTHENTIC_SIGNING_TIME, authority),
            (header::EXPIRY, self.expiry.is_some()),
            (
                header::VERIFICATION_PLUGIN,
                self.verification_plugin.is_some(),
            ),
        ];
        let lacks = |name: &str| !self.critical.iter().any(|one| one == name);
        match required
            .iter()
            .find(|(name, needed)| *needed && lacks(name))
        {
            Some((name, _)) => Err(malformed(format!("`crit` does not name `{name}`"))),
            None => Ok(()),
        }
    }

    /// Refuses what a verifier must understand and we do not. Of plugins, we do what AWS Signer's
    /// does, and only then are its attributes understood.
    fn check_understood(&self) -> Result<Option<AwsAttributes>, Refusal> {
        let aws = AwsAttributes::read(self).transpose()?;
        let also: &[&str] = match (&self.verification_plugin, &aws) {
            (Some(_), Some(_)) => &[aws::PROFILE_VERSION, aws::JOB],
            (None, _) => &[],
            (Some(plugin), None) => {
                return Err(unsupported(format!(
                    "it asks for the verification plugin `{}`, and plugins are not supported",
                    cut(plugin)
                )));
            }
        };
        let mut critical = self.critical.iter().map(String::as_str);
        match critical.find(|name| !UNDERSTOOD.contains(name) && !also.contains(name)) {
            Some(name) => Err(Refusal::new(
                FailureCode::CriticalAttributeUnknown,
                format!("the critical attribute `{}` is not understood", cut(name)),
            )),
            None => Ok(aws),
        }
    }
}

/// Returns the signing time: each scheme has its own member and must not have the other's (R007,
/// R008).
fn signing_time(
    protected: &Map<String, Value>,
    scheme: SigningScheme,
) -> Result<OffsetDateTime, Refusal> {
    let (wanted, other) = match scheme {
        SigningScheme::X509 => (header::SIGNING_TIME, header::AUTHENTIC_SIGNING_TIME),
        SigningScheme::SigningAuthority => (header::AUTHENTIC_SIGNING_TIME, header::SIGNING_TIME),
    };
    if protected.contains_key(other) {
        let problem = format!("`{other}` is not allowed in signing scheme `{scheme}`");
        return Err(malformed(problem));
    }
    optional_time(protected, wanted)?
        .ok_or_else(|| malformed(format!("`{wanted}` is missing, which `{scheme}` needs")))
}

fn critical(protected: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let wrong = || malformed("`crit` is not a list of different names of signed attributes");
    let Some(Value::Array(items)) = protected.get("crit") else {
        return Err(wrong());
    };
    let mut names: Vec<String> = Vec::new();
    for item in items {
        let name = item.as_str().ok_or_else(wrong)?;
        if !protected.contains_key(name) || names.iter().any(|one| one == name) {
            return Err(wrong());
        }
        if REGISTERED.contains(&name) {
            return Err(malformed(format!(
                "`crit` names the registered member `{name}`"
            )));
        }
        names.push(name.to_owned());
    }
    match names.is_empty() {
        true => Err(wrong()),
        false => Ok(names),
    }
}

fn extended(protected: &Map<String, Value>) -> BTreeMap<String, Value> {
    let others = protected
        .iter()
        .filter(|(name, _)| !UNDERSTOOD.contains(&name.as_str()));
    others
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn chain(unprotected: &Map<String, Value>) -> Result<CertificateChain, Refusal> {
    const KNOWN: &[&str] = &["x5c", header::SIGNING_AGENT, header::TIMESTAMP_SIGNATURE];
    if let Some(name) = json::case_variant(unprotected, KNOWN) {
        let name = cut(name);
        return Err(malformed(format!(
            "`{name}` differs from a known member only in case"
        )));
    }
    let Some(Value::Array(items)) = unprotected.get("x5c") else {
        return Err(malformed("`header.x5c` is not a list of certificates"));
    };
    let ders = items.iter().map(|item| item.as_str().and_then(from_base64));
    let ders: Option<Vec<_>> = ders.collect();
    let ders = ders.ok_or_else(|| malformed("`header.x5c` is not in standard base64"))?;
    CertificateChain::from_ders(&ders).map_err(|error| malformed(format!("`header.x5c`: {error}")))
}

/// RFC 7515 §4: the protected and the unprotected header must not share a name.
fn check_disjoint(
    protected: &Map<String, Value>,
    unprotected: &Map<String, Value>,
) -> Result<(), Refusal> {
    match unprotected
        .keys()
        .find(|name| protected.contains_key(*name))
    {
        Some(name) => {
            let name = cut(name);
            Err(malformed(format!(
                "`{name}` is both in `protected` and in `header`"
            )))
        }
        None => Ok(()),
    }
}

fn object(bytes: &[u8], what: &str) -> Result<Map<String, Value>, Refusal> {
    match json::from_slice::<Value>(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(malformed(format!("{what} is not a JSON object"))),
        Err(error) => Err(malformed(format!(
            "{what} is not JSON as it should be: {error}"
        ))),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match members.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(malformed(format!("member `{name}` is not a text"))),
        None => Err(malformed(format!("member `{name}` is missing"))),
    }
}

fn optional_text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match members.contains_key(name) {
        true => text(members, name).map(|text| Some(text.to_owned())),
        false => Ok(None),
    }
}

fn optional_time(
    members: &Map<String, Value>,
    name: &str,
) -> Result<Option<OffsetDateTime>, Refusal> {
    let Some(text) = optional_text(members, name)? else {
        return Ok(None);
    };
    let wrong = || {
        let shown = cut(&text);
        malformed(format!(
            "`{name}` is `{shown}`, not a time in RFC 3339 in whole seconds"
        ))
    };
    from_rfc3339(&text).map(Some).ok_or_else(wrong)
}

fn base64url(text: &str, name: &str) -> Result<Vec<u8>, Refusal> {
    from_base64url(text)
        .ok_or_else(|| malformed(format!("member `{name}` is not in unpadded base64url")))
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(FailureCode::EnvelopeMalformed, reason)
}

fn unsupported(reason: impl Into<String>) -> Refusal {
    Refusal::new(FailureCode::EnvelopeUnsupported, reason)
}

/// Cuts a text of somebody else's to a length that a message can hold.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
