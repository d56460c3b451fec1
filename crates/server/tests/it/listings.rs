//! Tags and the catalogue, page by page.

use serde_json::json;

use crate::harness::{Answer, TestServer, send};

/// Returns the path in the `Link` header, or nothing on the last page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    let path = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    Some(path.to_owned())
}

async fn pages(server: &TestServer, first: &str, member: &str) -> Vec<String> {
    let mut path = Some(first.to_owned());
    let mut pages = Vec::new();
    while let Some(at) = path {
        let answer = server.ask("GET", &at).await;
        assert_eq!(answer.status, 200, "{at}");
        let rows = answer.json()[member].as_array().unwrap().clone();
        let rows: Vec<_> = rows.iter().map(|row| row.as_str().unwrap()).collect();
        pages.push(rows.join(" "));
        path = next(&answer);
    }
    pages
}

#[tokio::test]
async fn tags_come_in_order_and_in_pages() {
    let server = TestServer::start().await;
    for tag in ["b", "a", "B", "_x", "1.0"] {
        server.push_image("repo", tag, "x").await;
    }
    for (query, expected) in [
        ("", &["1.0 B _x a b"][..]),
        ("?n=2", &["1.0 B", "_x a", "b"]),
        ("?n=5", &["1.0 B _x a b"]),
        ("?n=0", &[""]),
        ("?n=10&last=_x", &["a b"]),
        ("?last=zzz", &[""]),
        ("?n=99999999999999999999", &["1.0 B _x a b"]),
    ] {
        let path = format!("/v2/repo/tags/list{query}");
        assert_eq!(pages(&server, &path, "tags").await, expected, "{query}");
    }
    for query in ["?n=-1", "?n=x"] {
        let answer = server
            .ask("GET", &format!("/v2/repo/tags/list{query}"))
            .await;
        assert_eq!(answer.error(), "400 SIZE_INVALID", "{query}");
    }
    let unknown = server.ask("GET", "/v2/none/tags/list").await;
    assert_eq!(unknown.error(), "404 NAME_UNKNOWN");
}

#[tokio::test]
async fn the_catalogue_shows_what_the_caller_may_read() {
    let server = TestServer::start().await;
    for repository in ["apps/one", "apps/two", "base", "team/x"] {
        server.push_image(repository, "t", "x").await;
    }
    for (query, expected) in [
        ("", &["apps/one apps/two base team/x"][..]),
        ("?n=3", &["apps/one apps/two base", "team/x"]),
        ("?n=0", &[""]),
        ("?n=2147483648", &["apps/one apps/two base team/x"]),
    ] {
        let path = format!("/v2/_catalog{query}");
        assert_eq!(
            pages(&server, &path, "repositories").await,
            expected,
            "{query}"
        );
    }
    let grants = json!({"pull": ["apps/*"], "push": ["team/x"]});
    let dev = server.account("dev", grants).await;
    let answer = send(
        server
            .anonymous("GET", "/v2/_catalog?n=2")
            .bearer_auth(&dev),
    )
    .await;
    assert_eq!(
        answer.json(),
        json!({"repositories": ["apps/one", "apps/two"]})
    );
    assert!(next(&answer).is_some());
    let rest = server.anonymous("GET", &next(&answer).unwrap());
    let answer = send(rest.bearer_auth(&dev)).await;
    assert_eq!(answer.json(), json!({"repositories": ["team/x"]}));
    assert_eq!(next(&answer), None);
}
