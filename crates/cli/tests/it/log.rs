//! The transparency log with the binary: checking, copying, proving, and asking for it in a policy.

use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::environment::TestEnvironment;
use crate::sign::{get, prepared};

const SERVER: [&str; 2] = ["--server", "http://SERVER"];

fn key(environment: &TestEnvironment) -> String {
    get(environment.server(), "/log/key").trim_end().to_owned()
}

fn run(environment: &TestEnvironment, arguments: &[&str]) -> String {
    environment.run(&[arguments, &SERVER].concat())
}

fn sign(environment: &TestEnvironment) -> Value {
    environment.json(&["sign", "SERVER/apps/shop:v1", "--profile", "ci-build"])
}

/// A bundle has binary lengths between its entries.
fn replace_once(file: &Path, from: &[u8], to: &[u8]) {
    let mut bytes = std::fs::read(file).unwrap();
    let found = bytes.windows(from.len()).position(|window| window == from);
    let start = found.unwrap();
    bytes.splice(start..start + from.len(), to.iter().copied());
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_log_is_checked_remembered_and_copied() {
    let environment = prepared();
    let (job, key) = (sign(&environment)["job"].clone(), key(&environment));
    let verify = ["log", "verify", "--key", &key, "--state", "state.json"];
    let first = run(&environment, &verify);
    assert!(first.starts_with("exit 0"), "{first}");
    sign(&environment);
    let again = run(&environment, &verify);
    assert!(again.contains("it continues the"), "{again}");

    let exported = run(&environment, &["log", "export", "copy", "--key", &key]);
    assert!(exported.starts_with("exit 0"), "{exported}");
    let offline = [
        "log",
        "verify",
        "--dir",
        "copy",
        "--key",
        &key,
        "--state",
        "state.json",
    ];
    assert!(environment.run(&offline).starts_with("exit 0"));
    let size = environment.json(&offline)["size"].as_u64().unwrap();
    let bundle = environment.path(&format!("copy/tile/entries/000.p/{size}"));
    replace_once(&bundle, b"ci-build", b"ci-bulid");
    let changed = environment.run(&offline);
    assert!(changed.starts_with("exit 5"), "{changed}");
    assert!(changed.contains("log-inconsistent"), "{changed}");

    let job = job.as_str().unwrap();
    let shown = run(&environment, &["log", "show", job]);
    assert!(shown.contains("kind             signature"), "{shown}");
    let proof = run(&environment, &["log", "prove", job]);
    assert!(proof.contains("c2sp.org/tlog-proof@v1\nextra "), "{proof}");
    assert_snapshot!(run(&environment, &["log", "show", "999"]), @r"
    exit 3
    --- stderr
    error: there is no entry 999 in a log of 3 entries
    ");
    assert_snapshot!(run(&environment, &["log", "prove", "nonsense"]), @r"
    exit 2
    --- stderr
    error: `nonsense` is not the position of an entry or a signing job
    ");
}

#[test]
fn another_key_and_a_missing_witness_are_noticed() {
    let environment = prepared();
    let own = environment.json(&["witness", "key", "--dir", "w", "--name", "w.example"]);
    let again = environment.json(&["witness", "key", "--dir", "w", "--name", "other.example"]);
    assert_eq!(own, again);
    let (key, witness) = (key(&environment), own["key"].as_str().unwrap());
    let lonely = ["log", "verify", "--key", &key, "--witness", witness];
    let lonely = run(&environment, &lonely);
    assert!(lonely.starts_with("exit 5"), "{lonely}");
    assert!(lonely.contains("log-witnesses-missing"), "{lonely}");
    let foreign = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let foreign = run(&environment, &["log", "verify", "--key", foreign]);
    assert!(foreign.starts_with("exit 5"), "{foreign}");
    assert!(foreign.contains("log-checkpoint-invalid"), "{foreign}");
}

#[test]
fn a_policy_that_asks_for_the_log_is_met_by_what_sign_attaches() {
    let environment = prepared();
    let reference = sign(&environment)["reference"].as_str().unwrap().to_owned();
    let ask = |key: &str| {
        let mut policy: Value = serde_json::from_str(&environment.read("policy.json")).unwrap();
        policy["trustPolicies"][0]["transparencyLog"] = json!({"logs": [key]});
        environment.write("asking.json", &policy.to_string());
        let imported = environment.run(&["trust", "policy", "import", "--force", "asking.json"]);
        assert!(imported.starts_with("exit 0"), "{imported}");
        environment.run(&["verify", &reference])
    };
    let trusted = ask(&key(&environment));
    assert!(trusted.starts_with("exit 0"), "{trusted}");
    let foreign = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let refused = ask(foreign);
    assert!(refused.starts_with("exit 5"), "{refused}");
    assert!(refused.contains("log-inclusion-invalid"), "{refused}");
}
