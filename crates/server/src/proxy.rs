//! The built-in reverse proxy: one listener for each environment, in front of what serves there.
//!
//! The route table says for each environment where its current container answers; it is read
//! once for every request, so a switch is atomic and requests in flight finish where they began.
//! Nothing of a container's own choice is trusted: it gets the request, and its answer goes back
//! without the headers that belong to one connection (RFC 9110 §7.6.1). Which container serves
//! is decided by the control loop.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{Html, IntoResponse, Response};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use pipeline::project::Environment;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control::projects;
use crate::error::chain;
use crate::listen::{ListenError, Listener, TlsFiles};
use crate::state::Front;

/// How long a container may take to accept a connection: it is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a container may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often an address is tried again that could not be listened on, and the table is read anew.
const RETRY_PERIOD: Duration = Duration::from_secs(5);

/// The headers that belong to one connection and are never forwarded.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where each environment's current container answers, as `host:port`.
#[derive(Clone, Default)]
pub struct RouteTable(Arc<RwLock<HashMap<String, Authority>>>);

impl RouteTable {
    /// Replaces the whole table in one step.
    pub fn replace(&self, routes: HashMap<String, Authority>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    fn endpoint(&self, environment: &str) -> Option<Authority> {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(environment).cloned()
    }
}

/// Keeps a listener for each environment and the route table as the store says, until `stop`
/// becomes true.
pub(crate) async fn run(front: Front, mut stop: watch::Receiver<bool>) {
    let routes = RouteTable::default();
    let mut changes = front.control.routes();
    let mut listeners: BTreeMap<String, Open> = BTreeMap::new();
    loop {
        if let Err(error) = refresh(&front, &routes, &mut listeners).await {
            tracing::error!(error = chain(&error), "the route table cannot be read");
        }
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => break,
            _ = changes.changed() => {}
            () = tokio::time::sleep(RETRY_PERIOD) => {}
        }
    }
    for (_, open) in listeners {
        open.close();
    }
}

/// A listener that is open.
struct Open {
    listen: SocketAddr,
    has_tls: bool,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Open {
    /// Stops accepting; requests in flight finish by themselves.
    fn close(&self) {
        self.stop.send_replace(true);
    }

    fn is_for(&self, environment: &Environment) -> bool {
        let same = self.listen == environment.listen && self.has_tls == environment.tls.is_some();
        same && !self.task.is_finished()
    }
}

async fn refresh(
    front: &Front,
    routes: &RouteTable,
    listeners: &mut BTreeMap<String, Open>,
) -> Result<(), store::StoreError> {
    let serving = front.store.deployments.routes().await?;
    let route = |row: store::deployments::DeploymentRow| {
        let endpoint = row.endpoint?.parse().ok()?;
        Some((row.environment, endpoint))
    };
    routes.replace(serving.into_iter().filter_map(route).collect());
    let mut wanted = BTreeMap::new();
    for stored in projects::all(front).await? {
        let environments = stored.project.environments.into_iter();
        wanted.extend(environments.map(|one| (one.name.to_string(), one)));
    }
    listeners.retain(|name, open| {
        let stays = wanted.get(name).is_some_and(|one| open.is_for(one));
        if !stays {
            open.close();
        }
        stays
    });
    for (name, environment) in wanted {
        if listeners.contains_key(&name) {
            continue;
        }
        match open(&environment, routes).await {
            Ok(open) => drop(listeners.insert(name, open)),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(environment = name, error, "the environment has no URL");
            }
        }
    }
    Ok(())
}

async fn open(environment: &Environment, routes: &RouteTable) -> Result<Open, ListenError> {
    let files = environment.tls.as_ref().map(|tls| {
        let (certificate, key) = (tls.certificate.as_ref(), tls.key.as_ref());
        TlsFiles::load(certificate, key)
    });
    let files = files.transpose()?;
    let listener = Listener::bind(environment.listen, files.as_ref()).await?;
    let url = listener.url();
    tracing::info!(environment = %environment.name, url, "reverse proxy");
    let (stop, stopped) = watch::channel(false);
    let scheme = if files.is_some() { "https" } else { "http" };
    let app = router(environment.name.as_str(), scheme, routes.clone());
    Ok(Open {
        listen: environment.listen,
        has_tls: files.is_some(),
        stop,
        task: tokio::spawn(listener.serve(app, stopped)),
    })
}

/// What one proxy needs for each request.
struct Proxy {
    environment: String,
    scheme: &'static str,
    routes: RouteTable,
    client: Client<HttpConnector, Body>,
}

/// Returns an application that forwards every request to what serves in `environment`.
pub fn router(environment: &str, scheme: &'static str, routes: RouteTable) -> Router {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    let proxy = Proxy {
        environment: environment.to_owned(),
        scheme,
        routes,
        client: Client::builder(TokioExecutor::new()).build(connector),
    };
    Router::new().fallback(forward).with_state(Arc::new(proxy))
}

async fn forward(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let environment = &proxy.environment;
    let Some(endpoint) = proxy.routes.endpoint(environment) else {
        let reason = format!("nothing is deployed in environment `{environment}`");
        return page(StatusCode::SERVICE_UNAVAILABLE, &reason);
    };
    let Some(outgoing) = proxy.outgoing(request, endpoint) else {
        return page(StatusCode::BAD_REQUEST, "the request has no usable target");
    };
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, proxy.client.request(outgoing)).await;
    match answer {
        Ok(Ok(answer)) => {
            let mut answer = answer.map(Body::new);
            remove_hop_by_hop(answer.headers_mut());
            answer
        }
        Ok(Err(error)) => {
            tracing::warn!(environment, error = chain(&error), "no answer");
            let reason = format!("what is deployed in environment `{environment}` does not answer");
            page(StatusCode::BAD_GATEWAY, &reason)
        }
        Err(_) => {
            let reason = format!("what is deployed in environment `{environment}` is too slow");
            page(StatusCode::GATEWAY_TIMEOUT, &reason)
        }
    }
}

impl Proxy {
    /// Returns the request as the container gets it.
    fn outgoing(&self, request: Request, endpoint: Authority) -> Option<Request> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_string());
        let (mut parts, body) = request.into_parts();
        // HTTP/2 has no `Host`; what the client asked for is kept in any case.
        if !parts.headers.contains_key(header::HOST)
            && let Some(authority) = parts.uri.authority()
        {
            let host = HeaderValue::from_str(authority.as_str()).ok()?;
            parts.headers.insert(header::HOST, host);
        }
        remove_hop_by_hop(&mut parts.headers);
        add_forwarded(&mut parts.headers, peer.as_deref(), self.scheme);
        let path = parts.uri.path_and_query().cloned();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(endpoint);
        uri.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
        let mut outgoing = Request::new(body);
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = Uri::from_parts(uri).ok()?;
        *outgoing.headers_mut() = parts.headers;
        Some(outgoing)
    }
}

/// Removes the headers of one connection, and those that `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Says who asked. What the client itself says of earlier hops is kept in front, since whoever
/// reads it knows which proxies to believe; the last entry is ours.
fn add_forwarded(headers: &mut HeaderMap, peer: Option<&str>, scheme: &'static str) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    let mut hops: Vec<String> = headers
        .get_all(FOR)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    hops.extend(peer.map(str::to_owned));
    headers.remove(FOR);
    if let Ok(value) = HeaderValue::from_str(&hops.join(", "))
        && !hops.is_empty()
    {
        headers.insert(FOR, value);
    }
    let proto = HeaderName::from_static("x-forwarded-proto");
    headers.insert(proto, HeaderValue::from_static(scheme));
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
}

/// A page for people, with the reason. The names in it are parsed ones, without markup.
fn page(status: StatusCode, reason: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("error");
    let text = format!(
        "<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><p>{reason}\n"
    );
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (status, headers, Html(text)).into_response()
}

#[cfg(test)]
mod tests;
