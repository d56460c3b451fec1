//! What takes two persons: requested by one, confirmed by another, done once.

use serde_json::{Value, json};
use server::auth::NewTokenRequest;
use store::accounts::AccountRow;

use crate::harness::{Answer, send};
use crate::signing::{Fixture, error};

/// Two administrators and a robot that is one, and two persons required.
struct Committee {
    fixture: Fixture,
    anna: String,
    bert: String,
    robot: String,
}

impl Committee {
    async fn start() -> Self {
        let fixture = Fixture::start().await;
        let committee = Self {
            anna: administrator(&fixture, "anna", false).await,
            bert: administrator(&fixture, "bert", false).await,
            robot: administrator(&fixture, "robot", true).await,
            fixture,
        };
        let on = committee.require(&committee.anna, true).await;
        assert_eq!(on.status, 200, "{on:?}");
        committee
    }

    async fn require(&self, token: &str, required: bool) -> Answer {
        let body = json!({"required": required});
        self.fixture.put(token, "settings/two-person", body).await
    }

    async fn revoke(&self, token: &str) -> Answer {
        let body = json!({"reason": "key lost"});
        self.fixture
            .post(token, "profiles/ci-build/revoke", body)
            .await
    }

    async fn confirm(&self, token: &str, pending: &Value) -> Answer {
        let path = format!("pending/{}/confirm", pending["id"].as_str().unwrap());
        let body = json!({"digest": pending["digest"]});
        self.fixture.post(token, &path, body).await
    }

    async fn status(&self) -> String {
        let shown = self
            .fixture
            .get(&self.anna, "profiles/ci-build")
            .await
            .json();
        shown["status"].as_str().unwrap().to_owned()
    }
}

async fn administrator(fixture: &Fixture, name: &str, is_robot: bool) -> String {
    let row = AccountRow {
        administrator: true,
        is_robot,
        ..AccountRow::new(name, server::clock::now())
    };
    fixture
        .server
        .front
        .store
        .accounts
        .put_account(&row)
        .await
        .unwrap();
    fixture.server.token(name, NewTokenRequest::default()).await
}

fn pending(answer: &Answer) -> Value {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["pending"].clone()
}

#[tokio::test]
async fn a_second_person_confirms_exactly_those_bytes() {
    let committee = Committee::start().await;
    let waiting = pending(&committee.revoke(&committee.anna).await);
    assert_eq!(waiting["requestedBy"], "anna");
    assert_eq!(waiting["summary"], "revoke profile `ci-build`: key lost");
    assert_eq!(committee.status().await, "Active");

    let mut other = waiting.clone();
    other["digest"] = json!(oci::Digest::sha256(b"other"));
    for (token, what, expected) in [
        (&committee.anna, &waiting, "403 second-person-needed"),
        (&committee.robot, &waiting, "403 person-needed"),
        (&committee.fixture.dev, &waiting, "403 denied"),
        (&committee.bert, &other, "409 pending-digest-differs"),
    ] {
        let refused = committee.confirm(token, what).await;
        assert_eq!(error(&refused), expected);
        assert_eq!(committee.status().await, "Active");
    }
    let done = committee.confirm(&committee.bert, &waiting).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(done.json()["status"], "Revoked");
    assert_eq!(
        done.json()["revocation"]["by"],
        "account `anna`, confirmed by `bert`"
    );
    let again = committee.confirm(&committee.bert, &waiting).await;
    assert_eq!(error(&again), "409 pending-settled");
    let listed = committee
        .fixture
        .get(&committee.anna, "pending")
        .await
        .json();
    assert_eq!(listed[0]["state"], "done");
    assert_eq!(listed[0]["settledBy"], "bert");
}

#[tokio::test]
async fn two_confirmations_at_once_carry_it_out_once() {
    let committee = Committee::start().await;
    let carla = administrator(&committee.fixture, "carla", false).await;
    for number in 0..5 {
        let rules = json!({"rules": [{"id": format!("r{number}"), "allow": {"anyone": true}}]});
        let asked = committee
            .fixture
            .put(&committee.anna, "profiles/ci-build/rules", rules)
            .await;
        let waiting = pending(&asked);
        let (one, two) = tokio::join!(
            committee.confirm(&committee.bert, &waiting),
            committee.confirm(&carla, &waiting),
        );
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn what_was_confirmed_and_not_done_is_done_at_the_next_start() {
    let committee = Committee::start().await;
    let waiting = pending(&committee.revoke(&committee.anna).await);
    let front = &committee.fixture.server.front;
    // The front was killed between the two steps.
    let key =
        store::documents::DocumentKey::new("pending-operation", waiting["id"].as_str().unwrap());
    let row = front.store.documents.get(&key).await.unwrap().unwrap();
    let mut stored: Value = serde_json::from_slice(&row.bytes).unwrap();
    stored["state"] = json!("confirmed");
    stored["settledBy"] = json!("bert");
    let bytes = serde_json::to_vec(&stored).unwrap();
    front
        .store
        .documents
        .put(&key, &bytes, server::clock::now())
        .await
        .unwrap();
    server::two_person::resume(front).await.unwrap();
    assert_eq!(committee.status().await, "Revoked");
}

#[tokio::test]
async fn late_and_withdrawn_operations_are_not_done() {
    let committee = Committee::start().await;
    let waiting = pending(&committee.revoke(&committee.anna).await);
    let path = format!("pending/{}/withdraw", waiting["id"].as_str().unwrap());
    let withdrawn = committee
        .fixture
        .post(&committee.anna, &path, json!({}))
        .await;
    assert_eq!(withdrawn.json()["state"], "withdrawn");
    assert_eq!(
        error(&committee.confirm(&committee.bert, &waiting).await),
        "409 pending-settled"
    );

    let waiting = pending(&committee.revoke(&committee.anna).await);
    let front = &committee.fixture.server.front;
    let key =
        store::documents::DocumentKey::new("pending-operation", waiting["id"].as_str().unwrap());
    let row = front.store.documents.get(&key).await.unwrap().unwrap();
    let mut stored: Value = serde_json::from_slice(&row.bytes).unwrap();
    stored["requestedAt"] = json!("2020-01-01T00:00:00Z");
    // Younger than 90 days, or it would be forgotten: a day and an hour ago.
    let at = server::clock::now() - time::Duration::hours(25);
    let text = at
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    stored["requestedAt"] = json!(text);
    let bytes = serde_json::to_vec(&stored).unwrap();
    front
        .store
        .documents
        .put(&key, &bytes, server::clock::now())
        .await
        .unwrap();
    assert_eq!(
        error(&committee.confirm(&committee.bert, &waiting).await),
        "409 pending-expired"
    );
    assert_eq!(committee.status().await, "Active");
}

#[tokio::test]
async fn everything_dangerous_waits() {
    let committee = Committee::start().await;
    let Committee { fixture, anna, .. } = &committee;
    let signed = fixture
        .sign(&fixture.dev, &oci::Digest::sha256(b"x"))
        .await
        .json();
    let job = signed["job"].as_str().unwrap();
    let reason = json!({"reason": "x"});
    let admin = json!({"name": "eve", "grants": {"admin": true}});
    let member = json!({"name": "dev", "groups": ["release"], "grants": {"push": ["**"]}});
    let signer = json!({"name": "ops", "grants": {"profiles": ["ci-build"]}});
    let replaced = json!({"name": "ci-build", "validity": "8 days", "replace": true});
    for (method, path, body) in [
        ("POST", "profiles/ci-build/cancel".to_owned(), json!({})),
        ("POST", "profiles".to_owned(), replaced),
        ("POST", format!("signatures/{job}/revoke"), reason),
        ("POST", "accounts".to_owned(), admin),
        ("POST", "accounts".to_owned(), signer),
        ("PUT", "accounts/dev".to_owned(), member),
        ("DELETE", "accounts/bert".to_owned(), json!({})),
        (
            "PUT",
            "settings/two-person".to_owned(),
            json!({"required": false}),
        ),
    ] {
        let request = fixture.server.anonymous(method, &format!("/api/v1/{path}"));
        let answer = send(request.bearer_auth(anna).json(&body)).await;
        assert_eq!(answer.status, 202, "{method} {path}: {answer:?}");
    }
    // What grants nothing over signing does not.
    let reader = json!({"name": "reader", "grants": {"pull": ["**"]}});
    assert_eq!(fixture.post(anna, "accounts", reader).await.status, 201);
    // Nor are robots let to begin.
    assert_eq!(
        error(&committee.revoke(&committee.robot).await),
        "403 person-needed"
    );
    // Credentials of another administrator would make one person two.
    let token = fixture.post(anna, "accounts/bert/tokens", json!({})).await;
    assert_eq!(error(&token), "403 second-person-needed");
    let own = fixture.post(anna, "accounts/anna/tokens", json!({})).await;
    assert_eq!(own.status, 201);
}

#[tokio::test]
async fn turning_it_off_takes_two_and_turning_it_on_needs_two() {
    let committee = Committee::start().await;
    let waiting = pending(&committee.require(&committee.anna, false).await);
    assert_eq!(
        committee.confirm(&committee.bert, &waiting).await.status,
        200
    );
    let revoked = committee.revoke(&committee.anna).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");

    let alone = Fixture::start().await;
    let admin = alone.server.admin.clone();
    let refused = alone
        .put(&admin, "settings/two-person", json!({"required": true}))
        .await;
    assert_eq!(error(&refused), "409 conflict");
}

#[tokio::test]
async fn a_profile_may_ask_for_two_by_itself() {
    let fixture = Fixture::start().await;
    let anna = administrator(&fixture, "anna", false).await;
    let new = json!({"name": "guarded", "validity": "1 day", "twoPerson": true, "grants": {"accounts": ["dev"]}});
    assert_eq!(
        fixture.post(&anna, "profiles", new.clone()).await.status,
        201
    );
    let mut open = new;
    open["twoPerson"] = json!(false);
    open["replace"] = json!(true);
    assert_eq!(fixture.post(&anna, "profiles", open).await.status, 202);
    let cancel = async |name: &str| {
        fixture
            .post(&anna, &format!("profiles/{name}/cancel"), json!({}))
            .await
            .status
    };
    assert_eq!(cancel("guarded").await, 202);
    assert_eq!(cancel("ci-build").await, 200);
    let signer = json!({"name": "ops", "grants": {"profiles": ["guarded"]}});
    assert_eq!(fixture.post(&anna, "accounts", signer).await.status, 202);
}
