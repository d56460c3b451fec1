//! Keys in an HSM, by SoftHSM2. Its module reads its settings from the environment when it is
//! loaded, so each test runs in a child: this test binary, started again with one test.

use std::path::{Path, PathBuf};
use std::process::Command;

use signer::custody::{
    Custody as _, CustodyError, KeyAlgorithm, KeyUse, Token, TokenOptions, behaviour,
};

const MODULES: [&str; 2] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
];
const CHILD: &str = "COUNTERSIGN_TEST_TOKENS";
const PIN: &str = "4915-2038";

/// Runs the test `child` of this file with a token `signing`.
#[expect(
    clippy::disallowed_methods,
    reason = "the module is loaded in a child of the test"
)]
fn in_child(child: &str) {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let settings = folder.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&settings, text).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "signing"])
        .args(["--so-pin", "so-pin-1234", "--pin", PIN])
        .env("SOFTHSM2_CONF", &settings)
        .output()
        .expect("these tests need `softhsm2-util`: see scripts/require.sh");
    assert!(made.status.success(), "{made:?}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env("SOFTHSM2_CONF", &settings)
        .env(CHILD, &tokens)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(PIN), "the PIN is shown: {text}");
}

fn tokens() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

fn options(token: &str, pin: &str) -> TokenOptions {
    let module = MODULES.iter().map(Path::new).find(|path| path.exists());
    TokenOptions {
        module: module.expect("SoftHSM2's module is installed").to_owned(),
        token: token.to_owned(),
        key_prefix: "countersign".to_owned(),
        pin: pin.to_owned().into(),
    }
}

fn open(token: &str, pin: &str) -> Result<Token, CustodyError> {
    Token::open(options(token, pin))
}

#[test]
fn a_token_behaves_as_a_custody() {
    in_child("pkcs11::child_behaves");
}

#[test]
fn child_behaves() {
    if tokens().is_none() {
        return;
    }
    let token = open("signing", PIN).unwrap();
    for algorithm in KeyAlgorithm::ALL {
        behaviour::check(&token, &format!("check-{algorithm}"), algorithm).unwrap();
    }
    // Another process, or the same after a restart, finds the same key.
    let again = open("signing", PIN).unwrap();
    let (one, two) = (token.open("check-p384"), again.open("check-p384"));
    let (one, two) = (one.unwrap().unwrap(), two.unwrap().unwrap());
    assert_eq!(one.public_key_der(), two.public_key_der());
    assert_eq!(token.describe(), "PKCS#11 token `signing`");
}

#[test]
fn a_wrong_pin_is_tried_once_and_not_again() {
    in_child("pkcs11::child_wrong_pin");
}

#[test]
fn child_wrong_pin() {
    if tokens().is_none() {
        return;
    }
    let refused = open("signing", "0000-0000").err().unwrap();
    assert!(matches!(refused, CustodyError::Locked { .. }), "{refused}");
    assert!(!refused.to_string().contains("0000-0000"));
    // The token still opens: no attempt was wasted.
    open("signing", PIN).unwrap();
    let absent = open("other", PIN).err().unwrap();
    assert!(absent.is_passing(), "{absent}");
    assert!(
        absent.to_string().contains("no token of that label"),
        "{absent}"
    );
}

#[test]
fn a_token_that_went_away_is_found_again() {
    in_child("pkcs11::child_unplugged");
}

#[test]
fn child_unplugged() {
    let Some(tokens) = tokens() else {
        return;
    };
    let token = open("signing", PIN).unwrap();
    let key = token.generate("intermediate", KeyAlgorithm::P384).unwrap();
    key.sign(KeyUse::Certificate, b"before").unwrap();
    let away = tokens.with_file_name("away");
    std::fs::rename(&tokens, &away).unwrap();
    std::fs::create_dir(&tokens).unwrap();
    let unreachable = token.open("intermediate").err();
    let unreachable = unreachable.unwrap_or_else(|| {
        // SoftHSM keeps what it read; signing looks at the file.
        key.sign(KeyUse::Certificate, b"during").unwrap_err()
    });
    assert!(unreachable.is_passing(), "{unreachable}");
    let signing = key.sign(KeyUse::Certificate, b"during").unwrap_err();
    assert!(signing.is_passing(), "{signing}");

    std::fs::remove_dir(&tokens).unwrap();
    std::fs::rename(&away, &tokens).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let signature = loop {
        match key.sign(KeyUse::Certificate, b"after") {
            Ok(signature) => break signature,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    };
    let signed = (b"after".as_slice(), signature.as_slice());
    assert!(behaviour::verifies(
        key.as_ref(),
        KeyUse::Certificate,
        signed
    ));
}

#[test]
fn many_threads_share_the_sessions() {
    in_child("pkcs11::child_threads");
}

#[test]
fn child_threads() {
    if tokens().is_none() {
        return;
    }
    let token = open("signing", PIN).unwrap();
    let key = token.generate("intermediate", KeyAlgorithm::P256).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8u8 {
            let key = &key;
            scope.spawn(move || {
                for round in 0..20u8 {
                    let message = [number, round];
                    let signature = key.sign(KeyUse::Envelope, &message).unwrap();
                    let signed = (message.as_slice(), signature.as_slice());
                    assert!(behaviour::verifies(key.as_ref(), KeyUse::Envelope, signed));
                }
            });
        }
    });
}

#[test]
fn a_key_that_can_leave_the_token_is_refused() {
    in_child("pkcs11::child_extractable");
}

#[test]
fn child_extractable() {
    use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
    use cryptoki::mechanism::Mechanism;
    use cryptoki::object::Attribute;
    if tokens().is_none() {
        return;
    }
    let token = open("signing", PIN).unwrap();
    let module = Pkcs11::new(options("signing", PIN).module).unwrap();
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    let session = module.open_rw_session(slot).unwrap();
    let named = [
        Attribute::Token(true),
        Attribute::Label(b"countersign-loose".to_vec()),
    ];
    // The object identifier of P-384.
    let curve = vec![0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
    let public = [named.as_slice(), &[Attribute::EcParams(curve)]].concat();
    let private = [
        named.as_slice(),
        &[Attribute::Sensitive(true), Attribute::Extractable(true)],
    ]
    .concat();
    session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap();
    let refused = token.open("loose").err().unwrap().to_string();
    assert!(
        refused.contains("can be taken out of the token"),
        "{refused}"
    );
    assert!(token.open("absent").unwrap().is_none());
}
