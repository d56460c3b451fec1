//! Records as their sources write them, shortened.

use super::*;

const GHSA: &str = r#"{
  "schema_version": "1.4.0", "id": "GHSA-hvfc-jv4j-8q9r", "modified": "2024-02-16T08:22:00.123Z", "published": "2022-06-03T00:01:00Z",
  "aliases": ["CVE-2022-31799", "PYSEC-2022-227"], "summary": "Bottle mishandles errors",
  "severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}, {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
  "affected": [{"package": {"ecosystem": "PyPI", "name": "Bottle", "purl": "pkg:pypi/bottle"},
    "ranges": [{"type": "GIT", "repo": "x", "events": [{"introduced": "0"}]}, {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.12.20"}]}],
    "versions": ["0.12.19"], "database_specific": {"source": "x"}},
    {"ranges": [{"type": "GIT", "events": []}]}],
  "references": [{"type": "WEB", "url": "https://example.org/1"}],
  "database_specific": {"severity": "MODERATE", "cwe_ids": []}
}"#;

#[test]
fn a_record_of_github_reads() {
    let advisory = parse(GHSA.as_bytes()).unwrap();
    let [affected] = &advisory.affected[..] else {
        panic!()
    };
    assert_eq!(affected.name, "bottle");
    assert_eq!(affected.ranges.len(), 1);
    assert_eq!(advisory.about.finding_ids(), ["CVE-2022-31799"]);
    assert_eq!(advisory.about.severity(affected), Severity::Critical);
    assert_eq!(advisory.withdrawn, None);
    assert_eq!(advisory.modified.year(), 2024);
}

#[test]
fn where_the_severity_comes_from() {
    let critical = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    let table = [
        (critical, Severity::Low, Severity::Low, Severity::Critical),
        (
            critical,
            Severity::Unknown,
            Severity::Negligible,
            Severity::Negligible,
        ),
        (
            "CVSS:4.0/AV:N",
            Severity::High,
            Severity::Low,
            Severity::High,
        ),
        (
            "CVSS:4.0/AV:N",
            Severity::Unknown,
            Severity::Low,
            Severity::Low,
        ),
        (
            "CVSS:4.0/AV:N",
            Severity::Unknown,
            Severity::Unknown,
            Severity::Unknown,
        ),
    ];
    for (vector, word, in_package, expected) in table {
        let about = About {
            vectors: vec![vector.to_owned()],
            word,
            ..About::default()
        };
        let mut affected = parse(GHSA.as_bytes()).unwrap().affected.remove(0);
        affected.word = in_package;
        assert_eq!(
            about.severity(&affected),
            expected,
            "{vector} {word} {in_package}"
        );
    }
}

#[test]
fn an_advisory_of_a_distribution_answers_several_flaws() {
    let text = r#"{"id":"DSA-5417-1","modified":"2023-05-31T00:00:00Z","upstream":["CVE-2023-0464","CVE-2023-0465"],
        "affected":[{"package":{"ecosystem":"Debian:12","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0","fixed":"3.0.9-1"}]}],
        "ecosystem_specific":{"urgency":"unimportant"}}]}"#;
    let advisory = parse(text.as_bytes()).unwrap();
    assert_eq!(
        advisory.about.finding_ids(),
        ["CVE-2023-0464", "CVE-2023-0465"]
    );
    assert_eq!(advisory.affected[0].ranges[0].events.len(), 2);
    assert_eq!(advisory.affected[0].word, Severity::Negligible);
}

#[test]
fn malformed_records_are_refused_by_member() {
    let record =
        |members: &str| format!(r#"{{"id":"X-1","modified":"2023-05-31T00:00:00Z"{members}}}"#);
    let package = r#""package":{"ecosystem":"PyPI","name":"a"}"#;
    let table = [
        (
            "[".to_owned(),
            "advisory is malformed: EOF while parsing a list at line 1 column 1",
        ),
        (
            "{}".to_owned(),
            "advisory is malformed: missing field `id` at line 1 column 2",
        ),
        (
            r#"{"id":"a b","modified":""}"#.to_owned(),
            "advisory `a b`: member `id` is not an identifier",
        ),
        (
            record(r#","withdrawn":"soon""#),
            "advisory `X-1`: member `withdrawn` is no RFC 3339 time: the 'year' component could not be parsed",
        ),
        (
            record(r#","affected":[{"package":{"ecosystem":"PyPI","name":""}}]"#),
            "advisory `X-1`: member `affected.package.name` is not a name",
        ),
        (
            record(&format!(
                r#","affected":[{{{package},"ranges":[{{"type":"ODD","events":[]}}]}}]"#
            )),
            "advisory `X-1`: member `affected.ranges.events` stands under the unknown range type `ODD`",
        ),
        (
            record(&format!(
                r#","affected":[{{{package},"ranges":[{{"type":"SEMVER","events":[{{"broken":"1"}}]}}]}}]"#
            )),
            "advisory `X-1`: member `affected.ranges.events` has the unknown kind `broken`",
        ),
        (
            record(&format!(
                r#","affected":[{{{package},"ranges":[{{"type":"SEMVER","events":[{{"fixed":1}}]}}]}}]"#
            )),
            "advisory `X-1`: member `affected.ranges.events` has a `fixed` that is no text",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            parse(text.as_bytes()).unwrap_err().to_string(),
            expected,
            "{text}"
        );
    }
    let deep = format!("{}{}", r#"{"a":"#.repeat(500), "}".repeat(500));
    assert!(parse(deep.as_bytes()).is_err());
}

proptest::proptest! {
    #[test]
    fn damaged_records_never_panic(position in 0usize..800, byte: u8, cut in 0usize..800) {
        let mut bytes = GHSA.as_bytes().to_vec();
        let length = bytes.len();
        bytes[position % length] = byte;
        bytes.truncate(length - cut % length);
        let _ = parse(&bytes);
    }
}
