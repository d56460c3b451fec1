use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::project::Project;

const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

fn pipeline(name: &str) -> Pipeline {
    let project = Project::parse(include_str!("../project/tests/shop.yaml")).unwrap();
    project.pipeline(&self::name(name)).unwrap().clone()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn production() -> RunState {
    let input = Input::Image {
        repository: "apps/shop".parse().unwrap(),
        digest: Digest::sha256(b"image"),
        tag: Some("latest".parse().unwrap()),
    };
    RunState::new(&pipeline("production"), input)
}

fn completed(action: &str, attempt: u32) -> Event {
    Event::Completed {
        action: name(action),
        attempt,
        outputs: ActionOutputs::default(),
    }
}

fn failed(action: &str, attempt: u32) -> Event {
    Event::Failed {
        action: name(action),
        attempt,
        failure: Failure {
            code: "command-failed".to_owned(),
            message: "exit status 1".to_owned(),
        },
    }
}

fn approved(account: &str) -> Event {
    Event::Approved {
        action: name("approval"),
        account: name(account),
        approval: Digest::sha256(b"approval"),
    }
}

fn rejected(account: &str) -> Event {
    Event::Rejected {
        action: name("approval"),
        account: name(account),
        comment: "not on a Friday".to_owned(),
    }
}

/// Applies `events` to a fresh production run and tells the story.
fn story(events: Vec<Event>) -> String {
    let mut run = production();
    let mut lines = Vec::new();
    for event in events {
        match step(&run, event, NOW) {
            Ok((next, effects)) => {
                let statuses: Vec<&str> =
                    next.actions().map(|a| a.status.kind().as_str()).collect();
                lines.push(format!(
                    "{} | {} | {effects:?}",
                    next.status().as_str(),
                    statuses.join(" ")
                ));
                run = next;
            }
            Err(error) => lines.push(format!("refused: {error}")),
        }
    }
    lines.join("\n")
}

#[test]
fn a_run_goes_from_verdict_to_deployment() {
    insta::assert_snapshot!(story(vec![
        completed("verdict", 1),
        Event::Started,
        Event::Started,
        completed("verdict", 1),
        completed("verdict", 1),
        completed("approval", 1),
        approved("dev"),
        approved("release-manager"),
        approved("release-manager"),
        Event::Leased {
            action: name("deploy"),
            attempt: 1,
            by: "worker-1".to_owned()
        },
        Event::Leased {
            action: name("deploy"),
            attempt: 1,
            by: "worker-2".to_owned()
        },
        completed("deploy", 2),
        completed("nothing", 1),
        completed("deploy", 1),
        Event::Retried,
    ]));
}

#[test]
fn a_failed_action_is_tried_again_and_the_others_are_kept() {
    insta::assert_snapshot!(story(vec![
        Event::Started,
        completed("verdict", 1),
        approved("release-manager"),
        failed("deploy", 1),
        completed("deploy", 1),
        Event::Retried,
        completed("deploy", 1),
        Event::TimedOut {
            action: name("deploy"),
            attempt: 2
        },
        Event::Retried,
        completed("deploy", 3),
    ]));
}

#[test]
fn a_rejected_run_stays_rejected() {
    insta::assert_snapshot!(story(vec![
        Event::Started,
        completed("verdict", 1),
        rejected("security"),
        rejected("release-manager"),
        Event::Retried,
        Event::Superseded {
            by: "run-2".to_owned()
        },
    ]));
}

#[test]
fn a_newer_run_takes_the_place_of_one_that_waits() {
    insta::assert_snapshot!(story(vec![
        Event::Started,
        completed("verdict", 1),
        Event::Superseded {
            by: "run-2".to_owned()
        },
        approved("release-manager"),
        Event::Retried,
    ]));
}

#[test]
fn an_approval_that_comes_too_late_does_not_count() {
    let run = production();
    let (run, _) = step(&run, Event::Started, NOW).unwrap();
    let (run, _) = step(&run, completed("verdict", 1), NOW).unwrap();
    let (_, until) = run.awaited_approval().unwrap();
    assert_eq!(until, NOW + time::Duration::days(7));
    let late = step(&run, approved("release-manager"), until);
    assert_eq!(late, Err(StepError::TooLate(name("approval"), until)));
}

#[test]
fn outputs_are_kept_with_the_action_that_made_them() {
    let input = Input::Commit {
        repository: name("shop"),
        branch: "main".to_owned(),
        commit: "a".repeat(40),
    };
    let image = ProducedImage {
        repository: "apps/shop".parse().unwrap(),
        digest: Digest::sha256(b"image"),
    };
    let sbom: oci::MediaType = "sbom/example".parse().unwrap();
    let mut run = RunState::new(&pipeline("development"), input);
    let built = ActionOutputs {
        image: Some(image.clone()),
        ..ActionOutputs::default()
    };
    let listed = ActionOutputs {
        artifacts: vec![(sbom.clone(), Digest::sha256(b"sbom"))],
        ..ActionOutputs::default()
    };
    let done = |action: &str, outputs| Event::Completed {
        action: name(action),
        attempt: 1,
        outputs,
    };
    for event in [
        Event::Started,
        completed("unit-tests", 1),
        done("image", built),
        done("sbom", listed),
    ] {
        run = step(&run, event, NOW).unwrap().0;
    }
    assert_eq!(run.outputs().image, Some(image));
    assert_eq!(run.outputs().artifacts[0].action, name("sbom"));
    assert_eq!(
        run.outputs().artifacts_of(&sbom).collect::<Vec<_>>(),
        [&Digest::sha256(b"sbom")]
    );
    assert_eq!(run.stage_of(&name("sbom")), Some(&name("evidence")));
    let stored = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<RunState>(&stored).unwrap(), run);
}

#[test]
fn a_state_of_another_version_is_refused() {
    let mut run = production();
    run.version = 2;
    assert_eq!(step(&run, Event::Started, NOW), Err(StepError::Version(2)));
}

fn any_event() -> impl Strategy<Value = Event> {
    let action = prop::sample::select(vec!["verdict", "approval", "deploy", "nothing"]);
    let account = prop::sample::select(vec!["release-manager", "dev"]);
    let of_action = (action, 0u32..4, 0u8..4).prop_map(|(action, attempt, kind)| match kind {
        0 => completed(action, attempt),
        1 => failed(action, attempt),
        2 => Event::TimedOut {
            action: name(action),
            attempt,
        },
        _ => Event::Leased {
            action: name(action),
            attempt,
            by: "w".to_owned(),
        },
    });
    prop_oneof![
        6 => of_action,
        1 => Just(Event::Started),
        1 => Just(Event::Retried),
        1 => Just(Event::Superseded { by: "run-2".to_owned() }),
        2 => account.clone().prop_map(approved),
        1 => account.prop_map(rejected),
    ]
}

/// What must hold in every state that can be reached.
fn check_state(run: &RunState) {
    let kinds: Vec<Status> = run.actions().map(|a| a.status.kind()).collect();
    let done = kinds
        .iter()
        .take_while(|kind| **kind == Status::Succeeded)
        .count();
    let rest = &kinds[done..];
    let after = match run.status() {
        Status::Pending | Status::Running | Status::WaitingForApproval => Status::Pending,
        _ => Status::Skipped,
    };
    // Successes come first, then at most one action that decides, then those whose turn has not
    // come or will not come.
    assert!(rest.iter().skip(1).all(|kind| *kind == after), "{kinds:?}");
    match rest.first() {
        None => assert_eq!(run.status(), Status::Succeeded),
        Some(Status::Pending) => assert!(run.started.is_none()),
        Some(kind) => assert_eq!(
            run.status(),
            if *kind == Status::Skipped {
                Status::Superseded
            } else {
                *kind
            }
        ),
    }
}

proptest! {
    #[test]
    fn no_sequence_of_events_reaches_an_impossible_state(
        events in prop::collection::vec(any_event(), 0..40)
    ) {
        let mut run = production();
        for event in events {
            let before = run.clone();
            let retry = event == Event::Retried;
            let Ok((next, effects)) = step(&run, event, NOW) else { continue };
            check_state(&next);
            prop_assert!(!before.status().is_final(), "{before:?} moved");
            for (old, new) in before.actions().zip(next.actions()) {
                prop_assert!(new.attempt - old.attempt <= 1);
                if old.status.kind() == Status::Succeeded {
                    prop_assert_eq!(old, new);
                }
                if retry && new.attempt > old.attempt {
                    prop_assert_eq!(old.status.kind(), Status::Failed);
                }
            }
            let finish = effects.iter().any(|e| matches!(e, Effect::Finish(_)));
            prop_assert_eq!(finish, next.status().is_finished());
            run = next;
        }
    }
}
