//! One revocation, as one line of JSON.

use oci::Digest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::json;

/// The longest line, in bytes: the most signatures and the longest reason fit.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// The most signatures that one line names; a revocation of more has several lines.
pub const MAX_SIGNATURES_IN_LINE: usize = 128;

/// Says why a line is not a revocation that can be honoured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is longer than [`MAX_LINE_BYTES`].
    #[error("the line has {0} bytes, more than {MAX_LINE_BYTES}")]
    TooLong(usize),
    /// It is not JSON of a kind that is known here. What is not understood is never passed over.
    #[error("not a revocation that is understood here: {0}")]
    Shape(String),
}

/// A revocation with its place in the sequence. The hash chain is over the exact line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationLine {
    /// Its number; the first is 1, and none is left out.
    pub sequence: u64,
    /// When it was decided.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why.
    pub reason: String,
    /// What is revoked.
    #[serde(flatten)]
    pub revoked: Revoked,
}

/// What a line revokes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
#[non_exhaustive]
pub enum Revoked {
    /// Single signatures. Signatures of one leaf over the same bytes, which say the same of the
    /// same second, are one.
    Signatures {
        /// Their identities ([`super::signature_identity`]).
        identities: Vec<String>,
        /// The signing job, when it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<String>,
    },
    /// A leaf certificate, and with it what was signed with it at `from` or later.
    Certificate {
        /// The serial number, in hexadecimal.
        serial: String,
        /// From when on; everything when absent.
        #[serde(
            default,
            with = "time::serde::rfc3339::option",
            skip_serializing_if = "Option::is_none"
        )]
        from: Option<OffsetDateTime>,
    },
    /// What a profile, or one version of it, signed.
    Profile {
        /// The profile, which is the common name of its certificates.
        profile: String,
        /// The version, when only one is revoked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// The first moment.
        #[serde(with = "time::serde::rfc3339")]
        from: OffsetDateTime,
        /// The first moment that is not covered any more, for a version that was replaced.
        #[serde(
            default,
            with = "time::serde::rfc3339::option",
            skip_serializing_if = "Option::is_none"
        )]
        until: Option<OffsetDateTime>,
    },
    /// What was signed over one digest before `until`.
    Digest {
        /// The digest.
        digest: Digest,
        /// The first moment; everything before `until` when absent.
        #[serde(
            default,
            with = "time::serde::rfc3339::option",
            skip_serializing_if = "Option::is_none"
        )]
        from: Option<OffsetDateTime>,
        /// The first moment that is not covered any more: signing it again is a new decision.
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
}

impl RevocationLine {
    /// Reads a line, without its line break.
    ///
    /// # Errors
    /// When it is too long, is not JSON, has a member twice, or is of an unknown kind.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        if line.len() > MAX_LINE_BYTES {
            return Err(LineError::TooLong(line.len()));
        }
        let parsed: Self =
            json::from_slice(line).map_err(|error| LineError::Shape(error.to_string()))?;
        match &parsed.revoked {
            Revoked::Signatures { identities, .. } if identities.len() > MAX_SIGNATURES_IN_LINE => {
                let problem = format!("more than {MAX_SIGNATURES_IN_LINE} signatures");
                Err(LineError::Shape(problem))
            }
            _ => Ok(parsed),
        }
    }

    /// Returns the line, without a line break.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn lines_are_written_and_read() {
        let at = datetime!(2026-03-01 12:00 UTC);
        let digest = Digest::sha256(b"x");
        let table = [
            Revoked::Signatures {
                identities: vec!["aa".to_owned()],
                job: Some("job".to_owned()),
            },
            Revoked::Certificate {
                serial: "41".to_owned(),
                from: None,
            },
            Revoked::Profile {
                profile: "ci".to_owned(),
                version: Some("ABCDEFGHJK".to_owned()),
                from: at,
                until: Some(at),
            },
            Revoked::Digest {
                digest,
                from: None,
                until: at,
            },
        ];
        let lines = table.map(|revoked| {
            let line = RevocationLine {
                sequence: 1,
                at,
                reason: "leaked".to_owned(),
                revoked,
            };
            let json = line.to_json();
            assert_eq!(RevocationLine::parse(json.as_bytes()).unwrap(), line);
            json
        });
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"sequence":1,"at":"2026-03-01T12:00:00Z","reason":"leaked","kind":"signatures","identities":["aa"],"job":"job"}
        {"sequence":1,"at":"2026-03-01T12:00:00Z","reason":"leaked","kind":"certificate","serial":"41"}
        {"sequence":1,"at":"2026-03-01T12:00:00Z","reason":"leaked","kind":"profile","profile":"ci","version":"ABCDEFGHJK","from":"2026-03-01T12:00:00Z","until":"2026-03-01T12:00:00Z"}
        {"sequence":1,"at":"2026-03-01T12:00:00Z","reason":"leaked","kind":"digest","digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","until":"2026-03-01T12:00:00Z"}
        "#);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let long = format!(
            r#"{{"sequence":1,"reason":"{}"}}"#,
            "x".repeat(MAX_LINE_BYTES)
        );
        let many = format!(
            r#"{{"sequence":1,"at":"2026-03-01T12:00:00Z","reason":"x","kind":"signatures","identities":[{}]}}"#,
            vec![r#""a""#; MAX_SIGNATURES_IN_LINE + 1].join(",")
        );
        for bad in [
            "",
            "{}",
            r#"{"sequence":1,"at":"2026-03-01T12:00:00Z","reason":"x","kind":"account","account":"a"}"#,
            r#"{"sequence":1,"sequence":2,"at":"2026-03-01T12:00:00Z","reason":"x","kind":"certificate","serial":"1"}"#,
            r#"{"sequence":-1,"at":"2026-03-01T12:00:00Z","reason":"x","kind":"certificate","serial":"1"}"#,
            r#"{"sequence":1,"at":"yesterday","reason":"x","kind":"certificate","serial":"1"}"#,
            &long,
            &many,
        ] {
            assert!(RevocationLine::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
