//! Verification: one envelope, one trust policy statement, one outcome.
//!
//! trust-store-trust-policy.md, Signature Verification Details (R070–R077). After integrity is
//! established every further check is made, whether or not an earlier one failed, so that a person
//! sees everything that is wrong at once. Nothing is read from the payload before its signature
//! is verified.

mod judge;
mod transparency;

use std::collections::BTreeMap;

use oci::{Descriptor, MediaType};
use time::OffsetDateTime;

use crate::dsse::ParsedAttestation;
use crate::jws::{ParsedEnvelope, VerifiedEnvelope};
use crate::outcome::{
    AttestationOutcome, CheckResult, FailureCode, Finding, Refusal, VerificationAction,
    VerificationOutcome, VerifiedStatement,
};
use crate::revocation::RevocationEvidence;
use crate::trust_policy::{TrustPolicyStatement, VerificationLevel};
use crate::trust_store::TrustStore;

use judge::Judged;
pub use transparency::LogEvidence;

/// Everything that verification needs. Nothing else influences the outcome.
#[derive(Clone, Copy, Debug)]
pub struct VerifyRequest<'a> {
    /// The media type of the envelope, as the manifest's layer states it.
    pub media_type: &'a MediaType,
    /// The envelope.
    pub envelope: &'a [u8],
    /// The artifact that the signature must be for.
    pub target: &'a Descriptor,
    /// The trust policy statement for the artifact's repository.
    pub statement: &'a TrustPolicyStatement,
    /// The trust store.
    pub store: &'a TrustStore,
    /// What is known about revocation.
    pub revocation: &'a RevocationEvidence,
    /// User metadata that must be in the payload, with these values.
    pub required_metadata: &'a BTreeMap<String, String>,
    /// What shows that the envelope is in a transparency log, if that came with it.
    pub log: Option<LogEvidence<'a>>,
    /// The time that counts as now.
    pub now: OffsetDateTime,
}

/// Verifies a Notary signature.
pub fn verify(request: &VerifyRequest<'_>) -> VerificationOutcome {
    let mut outcome = request.blank();
    if outcome.is_skipped() {
        return outcome;
    }
    match request.parse_signature().and_then(ParsedEnvelope::verify) {
        Ok(envelope) => request.judge_signature(&envelope, &mut outcome),
        Err(refusal) => outcome.integrity.finding = Err(refusal).into(),
    }
    outcome
}

/// Verifies a DSSE attestation, under the same trust policy statement. The statement inside is
/// given out only if the attestation is trusted.
pub fn verify_attestation(request: &VerifyRequest<'_>) -> AttestationOutcome {
    let mut outcome = request.blank();
    if outcome.is_skipped() {
        return AttestationOutcome {
            outcome,
            statement: None,
        };
    }
    let verified = request.parse_attestation().and_then(|envelope| {
        let statement = envelope.verify()?;
        Ok((envelope, statement))
    });
    let statement = match verified {
        Ok((envelope, statement)) => {
            request.judge_attestation(&envelope, &statement, &mut outcome);
            Some(statement)
        }
        Err(refusal) => {
            outcome.integrity.finding = Err(refusal).into();
            None
        }
    };
    let statement = statement.filter(|_| outcome.is_trusted());
    AttestationOutcome { outcome, statement }
}

impl VerifyRequest<'_> {
    /// Returns an outcome in which nothing was checked yet.
    fn blank(&self) -> VerificationOutcome {
        let level = &self.statement.level;
        let mut outcome = VerificationOutcome::not_checked(&self.statement.name, level);
        if !self.required_metadata.is_empty() && *level != VerificationLevel::SKIP {
            outcome.metadata = CheckResult::not_checked(VerificationAction::Enforce);
        }
        if self.statement.transparency_log.is_some() {
            outcome.transparency = CheckResult::not_checked(VerificationAction::Enforce);
        }
        outcome
    }

    fn parse_signature(&self) -> Result<ParsedEnvelope, Refusal> {
        self.expect(&MediaType::JOSE_JSON)?;
        ParsedEnvelope::parse(self.envelope)
    }

    fn parse_attestation(&self) -> Result<ParsedAttestation, Refusal> {
        self.expect(&MediaType::DSSE)?;
        ParsedAttestation::parse(self.envelope)
    }

    fn expect(&self, media_type: &MediaType) -> Result<(), Refusal> {
        if self.media_type == media_type {
            return Ok(());
        }
        let problem = format!(
            "envelope type `{}` is not supported: expected `{media_type}`",
            self.media_type
        );
        Err(Refusal::new(FailureCode::EnvelopeUnsupported, problem))
    }

    fn judge_signature(&self, envelope: &VerifiedEnvelope, outcome: &mut VerificationOutcome) {
        let target = envelope.target();
        outcome.target = Some(target.clone());
        outcome.integrity.finding = self.check_target(target).into();
        if !outcome.integrity.passed() {
            return;
        }
        let attributes = envelope.attributes();
        outcome.scheme = Some(attributes.scheme);
        outcome.signing_time = Some(attributes.signing_time);
        outcome.expires = attributes.expiry;
        outcome.user_metadata = target.annotations.clone();
        outcome.metadata.finding = self.check_metadata(&target.annotations);
        outcome.transparency.finding = self.check_log();
        Judged::signature(envelope).judge(self, outcome);
    }

    fn judge_attestation(
        &self,
        envelope: &ParsedAttestation,
        statement: &VerifiedStatement,
        outcome: &mut VerificationOutcome,
    ) {
        outcome.integrity.finding = self.check_subjects(statement).into();
        if !outcome.integrity.passed() {
            return;
        }
        let leaf = envelope.chain().leaf();
        outcome.expires = Some(leaf.not_after());
        outcome.metadata.finding = self.check_metadata(&BTreeMap::new());
        outcome.transparency.finding = self.check_log();
        Judged::attestation(envelope, statement).judge(self, outcome);
    }

    /// The payload names this artifact: media type, digest and size (R071).
    fn check_target(&self, target: &crate::TargetArtifact) -> Result<(), Refusal> {
        if target.names(self.target) {
            return Ok(());
        }
        let problem = if target.digest == self.target.digest {
            format!(
                "the signature names `{}` as {} of {} bytes, not {} of {} bytes",
                target.digest,
                target.media_type,
                target.size,
                self.target.media_type,
                self.target.size
            )
        } else {
            format!(
                "the signature is for `{}`, not for `{}`",
                target.digest, self.target.digest
            )
        };
        Err(Refusal::new(
            FailureCode::SignatureForOtherArtifact,
            problem,
        ))
    }

    /// One of the statement's subjects is this artifact.
    fn check_subjects(&self, statement: &VerifiedStatement) -> Result<(), Refusal> {
        if statement.subjects.contains(&self.target.digest) {
            return Ok(());
        }
        let problem = match statement.subjects.first() {
            Some(first) => format!(
                "the statement is about `{first}`, not about `{}`",
                self.target.digest
            ),
            None => "the statement is about no digest that can be in a registry".to_owned(),
        };
        Err(Refusal::new(
            FailureCode::SignatureForOtherArtifact,
            problem,
        ))
    }

    /// What was asked for is in the user metadata, with the same values (R077).
    fn check_metadata(&self, metadata: &BTreeMap<String, String>) -> Finding {
        let mut required = self.required_metadata.iter();
        match required.find(|(name, value)| metadata.get(*name) != Some(value)) {
            _ if self.required_metadata.is_empty() => Finding::NotChecked,
            None => Finding::Passed,
            Some((name, value)) => Finding::Failed {
                code: FailureCode::MetadataMismatch,
                reason: match metadata.get(name) {
                    Some(found) => format!("user metadata `{name}` is `{found}`, not `{value}`"),
                    None => format!("user metadata `{name}` is missing"),
                },
            },
        }
    }
}
