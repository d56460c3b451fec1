use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::profile::rules::{Principals, Rules};

fn rules(value: serde_json::Value) -> Vec<Rule> {
    serde_json::from_value::<Rules>(value).unwrap().into()
}

fn stored(repository: &str, artifact_type: &str) -> Artifact {
    Artifact::Stored {
        repository: repository.parse().unwrap(),
        artifact_type: artifact_type.parse().unwrap(),
    }
}

fn say(rules: &[Rule], principal: &Principal, artifact: &Artifact, used: u64) -> String {
    match decide(
        rules,
        RuleRequest {
            principal,
            artifact,
        },
        |_| used,
    ) {
        Decision::Allowed(rule) => format!("allowed by {rule}"),
        Decision::Denied(RuleDenial::NoMatch(near)) => {
            let near: Vec<String> = near.iter().map(ToString::to_string).collect();
            format!("no match; {}", near.join("; "))
        }
        Decision::Denied(RuleDenial::ByRule { rule, uncertain }) => match uncertain {
            Some(_) => format!("perhaps denied by {rule}"),
            None => format!("denied by {rule}"),
        },
        Decision::Denied(RuleDenial::Quota { rule, quota }) => {
            format!("{rule} allows only {quota}")
        }
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = rules(json!([
        {"id": "no-eve", "deny": {"accounts": ["eve"]}},
        {"id": "no-prod", "deny": {"kinds": ["robot"]}, "repositories": ["prod/**"]},
        {"id": "images", "allow": {"accounts": ["dev", "eve", "bot"]}, "artifactTypes": ["application/vnd.oci.image.*"], "repositories": ["apps/**", "prod/**"]},
        {"id": "few", "allow": {"accounts": ["dev"]}, "artifactTypes": ["sbom/*"], "quota": "5 per hour"},
        {"id": "bots", "allow": {"accounts": ["bot"]}},
    ]));
    let dev = Principal::account("dev");
    let bot = Principal::account("bot").as_robot();
    let eve = Principal::account("eve");
    let image = "application/vnd.oci.image.config.v1+json";
    let nowhere = Artifact::default();
    for (principal, artifact, used, expected) in [
        (&dev, stored("apps/shop", image), 0, "allowed by images"),
        (&eve, stored("apps/shop", image), 0, "denied by no-eve"),
        (&bot, stored("prod/shop", image), 0, "denied by no-prod"),
        (&bot, stored("apps/shop", image), 0, "allowed by images"),
        (&bot, stored("other", image), 0, "allowed by bots"),
        (&bot, nowhere.clone(), 0, "perhaps denied by no-prod"),
        (&dev, stored("other", "sbom/example"), 4, "allowed by few"),
        (
            &dev,
            stored("other", "sbom/example"),
            5,
            "few allows only 5 per hour",
        ),
        (
            &dev,
            stored("other", image),
            0,
            "no match; rule `images` would match, but it is not about repository `other`; rule `few` would match, but it is not about artifacts of type `application/vnd.oci.image.config.v1+json`",
        ),
        (
            &dev,
            nowhere.clone(),
            0,
            "no match; rule `images` would match, but it is bound to artifact types, and SignPayload does not say which; rule `few` would match, but it is bound to artifact types, and SignPayload does not say which",
        ),
        (
            &Principal::account("mallory"),
            stored("apps/shop", image),
            0,
            "no match; ",
        ),
    ] {
        assert_eq!(say(&rules, principal, &artifact, used), expected);
    }
}

#[test]
fn a_rule_bound_to_repositories_never_matches_a_bare_payload() {
    let rules =
        rules(json!([{"id": "ci-images", "allow": {"accounts": ["dev"]}, "repositories": ["**"]}]));
    let dev = Principal::account("dev");
    assert_eq!(
        say(&rules, &dev, &Artifact::default(), 0),
        "no match; rule `ci-images` would match, but it is bound to repositories, and SignPayload does not say which"
    );
}

#[test]
fn an_exhausted_quota_is_not_passed_on_to_the_next_rule() {
    let rules = rules(json!([
        {"id": "few", "allow": {"accounts": ["dev"]}, "quota": "1 per day"},
        {"id": "all", "allow": {"anyone": true}},
    ]));
    let dev = Principal::account("dev");
    assert_eq!(
        say(&rules, &dev, &Artifact::default(), 1),
        "few allows only 1 per day"
    );
}

#[test]
fn every_condition_is_explained() {
    let rules = rules(json!([
        {"id": "a", "allow": {"accounts": ["eve"]}, "artifactTypes": ["x/y"], "repositories": ["apps/**"]},
        {"id": "b", "deny": {"anyone": true}, "repositories": ["apps/**"]},
    ]));
    let dev = Principal::account("dev");
    let artifact = stored("other", "a/b");
    let steps = explain(
        &rules,
        RuleRequest {
            principal: &dev,
            artifact: &artifact,
        },
    );
    assert_eq!(
        steps[0].misses,
        [
            Miss::Principal,
            Miss::ArtifactType("a/b".to_owned()),
            Miss::Repository("other".to_owned())
        ]
    );
    assert_eq!(steps[1].misses, [Miss::Repository("other".to_owned())]);
    assert!(!steps[0].matches && !steps[1].matches && steps[1].denies);
}

fn any_principals() -> impl Strategy<Value = Principals> {
    let name = prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let names = || prop::collection::btree_set(name.clone(), 0..3);
    (any::<bool>(), names(), names(), names()).prop_map(|(anyone, accounts, groups, pipelines)| {
        Principals {
            anyone: anyone && accounts.is_empty(),
            accounts,
            groups,
            pipelines,
            ..Principals::default()
        }
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let types = prop::collection::vec(prop::sample::select(vec!["x/*", "y/z", "**"]), 0..2);
    let places = prop::collection::vec(prop::sample::select(vec!["a/*", "b", "**"]), 0..2);
    let quota = prop::option::of(Just("2 per day"));
    (any::<bool>(), any_principals(), types, places, quota).prop_map(
        |(allows, who, types, places, quota)| Rule {
            id: "r".parse().unwrap(),
            effect: if allows {
                Effect::Allow(who)
            } else {
                Effect::Deny(who)
            },
            artifact_types: types.iter().map(|one| one.parse().unwrap()).collect(),
            repositories: places.iter().map(|one| one.parse().unwrap()).collect(),
            quota: quota.filter(|_| allows).map(|one| one.parse().unwrap()),
        },
    )
}

/// Rules whose ids say their place.
fn any_rules(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(any_rule(), count).prop_map(|mut rules| {
        for (place, rule) in rules.iter_mut().enumerate() {
            rule.id = format!("r{place}").parse().unwrap();
        }
        rules
    })
}

fn any_artifact() -> impl Strategy<Value = Artifact> {
    let place = prop::sample::select(vec!["a/x", "b", "c"]);
    let kind = prop::sample::select(vec!["x/q", "y/z", "n/n"]);
    prop_oneof![
        Just(Artifact::default()),
        (place, kind).prop_map(|(place, kind)| stored(place, kind)),
    ]
}

fn any_caller() -> impl Strategy<Value = Principal> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned);
    let groups = prop::collection::btree_set(name.clone(), 0..2);
    (name.clone(), groups, prop::option::of(name)).prop_map(|(account, groups, pipeline)| {
        Principal {
            pipeline,
            ..Principal::account(&account).in_groups(groups)
        }
    })
}

proptest! {
    #[test]
    fn what_only_denies_never_allows(rules in any_rules(0..6), caller in any_caller(), artifact in any_artifact(), used in 0u64..4) {
        let denying: Vec<Rule> = rules.into_iter().filter(|rule| matches!(rule.effect, Effect::Deny(_))).collect();
        let request = RuleRequest { principal: &caller, artifact: &artifact };
        prop_assert!(matches!(decide(&denying, request, |_| used), Decision::Denied(_)));
    }

    #[test]
    fn a_rule_below_never_changes_what_an_earlier_one_decided(rules in any_rules(1..6), below in any_rule(), caller in any_caller(), artifact in any_artifact(), used in 0u64..4) {
        let request = RuleRequest { principal: &caller, artifact: &artifact };
        let before = decide(&rules, request, |_| used);
        let mut longer = rules.clone();
        longer.push(Rule { id: "below".parse().unwrap(), ..below });
        let after = decide(&longer, request, |_| used);
        if !matches!(before, Decision::Denied(RuleDenial::NoMatch(_))) {
            prop_assert_eq!(before, after);
        } else if let Decision::Allowed(rule) = after {
            prop_assert_eq!(rule.as_str(), "below");
        }
    }

    #[test]
    fn a_denial_of_everybody_on_top_denies_everything(rules in any_rules(0..6), caller in any_caller(), artifact in any_artifact()) {
        let mut closed = vec![Rule {
            id: "closed".parse().unwrap(),
            effect: Effect::Deny(Principals { anyone: true, ..Principals::default() }),
            artifact_types: Vec::new(),
            repositories: Vec::new(),
            quota: None,
        }];
        closed.extend(rules);
        let decision = decide(&closed, RuleRequest { principal: &caller, artifact: &artifact }, |_| 0);
        let expected = RuleDenial::ByRule { rule: "closed".parse().unwrap(), uncertain: None };
        prop_assert_eq!(decision, Decision::Denied(expected));
    }

    /// The one that decides is the first of those that decide alone.
    #[test]
    fn order_matters_and_nothing_else_does(rules in any_rules(0..6), caller in any_caller(), artifact in any_artifact(), used in 0u64..4) {
        let request = RuleRequest { principal: &caller, artifact: &artifact };
        let alone = |rule: &Rule| decide(std::slice::from_ref(rule), request, |_| used);
        let first = rules.iter().map(alone).find(|one| !matches!(one, Decision::Denied(RuleDenial::NoMatch(_))));
        let together = decide(&rules, request, |_| used);
        match first {
            Some(first) => prop_assert_eq!(together, first),
            None => prop_assert!(matches!(together, Decision::Denied(RuleDenial::NoMatch(_)))),
        }
    }

    #[test]
    fn knowing_less_never_allows_more(rules in any_rules(0..6), caller in any_caller(), artifact in any_artifact()) {
        let unknown = Artifact::default();
        let less = decide(&rules, RuleRequest { principal: &caller, artifact: &unknown }, |_| 0);
        // Whoever hides what is signed gets no more than with some rule that names neither.
        if let Decision::Allowed(rule) = less {
            let rule = rules.iter().find(|one| one.id == rule).unwrap();
            prop_assert!(rule.repositories.is_empty() && rule.artifact_types.is_empty());
            let known = decide(&rules, RuleRequest { principal: &caller, artifact: &artifact }, |_| 0);
            prop_assert!(matches!(known, Decision::Allowed(_)), "{:?}", known);
        }
    }
}
