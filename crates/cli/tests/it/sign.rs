//! Profiles, signing, accepting and revoking, with the binary and a server of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use insta::assert_snapshot;

use crate::environment::TestEnvironment;

const POLICY: &str = r#"{"version":"1.0","trustPolicies":[{
    "name":"ours","registryScopes":["*"],"signatureVerification":{"level":"strict"},
    "trustStores":["signingAuthority:countersign"],
    "trustedIdentities":["x509.subject: C=US, ST=WA, O=Countersign, CN=ci-build"]}]}"#;

/// A server with an image, the profile `ci-build`, and somebody who trusts it.
pub(crate) fn prepared() -> TestEnvironment {
    let environment = TestEnvironment::with_server();
    environment.write("app.txt", "app\n");
    environment.write("policy.json", POLICY);
    let root = get(environment.server(), "/pki/root.pem");
    environment.write("root.pem", &root);
    let login = ["login", "SERVER", "--username", "admin", "--password-stdin"];
    let create = ["profile", "create", "ci-build", "--validity", "7 days"];
    let create = [
        &create[..],
        &["--account", "admin", "--server", "http://SERVER"],
    ]
    .concat();
    let trust = [
        "trust",
        "store",
        "add",
        "-t",
        "signingAuthority",
        "-n",
        "countersign",
        "root.pem",
    ];
    for output in [
        environment.run_reading(&login, "data/admin.token"),
        environment.run(&create),
        environment.run(&["push", "SERVER/apps/shop:v1", "app.txt"]),
        environment.run(&trust),
        environment.run(&["trust", "policy", "import", "policy.json"]),
    ] {
        assert!(output.starts_with("exit 0"), "{output}");
    }
    environment
}

pub(crate) fn get(server: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

/// Replaces identifiers of jobs, and versions of profiles.
fn redact(output: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(['(', ')', ',']);
        let hyphens = bare.matches('-').count() == 4 && bare.len() == 36;
        let version = bare.len() == 10
            && bare
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let fingerprint = bare.len() == 64 && bare.bytes().all(|b| b.is_ascii_hexdigit());
        match hyphens || version || fingerprint {
            true => word.replace(bare, "…"),
            false => word.to_owned(),
        }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    output.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_image_is_signed_verified_and_revoked() {
    let environment = prepared();
    let first = environment.json(&["sign", "SERVER/apps/shop:v1", "--profile", "ci-build"]);
    let reference = first["reference"].as_str().unwrap().to_owned();
    let sign = ["sign", reference.as_str(), "--profile", "ci-build"];
    assert_snapshot!(redact(&environment.run(&sign)), @r"
    exit 0
    signed SERVER/apps/shop@sha256:…
    attached SERVER/apps/shop@sha256:…
    profile ci-build, job …, valid until <time>
    ");
    let verified = environment.run(&["verify", &reference]);
    assert!(verified.starts_with("exit 0"), "{verified}");

    let job = environment.json(&sign)["job"].as_str().unwrap().to_owned();
    let on_server = |arguments: &[&str]| {
        let arguments = [arguments, &["--server", "http://SERVER"]].concat();
        redact(&environment.run(&arguments))
    };
    assert_snapshot!(on_server(&["signature", "revoke", &job, "--reason", "built by mistake"]), @r"
    exit 0
    job       …
    status    revoked
    signed    sha256:…
    at        <time>
    expires   <time>
    profile   ci-build (…)
    asked by  account `admin`
    rule      grants
    leaf      …
    revoked   <time> by account `admin`: built by mistake
    ");
    // The other signature still stands.
    let verified = environment.run(&["verify", &reference]);
    assert!(verified.starts_with("exit 0"), "{verified}");
    assert_snapshot!(on_server(&["profile", "revoke", "ci-build", "--reason", "token leaked"]), @r"
    exit 0
    revoked what `ci-build` signed; it signs no more: 3 signatures, from position 0 of the log on
    ");
    let verified = environment.run(&["verify", &reference]);
    assert!(verified.starts_with("exit 5"), "{verified}");
    assert!(verified.contains("signature-revoked"), "{verified}");
    assert_snapshot!(environment.run(&sign), @r"
    exit 4
    --- stderr
    error: profile `ci-build` is revoked: it makes no new signatures
    ");
}

#[test]
fn an_acceptance_names_the_evidence() {
    let environment = prepared();
    let accept = [
        "sign",
        "SERVER/apps/shop:v1",
        "--profile",
        "ci-build",
        "--accept",
        "reviewed",
    ];
    assert_snapshot!(redact(&environment.run(&accept)), @r"
    exit 0
    accepted SERVER/apps/shop@sha256:…
    attached SERVER/apps/shop@sha256:…
    graph root sha256:…
    profile ci-build, job …, valid until <time>
    --- stderr
    warning: tag `v1` may move: signing `sha256:…`, which it names now
    ");
    assert_snapshot!(environment.run(&["discover", "SERVER/apps/shop:v1"]), @r"
    exit 0
    SERVER/apps/shop@sha256:…
    └── application/vnd.countersign.acceptance.v1+json  sha256:…  signed by `ci-build` (not verified)
    graph root sha256:…
    ");
}

#[test]
fn what_cannot_be_signed_says_why() {
    let environment = prepared();
    let sign =
        |rest: &[&str]| environment.run(&[&["sign", "SERVER/apps/shop:v1"][..], rest].concat());
    assert_snapshot!(sign(&["--profile", "other"]), @r"
    exit 3
    --- stderr
    warning: tag `v1` may move: signing `sha256:…`, which it names now
    error: there is no signing profile `other`
    hint: list the profiles with `countersign profile list`
    ");
    assert_snapshot!(sign(&["--profile", "a/b"]), @r"
    exit 2
    --- stderr
    error: invalid value 'a/b' for '--profile <NAME>': `a/b` is not a profile name: use 2 to 64 letters, digits, `_` and `-`

    For more information, try '--help'.
    ");
    assert_snapshot!(sign(&["--profile", "ci-build", "-m", "io.cncf.notary.x=1"]), @r"
    exit 2
    --- stderr
    warning: tag `v1` may move: signing `sha256:…`, which it names now
    error: `io.cncf.notary.x=1` is not user metadata
    hint: write it as `name=text`, with a name that does not start with `io.cncf.notary`
    ");
    let create = ["profile", "create", "closed", "--validity", "12 years"];
    assert_snapshot!(environment.run(&create), @r"
    exit 2
    --- stderr
    error: invalid value '12 years' for '--validity <TIME>': a validity of 12 years is out of range: use 1 to 11 years (135 months)

    For more information, try '--help'.
    ");
    let create = [
        "profile",
        "create",
        "closed",
        "--validity",
        "1 day",
        "--server",
        "http://SERVER",
    ];
    assert_snapshot!(redact(&environment.run(&create)), @r"
    exit 0
    made profile `closed`
    name        closed
    version     …
    status      active
    validity    1 day
    leaf        per job
    dialect     plain
    granted to  nobody
    made        <time>
    identity    x509.subject: C=US, ST=WA, O=Countersign, CN=closed
    ");
    assert_snapshot!(sign(&["--profile", "closed"]), @r"
    exit 4
    --- stderr
    warning: tag `v1` may move: signing `sha256:…`, which it names now
    error: profile `closed` is not granted to account `admin`: only the accounts and pipelines that a profile names may sign with it, and being an administrator is not a grant
    hint: ask an administrator to name you in the profile's grants, or use your own profile
    ");
    let list = ["profile", "list", "--server", "http://SERVER"];
    assert_snapshot!(environment.run(&list), @r"
    exit 0
    NAME      STATUS  VALIDITY  LEAF     GRANTED TO
    ci-build  active  7 days    per job  admin
    closed    active  1 day     per job  nobody
    ");
}
