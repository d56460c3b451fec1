//! Reads a DSSE envelope that anybody may have written, verifies its signature, and only then
//! reads the in-toto statement in it.
//!
//! envelope.md says that unknown members are ignored and that either base64 alphabet is accepted.
//! Exactly one signature is accepted here: with several, "the signer" would not mean one.

use oci::{Digest, MediaType};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{MAX_ATTESTATION_BYTES, pae};
use crate::chain::CertificateChain;
use crate::encoding::{from_any_base64, from_base64};
use crate::json;
use crate::outcome::{FailureCode, Refusal, VerifiedStatement};

/// The type of the statements that are read.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The most subjects in a statement: a build of a whole distribution has fewer.
const MAX_SUBJECTS: usize = 1024;

/// An attestation that could be read. Nobody may look at its statement yet.
#[derive(Clone, Debug)]
pub struct ParsedAttestation {
    payload_type: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
    chain: CertificateChain,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
    #[serde(default)]
    x5c: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(default)]
    predicate: Value,
}

#[derive(Deserialize)]
struct Subject {
    digest: Map<String, Value>,
}

impl ParsedAttestation {
    /// Reads an envelope.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_ATTESTATION_BYTES {
            let size = bytes.len();
            return Err(malformed(format!(
                "it has {size} bytes, more than {MAX_ATTESTATION_BYTES}"
            )));
        }
        let value: Value = json::from_slice(bytes).map_err(not_dsse)?;
        check_levels(&value)?;
        let envelope: Envelope = serde_json::from_value(value).map_err(not_dsse)?;
        let [signature] = envelope.signatures.as_slice() else {
            let count = envelope.signatures.len();
            let problem = format!("it has {count} signatures: exactly one is supported");
            return Err(Refusal::new(FailureCode::EnvelopeUnsupported, problem));
        };
        Ok(Self {
            payload: decode(&envelope.payload, "payload")?,
            payload_type: envelope.payload_type,
            signature: decode(&signature.sig, "sig")?,
            chain: chain(&signature.x5c)?,
        })
    }

    /// Returns the certificate chain that the envelope carries.
    pub fn chain(&self) -> &CertificateChain {
        &self.chain
    }

    /// Returns the payload type, which is only a claim yet.
    pub fn claimed_payload_type(&self) -> &str {
        &self.payload_type
    }

    /// Returns SHA-256 of the bytes that were signed, in hexadecimal.
    pub fn signed_sha256(&self) -> String {
        let message = pae(&self.payload_type, &self.payload);
        Digest::sha256(&message).hex().to_owned()
    }

    /// Returns the statement that the payload claims, for showing only.
    pub(crate) fn claimed_statement(&self) -> Option<VerifiedStatement> {
        statement(&self.payload).ok()
    }

    /// Verifies the signature with the key of the leaf, and only then reads the statement.
    pub(crate) fn verify(&self) -> Result<VerifiedStatement, Refusal> {
        let leaf = self.chain.leaf();
        let message = pae(&self.payload_type, &self.payload);
        if !leaf.public_key().verify_envelope(&message, &self.signature) {
            let problem = format!(
                "the signature was not made over this content with the key of `{}`",
                leaf.subject()
            );
            return Err(Refusal::new(FailureCode::SignatureInvalid, problem));
        }
        if self.payload_type != MediaType::IN_TOTO.as_str() {
            let shown: String = self.payload_type.chars().take(80).collect();
            let problem = format!("payload type `{shown}` is not supported");
            return Err(Refusal::new(FailureCode::EnvelopeUnsupported, problem));
        }
        statement(&self.payload)
    }
}

fn statement(payload: &[u8]) -> Result<VerifiedStatement, Refusal> {
    let wrong = |error| malformed(format!("the payload is not an in-toto statement: {error}"));
    let value: Value = json::from_slice(payload).map_err(wrong)?;
    json::object(&value).map_err(wrong)?;
    for subject in value
        .get("subject")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        json::object(subject).map_err(wrong)?;
    }
    let statement: Statement = serde_json::from_value(value).map_err(wrong)?;
    if statement.kind != STATEMENT_TYPE {
        let shown: String = statement.kind.chars().take(80).collect();
        let problem = format!("statement type `{shown}` is not supported");
        return Err(Refusal::new(FailureCode::EnvelopeUnsupported, problem));
    }
    if statement.subject.len() > MAX_SUBJECTS {
        return Err(malformed(format!(
            "it has more than {MAX_SUBJECTS} subjects"
        )));
    }
    Ok(VerifiedStatement {
        predicate_type: statement.predicate_type,
        subjects: statement.subject.iter().flat_map(digests).collect(),
        predicate: statement.predicate,
    })
}

/// Returns the digests of a subject in the two registered algorithms; others name things that are
/// not in a registry.
fn digests(subject: &Subject) -> Vec<Digest> {
    let all = subject.digest.iter().filter_map(|(algorithm, hex)| {
        let text = format!("{algorithm}:{}", hex.as_str()?);
        text.parse().ok()
    });
    all.collect()
}

fn chain(x5c: &[String]) -> Result<CertificateChain, Refusal> {
    let ders: Option<Vec<_>> = x5c.iter().map(|text| from_base64(text)).collect();
    let ders = ders.ok_or_else(|| malformed("`x5c` is not in standard base64"))?;
    CertificateChain::from_ders(&ders).map_err(|error| malformed(format!("`x5c`: {error}")))
}

/// Checks that both levels are objects without a member that another reader could take for one
/// of ours.
fn check_levels(envelope: &Value) -> Result<(), Refusal> {
    let signatures = envelope.get("signatures").and_then(Value::as_array);
    let mut levels = vec![(envelope, &["payload", "payloadType", "signatures"][..])];
    let signatures = signatures.into_iter().flatten();
    levels.extend(signatures.map(|one| (one, &["sig", "x5c", "keyid"][..])));
    for (value, known) in levels {
        let members = json::object(value).map_err(not_dsse)?;
        if let Some(name) = json::case_variant(members, known) {
            let shown: String = name.chars().take(80).collect();
            let problem = format!("`{shown}` differs from a known member only in case");
            return Err(malformed(problem));
        }
    }
    Ok(())
}

fn not_dsse(error: serde_json::Error) -> Refusal {
    malformed(format!("the envelope is not DSSE: {error}"))
}

fn decode(text: &str, name: &str) -> Result<Vec<u8>, Refusal> {
    from_any_base64(text).ok_or_else(|| malformed(format!("member `{name}` is not in base64")))
}

fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::new(FailureCode::EnvelopeMalformed, reason)
}
