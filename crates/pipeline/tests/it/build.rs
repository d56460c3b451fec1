//! Building images.

use std::path::Path;

use async_trait::async_trait;
use client::{ArtifactSource, TagOrDigest};
use oci::Reference;
use pipeline::builder::{
    BaseImages, BaseRefusal, BuildError, BuildNetwork, BuildRequest, BuildServices, BuiltImage,
    build_image,
};

use crate::machine::Machine;

/// Knows one base image by name and refuses all others.
struct Known<'a>(&'a str, &'a Reference);

#[async_trait]
impl BaseImages for Known<'_> {
    async fn admit(&self, name: &str) -> Result<Reference, BaseRefusal> {
        if name == self.0 {
            return Ok(self.1.clone());
        }
        Err(BaseRefusal {
            name: name.to_owned(),
            reason: "nobody vouches for it".to_owned(),
            is_verdict: true,
        })
    }
}

async fn build(machine: &Machine, source: &Path, tag: &str) -> Result<BuiltImage, BuildError> {
    let target = machine.reference(&format!("apps/shop:{tag}"));
    let scratch = machine.folder(&format!("scratch-{tag}"), &[]);
    let login = machine.login();
    let request = BuildRequest {
        source,
        dockerfile: "Dockerfile",
        context: ".",
        scratch: &scratch,
        target: &target,
        timestamp: 1_700_000_000,
        network: BuildNetwork::None,
        login: &login,
    };
    let services = BuildServices {
        engine: &machine.engine,
        bases: &Known("base/box:1", &machine.base),
        repository: &machine.repository(&target),
        log: &machine.log,
    };
    build_image(&request, &services).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_pushed_reproducible_and_cut_off_from_the_network() {
    let machine = Machine::start().await;
    let dockerfile = "FROM base/box:1\nCOPY greeting /greeting\n\
         RUN ls /sys/class/net >/interfaces && echo interfaces: $(cat /interfaces)\n";
    let files = [("Dockerfile", dockerfile), ("greeting", "hello")];
    let first = build(&machine, &machine.folder("one", &files), "one")
        .await
        .unwrap();
    let second = build(&machine, &machine.folder("two", &files), "two")
        .await
        .unwrap();
    assert_eq!(first.descriptor, second.descriptor);
    assert_eq!(first.bases["base/box:1"], machine.base);
    let target = machine.reference("apps/shop:one");
    let name = TagOrDigest::Digest(first.descriptor.digest.clone());
    let found = machine.repository(&target).resolve(&name).await.unwrap();
    assert_eq!(found.size, first.descriptor.size);
    let log = machine.log.text();
    assert!(log.contains("interfaces: lo\n"), "{log}");
    assert!(!log.contains("the-token-of-the-run"), "{log}");
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_admitted_is_not_built_on() {
    let machine = Machine::start().await;
    let refused = machine.folder("refused", &[("Dockerfile", "FROM base/other:1\n")]);
    let error = build(&machine, &refused, "refused").await.unwrap_err();
    assert!(matches!(error, BuildError::Base(_)), "{error}");

    let failing = "FROM base/box:1\nRUN echo the reason; false\n";
    let failing = machine.folder("failing", &[("Dockerfile", failing)]);
    let error = build(&machine, &failing, "failing").await.unwrap_err();
    assert!(matches!(error, BuildError::Build(_)), "{error}");
    assert!(machine.log.text().contains("the reason"));

    let link = machine.folder("link", &[]);
    std::os::unix::fs::symlink("/etc/passwd", link.join("Dockerfile")).unwrap();
    let error = build(&machine, &link, "link").await.unwrap_err();
    assert!(matches!(error, BuildError::Source { .. }), "{error}");
    machine.stop().await;
}

/// The policy file is a second line of defence: it must hold where our reading of the Dockerfile
/// were to fail, so it is tried without that reading.
#[tokio::test(flavor = "multi_thread")]
async fn buildah_itself_refuses_what_the_policy_does_not_name() {
    use pipeline::runner;
    let machine = Machine::start().await;
    let other = oci::Digest::sha256(b"other");
    let policy = machine.folder("policy", &[]).join("policy.json");
    let admitted = machine.base.at(other);
    machine
        .engine
        .write_image_policy(&policy, &[admitted])
        .unwrap();
    let dockerfile = format!("FROM {}\n", machine.base);
    let context = machine.folder("context", &[("Dockerfile", &dockerfile)]);
    let command = machine
        .engine
        .buildah()
        .args([
            "bud",
            "--isolation",
            "oci",
            "--pull-always",
            "--signature-policy",
        ])
        .arg(&policy)
        .arg(&context);
    let limit = std::time::Duration::from_secs(60);
    let error = runner::capture(&command, limit).await.unwrap_err();
    assert!(
        error.to_string().contains("is rejected by policy"),
        "{error}"
    );
    machine.stop().await;
}

/// What a killed process leaves behind is removed, so that the folder of the storage can go.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_removes_what_was_left_half_done() {
    use pipeline::runner;
    let machine = Machine::start().await;
    let limit = std::time::Duration::from_secs(60);
    let base = machine.base.to_string();
    let from = machine.engine.buildah().args(["from", &base]);
    let id = runner::capture(&from, limit).await.unwrap().stdout;
    let id = String::from_utf8(id).unwrap();
    let mount = machine.engine.buildah().args(["mount", id.trim()]);
    runner::capture(&mount, limit).await.unwrap();
    let run = ["run", "--detach", "--network", "none", "--name"];
    for name in ["work-r1-tests", "countersign-test-d1"] {
        let container = machine
            .engine
            .podman()
            .args(run)
            .args([name, &base, "sleep", "1000"]);
        runner::capture(&container, limit).await.unwrap();
    }
    machine.engine.tidy().await;
    let names = machine
        .engine
        .podman()
        .args(["ps", "--all", "--format", "{{.Names}}"]);
    let names = runner::capture(&names, limit).await.unwrap().stdout;
    assert_eq!(String::from_utf8(names).unwrap(), "countersign-test-d1\n");
    let builds = machine.engine.buildah().args(["containers", "--quiet"]);
    let builds = runner::capture(&builds, limit).await.unwrap().stdout;
    assert!(!String::from_utf8(builds).unwrap().contains(id.trim()));
    machine.stop().await;
}
