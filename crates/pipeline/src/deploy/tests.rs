use super::*;
use bollard::models::{ContainerConfig, HostConfig};

fn privileges() -> Privileges {
    Privileges {
        port: 8080,
        user: "10001".to_owned(),
        read_only: true,
        memory_bytes: 128 << 20,
        cpus: 0.5,
        pids: 64,
        capabilities: vec!["NET_BIND_SERVICE".to_owned()],
    }
}

/// What an engine reports that did exactly what it was asked.
fn made() -> ContainerInspectResponse {
    ContainerInspectResponse {
        host_config: Some(HostConfig {
            cap_add: Some(vec!["CAP_NET_BIND_SERVICE".to_owned()]),
            ..host_config(&privileges(), "8080/tcp".to_owned())
        }),
        config: Some(ContainerConfig {
            user: Some("10001".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn the_least_is_asked_for() {
    let host = host_config(&privileges(), "8080/tcp".to_owned());
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.cap_add, Some(vec!["NET_BIND_SERVICE".to_owned()]));
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!((host.memory, host.pids_limit), (Some(128 << 20), Some(64)));
    assert_eq!(host.binds, None);
    let bindings = host.port_bindings.unwrap();
    let binding = &bindings["8080/tcp"].as_ref().unwrap()[0];
    assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));
}

#[test]
fn an_engine_that_grants_more_is_caught() {
    assert_eq!(more_than(&privileges(), &made()), None);
    let check = |change: &dyn Fn(&mut HostConfig), expected: &str| {
        let mut made = made();
        change(made.host_config.as_mut().unwrap());
        assert_eq!(more_than(&privileges(), &made).as_deref(), Some(expected));
    };
    check(
        &|host| host.privileged = Some(true),
        "the container is privileged",
    );
    check(
        &|host| host.cap_add.as_mut().unwrap().push("SYS_ADMIN".to_owned()),
        "the container has the capability `SYS_ADMIN`",
    );
    check(
        &|host| host.readonly_rootfs = Some(false),
        "the container's root file system is writable",
    );
    for mode in ["pid", "ipc", "network", "uts"] {
        check(
            &|host| {
                let field = match mode {
                    "pid" => &mut host.pid_mode,
                    "ipc" => &mut host.ipc_mode,
                    "network" => &mut host.network_mode,
                    _ => &mut host.uts_mode,
                };
                *field = Some("host".to_owned());
            },
            "the container shares a namespace of the machine",
        );
    }
    let mut root = made();
    root.config.as_mut().unwrap().user = Some(String::new());
    assert!(more_than(&privileges(), &root).is_some());
    let silent = ContainerInspectResponse::default();
    assert!(more_than(&privileges(), &silent).is_some());
}

#[test]
fn names_cannot_smuggle_anything() {
    assert_eq!(
        container_name("test", "run-1").unwrap(),
        "countersign-test-run-1"
    );
    for (environment, deployment) in [("", "x"), ("a/b", "x"), ("a", "x?force"), ("a", "../x")] {
        assert!(container_name(environment, deployment).is_err());
    }
}
