//! Stable codes: the names of all reasons that a decision can give.
//!
//! Scripts and people search for them, so a code never changes its meaning. Each has a section in
//! `docs/reference/codes.md`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trust::FailureCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $remedy:literal;)*) => {
        /// Why a requirement does not pass.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the stable name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns what a person can do about it, in one sentence. It never says to check
            /// less.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$name => $remedy,)*
                }
            }
        }
    };
}

codes! {
    /// No artifact of the type hangs on the image.
    ArtifactMissing = "artifact-missing": "attach the artifact and sign it, or run the pipeline that does";
    /// The artifact, or what refers to it, cannot be read.
    ArtifactUnreadable = "artifact-unreadable": "make the registry reachable, or attach the artifact again";
    /// The artifact does not say all that it should, or is about something else.
    ArtifactIncomplete = "artifact-incomplete": "make the artifact again, over this image and everything in it";
    /// The artifact or its signature is older than the policy allows.
    ArtifactTooOld = "artifact-too-old": "make and sign the artifact again";
    /// A newer artifact of the type is known.
    ReportSuperseded = "report-superseded": "put the newest report back, or make and sign a new one";
    /// A critical vulnerability has a fix.
    FixableCritical = "fixable-critical": "update the packages that have a fix, and build again";
    /// A condition of the policy on the content does not hold.
    AssertionFailed = "assertion-failed": "mend what the report found";
    /// Nobody signed it.
    SignatureMissing = "signature-missing": "sign it under a profile that the policy names";
    /// The signature is not good: the bytes were not made by the signer.
    SignatureInvalid = "signature-invalid": "sign it again: these bytes are damaged or were not made by the signer";
    /// The envelope cannot be read, or could be read in two ways.
    EnvelopeMalformed = "envelope-malformed": "sign it again: these bytes are damaged or were not made by the signer";
    /// The envelope is in a format, or uses a feature, that is not supported here.
    EnvelopeUnsupported = "envelope-unsupported": "sign it again, as a JWS envelope without extended critical attributes";
    /// The envelope holds a critical attribute that nobody here understands.
    CriticalAttributeUnknown = "critical-attribute-unknown": "sign it again, as a JWS envelope without extended critical attributes";
    /// The signature is good and was made for another artifact.
    SignatureForOtherArtifact = "signature-for-other-artifact": "sign this artifact itself, by its digest";
    /// The certificates break the rules for signing chains.
    CertificateInvalid = "certificate-invalid": "sign again with a code signing certificate whose chain is complete and in order";
    /// The trust policy does not trust the signer.
    SignerNotTrusted = "signer-not-trusted": "sign with a trusted signer, or let an administrator add this signer's root and identity";
    /// The signer is trusted, and not one that may sign this.
    SignerNotInRole = "signer-not-in-role": "let the team sign that the policy names for this";
    /// The signature has expired.
    SignatureExpired = "signature-expired": "sign it again, after looking at it again";
    /// A certificate was not valid at the time that counts.
    CertificateExpired = "certificate-expired": "sign it again with a valid certificate";
    /// The signature has no time that can be trusted.
    TimestampUnverified = "timestamp-unverified": "sign with the signing authority, whose signatures carry a trusted time";
    /// The signature, the profile or the certificate was revoked.
    SignatureRevoked = "signature-revoked": "find out why it was revoked; if the artifact is sound, sign it again with a valid profile";
    /// It cannot be learned whether the signature was revoked.
    RevocationUnknown = "revocation-unknown": "make the revocation list reachable, then decide again";
    /// The signature lacks user metadata that was asked for.
    MetadataMismatch = "metadata-mismatch": "ask for metadata that the signer wrote, or sign with it";
    /// The trust policy asks for a transparency log, and the signature carries no proof.
    LogInclusionMissing = "log-inclusion-missing": "sign it again on a server whose log the trust policy names";
    /// The proof does not show that the signature is in a log that the trust policy names.
    LogInclusionInvalid = "log-inclusion-invalid": "find out where the signature comes from, then sign it again on a server whose log the trust policy names";
    /// Nobody of the team accepted this evidence.
    AcceptanceMissing = "acceptance-missing": "let the team look at the evidence and accept it";
    /// The evidence has changed since it was accepted.
    AcceptanceOutdated = "acceptance-outdated": "let the team look at what has changed and accept again";
    /// Nobody approved.
    ApprovalMissing = "approval-missing": "ask one of the approvers";
    /// The evidence, the policy or the time has moved on since the approval.
    ApprovalOutdated = "approval-outdated": "ask for a new approval of the evidence as it is now";
    /// The approval was given for another image.
    ApprovalForOtherDigest = "approval-for-other-digest": "ask for an approval of this image";
    /// Too few distinct signers.
    ThresholdNotMet = "threshold-not-met": "let one more of the teams sign";
    /// Somebody put a hold on the image.
    HoldInForce = "hold-in-force": "settle it with whoever put the hold there, and let them remove it";
    /// The tag leads to another image than when this began.
    TagMoved = "tag-moved": "find out who moved the tag, and start again with the digest that you mean";
    /// The graph is larger than we walk.
    GraphTruncated = "graph-truncated": "remove referrers that nobody needs";
    /// The advisories behind the report were too old.
    AdvisoriesStale = "advisories-stale": "update the advisory database and scan again";
    /// A platform is not there.
    PlatformMissing = "platform-missing": "build the image for this platform too";
    /// A base image has no signature of the team that vouches for base images.
    BaseNotVouchedFor = "base-not-vouched-for": "build on a base image that is vouched for";
}

impl From<FailureCode> for Code {
    fn from(code: FailureCode) -> Self {
        match code {
            FailureCode::EnvelopeMalformed => Self::EnvelopeMalformed,
            FailureCode::EnvelopeUnsupported => Self::EnvelopeUnsupported,
            FailureCode::CriticalAttributeUnknown => Self::CriticalAttributeUnknown,
            FailureCode::SignatureInvalid => Self::SignatureInvalid,
            FailureCode::SignatureForOtherArtifact => Self::SignatureForOtherArtifact,
            FailureCode::CertificateInvalid => Self::CertificateInvalid,
            FailureCode::SignerNotTrusted => Self::SignerNotTrusted,
            FailureCode::SignatureExpired => Self::SignatureExpired,
            FailureCode::CertificateExpired => Self::CertificateExpired,
            FailureCode::TimestampUnverified => Self::TimestampUnverified,
            FailureCode::SignatureRevoked => Self::SignatureRevoked,
            FailureCode::RevocationUnknown => Self::RevocationUnknown,
            FailureCode::MetadataMismatch => Self::MetadataMismatch,
            FailureCode::LogInclusionMissing => Self::LogInclusionMissing,
            FailureCode::LogInclusionInvalid => Self::LogInclusionInvalid,
            // A check that we do not know yet failed: the signature is not good.
            _ => Self::SignatureInvalid,
        }
    }
}

impl Code {
    /// How much a code tells about why nothing better is there, the most first. Where several
    /// signatures fail, the most telling one speaks for them.
    pub(crate) fn rank(self) -> usize {
        const TELLING: [Code; 14] = [
            Code::SignatureRevoked,
            Code::SignatureExpired,
            Code::ApprovalForOtherDigest,
            Code::ApprovalOutdated,
            Code::AcceptanceOutdated,
            Code::CertificateExpired,
            Code::RevocationUnknown,
            Code::SignatureForOtherArtifact,
            Code::SignerNotInRole,
            Code::SignerNotTrusted,
            Code::TimestampUnverified,
            Code::ArtifactUnreadable,
            Code::SignatureInvalid,
            Code::EnvelopeMalformed,
        ];
        let position = TELLING.iter().position(|code| *code == self);
        position.unwrap_or(TELLING.len())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|code| code.as_str() == text);
        known
            .copied()
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a known code")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_unique_and_has_its_section() {
        let reference = include_str!("../../../docs/reference/codes.md");
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            let name = code.as_str();
            assert!(seen.insert(name), "{name} is there twice");
            let letter = |b: u8| b.is_ascii_lowercase() || b == b'-';
            assert!(name.bytes().all(letter), "{name} is not in kebab case");
            let heading = format!("\n## `{name}`\n");
            assert!(reference.contains(&heading), "{name} has no section");
        }
        let sections = reference.matches("\n## `").count();
        assert_eq!(sections, Code::ALL.len(), "a section is about no code");
    }

    #[test]
    fn every_failure_of_a_verification_keeps_its_name() {
        for failure in FailureCode::ALL {
            assert_eq!(Code::from(failure).as_str(), failure.as_str());
        }
    }
}
