//! The acceptance: a person or team stands for an image with all the evidence that hangs on it.
//!
//! An in-toto statement whose predicate names the graph root (design 001 §1), so that it counts
//! only while that evidence is what it was.

use oci::Digest;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::authority::whole_seconds;
use crate::payload::{ACCEPTANCE_PREDICATE, IN_TOTO_STATEMENT_TYPE};
use crate::profile::ProfileName;

/// What is accepted, by whom.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// The repository, as `registry/repository`. Informative: the digest is what counts.
    pub name: String,
    /// The image.
    pub subject: Digest,
    /// The graph root of the image's evidence.
    pub graph_root: Digest,
    /// The profile that signs.
    pub profile: ProfileName,
    /// The account that accepts, which must be the one that asks.
    pub account: String,
    /// Why, in the person's words.
    pub comment: String,
    /// When.
    pub at: OffsetDateTime,
}

impl Acceptance {
    /// Returns the statement to be signed.
    pub fn to_statement(&self) -> Vec<u8> {
        let at = whole_seconds(self.at).format(&Rfc3339).unwrap_or_default();
        let statement = serde_json::json!({
            "_type": IN_TOTO_STATEMENT_TYPE,
            "subject": [{
                "name": self.name,
                "digest": { self.subject.algorithm().name(): self.subject.hex() },
            }],
            "predicateType": ACCEPTANCE_PREDICATE,
            "predicate": {
                "graphRoot": self.graph_root,
                "profile": self.profile,
                "account": self.account,
                "comment": self.comment,
                "at": at,
            },
        });
        statement.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{IN_TOTO_PAYLOAD_TYPE, Signatory, dsse};
    use crate::principal::Principal;
    use time::macros::datetime;

    #[test]
    fn a_statement_is_what_the_signer_signs_for_its_account_alone() {
        let acceptance = Acceptance {
            name: "127.0.0.1:5000/apps/shop".to_owned(),
            subject: Digest::sha256(b"image"),
            graph_root: Digest::sha256(b"graph"),
            profile: "security-team".parse().unwrap(),
            account: "security".to_owned(),
            comment: "findings \"reviewed\"".to_owned(),
            at: datetime!(2026-03-01 12:00:00.7 UTC),
        };
        let statement = acceptance.to_statement();
        let check = |account: &str| {
            let principal = Principal::account(account);
            let profile = &acceptance.profile;
            let principal = &principal;
            dsse(
                IN_TOTO_PAYLOAD_TYPE,
                &statement,
                &Signatory { principal, profile },
            )
        };
        assert_eq!(check("security").unwrap(), acceptance.subject);
        assert!(check("compliance").is_err());
        insta::assert_snapshot!(String::from_utf8(statement.clone()).unwrap(), @r#"{"_type":"https://in-toto.io/Statement/v1","predicate":{"account":"security","at":"2026-03-01T12:00:00Z","comment":"findings \"reviewed\"","graphRoot":"sha256:eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d","profile":"security-team"},"predicateType":"https://countersign.dev/acceptance/v1","subject":[{"digest":{"sha256":"6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"},"name":"127.0.0.1:5000/apps/shop"}]}"#);
    }
}
