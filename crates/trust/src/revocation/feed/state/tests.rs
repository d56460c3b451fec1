use super::super::Head;
use super::super::testing::{Authority, NOW};
use super::*;

fn second(count: i64) -> OffsetDateTime {
    NOW + Duration::seconds(count)
}

/// A reader that holds one revocation and a heartbeat over it.
fn fresh() -> (Authority, FeedState) {
    let mut authority = Authority::new();
    let mut state = FeedState::new(authority.key.clone());
    state.apply(authority.revoke("41").as_bytes(), NOW).unwrap();
    state
        .apply(authority.heartbeat(NOW).as_bytes(), NOW)
        .unwrap();
    (authority, state)
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
fn a_revocation_counts_before_its_heartbeat() {
    let (mut authority, mut state) = fresh();
    assert_eq!(state.judge(&asked("42"), NOW), RevocationStatus::Good);
    let line = authority.revoke("42");
    assert_eq!(
        state.apply(line.as_bytes(), NOW),
        Ok(Applied::Revocation(2))
    );
    assert_eq!(
        state.judge(&asked("42"), NOW),
        RevocationStatus::Revoked {
            at: NOW,
            reason: "revocation 2: leaked".to_owned()
        }
    );
}

#[test]
fn silence_turns_good_into_unknown_after_ten_seconds_and_leaves_revoked() {
    let (authority, mut state) = fresh();
    let good = |state: &FeedState, count| {
        state.judge(&asked("42"), second(count)) == RevocationStatus::Good
    };
    assert!(good(&state, 0) && good(&state, 10));
    assert!(!good(&state, 11));
    let RevocationStatus::Unknown { reason } = state.judge(&asked("42"), second(11)) else {
        panic!("it is unknown");
    };
    insta::assert_snapshot!(reason, @"nothing was heard of the revocations of `example/log` since 2026-03-01T12:00:00Z, for more than 10 seconds");
    let revoked = state.judge(&asked("41"), second(1000));
    assert!(matches!(revoked, RevocationStatus::Revoked { .. }));
    // It comes back with the next heartbeat.
    let next = authority.heartbeat(second(20));
    state.apply(next.as_bytes(), second(21)).unwrap();
    assert!(good(&state, 30));
    // What counts is when it was signed, where that is older than when it came.
    assert!(!good(&state, 31));
}

#[test]
fn a_heartbeat_of_a_clock_that_is_ahead_counts_from_when_it_came() {
    let (authority, mut state) = fresh();
    let ahead = authority.heartbeat(second(5));
    state.apply(ahead.as_bytes(), second(1)).unwrap();
    assert!(matches!(state.status(second(11)), FeedStatus::Fresh { .. }));
    assert!(matches!(state.status(second(12)), FeedStatus::Lost { .. }));
}

#[test]
fn a_clock_that_was_set_back_knows_nothing() {
    let (_, state) = fresh();
    assert!(matches!(state.status(second(-5)), FeedStatus::Fresh { .. }));
    assert!(matches!(state.status(second(-6)), FeedStatus::Lost { .. }));
}

#[test]
fn before_the_first_heartbeat_nothing_is_known_of_anybody() {
    let mut authority = Authority::new();
    let mut state = FeedState::new(authority.key.clone());
    assert!(state.covers("whoever"));
    let unknown = |state: &FeedState| {
        let status = state.judge(&asked("42"), NOW);
        matches!(status, RevocationStatus::Unknown { .. })
    };
    assert!(unknown(&state));
    state.apply(authority.revoke("41").as_bytes(), NOW).unwrap();
    assert!(unknown(&state));
    state
        .apply(authority.heartbeat(NOW).as_bytes(), NOW)
        .unwrap();
    assert!(!unknown(&state));
    assert!(!state.covers("whoever") && state.covers(&"ab".repeat(32)));
    state.restart();
    assert!(unknown(&state) && !state.covers("whoever"));
}

#[test]
fn what_is_not_genuine_next_and_of_now_is_refused() {
    let (authority, state) = fresh();
    let head = || authority.head();
    let over = |head| authority.heartbeat_over(head, second(2));
    let mut more = Authority::new();
    more.lines = authority.lines.clone();
    let forged = more.heartbeat(second(2));
    let note = authority.sign("countersign revocation bundle v1\nexample/log\n".to_owned());
    let text = |line: &str| match state.clone().apply(line.as_bytes(), second(2)) {
        Ok(applied) => format!("{applied:?}"),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let key = authority.key.to_string();
            format!(
                "{error} ({})",
                cause.unwrap_or_default().replace(&key, "KEY")
            )
        }
    };
    let second_line = {
        more.revoke("42");
        more.revoke("43")
    };
    let table = [
        ("as it should be", over(head())),
        ("of another key", forged),
        ("another text", Heartbeat::line(&note)),
        (
            "another origin",
            over(Head {
                origin: "b/log".to_owned(),
                ..head()
            }),
        ),
        (
            "another count",
            over(Head {
                sequence: 2,
                ..head()
            }),
        ),
        (
            "fewer than before",
            over(Head {
                sequence: 0,
                ..head()
            }),
        ),
        (
            "another chain",
            over(Head {
                chain: crate::revocation::feed::empty_chain(),
                ..head()
            }),
        ),
        (
            "no issuer",
            over(Head {
                issuers: vec![String::new()],
                ..head()
            }),
        ),
        ("seen before", authority.heartbeat(NOW)),
        ("from the past", authority.heartbeat(second(-4))),
        ("from the future", authority.heartbeat(second(8))),
        ("a line too far", second_line),
        ("a line again", authority.lines[0].clone()),
        ("no line", "{".to_owned()),
    ];
    let lines = table.map(|(name, line)| format!("{name}: {}", text(&line)));
    insta::assert_snapshot!(lines.join("\n"), @r"
    as it should be: Heartbeat
    of another key: a heartbeat cannot be used (no key that is trusted here signed the note: expected `KEY`)
    another text: a heartbeat cannot be used (the signed text is unusable: it is of another kind)
    another origin: a heartbeat cannot be used (it is about the revocations of `b/log`, not of `example/log`)
    another count: the heartbeat is about 2 revocations, and 1 came ()
    fewer than before: the feed went back from 1 revocations to 0 ()
    another chain: the 1 revocations that came are not those that the heartbeat is about ()
    no issuer: a heartbeat cannot be used (the signed text is unusable: the issuers are not SHA-256 hashes)
    seen before: the heartbeat of 2026-03-01T12:00:00Z was seen before ()
    from the past: the heartbeat is of 2026-03-01T11:59:56Z, more than 5 seconds from now: it was kept back, or a clock is wrong ()
    from the future: the heartbeat is of 2026-03-01T12:00:08Z, more than 5 seconds from now: it was kept back, or a clock is wrong ()
    a line too far: revocation 2 should come next, and 3 came ()
    a line again: revocation 2 should come next, and 1 came ()
    no line: a line of the feed cannot be used (not a revocation that is understood here: EOF while parsing an object at line 1 column 1)
    ");
}

#[test]
fn an_authority_that_was_set_back_is_not_followed_after_a_restart() {
    let (mut authority, mut state) = fresh();
    state.restart();
    authority.lines.clear();
    let empty = authority.heartbeat(second(2));
    let refused = state.apply(empty.as_bytes(), second(2)).unwrap_err();
    assert_eq!(refused, FeedError::WentBack { before: 1, now: 0 });
    assert!(refused.needs_restart());
}
