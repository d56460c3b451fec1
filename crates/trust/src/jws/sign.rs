//! Lays out a Notary JWS: the signing input first, the whole envelope once it is signed.

use oci::MediaType;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::aws::{self, AwsAttributes};
use super::header;
use crate::encoding::{base64, base64url, rfc3339, whole_seconds};
use crate::target::{MAX_PAYLOAD_BYTES, RESERVED_ANNOTATION_PREFIX};
use crate::{SignatureAlgorithm, SigningScheme, TargetArtifact};

/// Everything that goes into an envelope, but the signature.
#[derive(Clone, Debug)]
pub struct EnvelopeRequest {
    /// What is signed.
    pub target: TargetArtifact,
    /// How trust in the signing time is established.
    pub scheme: SigningScheme,
    /// The algorithm; it must be that of the leaf's key.
    pub algorithm: SignatureAlgorithm,
    /// When this is signed; cut to the second.
    pub signing_time: OffsetDateTime,
    /// From when on the signature is no longer to be trusted; cut to the second.
    pub expiry: Option<OffsetDateTime>,
    /// The certificates in DER, from the leaf to the root.
    pub chain: Vec<Vec<u8>>,
    /// What made the signature, such as `countersign/0.1.0`. Informative only.
    pub agent: Option<String>,
    /// What the AWS Signer dialect adds; nothing in ours.
    pub aws: Option<AwsAttributes>,
}

/// An envelope that lacks only its signature.
#[derive(Clone, Debug)]
pub struct UnsignedEnvelope {
    protected: String,
    payload: String,
    signing_input: Vec<u8>,
    header: UnprotectedHeader,
}

/// Says why an envelope cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeRequestError {
    /// No certificate was given.
    #[error("an envelope needs its certificate chain, from the leaf to the root")]
    NoChain,
    /// The expiry is not after the signing time.
    #[error("the expiry `{expiry}` is not after the signing time `{signing_time}`")]
    ExpiryBeforeSigning {
        /// The signing time.
        signing_time: String,
        /// The expiry.
        expiry: String,
    },
    /// A user's annotation uses the prefix that is kept for Notary (R004).
    #[error("annotation `{0}` uses the reserved prefix `{RESERVED_ANNOTATION_PREFIX}`")]
    ReservedAnnotation(String),
    /// The payload would be longer than [`MAX_PAYLOAD_BYTES`].
    #[error("the payload has {0} bytes, more than {MAX_PAYLOAD_BYTES}: use less metadata")]
    PayloadTooLarge(usize),
}

#[derive(Clone, Debug, Serialize)]
struct UnprotectedHeader {
    x5c: Vec<String>,
    #[serde(
        rename = "io.cncf.notary.signingAgent",
        skip_serializing_if = "Option::is_none"
    )]
    signing_agent: Option<String>,
}

#[derive(Serialize)]
struct Flattened<'a> {
    payload: &'a str,
    protected: &'a str,
    header: &'a UnprotectedHeader,
    signature: String,
}

impl UnsignedEnvelope {
    /// Lays out the envelope that `request` describes.
    pub fn new(request: EnvelopeRequest) -> Result<Self, EnvelopeRequestError> {
        check(&request)?;
        let payload = request.target.to_payload();
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(EnvelopeRequestError::PayloadTooLarge(payload.len()));
        }
        let protected = base64url(protected_header(&request).to_string().as_bytes());
        let payload = base64url(&payload);
        Ok(Self {
            signing_input: format!("{protected}.{payload}").into_bytes(),
            protected,
            payload,
            header: UnprotectedHeader {
                x5c: request.chain.iter().map(|der| base64(der)).collect(),
                signing_agent: request.agent,
            },
        })
    }

    /// Returns the bytes to sign (RFC 7515 §5.1): the signer hashes them, nobody else does.
    pub fn signing_input(&self) -> &[u8] {
        &self.signing_input
    }

    /// Returns the whole envelope. An ECDSA signature is given as `r ‖ s` in fixed width, not in
    /// DER (RFC 7518 §3.4).
    pub fn assemble(&self, signature: &[u8]) -> Vec<u8> {
        let envelope = Flattened {
            payload: &self.payload,
            protected: &self.protected,
            header: &self.header,
            signature: base64url(signature),
        };
        // A struct of strings always serialises.
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

fn check(request: &EnvelopeRequest) -> Result<(), EnvelopeRequestError> {
    if request.chain.is_empty() {
        return Err(EnvelopeRequestError::NoChain);
    }
    let signing_time = whole_seconds(request.signing_time);
    if let Some(expiry) = request.expiry.map(whole_seconds)
        && expiry <= signing_time
    {
        return Err(EnvelopeRequestError::ExpiryBeforeSigning {
            signing_time: rfc3339(signing_time),
            expiry: rfc3339(expiry),
        });
    }
    let reserved = |name: &&String| name.starts_with(RESERVED_ANNOTATION_PREFIX);
    match request.target.annotations.keys().find(reserved) {
        Some(name) => Err(EnvelopeRequestError::ReservedAnnotation(name.clone())),
        None => Ok(()),
    }
}

fn protected_header(request: &EnvelopeRequest) -> Value {
    let time_name = match request.scheme {
        SigningScheme::X509 => header::SIGNING_TIME,
        SigningScheme::SigningAuthority => header::AUTHENTIC_SIGNING_TIME,
    };
    let mut members = Map::new();
    let mut critical = vec![header::SIGNING_SCHEME];
    let mut put = |name: &str, value: String| members.insert(name.to_owned(), value.into());
    put("alg", request.algorithm.name().to_owned());
    put("cty", MediaType::NOTARY_PAYLOAD.as_str().to_owned());
    put(header::SIGNING_SCHEME, request.scheme.name().to_owned());
    put(time_name, rfc3339(request.signing_time));
    if request.scheme == SigningScheme::SigningAuthority {
        critical.push(time_name);
    }
    if let Some(expiry) = request.expiry {
        put(header::EXPIRY, rfc3339(expiry));
        critical.push(header::EXPIRY);
    }
    if let Some(attributes) = &request.aws {
        let AwsAttributes {
            profile_version,
            job,
        } = attributes.clone();
        let added = [
            (header::VERIFICATION_PLUGIN, aws::PLUGIN.to_owned()),
            (aws::PROFILE_VERSION, profile_version),
            (aws::JOB, job),
        ];
        for (name, value) in added {
            put(name, value);
            critical.push(name);
        }
    }
    members.insert("crit".to_owned(), critical.into());
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use oci::Descriptor;
    use time::macros::datetime;

    use super::*;
    use crate::encoding::from_base64url;

    fn request() -> EnvelopeRequest {
        let descriptor = Descriptor::of(MediaType::IMAGE_MANIFEST, b"manifest");
        EnvelopeRequest {
            target: TargetArtifact {
                annotations: BTreeMap::from([("buildId".to_owned(), "7".to_owned())]),
                ..TargetArtifact::of(&descriptor)
            },
            scheme: SigningScheme::SigningAuthority,
            algorithm: SignatureAlgorithm::Es384,
            signing_time: datetime!(2026-03-01 12:00:00.5 UTC),
            expiry: Some(datetime!(2026-03-08 12:00:00 UTC)),
            chain: vec![b"leaf".to_vec(), b"root".to_vec()],
            agent: Some("countersign/0.1.0".to_owned()),
            aws: None,
        }
    }

    fn decoded(text: &str) -> String {
        String::from_utf8(from_base64url(text).unwrap()).unwrap()
    }

    #[test]
    fn an_envelope_has_the_shape_of_the_specification() {
        let unsigned = UnsignedEnvelope::new(request()).unwrap();
        insta::assert_snapshot!(decoded(&unsigned.protected), @r#"{"alg":"ES384","crit":["io.cncf.notary.signingScheme","io.cncf.notary.authenticSigningTime","io.cncf.notary.expiry"],"cty":"application/vnd.cncf.notary.payload.v1+json","io.cncf.notary.authenticSigningTime":"2026-03-01T12:00:00Z","io.cncf.notary.expiry":"2026-03-08T12:00:00Z","io.cncf.notary.signingScheme":"notary.x509.signingAuthority"}"#);
        insta::assert_snapshot!(decoded(&unsigned.payload), @r#"{"targetArtifact":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f","size":8,"annotations":{"buildId":"7"}}}"#);
        let envelope = String::from_utf8(unsigned.assemble(&[1, 2, 3])).unwrap();
        let input = String::from_utf8(unsigned.signing_input().to_vec()).unwrap();
        assert_eq!(
            input,
            format!("{}.{}", unsigned.protected, unsigned.payload)
        );
        let envelope = envelope
            .replace(&unsigned.protected, "PROTECTED")
            .replace(&unsigned.payload, "PAYLOAD");
        insta::assert_snapshot!(envelope, @r#"{"payload":"PAYLOAD","protected":"PROTECTED","header":{"x5c":["bGVhZg==","cm9vdA=="],"io.cncf.notary.signingAgent":"countersign/0.1.0"},"signature":"AQID"}"#);
    }

    #[test]
    fn the_signing_time_of_notary_x509_is_not_critical() {
        let scheme = SigningScheme::X509;
        let unsigned = UnsignedEnvelope::new(EnvelopeRequest {
            scheme,
            expiry: None,
            ..request()
        });
        insta::assert_snapshot!(decoded(&unsigned.unwrap().protected), @r#"{"alg":"ES384","crit":["io.cncf.notary.signingScheme"],"cty":"application/vnd.cncf.notary.payload.v1+json","io.cncf.notary.signingScheme":"notary.x509","io.cncf.notary.signingTime":"2026-03-01T12:00:00Z"}"#);
    }

    #[test]
    fn the_aws_dialect_adds_three_critical_attributes_and_no_other() {
        let arn = "arn:aws:signer:us-east-1:111122223333:";
        let unsigned = UnsignedEnvelope::new(EnvelopeRequest {
            aws: Some(AwsAttributes {
                profile_version: format!("{arn}/signing-profiles/ci_build/ABCDEFGHJK"),
                job: format!("{arn}/signing-jobs/0199c2a0-0000-7000-8000-000000000000"),
            }),
            ..request()
        });
        insta::assert_snapshot!(decoded(&unsigned.unwrap().protected), @r#"{"alg":"ES384","com.amazonaws.signer.signingJob":"arn:aws:signer:us-east-1:111122223333:/signing-jobs/0199c2a0-0000-7000-8000-000000000000","com.amazonaws.signer.signingProfileVersion":"arn:aws:signer:us-east-1:111122223333:/signing-profiles/ci_build/ABCDEFGHJK","crit":["io.cncf.notary.signingScheme","io.cncf.notary.authenticSigningTime","io.cncf.notary.expiry","io.cncf.notary.verificationPlugin","com.amazonaws.signer.signingProfileVersion","com.amazonaws.signer.signingJob"],"cty":"application/vnd.cncf.notary.payload.v1+json","io.cncf.notary.authenticSigningTime":"2026-03-01T12:00:00Z","io.cncf.notary.expiry":"2026-03-08T12:00:00Z","io.cncf.notary.signingScheme":"notary.x509.signingAuthority","io.cncf.notary.verificationPlugin":"com.amazonaws.signer.notation.plugin"}"#);
    }

    #[test]
    fn requests_that_no_verifier_would_accept_are_refused() {
        let mut reserved = request();
        let name = "io.cncf.notary.signingTime".to_owned();
        reserved.target.annotations.insert(name, String::new());
        let mut large = request();
        large
            .target
            .annotations
            .insert("n".to_owned(), "x".repeat(4096));
        let signing_time = request().signing_time;
        let cases = [
            EnvelopeRequest {
                chain: Vec::new(),
                ..request()
            },
            EnvelopeRequest {
                expiry: Some(signing_time),
                ..request()
            },
            reserved,
            large,
        ];
        let errors = cases.map(|case| UnsignedEnvelope::new(case).unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n"), @r#"
        an envelope needs its certificate chain, from the leaf to the root
        the expiry `2026-03-01T12:00:00Z` is not after the signing time `2026-03-01T12:00:00Z`
        annotation `io.cncf.notary.signingTime` uses the reserved prefix `io.cncf.notary`
        the payload has 4302 bytes, more than 4096: use less metadata
        "#);
    }
}
