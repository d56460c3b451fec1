//! Confinement binds a process for good, so a child is confined: this test binary, started again
//! with one test and a variable that tells it so.

use std::path::Path;
use std::process::Command;

use signer::confine::LandlockStatus;

const FOLDER: &str = "COUNTERSIGN_TEST_CONFINED_FOLDER";

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the confined process is a child of the test"
)]
fn a_confined_process_reaches_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(folder.path().join("outside"), "secret").unwrap();
    std::fs::write(folder.path().join("readable"), "module").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "confinement::the_child", "--nocapture"])
        .env(FOLDER, &own)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(std::fs::read_to_string(own.join("kept")).unwrap(), "kept");
}

/// Does nothing unless it is the child.
#[test]
fn the_child() {
    let Some(own) = std::env::var_os(FOLDER) else {
        return;
    };
    let own = Path::new(&own);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let readable = own.parent().unwrap().join("readable");
    let report = signer::confine(&signer::Allowed {
        readable: vec![readable.clone()],
        connect_tcp: vec![port],
        ..signer::Allowed::only(&[own])
    });
    assert!(report.no_new_privileges && report.not_dumpable && report.no_core_files);
    std::fs::write(own.join("kept"), "kept").unwrap();
    // What the kernel does not have cannot be tested; the report says which it is.
    if let LandlockStatus::None(why) = &report.landlock {
        assert!(report.describe().contains(&format!("NO landlock ({why})")));
        return;
    }
    let outside = own.parent().unwrap().join("outside");
    assert!(std::fs::read(&outside).is_err());
    assert_eq!(std::fs::read_to_string(&readable).unwrap(), "module");
    assert!(std::fs::write(&readable, "changed").is_err());
    assert!(std::fs::write(&outside, "changed").is_err());
    if report.landlock == LandlockStatus::Full {
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let bound = std::net::TcpListener::bind("127.0.0.1:0");
        let connected = std::net::TcpStream::connect("127.0.0.1:1").unwrap_err();
        assert_eq!(
            bound.unwrap_err().kind(),
            std::io::ErrorKind::PermissionDenied
        );
        assert_eq!(connected.kind(), std::io::ErrorKind::PermissionDenied);
    }
}
