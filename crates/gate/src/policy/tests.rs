use super::*;

const WHOLE: &str = include_str!("../decide/tests/policy.yaml");

#[test]
fn a_whole_policy_is_read() {
    let policy = GatePolicy::parse(WHOLE).unwrap();
    assert_eq!(policy.name, "production");
    assert_eq!(policy.digest, Digest::sha256(WHOLE.as_bytes()));
    assert_eq!((policy.require.len(), policy.forbid.len()), (8, 1));
    let types: Vec<String> = policy
        .content_types()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        types,
        [
            "application/vnd.countersign.provenance.v1+json",
            "cve/example",
            "sbom/example"
        ]
    );
}

fn broken((from, to): (&str, &str)) -> String {
    assert!(WHOLE.contains(from), "{from}");
    match GatePolicy::parse(&WHOLE.replacen(from, to, 1)) {
        Ok(_) => panic!("{to} was accepted"),
        Err(error) => format!("{to}\n    {error}"),
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let table = [
        ("countersign.dev/v1", "gate/v1"),
        ("GatePolicy", "Policy"),
        ("name: production", "name: Production!"),
        ("build: {profiles: [ci-build]}", "build: {}"),
        (
            "build: {profiles: [ci-build]}",
            "build: {identities: [CN=x]}",
        ),
        (
            "build: {profiles: [ci-build]}",
            "build: {identities: [\"x509.subject: nonsense\"]}",
        ),
        ("signed: {by: build}", "signed: {by: builder}"),
        ("signed: {by: build}", "signd: {by: build}"),
        (
            "signed: {by: build}",
            "acceptance: {by: build}\n    signed: {by: build}",
        ),
        ("    signed: {by: build}\n", ""),
        ("id: sbom", "id: image"),
        ("id: sbom", "id: graph"),
        (
            "pick: latest, signedBy: build, maxAge: 7d",
            "signedBy: build",
        ),
        (
            "pick: latest, signedBy: build, maxAge: 7d",
            "pick: first, signedBy: build",
        ),
        (
            "pick: latest, signedBy: build, maxAge: 7d",
            "pick: any, signedBy: build",
        ),
        ("pick: latest, signedBy: build, maxAge: 7d", "pick: latest"),
        ("maxAge: 7d", "maxAge: week"),
        ("[spdx-json, cyclonedx-json]", "[spdx]"),
        (
            "type: sbom/example",
            "type: application/vnd.cncf.notary.signature",
        ),
        ("code: fixable-critical", "code: my-own"),
        (
            "that: \"report.findings.all(f, f.severity != 'High')\"",
            "that: \"report.findings.all(f\"",
        ),
        (
            "that: \"report.findings.all(f, f.severity != 'High')\"",
            "that: \"cve.findings == 1\"",
        ),
        (
            "acceptance: {by: security}",
            "acceptance: {by: security}\n    assert: [{that: \"true\"}]",
        ),
        ("need: 2", "need: 0"),
        ("of: [security, compliance]", "of: [security, legal]"),
        ("over: subject", "over: tag"),
        ("signedBy: release, over", "over"),
        ("over: release", "over: Release"),
        ("by: [release-manager]", "by: []"),
        ("base: {signedBy: platform", "base: {signedBy: platforms"),
        ("type: hold/example", "type: hold"),
        ("forbid:", "forbids:"),
    ];
    let shown: Vec<String> = table.into_iter().map(broken).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_policy_that_requires_nothing_is_refused() {
    let text = "apiVersion: countersign.dev/v1\nkind: GatePolicy\nname: p\n";
    let error = GatePolicy::parse(text).unwrap_err();
    assert!(error.to_string().contains("allows everything"), "{error}");
}

#[test]
fn a_role_is_held_by_profile_or_by_subject() {
    let role = |text: &str| {
        let whole = format!(
            "apiVersion: countersign.dev/v1\nkind: GatePolicy\nname: p\nroles:\n  r: {text}\nrequire:\n  - {{id: a, signed: {{by: r}}}}\n"
        );
        GatePolicy::parse(&whole).unwrap().roles["r"].clone()
    };
    let signer = |name: &str| Signer {
        subject: format!("C=US, ST=WA, O=Example, CN={name}")
            .parse()
            .unwrap(),
        common_name: name.to_owned(),
        certificate_sha256: String::new(),
        public_key_sha256: String::new(),
    };
    let by_profile = role("{profiles: [ci-build]}");
    assert!(by_profile.holds(&signer("ci-build")));
    assert!(!by_profile.holds(&signer("ci-build2")));
    let by_subject = role("{identities: [\"x509.subject: C=US, ST=WA, O=Example\"]}");
    assert!(by_subject.holds(&signer("anybody")));
    let other = role("{identities: [\"x509.subject: C=US, ST=WA, O=Other\"]}");
    assert!(!other.holds(&signer("anybody")));
}

#[test]
fn a_policy_says_what_it_requires() {
    insta::assert_snapshot!(GatePolicy::parse(WHOLE).unwrap().explain());
}

proptest::proptest! {
    /// Whatever is cut out of a policy or put into it, the answer is a policy or an error with a
    /// place inside of the text.
    #[test]
    fn a_damaged_policy_is_refused_politely(
        from in 0..WHOLE.len(), length in 0usize..40, put in "[ -~\n]{0,8}"
    ) {
        let (from, to) = (from, (from + length).min(WHOLE.len()));
        let text = format!("{}{put}{}", &WHOLE[..from], &WHOLE[to..]);
        if let Err(error) = GatePolicy::parse(&text) {
            let lines = u64::try_from(text.lines().count()).unwrap();
            proptest::prop_assert!(error.position.is_none_or(|(line, _)| line <= lines + 1));
            proptest::prop_assert!(!error.reason.is_empty());
        }
    }
}
