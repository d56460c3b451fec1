//! Reports on a small image, as they are written and as they read back.

use time::macros::datetime;

use super::*;
use crate::advisory::Advisories as _;
use crate::catalog::Catalog;
use crate::database::{Database, DatabaseBuilder};
use crate::matching::{DEFAULT_STALE_AFTER, MatchOptions, match_packages};
use crate::osv;
use crate::testing;

const NOW: OffsetDateTime = datetime!(2026-11-23 08:00 UTC);

const BOTTLE: &str = r#"{"id":"GHSA-hvfc-jv4j-8q9r","modified":"2024-02-16T08:22:00Z","aliases":["CVE-2022-31799"],
    "summary":"errors are not handled","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
    "affected":[{"package":{"ecosystem":"PyPI","name":"bottle"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"0.12.20"}]}]}],
    "references":[{"type":"WEB","url":"https://example.org/1"}],"database_specific":{"source":"test"}}"#;
const OPENSSL: &str = r#"{"id":"DEBIAN-CVE-2023-0001","modified":"2024-02-16T08:22:00Z","upstream":["CVE-2023-0001"],
    "affected":[{"package":{"ecosystem":"Debian:12","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}"#;

fn report(catalog: &Catalog, advisories: &[&str]) -> Report {
    let mut builder = DatabaseBuilder::new();
    builder.add_source("tests");
    for text in advisories {
        builder.add(osv::parse(text.as_bytes()).unwrap());
    }
    let database = Database::open(builder.finish(NOW).0).unwrap();
    let options = MatchOptions {
        now: NOW,
        stale_after: DEFAULT_STALE_AFTER,
    };
    Report {
        source: testing::source(),
        distro: catalog.distro.clone(),
        findings: match_packages(catalog, &database, options).unwrap(),
        database: database.status().clone(),
        created: NOW,
        tool_version: "0.0.0".to_owned(),
    }
}

#[test]
fn what_is_written_reads_back() {
    let report = report(&testing::catalog(), &[BOTTLE, OPENSSL]);
    let summary = Report::parse(&report.to_json()).unwrap();
    assert_eq!(summary.tool, "countersign 0.0.0");
    assert_eq!(summary.created, Some(NOW));
    assert_eq!(summary.database_built, Some(NOW));
    assert_eq!(summary.target_digest.as_ref(), Some(report.source.digest()));
    assert!(summary.complete, "{:?}", summary.gaps);
    let finding = &summary.findings[0];
    assert_eq!(finding.id, "CVE-2022-31799");
    assert_eq!(finding.aliases, ["GHSA-hvfc-jv4j-8q9r"]);
    assert_eq!(
        (finding.severity, finding.state),
        (Severity::Critical, FixState::Fixed)
    );
    assert_eq!(finding.fixed_in, "0.12.20");
    assert_eq!(summary.findings.len(), 3);
}

#[test]
fn gaps_and_staleness_read_back() {
    let mut old = report(&testing::catalog(), &[BOTTLE]);
    old.findings.coverage.stale = true;
    let summary = Report::parse(&old.to_json()).unwrap();
    assert!(!summary.complete);
    assert!(summary.database_stale);
    assert_eq!(
        summary.gaps,
        ["the database has no advisories for `Debian:12`, which has 2 packages of the image"]
    );
}

#[test]
fn the_json_has_the_shape_of_grype() {
    let report = report(&testing::catalog(), &[BOTTLE]);
    insta::assert_snapshot!(String::from_utf8(report.to_json()).unwrap(), @r#"
    {
      "matches": [
        {
          "vulnerability": {
            "id": "CVE-2022-31799",
            "dataSource": "https://github.com/advisories/GHSA-hvfc-jv4j-8q9r",
            "namespace": "osv:language:python",
            "severity": "Critical",
            "urls": [
              "https://example.org/1"
            ],
            "description": "errors are not handled",
            "cvss": [
              {
                "metrics": {
                  "baseScore": 9.8,
                  "exploitabilityScore": 3.9,
                  "impactScore": 5.9
                },
                "source": "test",
                "type": "Primary",
                "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                "vendorMetadata": {},
                "version": "3.1"
              }
            ],
            "fix": {
              "state": "fixed",
              "versions": [
                "0.12.20"
              ]
            },
            "advisories": [
              {
                "id": "GHSA-hvfc-jv4j-8q9r",
                "link": "https://github.com/advisories/GHSA-hvfc-jv4j-8q9r"
              }
            ]
          },
          "relatedVulnerabilities": [
            {
              "id": "GHSA-hvfc-jv4j-8q9r",
              "dataSource": "https://github.com/advisories/GHSA-hvfc-jv4j-8q9r",
              "namespace": "osv:language:python",
              "severity": "Critical",
              "urls": [],
              "cvss": []
            }
          ],
          "matchDetails": [
            {
              "fix": {
                "suggestedVersion": "0.12.20"
              },
              "found": {
                "versionConstraint": "<0.12.20 (python)",
                "vulnerabilityID": "GHSA-hvfc-jv4j-8q9r"
              },
              "matcher": "python-matcher",
              "searchedBy": {
                "namespace": "osv:language:python",
                "package": {
                  "name": "bottle",
                  "version": "0.12.19"
                }
              },
              "type": "exact-direct-match"
            }
          ],
          "artifact": {
            "cpes": [],
            "id": "0d97dfb562d42689",
            "language": "python",
            "licenses": [
              "MIT"
            ],
            "locations": [
              {
                "accessPath": "/usr/lib/python3/dist-packages/bottle-0.12.19.dist-info/METADATA",
                "layerID": "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85",
                "path": "/usr/lib/python3/dist-packages/bottle-0.12.19.dist-info/METADATA"
              }
            ],
            "name": "bottle",
            "purl": "pkg:pypi/bottle@0.12.19",
            "type": "python",
            "upstreams": [],
            "version": "0.12.19"
          }
        }
      ],
      "ignoredMatches": [],
      "source": {
        "target": {
          "architecture": "amd64",
          "imageID": "sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910",
          "imageSize": 5,
          "layers": [
            {
              "digest": "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85",
              "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
              "size": 5
            }
          ],
          "manifestDigest": "sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f",
          "mediaType": "application/vnd.oci.image.manifest.v1+json",
          "os": "linux",
          "repoDigests": [
            "localhost:5000/apps/shop@sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f"
          ],
          "tags": [
            "localhost:5000/apps/shop:1.0"
          ],
          "userInput": "localhost:5000/apps/shop:1.0"
        },
        "type": "image"
      },
      "distro": {
        "idLike": [],
        "name": "debian",
        "version": "12"
      },
      "descriptor": {
        "name": "countersign",
        "version": "0.0.0",
        "configuration": {},
        "db": {
          "advisories": {
            "PyPI": 1
          },
          "status": {
            "built": "2026-11-23T08:00:00Z",
            "digest": "sha256:91f2576e9d0cf7c2e188b64df883d9eecae526b974b8e0f4475c9b461449588c",
            "from": [
              "tests"
            ],
            "newest": "2024-02-16T08:22:00Z",
            "schemaVersion": "countersign-advisories/1",
            "valid": true
          }
        },
        "timestamp": "2026-11-23T08:00:00Z",
        "coverage": {
          "complete": false,
          "stale": false,
          "ecosystems": {
            "PyPI": 1
          },
          "gaps": [
            {
              "code": "ecosystem-not-covered",
              "subject": "Debian:12",
              "reason": "the database has no advisories for `Debian:12`, which has 2 packages of the image",
              "packages": 2
            }
          ]
        }
      }
    }
    "#);
}

#[test]
fn the_table_is_for_people() {
    let table = report(&testing::catalog(), &[BOTTLE, OPENSSL]).to_table();
    insta::assert_snapshot!(table, @r#"
    NAME     INSTALLED         FIXED IN  TYPE    VULNERABILITY   SEVERITY
    bottle   0.12.19           0.12.20   python  CVE-2022-31799  Critical
    libssl3  3.0.17-1~deb12u2            deb     CVE-2023-0001   Unknown
    openssl  3.0.17-1~deb12u2            deb     CVE-2023-0001   Unknown

    3 vulnerabilities (1 critical, 2 unknown), 1 with a fix
    "#);
    let empty = report(&Catalog::default(), &[]).to_table();
    assert_eq!(empty, "no vulnerabilities found\n");
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let mut catalog = testing::catalog();
    catalog.packages[2].version = "0.12.19+\u{1b}[2Jx".to_owned();
    let report = report(&catalog, &[BOTTLE]);
    assert!(!report.to_table().contains('\u{1b}'));
    assert!(!report.findings.coverage.complete);
}

#[test]
fn a_threshold_counts_unknown_severities() {
    let report = report(&testing::catalog(), &[BOTTLE, OPENSSL]);
    assert_eq!(report.at_least(Severity::Critical).count(), 3);
    assert_eq!(
        report
            .findings
            .matches
            .iter()
            .filter(|f| f.severity == Severity::Unknown)
            .count(),
        2
    );
}
