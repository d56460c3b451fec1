//! Deploying through podman's Docker-compatible API.

use std::time::Duration;

use oci::Reference;
use pipeline::deploy::{DeployError, DeployRequest, Deployer, HealthCheck, Privileges};
use pipeline::probe;

use crate::machine::Machine;

fn privileges() -> Privileges {
    Privileges {
        port: 8080,
        user: "10001".to_owned(),
        read_only: true,
        memory_bytes: 64 << 20,
        cpus: 0.5,
        pids: 32,
        capabilities: Vec::new(),
    }
}

/// Builds an image that serves one file, or that only sleeps.
async fn image(machine: &Machine, name: &str, command: &str) -> Reference {
    let dockerfile = format!(
        "FROM {}\nRUN mkdir /www && grep -E CapEff /proc/self/status >/www/build && echo ok >/www/healthz\nCMD {command}\n",
        machine.base
    );
    let context = machine.folder(name, &[("Dockerfile", &dockerfile)]);
    let reference = machine.reference(&format!("apps/{name}:1"));
    let limit = Duration::from_secs(120);
    let build = machine
        .engine
        .buildah()
        .args([
            "bud",
            "--isolation",
            "oci",
            "--network",
            "none",
            "--runtime",
        ])
        .arg(machine.engine.runc())
        .args(["--tag", &reference.to_string()])
        .arg(&context);
    pipeline::runner::capture(&build, limit).await.unwrap();
    let digest_file = context.join("digest");
    let push = machine
        .engine
        .buildah()
        .arg("push")
        .arg("--digestfile")
        .arg(&digest_file)
        .arg(reference.to_string());
    pipeline::runner::capture(&push, limit).await.unwrap();
    let digest = std::fs::read_to_string(digest_file).unwrap();
    reference.at(digest.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_version_serves_until_the_new_one_is_well() {
    let machine = Machine::start().await;
    let service = machine.engine.start_service().await.unwrap();
    let deployer = Deployer::connect(service.socket()).await.unwrap();
    let good = image(
        &machine,
        "good",
        r#"["httpd", "-f", "-p", "8080", "-h", "/www"]"#,
    )
    .await;
    let silent = image(&machine, "silent", r#"["sleep", "1000"]"#).await;
    let broken = image(&machine, "broken", r#"["false"]"#).await;
    let privileges = privileges();
    let login = machine.login();
    let deploy = async |deployer: &Deployer, image: &Reference, deployment: &str, secs: u64| {
        let health = HealthCheck {
            path: "/healthz".to_owned(),
            within: Duration::from_secs(secs),
        };
        let request = DeployRequest {
            image,
            environment: "test",
            deployment,
            run: "r1",
            privileges: &privileges,
            health: &health,
            login: &login,
        };
        deployer.deploy(&request, &machine.log).await
    };

    let first = deploy(&deployer, &good, "d1", 60).await.unwrap();
    let again = deploy(&deployer, &good, "d1", 60).await.unwrap();
    assert_eq!(first, again, "the same action again finds its container");
    assert_eq!(probe::get(&first, "/healthz").await, Ok(200));

    let error = deploy(&deployer, &silent, "d2", 1).await.unwrap_err();
    assert!(matches!(error, DeployError::Unhealthy { .. }), "{error}");
    let error = deploy(&deployer, &broken, "d3", 60).await.unwrap_err();
    let ended = matches!(error, DeployError::Ended(_) | DeployError::Unhealthy { .. });
    assert!(ended, "{}", pipeline::runner::chain(&error));
    assert_eq!(probe::get(&first, "/healthz").await, Ok(200));
    let names: Vec<String> = deployer
        .list("test")
        .await
        .unwrap()
        .into_iter()
        .map(|c| c.deployment)
        .collect();
    assert_eq!(names, ["d1"], "what failed is gone");

    let second = deploy(&deployer, &good, "d4", 60).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(
        probe::get(&first, "/healthz").await,
        Ok(200),
        "both serve before the switch"
    );
    assert_eq!(
        deployer
            .retire("test", Some(&["d1".to_owned()]))
            .await
            .unwrap(),
        1
    );
    assert_eq!(probe::get(&second, "/healthz").await, Ok(200));
    assert!(probe::get(&first, "/healthz").await.is_err());

    // The engine's API may end; containers do not.
    drop(service);
    assert_eq!(probe::get(&second, "/healthz").await, Ok(200));
    let service = machine.engine.start_service().await.unwrap();
    let deployer = Deployer::connect(service.socket()).await.unwrap();
    assert_eq!(deployer.retire("test", None).await.unwrap(), 1);
    assert!(probe::get(&second, "/healthz").await.is_err());
    assert_eq!(deployer.retire("test", None).await.unwrap(), 0);
    drop(service);
    machine.stop().await;
}
