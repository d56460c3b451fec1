//! The signed attributes of the AWS Signer dialect, understood here without the plugin.
//!
//! Such an envelope names the plugin `com.amazonaws.signer.notation.plugin` and carries exactly two
//! critical attributes of its own: the signing profile's version and the signing job, both as ARNs.
//! The plugin takes the profile in the ARN for the signer's identity, because at AWS all customers
//! share one certificate subject. We judge the certificate instead, so an envelope is understood
//! only if its leaf's common name *is* the profile: then a trust policy that names the subject
//! trusts that profile and no other. Whether the job was revoked is told by the certificate
//! authority's usual means; nobody is asked over the network here.

use serde_json::Value;

use super::{SignedAttributes, header};
use crate::Certificate;
use crate::SigningScheme;
use crate::outcome::{FailureCode, Refusal};

/// The plugin that the dialect names.
pub const PLUGIN: &str = "com.amazonaws.signer.notation.plugin";
/// The attribute with the ARN of the signing profile's version.
pub const PROFILE_VERSION: &str = "com.amazonaws.signer.signingProfileVersion";
/// The attribute with the ARN of the signing job.
pub const JOB: &str = "com.amazonaws.signer.signingJob";
/// The longest ARN that an attribute may hold, in bytes (AWS Signer API, `Arn`).
pub const MAX_ARN_BYTES: usize = 2048;

/// What the dialect adds to an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsAttributes {
    /// The ARN of the profile's version: `arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME/VERSION`.
    pub profile_version: String,
    /// The ARN of the job: `arn:aws:signer:REGION:ACCOUNT:/signing-jobs/UUID`.
    pub job: String,
}

impl AwsAttributes {
    /// Reads the attributes of an envelope that asks for the plugin. `None` when it asks for none,
    /// or for another.
    pub(super) fn read(attributes: &SignedAttributes) -> Option<Result<Self, Refusal>> {
        (attributes.verification_plugin.as_deref() == Some(PLUGIN))
            .then(|| Self::of_envelope(attributes))
    }

    fn of_envelope(attributes: &SignedAttributes) -> Result<Self, Refusal> {
        if attributes.scheme != SigningScheme::SigningAuthority {
            return Err(unsupported(format!(
                "the plugin `{PLUGIN}` is for the signing scheme `{}` only",
                SigningScheme::SigningAuthority
            )));
        }
        let is_critical = |name: &str| attributes.critical.iter().any(|one| one == name);
        if is_critical(header::PLUGIN_MIN_VERSION) {
            return Err(unsupported(format!(
                "it asks for a version of the plugin `{PLUGIN}`, which is not used here"
            )));
        }
        let read = |name: &str| match attributes.extended.get(name) {
            Some(Value::String(arn)) if is_critical(name) && arn.len() <= MAX_ARN_BYTES => {
                Ok(arn.clone())
            }
            _ => Err(Refusal::new(
                FailureCode::EnvelopeMalformed,
                format!("`{name}`, which the plugin `{PLUGIN}` needs, is not a critical text"),
            )),
        };
        Ok(Self {
            profile_version: read(PROFILE_VERSION)?,
            job: read(JOB)?,
        })
    }

    /// Returns the name of the profile, if the ARN has the shape of a profile's version.
    pub fn profile(&self) -> Option<&str> {
        let parts: Vec<&str> = self.profile_version.splitn(6, ':').collect();
        let ["arn", _, "signer", _, _, resource] = parts[..] else {
            return None;
        };
        let resource = resource.strip_prefix("/signing-profiles/")?;
        let (name, version) = resource.split_once('/')?;
        let is_word = |text: &str| !text.is_empty() && !text.contains('/');
        (is_word(name) && is_word(version)).then_some(name)
    }

    /// The leaf is the profile's own.
    pub(super) fn check_leaf(&self, leaf: &Certificate) -> Result<(), Refusal> {
        let name = leaf.subject().common_name();
        if !name.is_empty() && self.profile() == Some(name) {
            return Ok(());
        }
        let shown: String = self.profile_version.chars().take(200).collect();
        Err(unsupported(format!(
            "it names the signing profile `{shown}`, and the certificate is for `{name}`: without \
             the plugin `{PLUGIN}` only envelopes whose certificate names the profile are verified"
        )))
    }
}

fn unsupported(reason: String) -> Refusal {
    Refusal::new(FailureCode::EnvelopeUnsupported, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_read_out_of_a_version_only() {
        for (arn, expected) in [
            (
                "arn:aws:signer:us-east-1:111122223333:/signing-profiles/ci/ABCDEFGHJK",
                Some("ci"),
            ),
            ("arn:aws-cn:signer:r:1:/signing-profiles/ci/v", Some("ci")),
            (
                "arn:aws:signer:us-east-1:111122223333:/signing-profiles/ci",
                None,
            ),
            (
                "arn:aws:signer:us-east-1:111122223333:/signing-profiles/ci/",
                None,
            ),
            (
                "arn:aws:signer:us-east-1:111122223333:/signing-profiles//v",
                None,
            ),
            (
                "arn:aws:signer:us-east-1:111122223333:/signing-profiles/ci/v/w",
                None,
            ),
            (
                "arn:aws:signer:us-east-1:111122223333:/signing-jobs/ci/v",
                None,
            ),
            (
                "arn:aws:s3:us-east-1:111122223333:/signing-profiles/ci/v",
                None,
            ),
            ("", None),
        ] {
            let attributes = AwsAttributes {
                profile_version: arn.to_owned(),
                job: String::new(),
            };
            assert_eq!(attributes.profile(), expected, "{arn}");
        }
    }
}
