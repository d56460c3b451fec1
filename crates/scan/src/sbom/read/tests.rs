//! SBOMs that the gate may be shown; the shapes are those of syft, trivy and ours.

use super::*;

const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn check(text: &str, packages: usize, has_subject: bool) -> SbomSummary {
    let summary = parse(text.as_bytes()).unwrap();
    assert_eq!(summary.packages, packages, "{text}");
    assert_eq!(summary.subject.is_some(), has_subject, "{text}");
    summary
}

fn spdx_with_root(root: &str) -> String {
    format!(
        r#"{{"spdxVersion":"SPDX-2.3","creationInfo":{{"created":"2026-11-22T10:00:00Z"}},
        "packages":[{{"SPDXID":"SPDXRef-Package-deb-a","name":"a"}},
            {{"SPDXID":"SPDXRef-OperatingSystem-1","name":"debian"}},
            {{"SPDXID":"SPDXRef-DocumentRoot-Image-x","name":"x"{root}}}],
        "relationships":[{{"spdxElementId":"SPDXRef-DOCUMENT","relatedSpdxElement":"SPDXRef-DocumentRoot-Image-x","relationshipType":"DESCRIBES"}}]}}"#
    )
}

#[test]
fn an_spdx_document_names_its_subject_in_three_ways() {
    let table = [
        (
            format!(r#","checksums":[{{"algorithm":"SHA256","checksumValue":"{HEX}"}}]"#),
            true,
        ),
        (
            format!(
                r#","externalRefs":[{{"referenceLocator":"pkg:oci/x@sha256%3A{HEX}?arch=amd64"}}]"#
            ),
            true,
        ),
        (format!(r#","versionInfo":"sha256:{HEX}""#), true),
        (r#","versionInfo":"latest""#.to_owned(), false),
        (r#","versionInfo":"sha256:é""#.to_owned(), false),
        (String::new(), false),
    ];
    for (root, has_subject) in table {
        let summary = check(&spdx_with_root(&root), 1, has_subject);
        assert_eq!(summary.created.unwrap().day(), 22);
        assert_eq!(summary.spec_version, "2.3");
        assert!(summary.complete);
    }
}

#[test]
fn a_cyclonedx_document_reads() {
    let text = format!(
        r#"{{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{{"timestamp":"2026-11-22T10:00:00+01:00",
        "component":{{"type":"container","name":"x","version":"sha256:{HEX}"}}}},
        "components":[{{"type":"library","name":"a"}},{{"type":"operating-system","name":"debian"}}],
        "compositions":[{{"aggregate":"incomplete"}}]}}"#
    );
    let summary = check(&text, 1, true);
    assert_eq!(summary.format, SbomFormat::CycloneDxJson);
    assert!(!summary.complete);
}

#[test]
fn gaps_stated_in_a_comment_are_read() {
    let text = r#"{"spdxVersion":"SPDX-2.3","comment":"made by hand\nincomplete: no licences"}"#;
    assert_eq!(check(text, 0, false).gaps, ["no licences"]);
}

#[test]
fn other_documents_are_refused_by_name() {
    let neither =
        "document has neither `spdxVersion` nor `bomFormat`, so it is no SBOM that we read";
    let table = [
        ("", "SBOM is malformed"),
        ("{}", neither),
        (
            r#"{"spdxVersion":"SPDX-2.3","bomFormat":"CycloneDX"}"#,
            neither,
        ),
        (r#"{"bomFormat":"Other"}"#, neither),
        (
            r#"{"spdxVersion":"SPDX-3.0"}"#,
            "SBOM says version `SPDX-3.0`: SPDX 2 and CycloneDX 1 are supported",
        ),
        (
            r#"{"bomFormat":"CycloneDX","specVersion":"2.0"}"#,
            "SBOM says version `2.0`: SPDX 2 and CycloneDX 1 are supported",
        ),
        (
            r#"{"spdxVersion":"SPDX-2.3","packages":{}}"#,
            "SBOM is malformed",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            parse(text.as_bytes()).unwrap_err().to_string(),
            expected,
            "{text}"
        );
    }
}
