//! Reports that the gate may be shown.

use super::*;

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn grype(descriptor: &str) -> String {
    format!(
        r#"{{"matches":[{{
            "vulnerability":{{"id":"GHSA-hvwf","severity":"Critical","fix":{{"versions":["0.12.20"],"state":"fixed"}},"risk":1.5}},
            "relatedVulnerabilities":[{{"id":"CVE-2022-31799"}}],
            "matchDetails":[{{"type":"exact-direct-match"}}],
            "artifact":{{"id":"a","name":"bottle","version":"0.12.19","type":"python","locations":[]}}}},
            {{"vulnerability":{{"id":"CVE-1","severity":"Odd","fix":{{"versions":null,"state":"wont-fix"}}}},
            "artifact":{{"name":"x","version":"1"}}}}],
        "source":{{"type":"image","target":{{"userInput":"a","manifestDigest":"{DIGEST}"}}}},
        "distro":{{"name":"debian"}},
        "descriptor":{descriptor}}}"#
    )
}

#[test]
fn a_report_of_grype_reads_back() {
    let text = grype(
        r#"{"name":"grype","version":"0.116.0","timestamp":"2026-07-22T10:00:00.123456789+02:00",
            "db":{"status":{"schemaVersion":"v6.1.9","built":"2026-07-21T04:00:00Z","valid":true},"providers":{}}}"#,
    );
    let summary = ReportSummary::parse(text.as_bytes()).unwrap();
    assert_eq!(summary.tool, "grype 0.116.0");
    assert_eq!(summary.created.unwrap().unix_timestamp(), 1_784_707_200);
    assert_eq!(summary.target_digest.unwrap().as_str(), DIGEST);
    assert_eq!(summary.database_built.unwrap().day(), 21);
    assert!(summary.complete && !summary.database_stale);
    let first = &summary.findings[0];
    assert_eq!(first.aliases, ["CVE-2022-31799"]);
    assert_eq!(
        (first.severity, first.state),
        (Severity::Critical, FixState::Fixed)
    );
    assert_eq!(first.fixed_in, "0.12.20");
    let second = &summary.findings[1];
    assert_eq!(
        (second.severity, second.state),
        (Severity::Unknown, FixState::WontFix)
    );
    assert_eq!(second.fixed_in, "");
}

#[test]
fn the_older_place_of_the_database_state_is_read() {
    let text = grype(
        r#"{"name":"grype","version":"0.80","db":{"built":"2024-07-21T04:00:00Z","error":null}}"#,
    );
    let summary = ReportSummary::parse(text.as_bytes()).unwrap();
    assert_eq!(summary.database_built.unwrap().year(), 2024);
    assert_eq!(summary.created, None);
}

#[test]
fn what_a_report_does_not_cover_makes_it_incomplete() {
    let table = [
        (
            r#"{"db":{"status":{"valid":false}}}"#,
            "the advisory database was not valid",
        ),
        (
            r#"{"coverage":{"complete":false}}"#,
            "the report calls itself incomplete",
        ),
        (
            r#"{"coverage":{"complete":false,"gaps":[{"code":"ecosystem-not-covered","reason":"no advisories for `Debian:13`"}]}}"#,
            "no advisories for `Debian:13`",
        ),
    ];
    for (descriptor, gap) in table {
        let summary = ReportSummary::parse(grype(descriptor).as_bytes()).unwrap();
        assert!(!summary.complete);
        assert_eq!(summary.gaps, [gap]);
    }
    let alerts = r#"{"matches":[],"descriptor":{},"alertsByPackage":[{}]}"#;
    assert!(!ReportSummary::parse(alerts.as_bytes()).unwrap().complete);
}

#[test]
fn other_documents_are_refused_by_name() {
    let table = [
        ("{", "report is malformed"),
        ("[]", "report is malformed"),
        (
            "{}",
            "document has no member `matches`, so it is not a report in grype's JSON",
        ),
        (
            r#"{"matches":[]}"#,
            "document has no member `descriptor`, so it is not a report in grype's JSON",
        ),
        (
            r#"{"matches":[{"artifact":{}}],"descriptor":{}}"#,
            "report is malformed",
        ),
        (
            r#"{"matches":[],"matches":[],"descriptor":{}}"#,
            "report is malformed",
        ),
    ];
    for (text, expected) in table {
        let error = ReportSummary::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
}
