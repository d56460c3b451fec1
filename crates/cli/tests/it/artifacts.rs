//! Pushing, attaching, looking at and copying artifacts, with the binary.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::environment::{TestEnvironment, names};

#[test]
fn artifacts_live_in_layouts() {
    let environment = TestEnvironment::new();
    environment.write("app.txt", "app\n");
    environment.write("cve.json", "{}\n");
    assert_snapshot!(environment.run(&["push", "oci:lay:v1", "app.txt:text/plain", "--artifact-type", "image/example"]), @r"
    exit 0
    pushed oci:lay@sha256:…
    tagged v1
    ");
    assert_snapshot!(environment.run(&["attach", "--artifact-type", "cve/example", "oci:lay:v1", "cve.json:application/json"]), @r"
    exit 0
    attached oci:lay@sha256:…
    to oci:lay@sha256:…
    --- stderr
    warning: tag `v1` may move: attaching to `sha256:…`, which it names now
    ");
    assert_snapshot!(environment.run(&["discover", "oci:lay:v1"]), @r"
    exit 0
    oci:lay@sha256:…
    └── cve/example  sha256:…  3 B
    graph root sha256:…
    ");
    assert_snapshot!(environment.run(&["copy", "-r", "oci:lay:v1", "oci:other:v2"]), @r"
    exit 0
    copied oci:lay@sha256:…
    to oci:other@sha256:…
    2 manifests, 3 blobs
    ");
    assert_snapshot!(environment.run(&["list", "oci:other:v2"]), @r"
    exit 0
    oci:other@sha256:…
    TYPE         DIGEST                                                                   CREATED
    cve/example  sha256:…  <time>
    ");
    assert_snapshot!(environment.run(&["tag", "oci:other:v2", "a", "b"]), @r"
    exit 0
    oci:other@sha256:… is now a, b
    ");
    assert_snapshot!(environment.run(&["list", "oci:other"]), @r"
    exit 0
    a
    b
    v2
    ");
    assert_snapshot!(environment.run(&["pull", "oci:other:a", "-d", "out"]), @r"
    exit 0
    pulled oci:other@sha256:…
      out/app.txt  4 B
    ");
    assert_eq!(environment.read("out/app.txt"), "app\n");
}

#[test]
fn artifacts_live_in_our_registry() {
    let environment = TestEnvironment::with_server();
    environment.write("app.txt", "app\n");
    environment.write("cve.json", "{}\n");
    environment.write("wrong", "wrong\n");
    let login = ["login", "SERVER", "--username", "admin", "--password-stdin"];
    assert_snapshot!(environment.run(&["push", "SERVER/apps/shop:v1", "app.txt"]), @r"
    exit 4
    --- stderr
    error: access to `SERVER/apps/shop` was denied: credentials are needed
    hint: log in with `countersign login SERVER`
    ");
    assert_snapshot!(environment.run_reading(&login, "wrong"), @r"
    exit 4
    --- stderr
    error: access to `SERVER` was denied: the credentials are not valid, or no longer (UNAUTHORIZED)
    hint: log in with `countersign login SERVER`
    ");
    assert_snapshot!(environment.run_reading(&login, "data/admin.token"), @r"
    exit 0
    logged in to SERVER as admin
    ");
    assert_snapshot!(environment.run(&["push", "SERVER/apps/shop:v1", "app.txt"]), @r"
    exit 0
    pushed SERVER/apps/shop@sha256:…
    tagged v1
    ");
    assert_snapshot!(environment.run(&["attach", "--artifact-type", "cve/example", "SERVER/apps/shop:v1", "cve.json:application/json"]), @r"
    exit 0
    attached SERVER/apps/shop@sha256:…
    to SERVER/apps/shop@sha256:…
    --- stderr
    warning: tag `v1` may move: attaching to `sha256:…`, which it names now
    ");
    assert_snapshot!(environment.run(&["copy", "--recursive", "SERVER/apps/shop:v1", "SERVER/copies/shop:v2"]), @r"
    exit 0
    copied SERVER/apps/shop@sha256:…
    to SERVER/copies/shop@sha256:…
    2 manifests, 3 blobs
    ");
    assert_snapshot!(environment.run(&["discover", "SERVER/copies/shop:v2"]), @r"
    exit 0
    SERVER/copies/shop@sha256:…
    └── cve/example  sha256:…  3 B
    graph root sha256:…
    ");
    assert_snapshot!(environment.run(&["list", "SERVER"]), @r"
    exit 0
    SERVER/apps/shop
    SERVER/copies/shop
    ");
    assert_snapshot!(environment.run(&["pull", "SERVER/copies/shop:v9"]), @r"
    exit 3
    --- stderr
    error: manifest `v9` not found in `SERVER/copies/shop`
    ");
    assert_snapshot!(environment.run(&["logout", "SERVER"]), @r"
    exit 0
    logged out of SERVER
    ");
    assert_snapshot!(environment.run(&["list", "SERVER/apps/shop"]), @r"
    exit 4
    --- stderr
    error: access to `SERVER/apps/shop` was denied: no credentials were sent (UNAUTHORIZED)
    hint: log in with `countersign login SERVER`
    ");
}

/// A program that keeps credentials in a file, one line each.
const HELPER: &str = r#"#!/bin/sh
kept="$HOME/kept"
case "$1" in
store) cat > "$kept" ;;
get) server=$(cat); test -s "$kept" || { echo "credentials not found in native keychain"; exit 1; }
     grep -q "\"ServerURL\":\"$server\"" "$kept" && cat "$kept" ;;
erase) rm "$kept" ;;
esac
"#;

#[test]
fn credentials_are_kept_by_the_helper_that_is_configured() {
    let environment = TestEnvironment::with_server();
    for folder in ["bin", ".docker"] {
        std::fs::create_dir(environment.path(folder)).unwrap();
    }
    environment.write("bin/docker-credential-test", HELPER);
    let helper = environment.path("bin/docker-credential-test");
    std::fs::set_permissions(helper, PermissionsExt::from_mode(0o755)).unwrap();
    let config = r#"{"credsStore":"test"}"#;
    environment.write(".docker/config.json", config);
    environment.write("app.txt", "app\n");

    let before = environment.run(&["list", "SERVER"]);
    assert!(before.starts_with("exit 4\n"), "{before}");
    let login = ["login", "SERVER", "--username", "admin", "--password-stdin"];
    environment.run_reading(&login, "data/admin.token");
    let pushed = environment.run(&["push", "SERVER/apps/shop:v1", "app.txt"]);
    assert!(pushed.starts_with("exit 0\n"), "{pushed}");
    assert_eq!(environment.read(".docker/config.json"), config);
    environment.run(&["logout", "SERVER"]);
    assert!(!environment.path("kept").exists());
}

#[test]
fn results_are_json_when_asked_for() {
    let environment = TestEnvironment::new();
    environment.write("app.txt", "app\n");
    let pushed = environment.json(&["push", "oci:lay:v1", "app.txt:text/plain"]);
    let digest = pushed["digest"].as_str().unwrap();
    assert_eq!(pushed["reference"], format!("oci:lay@{digest}"));
    let attached = environment.json(&["attach", "--artifact-type", "a/b", "oci:lay:v1", "app.txt"]);
    assert_eq!(attached["subject"]["digest"], digest);
    let discovered = environment.json(&["discover", "oci:lay:v1"]);
    assert_eq!(discovered["referrers"][0]["digest"], attached["digest"]);
    let tags = environment.json(&["list", "oci:lay"]);
    assert_eq!(tags["tags"], serde_json::json!(["v1"]));
    let listed = environment.json(&["list", "oci:lay:v1"]);
    assert_eq!(listed["referrers"]["a/b"][0]["digest"], attached["digest"]);
    let pulled = environment.json(&["pull", "oci:lay:v1", "-d", "out"]);
    assert_eq!(pulled["files"][0]["path"], "out/app.txt");
    let copied = environment.json(&["copy", "-r", "oci:lay:v1", "oci:other"]);
    assert_eq!(copied["manifests"], 2);
}

#[test]
fn a_wrong_use_is_explained() {
    let environment = TestEnvironment::new();
    environment.write("app.txt", "app\n");
    environment.run(&["push", "oci:lay:v1", "app.txt"]);
    assert_snapshot!(environment.run(&["discover", "shop"]), @r"
    exit 2
    --- stderr
    error: invalid value 'shop' for '<REF>': `shop` is not a reference: expected `registry/repository:tag` or `registry/repository@digest`

    For more information, try '--help'.
    ");
    assert_snapshot!(environment.run(&["discover", "oci:lay"]), @r"
    exit 2
    --- stderr
    error: `oci:lay` names no artifact
    hint: add `:tag`, or better `@sha256:…`
    ");
    assert_snapshot!(environment.run(&["discover", "oci:lay:v2"]), @r"
    exit 3
    --- stderr
    error: tag `v2` not found in `lay`
    ");
    assert_snapshot!(environment.run(&["discover", "oci:absent:v1"]), @r"
    exit 3
    --- stderr
    error: image layout not found in `absent`
    ");
    assert_snapshot!(environment.run(&["attach", "--artifact-type", "a/b", "oci:lay:v1"]), @r"
    exit 2
    --- stderr
    error: there is nothing to attach
    hint: name a file, such as `cve.json:application/json`, or add `--annotation`
    ");
    assert_snapshot!(environment.run(&["push", "oci:fresh:v2", "absent.txt"]), @r"
    exit 2
    --- stderr
    error: `absent.txt` could not be read
      caused by: No such file or directory (os error 2)
    ");
    assert_snapshot!(environment.run(&["push", "oci:fresh:v2", "app.txt", "-a", "x"]), @r"
    exit 2
    --- stderr
    error: `x` is not an annotation
    hint: write it as `name=text`
    ");
    assert_snapshot!(environment.run(&["list", "127.0.0.1:1"]), @r"
    exit 9
    --- stderr
    error: `127.0.0.1:1` is unavailable: no connection
      caused by: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)
    ");
    assert_snapshot!(environment.run(&["discover", "oci:lay:v1", "--output", "yaml"]), @r"
    exit 2
    --- stderr
    error: output format `yaml` is not one of this command's
    hint: use one of: text, json
    ");
    assert_snapshot!(environment.run(&["discover", "oci:lay:v2", "--output", "json"]), @r#"
    exit 3
    --- stderr
    {"error":{"causes":[],"hint":null,"kind":"not-found","message":"tag `v2` not found in `lay`"}}
    "#);
    assert_snapshot!(environment.run(&["login", "localhost:1"]), @r"
    exit 2
    --- stderr
    error: no user name was given
    hint: add `--username NAME`
    ");
    assert!(!environment.path("fresh").exists());
}

/// oras GHSA-g5v4, GHSA-8xwf: files outside of the folder were written.
#[test]
fn a_title_cannot_lead_out_of_the_folder() {
    let environment = TestEnvironment::new();
    environment.write("app.txt", "evil\n");
    environment.run(&["push", "oci:lay:v1", "app.txt"]);
    std::fs::create_dir(environment.path("out")).unwrap();
    std::os::unix::fs::symlink("..", environment.path("out/link")).unwrap();
    for title in ["../evil", "/tmp/evil", "link/evil"] {
        rename_layer(&environment, title);
        let run = environment.run(&["pull", "oci:lay:evil", "-d", "out"]);
        assert!(run.starts_with("exit 5\n"), "{run}");
    }
    assert_eq!(names(&environment.path("out")), ["link"]);
    assert!(!environment.path("evil").exists());
}

#[test]
fn a_file_that_is_kept_is_not_replaced() {
    let environment = TestEnvironment::new();
    environment.write("app.txt", "new\n");
    environment.run(&["push", "oci:lay:v1", "app.txt"]);
    environment.write("app.txt", "old\n");
    let kept = environment.run(&["pull", "oci:lay:v1", "--keep-old-files"]);
    assert!(kept.starts_with("exit 8\n"), "{kept}");
    assert_eq!(environment.read("app.txt"), "old\n");
    environment.run(&["pull", "oci:lay:v1"]);
    assert_eq!(environment.read("app.txt"), "new\n");
}

/// Gives the tag `evil` to a copy of `v1` whose layer has another title.
fn rename_layer(environment: &TestEnvironment, title: &str) {
    let index: serde_json::Value =
        serde_json::from_str(&environment.read("lay/index.json")).unwrap();
    let blob = |digest: &str| format!("lay/blobs/sha256/{}", &digest["sha256:".len()..]);
    let path = blob(index["manifests"][0]["digest"].as_str().unwrap());
    let manifest = environment
        .read(&path)
        .replace(r#"title":"app.txt""#, &format!(r#"title":"{title}""#));
    let digest = oci::Digest::sha256(manifest.as_bytes());
    environment.write(&blob(digest.as_str()), &manifest);
    let mut index = index;
    let mut entry = index["manifests"][0].clone();
    entry["digest"] = digest.as_str().into();
    entry["size"] = manifest.len().into();
    entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "evil" });
    index["manifests"] = serde_json::json!([index["manifests"][0], entry]);
    environment.write("lay/index.json", &index.to_string());
}
