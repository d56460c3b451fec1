//! Tests of rules and quotas.

use serde_json::json;
use time::Duration;

use super::*;

fn rules(value: serde_json::Value) -> crate::Rules {
    serde_json::from_value(value).unwrap()
}

impl Fixture {
    async fn put_rules(&self, name: &str, value: serde_json::Value) {
        let mut spec = spec(name, LeafPolicy::Rotating { days: 1 });
        spec.grants = Grants::default();
        spec.rules = rules(value);
        self.signer.put_profile(&admin(), spec, true).await.unwrap();
    }
}

/// Says which rule decided: `ok`, or the code of the denial.
fn said(result: &Result<SignedEnvelope, SignerError>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(SignerError::Denied(denial)) => denial.code().to_owned(),
        Err(other) => other.to_string(),
    }
}

#[tokio::test]
async fn a_job_names_the_rule_that_allowed_it() {
    let fixture = Fixture::new().await;
    fixture.profile("short", LeafPolicy::PerJob).await;
    let signed = fixture.sign("short").await.unwrap();
    assert_eq!(fixture.job(&signed).await.rule.unwrap().as_str(), "grants");
    fixture
        .put_rules(
            "long",
            json!([{"id": "devs", "allow": {"accounts": ["dev"]}}]),
        )
        .await;
    let signed = fixture.sign("long").await.unwrap();
    let job = fixture.job(&signed).await;
    assert_eq!((job.rule.unwrap().as_str(), job.quota_key), ("devs", None));
}

#[tokio::test]
async fn rules_deny_by_name() {
    let fixture = Fixture::new().await;
    let images = json!([
        {"id": "no-bots", "deny": {"kinds": ["robot"]}},
        {"id": "images", "allow": {"accounts": ["dev"]}, "repositories": ["apps/**"]},
    ]);
    fixture.put_rules("pp", images).await;
    let error = fixture.sign("pp").await.unwrap_err();
    insta::assert_snapshot!(error, @"no rule of profile `pp` lets account `dev` sign this; rule `images` would match, but it is bound to repositories, and SignPayload does not say which");
    let bot = SignRequest {
        principal: dev().as_robot(),
        profile: "pp".parse().unwrap(),
        owner: None,
        payload: notary_payload(),
        artifact: crate::Artifact::default(),
    };
    let error = fixture.signer.sign(bot).await.unwrap_err();
    insta::assert_snapshot!(error, @"rule `no-bots` of profile `pp` denies account `dev` this");
}

#[tokio::test]
async fn a_quota_survives_a_restart_and_counts_each_principal() {
    let fixture = Fixture::new().await;
    let few = json!([{"id": "few", "allow": {"accounts": ["dev", "ops"]}, "quota": "2 per hour"}]);
    fixture.put_rules("pp", few).await;
    assert_eq!(said(&fixture.sign("pp").await), "ok");
    let refused = SignRequest {
        principal: dev(),
        profile: "pp".parse().unwrap(),
        owner: None,
        payload: b"not a payload".to_vec(),
        artifact: crate::Artifact::default(),
    };
    // What left no job used nothing.
    assert!(fixture.signer.sign(refused).await.is_err());
    let fixture = fixture.restart().await;
    assert_eq!(said(&fixture.sign("pp").await), "ok");
    assert_eq!(said(&fixture.sign("pp").await), "quota-used-up");
    let fixture = fixture.restart().await;
    let error = fixture.sign("pp").await.unwrap_err();
    insta::assert_snapshot!(error, @"rule `few` of profile `pp` allows account `dev` only 2 per hour, and they are used up");
    let ops = SignRequest {
        principal: Principal::account("ops"),
        profile: "pp".parse().unwrap(),
        owner: None,
        payload: notary_payload(),
        artifact: crate::Artifact::default(),
    };
    assert_eq!(said(&fixture.signer.sign(ops).await), "ok");
    fixture.pass(Duration::HOUR);
    assert_eq!(said(&fixture.sign("pp").await), "ok");
    // A clock that is set back opens no window again.
    fixture.pass(-Duration::HOUR);
    assert_eq!(said(&fixture.sign("pp").await), "ok");
    assert_eq!(said(&fixture.sign("pp").await), "quota-used-up");
}

#[tokio::test]
async fn a_quota_is_exact_under_concurrency() {
    let fixture = Fixture::new().await;
    let few = json!([{"id": "few", "allow": {"accounts": ["dev"]}, "quota": "7 per day"}]);
    fixture.put_rules("pp", few).await;
    let request = SignRequest {
        principal: dev(),
        profile: "pp".parse().unwrap(),
        owner: None,
        payload: notary_payload(),
        artifact: crate::Artifact::default(),
    };
    let tries = (0..40).map(|_| {
        tokio::spawn({
            let (signer, request) = (fixture.signer.clone(), request.clone());
            async move { signer.sign(request).await.is_ok() }
        })
    });
    let mut signed = 0;
    for one in tries.collect::<Vec<_>>() {
        signed += usize::from(one.await.unwrap());
    }
    assert_eq!(signed, 7);
}

#[tokio::test]
async fn rules_can_be_tried_before_they_are_put() {
    let fixture = Fixture::new().await;
    fixture.profile("pp", LeafPolicy::PerJob).await;
    let test = RuleTest {
        profile: "pp".parse().unwrap(),
        principal: dev(),
        artifact: crate::Artifact::default(),
        rules: Some(rules(json!([
            {"id": "eve", "allow": {"accounts": ["eve"]}},
            {"id": "all", "allow": {"anyone": true}, "quota": "3 per day"},
        ]))),
    };
    let result = fixture
        .signer
        .test_rules(&admin(), test.clone())
        .await
        .unwrap();
    assert!(result.allowed);
    assert_eq!(result.rule.unwrap().as_str(), "all");
    assert_eq!(result.steps[0].misses, ["it does not name the caller"]);
    assert_eq!(result.steps[1].used.as_deref(), Some("0 of 3 per day"));
    let own = RuleTest {
        rules: None,
        ..test.clone()
    };
    assert!(
        fixture
            .signer
            .test_rules(&dev(), own)
            .await
            .unwrap()
            .allowed
    );
    assert!(fixture.signer.test_rules(&dev(), test).await.is_err());
}
