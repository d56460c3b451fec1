//! What a verification found: one result per verification type, with a code and a reason.
//!
//! trust-store-trust-policy.md, Signature Verification Details. A failed verification is an
//! outcome and not an error: it was decided. Every failure has a stable code.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::trust_policy::VerificationLevel;
use crate::{DistinguishedName, SigningScheme, TargetArtifact};

/// What the trust policy wants done about a failed check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerificationAction {
    /// A failure makes the signature untrusted.
    Enforce,
    /// A failure is reported, and the signature may still be trusted.
    Log,
    /// The check is not made.
    Skip,
}

/// Why a check failed: stable names, one page each in `docs/reference/codes.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureCode {
    /// The envelope cannot be read, or could be read in two ways.
    EnvelopeMalformed,
    /// The envelope is in a format, or uses a feature, that is not supported here.
    EnvelopeUnsupported,
    /// The envelope holds a critical attribute that nobody here understands.
    CriticalAttributeUnknown,
    /// The signature was not made over these bytes with the leaf's key.
    SignatureInvalid,
    /// The signature is valid and was made for another artifact.
    SignatureForOtherArtifact,
    /// The certificates break the rules for signing chains.
    CertificateInvalid,
    /// No certificate of the chain is in a trust store of the policy, or the signer is not among
    /// the trusted identities.
    SignerNotTrusted,
    /// The expiry of the signature has come.
    SignatureExpired,
    /// A certificate of the chain was not valid at the time that counts.
    CertificateExpired,
    /// A timestamp is required, and none can be verified.
    TimestampUnverified,
    /// A certificate of the chain was revoked.
    SignatureRevoked,
    /// It is not known whether a certificate of the chain was revoked.
    RevocationUnknown,
    /// The signature lacks user metadata that was asked for.
    MetadataMismatch,
    /// The policy asks for a transparency log, and the signature carries no proof.
    LogInclusionMissing,
    /// The proof does not show that the signature is in a log that the policy names.
    LogInclusionInvalid,
}

impl FailureCode {
    /// All codes, in the order of the checks.
    pub const ALL: [Self; 15] = [
        Self::EnvelopeMalformed,
        Self::EnvelopeUnsupported,
        Self::CriticalAttributeUnknown,
        Self::SignatureInvalid,
        Self::SignatureForOtherArtifact,
        Self::CertificateInvalid,
        Self::SignerNotTrusted,
        Self::SignatureExpired,
        Self::CertificateExpired,
        Self::TimestampUnverified,
        Self::SignatureRevoked,
        Self::RevocationUnknown,
        Self::MetadataMismatch,
        Self::LogInclusionMissing,
        Self::LogInclusionInvalid,
    ];

    /// Returns the stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EnvelopeMalformed => "envelope-malformed",
            Self::EnvelopeUnsupported => "envelope-unsupported",
            Self::CriticalAttributeUnknown => "critical-attribute-unknown",
            Self::SignatureInvalid => "signature-invalid",
            Self::SignatureForOtherArtifact => "signature-for-other-artifact",
            Self::CertificateInvalid => "certificate-invalid",
            Self::SignerNotTrusted => "signer-not-trusted",
            Self::SignatureExpired => "signature-expired",
            Self::CertificateExpired => "certificate-expired",
            Self::TimestampUnverified => "timestamp-unverified",
            Self::SignatureRevoked => "signature-revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::MetadataMismatch => "metadata-mismatch",
            Self::LogInclusionMissing => "log-inclusion-missing",
            Self::LogInclusionInvalid => "log-inclusion-invalid",
        }
    }

    /// Returns what a person can do about it, in one sentence. It never says to check less.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::EnvelopeMalformed | Self::SignatureInvalid => {
                "sign the artifact again: these bytes are damaged or were not made by the signer"
            }
            Self::EnvelopeUnsupported | Self::CriticalAttributeUnknown => {
                "sign the artifact again, as a JWS envelope without extended critical attributes"
            }
            Self::SignatureForOtherArtifact => "sign this artifact itself, by its digest",
            Self::CertificateInvalid => {
                "sign again with a code signing certificate whose chain is complete and in order"
            }
            Self::SignerNotTrusted => {
                "sign with a trusted signer, or let an administrator add this signer's root and identity"
            }
            Self::SignatureExpired | Self::CertificateExpired => "sign the artifact again",
            Self::TimestampUnverified => {
                "sign with a signing authority: timestamp tokens are not supported yet"
            }
            Self::SignatureRevoked => {
                "find out why it was revoked; if the artifact is sound, sign it again with a valid profile"
            }
            Self::RevocationUnknown => {
                "make the revocation list of the certificate authority reachable, then verify again"
            }
            Self::LogInclusionMissing | Self::LogInclusionInvalid => {
                "sign the artifact again with `countersign sign`, on a server whose log the policy names"
            }
            Self::MetadataMismatch => "ask for metadata that the signer wrote, or sign with it",
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FailureCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Finding {
    /// The check was made and holds.
    Passed,
    /// The check was made and does not hold.
    Failed {
        /// The stable code.
        code: FailureCode,
        /// What exactly, in words.
        reason: String,
    },
    /// The check was not made: the policy skips it, or an earlier one made it meaningless.
    NotChecked,
}

/// Why something was refused: what becomes a [`Finding::Failed`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The stable code.
    pub code: FailureCode,
    /// What exactly, in words.
    pub reason: String,
}

impl Refusal {
    pub(crate) fn new(code: FailureCode, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { code, reason }
    }
}

impl From<Result<(), Refusal>> for Finding {
    fn from(result: Result<(), Refusal>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(Refusal { code, reason }) => Self::Failed { code, reason },
        }
    }
}

/// A finding, and what the policy wants done about a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// What the policy wants done.
    pub action: VerificationAction,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

impl CheckResult {
    /// Returns the result of a check that was not made.
    pub fn not_checked(action: VerificationAction) -> Self {
        let finding = Finding::NotChecked;
        Self { action, finding }
    }

    /// Returns whether nobody asked for the check.
    fn is_off(&self) -> bool {
        self.action == VerificationAction::Skip && self.finding == Finding::NotChecked
    }

    /// Returns whether the check was made and holds.
    pub fn passed(&self) -> bool {
        self.finding == Finding::Passed
    }

    /// Returns the code and the reason of a failure, whatever the action.
    pub fn failure(&self) -> Option<(FailureCode, &str)> {
        match &self.finding {
            Finding::Failed { code, reason } => Some((*code, reason)),
            Finding::Passed | Finding::NotChecked => None,
        }
    }

    /// Returns whether a signature may be trusted as far as this check goes. An enforced check
    /// that was not made does not hold.
    pub fn is_satisfied(&self) -> bool {
        self.action != VerificationAction::Enforce || self.passed()
    }
}

/// The verification types, in the order in which they are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerificationType {
    /// The bytes are those that were signed, for this artifact.
    Integrity,
    /// The signer is one that the policy trusts.
    Authenticity,
    /// The signature was made while the certificates were valid.
    AuthenticTimestamp,
    /// The signature has not expired.
    Expiry,
    /// No certificate was revoked.
    Revocation,
    /// The user metadata that was asked for is there.
    Metadata,
    /// The signature is in a transparency log that the policy names.
    Transparency,
}

impl VerificationType {
    /// Returns the name in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Authenticity => "authenticity",
            Self::AuthenticTimestamp => "authentic timestamp",
            Self::Expiry => "expiry",
            Self::Revocation => "revocation",
            Self::Metadata => "user metadata",
            Self::Transparency => "transparency log",
        }
    }
}

/// One failed check of an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Which check.
    pub verification_type: VerificationType,
    /// What the policy wants done about it.
    pub action: VerificationAction,
    /// The stable code.
    pub code: FailureCode,
    /// What exactly, in words.
    pub reason: String,
}

/// The holder of the key that made a signature, as its leaf certificate names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signer {
    /// The subject of the leaf certificate.
    pub subject: DistinguishedName,
    /// The common name in it; for our own signing service the signing profile. Empty if absent.
    pub common_name: String,
    /// SHA-256 of the leaf certificate in DER, in lower-case hexadecimal.
    pub certificate_sha256: String,
    /// SHA-256 of the leaf's public key (SubjectPublicKeyInfo in DER), in lower-case hexadecimal.
    pub public_key_sha256: String,
}

/// What was found about one envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationOutcome {
    /// The trust policy statement that was applied.
    pub policy: String,
    /// The bytes are those that were signed, for this artifact.
    pub integrity: CheckResult,
    /// The signer is one that the policy trusts.
    pub authenticity: CheckResult,
    /// The signature was made while the certificates were valid.
    pub authentic_timestamp: CheckResult,
    /// The signature has not expired.
    pub expiry: CheckResult,
    /// No certificate was revoked.
    pub revocation: CheckResult,
    /// The user metadata that was asked for is there.
    pub metadata: CheckResult,
    /// The signature is in a transparency log that the policy names.
    #[serde(skip_serializing_if = "CheckResult::is_off")]
    pub transparency: CheckResult,
    /// The signer, once integrity **and** authenticity are established. A level that only logs
    /// authenticity does not make a signer.
    pub signer: Option<Signer>,
    /// Whoever the leaf certificate names, once integrity is established: for explanations, never
    /// for a decision.
    pub claimed_signer: Option<Signer>,
    /// The signing scheme, once integrity is established. Attestations have none.
    pub scheme: Option<SigningScheme>,
    /// When it was signed, once integrity is established. Under `notary.x509` a claim of the
    /// signer, under `notary.x509.signingAuthority` a statement of the authority.
    #[serde(with = "time::serde::rfc3339::option")]
    pub signing_time: Option<OffsetDateTime>,
    /// When it expires, once integrity is established.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires: Option<OffsetDateTime>,
    /// The artifact that the payload names, once the signature is verified, also if it is another
    /// artifact.
    pub target: Option<TargetArtifact>,
    /// User metadata, once integrity is established.
    pub user_metadata: BTreeMap<String, String>,
}

impl VerificationOutcome {
    /// Returns an outcome in which nothing was checked yet, under a statement's name and level.
    pub fn not_checked(policy: &str, level: &VerificationLevel) -> Self {
        let check = CheckResult::not_checked;
        Self {
            policy: policy.to_owned(),
            integrity: check(level.integrity),
            authenticity: check(level.authenticity),
            authentic_timestamp: check(level.authentic_timestamp),
            expiry: check(level.expiry),
            revocation: check(level.revocation),
            metadata: check(VerificationAction::Skip),
            transparency: check(VerificationAction::Skip),
            signer: None,
            claimed_signer: None,
            scheme: None,
            signing_time: None,
            expires: None,
            target: None,
            user_metadata: BTreeMap::new(),
        }
    }

    /// Returns whether the signature is trusted: its integrity was verified, and no enforced check
    /// failed or was left out. Under a `skip` statement nothing is verified, so nothing is trusted.
    pub fn is_trusted(&self) -> bool {
        self.integrity.passed() && self.checks().iter().all(|(_, check)| check.is_satisfied())
    }

    /// Returns whether the policy statement skips verification.
    pub fn is_skipped(&self) -> bool {
        self.integrity.action == VerificationAction::Skip
    }

    /// Returns every check, in the order in which they are judged.
    pub fn checks(&self) -> [(VerificationType, &CheckResult); 7] {
        [
            (VerificationType::Integrity, &self.integrity),
            (VerificationType::Authenticity, &self.authenticity),
            (
                VerificationType::AuthenticTimestamp,
                &self.authentic_timestamp,
            ),
            (VerificationType::Expiry, &self.expiry),
            (VerificationType::Revocation, &self.revocation),
            (VerificationType::Metadata, &self.metadata),
            (VerificationType::Transparency, &self.transparency),
        ]
    }

    /// Returns every failed check, enforced or logged, in the order in which they are judged.
    pub fn failures(&self) -> Vec<Failure> {
        let failed = self.checks().into_iter().filter_map(|(kind, check)| {
            let (code, reason) = check.failure()?;
            Some(Failure {
                verification_type: kind,
                action: check.action,
                code,
                reason: reason.to_owned(),
            })
        });
        failed.collect()
    }
}

/// What was found about one DSSE attestation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttestationOutcome {
    /// The checks, the same as for a signature.
    #[serde(flatten)]
    pub outcome: VerificationOutcome,
    /// The statement, only if the attestation is trusted.
    pub statement: Option<VerifiedStatement>,
}

impl AttestationOutcome {
    /// Returns whether the attestation is trusted; then it has a statement.
    pub fn is_trusted(&self) -> bool {
        self.outcome.is_trusted() && self.statement.is_some()
    }

    /// Returns every failed check.
    pub fn failures(&self) -> Vec<Failure> {
        self.outcome.failures()
    }
}

/// An in-toto statement whose signature was verified and whose signer is trusted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedStatement {
    /// The predicate type, a URI.
    pub predicate_type: String,
    /// The digests of the subjects, in the order of the statement.
    pub subjects: Vec<oci::Digest>,
    /// The predicate.
    pub predicate: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_kebab_case() {
        let mut names: Vec<_> = FailureCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(names.iter().all(|name| {
            name.bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_lowercase())
        }));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailureCode::ALL.len());
        assert!(
            FailureCode::ALL
                .iter()
                .all(|code| !code.remedy().is_empty())
        );
    }

    #[test]
    fn an_enforced_check_that_was_not_made_is_not_satisfied() {
        let mut outcome = VerificationOutcome::not_checked("p", &VerificationLevel::STRICT);
        outcome.integrity.finding = Finding::Passed;
        assert!(!outcome.is_trusted());
        assert_eq!(outcome.failures(), []);
        let skipped = VerificationOutcome::not_checked("p", &VerificationLevel::SKIP);
        assert!(skipped.is_skipped() && !skipped.is_trusted());
    }
}
