//! The signature is in a transparency log, where the policy asks for that.
//!
//! An entry vouches for an envelope when it holds the envelope's SHA-256. That the entry is in the
//! log is proven offline: by the way from it to the root of a checkpoint that the log signed, and
//! that enough witnesses cosigned.

use serde::Deserialize;

use super::VerifyRequest;
use crate::outcome::{FailureCode, Finding, Refusal};
use crate::tlog::{LogPolicy, LogProof, MAX_ENTRY_BYTES};

/// What travels with a signature to show that it is in a log. Nobody vouches for it before it is
/// verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEvidence<'a> {
    /// The entry.
    pub entry: &'a str,
    /// The proof that it is in the log (C2SP `tlog-proof`).
    pub proof: &'a str,
}

/// What an entry says that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    kind: String,
    envelope_sha256: Option<String>,
}

impl VerifyRequest<'_> {
    pub(super) fn check_log(&self) -> Finding {
        match &self.statement.transparency_log {
            Some(policy) => self.check_log_proof(policy).into(),
            None => Finding::NotChecked,
        }
    }

    fn check_log_proof(&self, policy: &LogPolicy) -> Result<(), Refusal> {
        let Some(LogEvidence { entry, proof }) = self.log else {
            let problem = "the policy asks for a transparency log, and the signature carries no \
                           proof that it is in one";
            return Err(Refusal::new(FailureCode::LogInclusionMissing, problem));
        };
        let invalid = |problem: String| Refusal::new(FailureCode::LogInclusionInvalid, problem);
        if entry.len() > MAX_ENTRY_BYTES {
            let problem = format!("the log entry is longer than {MAX_ENTRY_BYTES} bytes");
            return Err(invalid(problem));
        }
        let proof = LogProof::parse(proof.as_bytes());
        let proof = proof.map_err(|error| invalid(error.to_string()))?;
        let proven = proof.verify(entry.as_bytes(), policy);
        proven.map_err(|error| invalid(error.to_string()))?;
        let parsed: Entry = serde_json::from_str(entry)
            .map_err(|error| invalid(format!("the log entry cannot be read: {error}")))?;
        let envelope = oci::Digest::sha256(self.envelope);
        match parsed.kind == "signature"
            && parsed.envelope_sha256.as_deref() == Some(envelope.hex())
        {
            true => Ok(()),
            false => Err(invalid(
                "the log entry is about another signature".to_owned(),
            )),
        }
    }
}
