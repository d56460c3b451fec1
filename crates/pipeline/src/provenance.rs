//! Build provenance: what an image was built from, by whom, and when, as an in-toto statement.
//!
//! Pure: the worker that built states it, the front has it signed. The statement is bounded by
//! what the signer accepts, so that signing it can never fail for its size alone. Dependencies
//! that do not fit are an error, not left out: incomplete provenance vouches for the wrong thing.
//!
//! SLSA v1.0, Provenance; in-toto Attestation Framework, Statement v1.

use std::collections::BTreeMap;

use oci::{Digest, Reference, RepositoryName};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The type of an in-toto statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of the predicate.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What the members of `externalParameters` mean: documented in `docs/reference/provenance.md`.
pub const BUILD_TYPE: &str = "https://countersign.dev/build/dockerfile/v1";
/// The largest statement, in bytes: the largest payload that the signer takes
/// (docs/design/001-first-run.md §1).
pub const MAX_STATEMENT_BYTES: usize = 4096;

/// What is known about a build.
#[derive(Clone, Debug)]
pub struct BuildRecord<'a> {
    /// The repository of the image.
    pub repository: &'a RepositoryName,
    /// The image.
    pub image: &'a Digest,
    /// The URL of the git repository.
    pub source_url: &'a str,
    /// The commit, in hexadecimal.
    pub commit: &'a str,
    /// The Dockerfile, below the source.
    pub dockerfile: &'a str,
    /// The context, below the source.
    pub context: &'a str,
    /// The network that build steps saw.
    pub network: &'a str,
    /// The base images, by the names that the Dockerfile gives them.
    pub bases: &'a BTreeMap<String, Reference>,
    /// Who built: the server's URL with the role.
    pub builder: &'a str,
    /// The versions of the tools.
    pub tools: &'a str,
    /// The run and action: what the build can be found by.
    pub invocation: &'a str,
    /// When the build started.
    pub started: OffsetDateTime,
    /// When it was finished.
    pub finished: OffsetDateTime,
}

/// Says why there is no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the provenance has {bytes} bytes, more than the limit of {MAX_STATEMENT_BYTES}: use fewer base images"
)]
pub struct ProvenanceError {
    /// The size that it would have, in bytes.
    pub bytes: usize,
}

/// Returns the statement as compact JSON.
///
/// # Errors
/// If it is larger than [`MAX_STATEMENT_BYTES`].
pub fn statement(record: &BuildRecord<'_>) -> Result<String, ProvenanceError> {
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": record.repository, "digest": digest_set(record.image)}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "source": record.source_url,
                    "commit": record.commit,
                    "dockerfile": record.dockerfile,
                    "context": record.context,
                    "network": record.network,
                },
                "resolvedDependencies": dependencies(record),
            },
            "runDetails": {
                "builder": {"id": record.builder, "version": {"tools": record.tools}},
                "metadata": {
                    "invocationId": record.invocation,
                    "startedOn": timestamp(record.started),
                    "finishedOn": timestamp(record.finished),
                },
            },
        },
    });
    let text = statement.to_string();
    match text.len() {
        0..=MAX_STATEMENT_BYTES => Ok(text),
        bytes => Err(ProvenanceError { bytes }),
    }
}

fn dependencies(record: &BuildRecord<'_>) -> Vec<Value> {
    let source = json!({
        "uri": format!("git+{}", record.source_url),
        "digest": {"gitCommit": record.commit},
    });
    let mut dependencies = vec![source];
    dependencies.extend(record.bases.iter().map(|(name, reference)| {
        json!({
            "name": name,
            "uri": format!("oci://{}", reference.scope()),
            "digest": reference.digest.as_ref().map(digest_set),
        })
    }));
    dependencies
}

fn digest_set(digest: &Digest) -> Value {
    json!({digest.algorithm().name(): digest.hex()})
}

fn timestamp(at: OffsetDateTime) -> String {
    // RFC 3339 has no years beyond 9999, and neither has a build.
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn write(bases: usize) -> Result<String, ProvenanceError> {
        let digest = Digest::sha256(b"base");
        let base = |number| {
            let reference = format!("127.0.0.1:5000/base/b{number}@{digest}");
            (format!("base/b{number}:12"), reference.parse().unwrap())
        };
        statement(&BuildRecord {
            repository: &"apps/shop".parse().unwrap(),
            image: &Digest::sha256(b"image"),
            source_url: "http://127.0.0.1:8080/git/shop.git",
            commit: "c0ffee",
            dockerfile: "Dockerfile",
            context: ".",
            network: "none",
            bases: &(0..bases).map(base).collect(),
            builder: "http://127.0.0.1:8080/worker",
            tools: "buildah 1.28.2, runc 1.1.5",
            invocation: "runs/r1/image",
            started: datetime!(2026-01-02 3:04:05.6 UTC),
            finished: datetime!(2026-01-02 3:05:05 UTC),
        })
    }

    #[test]
    fn the_statement_names_what_went_in() {
        let value: Value = serde_json::from_str(&write(1).unwrap()).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap(), @r#"
        {
          "_type": "https://in-toto.io/Statement/v1",
          "predicate": {
            "buildDefinition": {
              "buildType": "https://countersign.dev/build/dockerfile/v1",
              "externalParameters": {
                "commit": "c0ffee",
                "context": ".",
                "dockerfile": "Dockerfile",
                "network": "none",
                "source": "http://127.0.0.1:8080/git/shop.git"
              },
              "resolvedDependencies": [
                {
                  "digest": {
                    "gitCommit": "c0ffee"
                  },
                  "uri": "git+http://127.0.0.1:8080/git/shop.git"
                },
                {
                  "digest": {
                    "sha256": "cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2"
                  },
                  "name": "base/b0:12",
                  "uri": "oci://127.0.0.1:5000/base/b0"
                }
              ]
            },
            "runDetails": {
              "builder": {
                "id": "http://127.0.0.1:8080/worker",
                "version": {
                  "tools": "buildah 1.28.2, runc 1.1.5"
                }
              },
              "metadata": {
                "finishedOn": "2026-01-02T03:05:05Z",
                "invocationId": "runs/r1/image",
                "startedOn": "2026-01-02T03:04:05Z"
              }
            }
          },
          "predicateType": "https://slsa.dev/provenance/v1",
          "subject": [
            {
              "digest": {
                "sha256": "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"
              },
              "name": "apps/shop"
            }
          ]
        }
        "#);
    }

    #[test]
    fn it_is_never_larger_than_the_signer_takes() {
        assert!(write(10).unwrap().len() <= MAX_STATEMENT_BYTES);
        assert!(write(60).unwrap_err().bytes > MAX_STATEMENT_BYTES);
    }
}
