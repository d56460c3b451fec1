use time::Duration;

use super::super::testing::{Authority, NOW};
use super::*;

fn authority() -> Authority {
    let mut authority = Authority::new();
    authority.revoke("41");
    authority.revoke("42");
    authority
}

fn asked(serial: &str) -> Questioned<'_> {
    Questioned {
        identity: "aa",
        serial,
        profile: "ci",
        target: None,
        signed_at: None,
    }
}

#[test]
fn a_bundle_is_written_and_read() {
    let authority = authority();
    let bundle = Bundle::read(authority.bundle().as_bytes(), &authority.key).unwrap();
    assert_eq!(bundle.lines().len(), 2);
    assert_eq!(bundle.head().head, authority.head());
    assert!(bundle.covers(&"ab".repeat(32)) && !bundle.covers("other"));
    let mut empty = Authority::new();
    empty.lines.clear();
    let none = Bundle::read(empty.bundle().as_bytes(), &empty.key).unwrap();
    assert_eq!(none.judge(&asked("41"), NOW), RevocationStatus::Good);
}

#[test]
fn a_bundle_knows_only_in_its_time_and_revoked_stays_revoked() {
    let authority = authority();
    let bundle = Bundle::read(authority.bundle().as_bytes(), &authority.key).unwrap();
    let reason = |at| match bundle.judge(&asked("43"), at) {
        RevocationStatus::Good => "good".to_owned(),
        RevocationStatus::Unknown { reason } => reason,
        RevocationStatus::Revoked { .. } => "revoked".to_owned(),
    };
    let second = Duration::SECOND;
    let lines = [
        reason(NOW - second),
        reason(NOW),
        reason(NOW + Duration::DAY - second),
        reason(NOW + Duration::DAY),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    the revocation bundle is valid only from 2026-03-01T12:00:00Z on
    good
    good
    the revocation bundle expired at 2026-03-02T12:00:00Z
    ");
    let later = bundle.judge(&asked("41"), NOW + Duration::DAY);
    assert!(matches!(later, RevocationStatus::Revoked { .. }));
}

#[test]
fn a_bundle_that_was_changed_is_refused() {
    let authority = authority();
    let whole = authority.bundle();
    let swapped = {
        let (one, two) = (&authority.lines[0], &authority.lines[1]);
        whole.replace(&format!("{one}\n{two}"), &format!("{two}\n{one}"))
    };
    let text = |bytes: &str, key| match Bundle::read(bytes.as_bytes(), key) {
        Ok(_) => "read".to_owned(),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let key = key.to_string();
            format!(
                "{error} ({})",
                cause.unwrap_or_default().replace(&key, "KEY")
            )
        }
    };
    let stranger = Authority::new();
    let key = &authority.key;
    let table = [
        ("as it is", text(&whole, key)),
        ("another key", text(&whole, &stranger.key)),
        (
            "a line changed",
            text(&whole.replace("\"41\"", "\"43\""), key),
        ),
        (
            "a line left out",
            text(
                &whole.replace(&format!("{}\n", authority.lines[1]), ""),
                key,
            ),
        ),
        ("lines in another order", text(&swapped, key)),
        (
            "a line of an unknown kind",
            text(&whole.replace("certificate", "account"), key),
        ),
        (
            "a longer time",
            text(&whole.replace("until 1", "until 2"), key),
        ),
        (
            "a heartbeat",
            text(&format!("{}\n\n", authority.sign("x\n".to_owned())), key),
        ),
        ("no note", text(&authority.lines.join("\n"), key)),
        (
            "no empty line",
            text(whole.split("\n{").next().unwrap(), key),
        ),
    ];
    let lines = table.map(|(name, found)| format!("{name}: {found}"));
    insta::assert_snapshot!(lines.join("\n"), @r"
    as it is: read
    another key: the revocation bundle cannot be trusted (no key that is trusted here signed the note: expected `KEY`)
    a line changed: the revocations of the bundle are not those that were signed: it was changed ()
    a line left out: the revocations of the bundle are not those that were signed: it was changed ()
    lines in another order: the revocations of the bundle are not those that were signed: it was changed ()
    a line of an unknown kind: revocation 1 of the bundle cannot be used (not a revocation that is understood here: unknown variant `account`, expected one of `signatures`, `certificate`, `profile`, `digest` at line 1 column 91)
    a longer time: the revocation bundle cannot be trusted (the signature of `example/log` over the note is not valid)
    a heartbeat: the revocation bundle cannot be trusted (the signed text is unusable: it is of another kind)
    no note: not a revocation bundle: it begins with no signed note ()
    no empty line: not a revocation bundle: no empty line after the signed note ()
    ");
}
