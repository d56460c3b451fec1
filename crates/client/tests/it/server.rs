//! A registry for tests: real HTTP on a port of this machine, everything in memory.
//!
//! A test changes its behaviour with a hook that sees each request first and may answer it.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use client::credentials::Credentials;
use client::http_client::HttpOptions;
use client::{RegistryClient, RegistryOptions, RegistryRepository};
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use oci::{Digest, Index, Manifest, Registry};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;
type Hook = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

/// What came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// With a broken connection, after so many bytes.
    BreakAfter(usize),
    /// Never, after so many bytes.
    StallAfter(usize),
}

/// What goes out.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            end: End::Whole,
        }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new(200)
        }
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#);
        Self {
            body: body.into_bytes(),
            ..Self::new(status)
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
    has_referrers_api: bool,
    log: Vec<Request>,
    hook: Option<Hook>,
}

/// A registry with one repository, whatever it is called.
#[derive(Clone)]
pub(crate) struct TestRegistry {
    address: std::net::SocketAddr,
    state: Arc<Mutex<State>>,
}

impl TestRegistry {
    /// Starts a registry with the Referrers API.
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// Starts a registry that speaks TLS.
    pub(crate) async fn start_with_tls(config: rustls::ServerConfig) -> Self {
        Self::listen(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        registry.state.lock().unwrap().has_referrers_api = true;
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                match tls.clone() {
                    None => drop(tokio::spawn(serving.serve(stream))),
                    Some(tls) => drop(tokio::spawn(async move {
                        // A client that does not trust us ends the handshake.
                        if let Ok(stream) = tls.accept(stream).await {
                            serving.serve(stream).await;
                        }
                    })),
                }
            }
        });
        registry
    }

    /// Starts a registry without the Referrers API.
    pub(crate) async fn start_without_referrers() -> Self {
        let registry = Self::start().await;
        registry.state.lock().unwrap().has_referrers_api = false;
        registry
    }

    /// Lets `hook` see every request first.
    pub(crate) fn hook(&self, hook: impl FnMut(&Request) -> Option<Reply> + Send + 'static) {
        self.state.lock().unwrap().hook = Some(Box::new(hook));
    }

    pub(crate) fn name(&self) -> Registry {
        self.address.to_string().parse().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the requests so far.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.state.lock().unwrap().log.clone()
    }

    /// Returns how many requests of this kind there were.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let log = self.log();
        log.iter()
            .filter(|request| request.is(method, part))
            .count()
    }

    /// Returns the repository `app`, through a client without credentials.
    pub(crate) fn repository(&self) -> RegistryRepository {
        self.repository_with(Credentials::Anonymous)
    }

    pub(crate) fn repository_with(&self, credentials: Credentials) -> RegistryRepository {
        client(credentials).named_repository(&self.name(), &"app".parse().unwrap())
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = hyper::service::service_fn(move |request| {
            let registry = self.clone();
            async move { Ok::<_, Infallible>(registry.answer(request).await) }
        });
        // A client that goes away ends its connection, and nothing else.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.iter();
        let request = Request {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect(),
            body: match body.collect().await {
                Ok(body) => body.to_bytes().to_vec(),
                Err(_) => Vec::new(),
            },
        };
        let mut state = self.state.lock().unwrap();
        state.log.push(request.clone());
        let hooked = state.hook.as_mut().and_then(|hook| hook(&request));
        let reply = hooked.unwrap_or_else(|| state.answer(&request));
        respond(reply, &request.method)
    }
}

/// Returns a client that does not wait between attempts.
pub(crate) fn client(credentials: Credentials) -> RegistryClient {
    RegistryClient::new(RegistryOptions {
        http: options(),
        plain_http: false,
        credentials,
    })
    .unwrap()
}

pub(crate) fn options() -> HttpOptions {
    HttpOptions {
        first_delay: std::time::Duration::ZERO,
        attempts: 3,
        ..HttpOptions::default()
    }
}

fn respond(reply: Reply, method: &str) -> hyper::Response<Body> {
    let mut builder = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        builder = builder.header(name, value);
    }
    let has_length = reply
        .headers
        .iter()
        .any(|(name, _)| name == "content-length");
    if !has_length {
        builder = builder.header("content-length", reply.body.len());
    }
    let body = if method == "HEAD" {
        Vec::new()
    } else {
        reply.body
    };
    builder.body(ending(body, reply.end)).unwrap()
}

fn ending(body: Vec<u8>, end: End) -> Body {
    let kept = match end {
        End::Whole => body.len(),
        End::BreakAfter(count) | End::StallAfter(count) => count,
    };
    let first = Frame::data(Bytes::copy_from_slice(&body[..kept.min(body.len())]));
    let first = futures_util::stream::once(async move { Ok(first) });
    let broken = || Err(std::io::Error::other("broken on purpose"));
    let rest = match end {
        End::Whole => futures_util::stream::empty().boxed(),
        // After a moment for the runtime, so that what came before is sent.
        End::BreakAfter(_) => futures_util::stream::once(async move {
            tokio::task::yield_now().await;
            broken()
        })
        .boxed(),
        End::StallAfter(_) => futures_util::stream::pending().boxed(),
    };
    StreamBody::new(first.chain(rest)).boxed_unsync()
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", ["v2", ""]) => Reply::ok("{}"),
            ("GET", ["v2", "_catalog"]) => Reply::ok(r#"{"repositories":["app","b/c"]}"#),
            ("GET", ["v2", _, "tags", "list"]) => self.tags(),
            ("GET" | "HEAD", ["v2", _, "manifests", name]) => self.get_manifest(name),
            ("PUT", ["v2", _, "manifests", name]) => self.put_manifest(name, request),
            ("DELETE", ["v2", _, "manifests", name]) => self.delete_manifest(name),
            ("GET", ["v2", _, "referrers", digest]) => self.referrers(digest),
            ("GET" | "HEAD", ["v2", _, "blobs", digest]) => self.get_blob(digest, request),
            ("POST", ["v2", name, "blobs", "uploads", ""]) => {
                Reply::new(202).header("location", format!("/v2/{name}/blobs/uploads/1?state=x%2F"))
            }
            ("PUT", ["v2", _, "blobs", "uploads", _]) => self.finish_upload(request),
            _ => Reply::error(404, "NAME_UNKNOWN"),
        }
    }

    fn tags(&self) -> Reply {
        let tags: Vec<&String> = self.tags.keys().collect();
        Reply::ok(serde_json::json!({ "name": "app", "tags": tags }).to_string())
    }

    fn get_manifest(&self, name: &str) -> Reply {
        let digest = self.tags.get(name).map_or(name, String::as_str);
        match self.manifests.get(digest) {
            Some(manifest) => Reply::ok(manifest.bytes())
                .header("content-type", manifest.media_type().as_str())
                .header("docker-content-digest", digest),
            None => Reply::error(404, "MANIFEST_UNKNOWN"),
        }
    }

    fn put_manifest(&mut self, name: &str, request: &Request) -> Reply {
        let media_type = request.header("content-type").unwrap().parse().unwrap();
        let Ok(manifest) = Manifest::parse(media_type, request.body.clone()) else {
            return Reply::error(400, "MANIFEST_INVALID");
        };
        let digest = manifest.digest().to_string();
        if name != digest {
            self.tags.insert(name.to_owned(), digest.clone());
        }
        let mut reply = Reply::new(201).header("docker-content-digest", &digest);
        if let (Some(subject), true) = (manifest.subject(), self.has_referrers_api) {
            reply = reply.header("oci-subject", subject.digest.as_str());
        }
        self.manifests.insert(digest, manifest);
        reply
    }

    fn delete_manifest(&mut self, name: &str) -> Reply {
        self.tags.retain(|_, digest| digest != name);
        match self.manifests.remove(name) {
            Some(_) => Reply::new(202),
            None => Reply::error(404, "MANIFEST_UNKNOWN"),
        }
    }

    fn referrers(&self, digest: &str) -> Reply {
        if !self.has_referrers_api {
            return Reply::new(404);
        }
        let refers = |m: &&Manifest| m.subject().is_some_and(|s| s.digest.as_str() == digest);
        let found = self.manifests.values().filter(refers);
        let index = Index::new(found.map(Manifest::descriptor).collect());
        Reply::ok(serde_json::to_vec(&index).unwrap())
            .header("content-type", "application/vnd.oci.image.index.v1+json")
    }

    fn get_blob(&self, digest: &str, request: &Request) -> Reply {
        let Some(blob) = self.blobs.get(digest) else {
            return Reply::error(404, "BLOB_UNKNOWN");
        };
        let start = request
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'))
            .map(|start| start.parse::<usize>().unwrap());
        match start {
            Some(start) => Reply {
                status: 206,
                ..Reply::ok(&blob[start..])
            },
            None => Reply::ok(blob.clone()),
        }
    }

    fn finish_upload(&mut self, request: &Request) -> Reply {
        let digest = request.query.strip_prefix("state=x%2F&digest=");
        let digest = digest.unwrap().replace("%3A", ":");
        let parsed: Digest = digest.parse().unwrap();
        if !parsed.matches(&request.body) {
            return Reply::error(400, "DIGEST_INVALID");
        }
        self.blobs.insert(digest, request.body.clone());
        Reply::new(201)
    }
}
