//! The accounts API.

use serde_json::json;

use crate::harness::{Answer, TestServer, send};

async fn post(server: &TestServer, path: &str, body: serde_json::Value) -> Answer {
    send(server.request("POST", path).json(&body)).await
}

#[tokio::test]
async fn an_account_is_made_used_changed_and_removed() {
    let server = TestServer::start().await;
    let new = json!({"name": "dev", "grants": {"pull": ["apps/**"]}});
    assert_eq!(
        post(&server, "/api/v1/accounts", new.clone()).await.status,
        201
    );
    let again = post(&server, "/api/v1/accounts", new).await;
    assert_eq!(again.status, 409);
    let issued = post(&server, "/api/v1/accounts/dev/tokens", json!({})).await;
    assert_eq!(issued.status, 201);
    let issued = issued.json();
    let token = issued["token"].as_str().unwrap().to_owned();
    let whoami = async || {
        send(
            server
                .anonymous("GET", "/api/v1/whoami")
                .bearer_auth(&token),
        )
        .await
    };
    assert_eq!(
        whoami().await.json()["grants"],
        json!({"pull": ["apps/**"]})
    );
    let changed = json!({"name": "dev", "grants": {"push": ["apps/shop"]}});
    let put = server.request("PUT", "/api/v1/accounts/dev").json(&changed);
    assert_eq!(send(put).await.status, 200);
    // At once, although the token was remembered.
    assert_eq!(
        whoami().await.json()["grants"],
        json!({"push": ["apps/shop"]})
    );
    let path = format!(
        "/api/v1/accounts/dev/tokens/{}",
        issued["id"].as_str().unwrap()
    );
    assert_eq!(server.ask("DELETE", &path).await.status, 204);
    assert_eq!(whoami().await.status, 401);
    assert_eq!(
        server.ask("DELETE", "/api/v1/accounts/dev").await.status,
        204
    );
    assert_eq!(server.ask("GET", "/api/v1/accounts/dev").await.status, 404);
}

#[tokio::test]
async fn a_removed_and_remade_account_does_not_bring_its_tokens_back() {
    let server = TestServer::start().await;
    let token = server.account("dev", json!({"pull": ["**"]})).await;
    let ask = async || {
        send(server.anonymous("GET", "/v2/").bearer_auth(&token))
            .await
            .status
    };
    assert_eq!(ask().await, 200);
    server.ask("DELETE", "/api/v1/accounts/dev").await;
    assert_eq!(ask().await, 401);
    post(
        &server,
        "/api/v1/accounts",
        json!({"name": "dev", "grants": {"pull": ["**"]}}),
    )
    .await;
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn a_password_works_and_is_kept_as_argon2id() {
    let server = TestServer::start().await;
    let new = json!({"name": "ann", "password": "correct horse battery"});
    assert_eq!(post(&server, "/api/v1/accounts", new).await.status, 201);
    for (name, password, expected) in [
        ("ann", "correct horse battery", 200),
        ("ann", "correct horse batterz", 401),
        ("bob", "correct horse battery", 401),
    ] {
        let request = server.anonymous("GET", "/v2/");
        let answer = send(request.basic_auth(name, Some(password))).await;
        assert_eq!(answer.status, expected, "{name} {password}");
    }
    let row = server.front.store.accounts.token("password:ann").await;
    assert!(row.unwrap().unwrap().secret_hash.starts_with("$argon2id$"));
    // The id of the row that holds the hash is no token.
    let request = server.anonymous("GET", "/v2/").bearer_auth("password:ann");
    assert_eq!(send(request).await.status, 401);
}

#[tokio::test]
async fn malformed_requests_say_what_is_wrong() {
    let server = TestServer::start().await;
    for (body, expected) in [
        (
            "{",
            "the request body is malformed: EOF while parsing an object at line 1 column 1",
        ),
        (
            r#"{"name": "a", "grants": {"pusch": []}}"#,
            "the request body is malformed: unknown field `pusch`, expected one of `admin`, `pull`, \
             `push`, `delete`, `profiles`, `git`, `approve` at line 1 column 32",
        ),
        (
            r#"{"name": "@run"}"#,
            "`@run` is not an account name: use lower-case letters, digits, `.`, `_` and `-`",
        ),
        (
            r#"{"name": "a", "password": "short"}"#,
            "a password has 12 characters at least and 256 bytes at most",
        ),
    ] {
        let request = server.request("POST", "/api/v1/accounts").body(body);
        let answer = send(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.message().as_str()),
            (400, expected)
        );
    }
    assert_eq!(server.ask("GET", "/api/v1/accounts/a").await.status, 404);
}

#[tokio::test]
async fn only_administrators_manage_accounts() {
    let server = TestServer::start().await;
    let dev = server.account("dev", json!({"push": ["**"]})).await;
    for (method, path) in [
        ("GET", "/api/v1/accounts"),
        ("GET", "/api/v1/accounts/dev"),
        ("DELETE", "/api/v1/accounts/admin"),
        ("DELETE", "/api/v1/accounts/admin/tokens/x"),
    ] {
        let answer = send(server.anonymous(method, path).bearer_auth(&dev)).await;
        let expected = (403, "account `dev` has no grant `admin`");
        assert_eq!(
            (answer.status.as_u16(), answer.message().as_str()),
            expected,
            "{path}"
        );
    }
}
