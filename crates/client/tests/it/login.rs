//! Credentials and tokens: who is shown them, and who is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::credentials::{Credential, Credentials};
use client::{ArtifactSink, ArtifactSource, ErrorKind};
use oci::graph::GraphLimits;
use oci::{Descriptor, MediaType};

use crate::artifacts::{manifest, push};
use crate::server::{Reply, Request, TestRegistry, client};

/// `dev:secret`.
const BASIC: &str = "Basic ZGV2OnNlY3JldA==";

fn credentials(registry: &TestRegistry, credential: Credential) -> Credentials {
    Credentials::Fixed(BTreeMap::from([(registry.name(), credential)]))
}

fn password(text: &str) -> Credential {
    Credential::Basic {
        username: "dev".to_owned(),
        password: text.to_owned().into(),
    }
}

fn shown(request: &Request) -> Option<&str> {
    request.header("authorization")
}

fn ask_basic(registry: &TestRegistry) {
    registry.hook(|request| {
        let reply = Reply::error(401, "UNAUTHORIZED");
        let is_allowed = shown(request) == Some(BASIC);
        (!is_allowed).then(|| reply.header("www-authenticate", "Basic realm=\"test\""))
    });
}

/// Has the registry take only tokens of its own, `token-N` of the N-th fetched, for as many
/// requests each as `uses` says. Returns the number of tokens fetched.
fn ask_bearer(registry: &TestRegistry, uses: usize) -> Arc<AtomicUsize> {
    let fetched = Arc::new(AtomicUsize::new(0));
    let counter = fetched.clone();
    let challenge = format!(
        r#"Bearer realm="{}",service="test",scope="repository:app:pull""#,
        registry.url("/token")
    );
    let mut used = 0;
    registry.hook(move |request| {
        if request.path == "/token" {
            let is_known = shown(request) == Some(BASIC)
                || String::from_utf8_lossy(&request.body).contains("refresh_token=secret");
            if !is_known {
                return Some(Reply::new(401));
            }
            used = 0;
            let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
            let body = format!(r#"{{"token":"token-{number}","expires_in":300}}"#);
            return Some(Reply::ok(body));
        }
        let current = format!("Bearer token-{}", counter.load(Ordering::Relaxed));
        used += 1;
        let is_allowed = shown(request) == Some(&current) && used <= uses;
        let reply = Reply::error(401, "UNAUTHORIZED");
        (!is_allowed).then(|| reply.header("www-authenticate", challenge.clone()))
    });
    fetched
}

#[tokio::test]
async fn a_password_is_sent_when_asked_for_and_then_at_once() {
    let registry = TestRegistry::start().await;
    ask_basic(&registry);
    let app = registry.repository_with(credentials(&registry, password("secret")));
    push(&app, "image/example", b"image", None).await;
    let refused = registry.log().iter().filter(|r| shown(r).is_none()).count();
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn wrong_or_no_credentials_are_denied() {
    for bearer in [false, true] {
        let registry = TestRegistry::start().await;
        match bearer {
            true => drop(ask_bearer(&registry, usize::MAX)),
            false => ask_basic(&registry),
        }
        for credentials in [
            Credentials::Anonymous,
            credentials(&registry, password("wrong")),
        ] {
            let error = client(credentials).ping(&registry.name()).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Denied, "{bearer}");
        }
    }
}

#[tokio::test]
async fn one_token_serves_a_whole_walk() {
    let registry = TestRegistry::start().await;
    let open = registry.repository();
    let image = push(&open, "image/example", b"image", None).await;
    for number in 0..20u8 {
        push(&open, "cve/example", &[number], Some(&image)).await;
    }
    for credential in [
        password("secret"),
        Credential::IdentityToken("secret".to_owned().into()),
    ] {
        let fetched = ask_bearer(&registry, usize::MAX);
        let app = registry.repository_with(credentials(&registry, credential));
        let graph = client::walk(&app, image.descriptor(), GraphLimits::default()).await;
        assert_eq!(graph.nodes().count(), 21);
        assert!(graph.nodes().all(|node| node.problem.is_none()));
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_replaced() {
    let registry = TestRegistry::start().await;
    let image = push(&registry.repository(), "image/example", b"image", None).await;
    let fetched = ask_bearer(&registry, 2);
    let app = registry.repository_with(credentials(&registry, password("secret")));
    for _ in 0..4 {
        assert_eq!(app.referrers(image.digest()).await.unwrap(), []);
    }
    assert_eq!(fetched.load(Ordering::Relaxed), 2);
}

/// oras-go GHSA-jxpm: the place for an upload was shown the registry's credentials.
#[tokio::test]
async fn an_upload_elsewhere_is_shown_no_credentials() {
    for content in [b"small".to_vec(), vec![7; 5_000_000]] {
        let elsewhere = TestRegistry::start().await;
        let registry = TestRegistry::start().await;
        let location = elsewhere.url("/v2/app/blobs/uploads/1?state=x%2F");
        registry.hook(move |request| {
            if shown(request) != Some(BASIC) {
                let reply = Reply::error(401, "UNAUTHORIZED");
                return Some(reply.header("www-authenticate", "Basic realm=\"test\""));
            }
            let is_start = request.is("POST", "/blobs/uploads/");
            is_start.then(|| Reply::new(202).header("location", location.clone()))
        });
        let app = registry.repository_with(credentials(&registry, password("secret")));
        let blob = Descriptor::of(MediaType::OCTET_STREAM, &content);
        app.push_blob_from(&blob, &mut &content[..]).await.unwrap();
        let log = elsewhere.log();
        assert_eq!(log.len(), 1);
        assert_eq!(shown(&log[0]), None);
    }
}

/// oras-go GHSA-vh4v: the credentials were kept on a redirect to another port.
#[tokio::test]
async fn a_redirect_elsewhere_is_shown_no_credentials() {
    let elsewhere = TestRegistry::start().await;
    let image = push(&elsewhere.repository(), "image/example", b"image", None).await;
    let registry = TestRegistry::start().await;
    let target = elsewhere.url("");
    registry.hook(move |request| {
        if shown(request) != Some(BASIC) {
            let reply = Reply::error(401, "UNAUTHORIZED");
            return Some(reply.header("www-authenticate", "Basic realm=\"test\""));
        }
        let location = format!("{target}{}", request.path);
        Some(Reply::new(307).header("location", location))
    });
    let app = registry.repository_with(credentials(&registry, password("secret")));
    let before = elsewhere.log().len();
    let layer = &image.as_image().unwrap().layers[0];
    assert_eq!(app.blob(layer, 100).await.unwrap(), b"image");
    let log = elsewhere.log();
    assert_eq!(log.len(), before + 1);
    assert_eq!(shown(&log[before]), None);
}

#[tokio::test]
async fn credentials_of_one_registry_are_not_shown_to_another() {
    let one = TestRegistry::start().await;
    let other = TestRegistry::start().await;
    ask_basic(&other);
    let client = client(credentials(&one, password("secret")));
    let error = client.ping(&other.name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(other.log().iter().all(|request| shown(request).is_none()));
}

#[tokio::test]
async fn no_secret_is_in_what_an_error_shows() {
    let registry = TestRegistry::start().await;
    registry.hook(|_| Some(Reply::new(503)));
    let app = registry.repository_with(credentials(&registry, password("secret")));
    let image = manifest("image/example", Vec::new(), None);
    let error = app.manifest(&image.descriptor()).await.unwrap_err();
    let shown = format!("{error} {error:?} {:?}", password("secret"));
    assert!(
        !shown.contains("ZGV2") && !shown.contains("\"secret\""),
        "{shown}"
    );
}
