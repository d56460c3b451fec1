//! Who gets in, and that a denial names the rule.

use serde_json::json;
use server::auth::{NewTokenRequest, RunScope};
use time::Duration;

use crate::harness::{TestServer, send};

#[tokio::test]
async fn without_credentials_there_is_a_challenge() {
    let server = TestServer::start().await;
    for path in [
        "/v2/",
        "/v2/a/tags/list",
        "/v2/_catalog",
        "/api/v1/whoami",
        "/api/v1/accounts",
    ] {
        let answer = send(server.anonymous("GET", path)).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(
            answer.header("www-authenticate"),
            "Basic realm=\"countersign\""
        );
    }
}

#[tokio::test]
async fn a_token_works_as_bearer_and_as_basic_with_its_own_name() {
    let server = TestServer::start().await;
    let token = server.account("dev", json!({"pull": ["**"]})).await;
    let other = server.account("other", json!({})).await;
    let bearer = server.anonymous("GET", "/v2/").bearer_auth(&token);
    assert_eq!(send(bearer).await.status, 200);
    let tampered = format!("{}A", &token[..token.len() - 1]);
    for (name, secret, expected) in [
        ("dev", token.as_str(), 200),
        ("other", &token, 401),
        ("dev", &other, 401),
        ("", &token, 401),
        ("dev", "", 401),
        ("dev", &tampered, if tampered == token { 200 } else { 401 }),
        ("dev", "cst_0000000000000000_AAAA", 401),
        ("dev", "worker-secret2", 401),
    ] {
        let request = server.anonymous("GET", "/v2/");
        let answer = send(request.basic_auth(name, Some(secret))).await;
        assert_eq!(answer.status, expected, "{name}");
    }
}

#[tokio::test]
async fn an_expired_token_is_worthless_even_when_it_was_remembered() {
    let server = TestServer::start().await;
    server.account("dev", json!({})).await;
    let ask = async |expires_at| {
        let request = NewTokenRequest {
            expires_at: Some(expires_at),
            ..NewTokenRequest::default()
        };
        let token = server.token("dev", request).await;
        let first = send(server.anonymous("GET", "/v2/").bearer_auth(&token)).await;
        (first.status.as_u16(), token)
    };
    let now = server::clock::now();
    assert_eq!(ask(now - Duration::seconds(1)).await.0, 401);
    assert_eq!(ask(now + Duration::HOUR).await.0, 200);
}

#[tokio::test]
async fn a_denial_names_the_rule() {
    let server = TestServer::start().await;
    let bytes = server.push_image("apps/shop", "t", "x").await;
    let digest = oci::Digest::sha256(&bytes);
    let grants = json!({"pull": ["apps/*"], "push": ["mine"]});
    let dev = server.account("dev", grants).await;
    for (method, path, rule) in [
        ("GET", "/v2/base/manifests/t", "`pull` over `base`"),
        ("GET", "/v2/base/tags/list", "`pull` over `base`"),
        (
            "GET",
            &format!("/v2/base/blobs/{digest}"),
            "`pull` over `base`",
        ),
        (
            "GET",
            &format!("/v2/base/referrers/{digest}"),
            "`pull` over `base`",
        ),
        (
            "PUT",
            "/v2/apps/shop/manifests/t",
            "`push` over `apps/shop`",
        ),
        (
            "POST",
            "/v2/apps/shop/blobs/uploads/",
            "`push` over `apps/shop`",
        ),
        (
            "DELETE",
            "/v2/apps/shop/manifests/t",
            "`delete` over `apps/shop`",
        ),
        (
            "DELETE",
            &format!("/v2/mine/blobs/{digest}"),
            "`delete` over `mine`",
        ),
    ] {
        let answer = send(server.anonymous(method, path).bearer_auth(&dev)).await;
        assert_eq!(answer.error(), "403 DENIED", "{method} {path}");
        let expected = format!("account `dev` has no grant {rule}");
        assert_eq!(answer.message(), expected, "{method} {path}");
    }
    let allowed = server.anonymous("GET", "/v2/apps/shop/manifests/t");
    assert_eq!(send(allowed.bearer_auth(&dev)).await.status, 200);
}

#[tokio::test]
async fn a_denial_is_the_same_whether_the_repository_exists() {
    let server = TestServer::start().await;
    server.push_image("secret/one", "t", "x").await;
    let dev = server.account("dev", json!({"pull": ["apps/*"]})).await;
    let ask = async |name: &str| {
        let path = format!("/v2/{name}/manifests/t");
        let answer = send(server.anonymous("GET", &path).bearer_auth(&dev)).await;
        (answer.status, answer.message().replace(name, "NAME"))
    };
    assert_eq!(ask("secret/one").await, ask("secret/two").await);
}

#[tokio::test]
async fn a_limited_token_can_do_less_than_its_account() {
    let server = TestServer::start().await;
    server.push_image("apps/shop", "t", "x").await;
    let limits = json!({"pull": ["apps/shop"]});
    let request = NewTokenRequest {
        limits: Some(serde_json::from_value(limits).unwrap()),
        ..NewTokenRequest::default()
    };
    let token = server.token("admin", request).await;
    for (method, path, expected) in [
        ("GET", "/v2/apps/shop/tags/list", 200),
        ("GET", "/v2/base/tags/list", 403),
        ("DELETE", "/v2/apps/shop/manifests/t", 403),
        ("GET", "/api/v1/accounts", 403),
        ("POST", "/api/v1/accounts/admin/tokens", 403),
        ("PUT", "/api/v1/accounts/admin/password", 403),
    ] {
        let request = server.anonymous(method, path).bearer_auth(&token);
        let request = request.body(r#"{"password": "a long enough one"}"#);
        let request = match path {
            "/api/v1/accounts/admin/tokens" => request.body("{}"),
            _ => request,
        };
        let answer = send(request).await;
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_runs_token_does_what_the_run_may_and_is_nobody() {
    let server = TestServer::start().await;
    server.push_image("apps/shop", "t", "x").await;
    let grants = serde_json::from_value(json!({"pull": ["apps/shop"]})).unwrap();
    let run = RunScope {
        run: "run-1".to_owned(),
    };
    let until = server::clock::now() + Duration::HOUR;
    let token = server
        .front
        .auth
        .issue_for_run(run, grants, until)
        .await
        .unwrap();
    for (path, expected) in [
        ("/v2/apps/shop/tags/list", 200),
        ("/v2/apps/other/tags/list", 403),
        ("/v2/_catalog", 403),
        ("/api/v1/whoami", 403),
        ("/api/v1/accounts", 403),
    ] {
        let request = server.anonymous("GET", path).bearer_auth(token.text());
        assert_eq!(send(request).await.status, expected, "{path}");
    }
}

#[tokio::test]
async fn the_workers_token_opens_nothing_else() {
    let server = TestServer::start().await;
    server.push_image("a", "t", "x").await;
    for (path, expected) in [
        ("/v2/a/tags/list", 403),
        ("/v2/_catalog", 403),
        ("/api/v1/whoami", 403),
        ("/api/v1/accounts", 403),
    ] {
        let request = server.anonymous("GET", path).bearer_auth("worker-secret");
        assert_eq!(send(request).await.status, expected, "{path}");
    }
}
