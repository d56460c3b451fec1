use std::sync::Mutex;

use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;

async fn serve(app: Router) -> Authority {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address.to_string().parse().unwrap()
}

/// A container that tells what it was sent, under its own name.
async fn container(name: &'static str) -> Authority {
    let tell = move |request: Request| async move {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let mut text = format!("{name} {} {}\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let headers = [("keep-alive", "timeout=5"), ("x-own", "kept")];
        (headers, format!("{text}{} bytes", body.len()))
    };
    serve(Router::new().fallback(any(tell))).await
}

struct Setup {
    routes: RouteTable,
    url: String,
    http: reqwest::Client,
}

impl Setup {
    async fn new() -> Self {
        let routes = RouteTable::default();
        let proxy = serve(router("production", "http", routes.clone())).await;
        Self {
            routes,
            url: format!("http://{proxy}"),
            http: reqwest::Client::new(),
        }
    }

    fn switch(&self, endpoint: &Authority) {
        let routes = HashMap::from([("production".to_owned(), endpoint.clone())]);
        self.routes.replace(routes);
    }

    async fn get(&self) -> (u16, String) {
        let answer = self.http.get(&self.url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn a_request_is_forwarded_as_it_is_without_what_belongs_to_the_connection() {
    let setup = Setup::new().await;
    setup.switch(&container("one").await);
    let request = setup
        .http
        .post(format!("{}/a%2fb/?q=1", setup.url))
        .header("host", "shop.example")
        .header("connection", "x-secret-hop")
        .header("x-secret-hop", "1")
        .header("te", "trailers")
        .header("upgrade", "websocket")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "https")
        .header("x-kept", "yes")
        .body(vec![0; 300_000]);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers().get("x-own").unwrap(), "kept");
    assert!(answer.headers().get("keep-alive").is_none());
    let text = answer.text().await.unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].sort_unstable();
    insta::assert_snapshot!(lines.join("\n"), @r"
    one POST /a%2fb/?q=1
    300000 bytes
    accept: */*
    content-length: 300000
    host: shop.example
    x-forwarded-for: 192.0.2.7, 127.0.0.1
    x-forwarded-host: shop.example
    x-forwarded-proto: http
    x-kept: yes
    ");
}

#[tokio::test]
async fn without_a_container_the_reason_is_said() {
    let setup = Setup::new().await;
    let (status, text) = setup.get().await;
    assert_eq!(status, 503);
    assert!(
        text.contains("nothing is deployed in environment `production`"),
        "{text}"
    );
    // A container that is gone.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    setup.switch(&gone);
    let (status, text) = setup.get().await;
    assert_eq!(status, 502);
    assert!(text.contains("does not answer"), "{text}");
}

#[tokio::test]
async fn a_request_in_flight_finishes_where_it_began() {
    let setup = Setup::new().await;
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = Arc::new(Mutex::new(Some((arrived.clone(), go_on.clone()))));
    let slow = serve(Router::new().fallback(any(move || {
        let signals = signals.lock().unwrap().take();
        async move {
            if let Some((arrived, go_on)) = signals {
                arrived.notify_one();
                go_on.notified().await;
            }
            "old"
        }
    })));
    setup.switch(&slow.await);
    let before = tokio::spawn(setup.http.get(&setup.url).send());
    arrived.notified().await;
    setup.switch(&container("new").await);
    let (_, after) = setup.get().await;
    assert!(after.starts_with("new "), "{after}");
    go_on.notify_one();
    let before = before.await.unwrap().unwrap().text().await.unwrap();
    assert_eq!(before, "old");
}
