//! The control API's client.

use client::control::{ControlClient, ControlError};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::server::{Reply, TestRegistry, options};

fn control(server: &TestRegistry) -> ControlClient {
    let base = server.url("/").parse().unwrap();
    ControlClient::with_options(base, Some("t0ken".to_owned()), &options()).unwrap()
}

#[tokio::test]
async fn requests_carry_the_token_and_answers_are_json() {
    let server = TestRegistry::start().await;
    server.hook(|request| {
        let body = match request.method.as_str() {
            "DELETE" => return Some(Reply::new(204)),
            "GET" => json!({ "path": request.path }),
            _ => serde_json::from_slice(&request.body).unwrap(),
        };
        Some(Reply::ok(body.to_string()))
    });
    let control = control(&server);
    let got: Value = control.get("api/v1/runs").await.unwrap();
    assert_eq!(got, json!({ "path": "/api/v1/runs" }));
    let put: Value = control.put("api/v1/x", &json!({ "a": 1 })).await.unwrap();
    let post: Value = control.post("api/v1/x", &json!({ "a": 1 })).await.unwrap();
    assert_eq!((put, post), (json!({ "a": 1 }), json!({ "a": 1 })));
    control.delete::<()>("api/v1/x").await.unwrap();
    let is_shown = |r: &crate::server::Request| r.header("authorization") == Some("Bearer t0ken");
    assert!(server.log().iter().all(is_shown));
}

#[tokio::test]
async fn refusals_have_code_message_and_hint() {
    let server = TestRegistry::start().await;
    server.hook(|_| {
        let body = r#"{"error":{"code":"profile-not-granted","message":"no","hint":"ask"}}"#;
        Some(Reply {
            status: 403,
            ..Reply::ok(body)
        })
    });
    let error = control(&server).get::<Value>("api/v1/x").await.unwrap_err();
    let ControlError::Refused {
        status,
        code,
        message,
        hint,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!((status, code.as_str()), (403, "profile-not-granted"));
    assert_eq!((message.as_str(), hint.as_deref()), ("no", Some("ask")));
}

#[tokio::test]
async fn a_server_that_is_none_of_ours_is_told_apart() {
    let server = TestRegistry::start().await;
    for reply in [
        Reply::ok("<html>"),
        Reply::new(502),
        Reply::new(307).header("location", "/"),
    ] {
        server.hook(move |_| Some(reply.clone()));
        let error = control(&server).get::<Value>("api/v1/x").await.unwrap_err();
        assert!(matches!(error, ControlError::Malformed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_path_cannot_take_the_token_elsewhere() {
    let server = TestRegistry::start().await;
    let elsewhere = TestRegistry::start().await;
    let error = control(&server).get::<Value>(&elsewhere.url("/x")).await;
    assert!(matches!(error, Err(ControlError::Malformed { .. })));
    assert!(elsewhere.log().is_empty());
}

#[tokio::test]
async fn lines_come_one_by_one() {
    let server = TestRegistry::start().await;
    let long = "x".repeat(client::control::MAX_LINE_BYTES + 1);
    let body = format!("one\n\ntwo\r\n{long}");
    server.hook(move |_| Some(Reply::ok(body.clone())));
    let lines = control(&server).stream("api/v1/runs/1/logs").await.unwrap();
    let lines: Vec<String> = lines.map(Result::unwrap).collect().await;
    assert_eq!(lines[..3], ["one", "", "two\r"]);
    let lengths: Vec<usize> = lines[3..].iter().map(String::len).collect();
    assert_eq!(lengths, [client::control::MAX_LINE_BYTES, 1]);
}
