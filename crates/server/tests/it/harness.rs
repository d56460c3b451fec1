//! A front in this process, on a port of its own, and callers with different grants.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use server::auth::{Grants, NewTokenRequest};
use server::aws::{AwsSettings, SealingKey};
use server::listen::{Listener, TlsFiles};
use server::router::router;
use server::state::{Front, FrontParts, FrontState};
use signer::custody::KdfCost;
use signer::service::DEFAULT_CRL_PERIOD;
use signer::{
    AuthorityConfig, AuthoritySubject, Installation, MemoryRecords, ServiceConfig, SignerConfig,
    UnlockSource,
};
use store::Store;
use store::accounts::AccountRow;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The media type of an image manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running front.
pub(crate) struct TestServer {
    pub(crate) front: Front,
    pub(crate) url: String,
    pub(crate) admin: String,
    client: reqwest::Client,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
    signer: Option<JoinHandle<()>>,
    folder: Option<tempfile::TempDir>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(signer) = &self.signer {
            signer.abort();
        }
    }
}

impl TestServer {
    /// Starts a front over an empty store, with a signer behind its socket.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self::start_in(folder.path(), None).await;
        let home = folder.path().join("signer");
        std::fs::create_dir(&home).unwrap();
        server.signer = Some(server.serve_signer(Arc::default(), &home));
        server.folder = Some(folder);
        server
    }

    /// Starts a front over an empty store, with a signer whose keys lie in `home`.
    pub(crate) async fn start_signed_by(records: Arc<MemoryRecords>, home: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self::start_in(folder.path(), None).await;
        server.signer = Some(server.serve_signer(records, home));
        server.folder = Some(folder);
        server
    }

    fn serve_signer(&self, records: Arc<MemoryRecords>, home: &Path) -> JoinHandle<()> {
        let config = signer_config(self.front.signer_socket.clone(), home);
        let serving = signer::serve(config, records, std::future::pending());
        tokio::spawn(async { serving.await.unwrap() })
    }

    /// Starts a front over the store in `folder`.
    pub(crate) async fn start_in(folder: &Path, tls: Option<&TlsFiles>) -> Self {
        let store = Store::open(folder).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(address, tls).await.unwrap();
        let url = listener.url();
        let front = FrontState::new(FrontParts {
            store,
            public_url: url.clone(),
            folder: folder.to_owned(),
            signer_socket: folder.join("signer.sock"),
            worker_token_hash: Some(server::auth::hash_token("worker-secret")),
            aws: aws_settings(),
        });
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(listener.serve(router(front.clone()), stopped));
        let hearing = front.clone();
        tokio::spawn(async move { hearing.revocations.run(&hearing).await });
        let mut server = Self {
            front,
            url,
            admin: String::new(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            stop,
            served,
            signer: None,
            folder: None,
        };
        server.admin = server.account("admin", json!({"admin": true})).await;
        server
    }

    /// Stops the front as a signal would, and gives its folder back.
    pub(crate) async fn stop(mut self) -> Option<tempfile::TempDir> {
        self.stop.send_replace(true);
        (&mut self.served).await.unwrap();
        self.folder.take()
    }

    /// Makes an account with a token, and returns the token.
    pub(crate) async fn account(&self, name: &str, grants: Value) -> String {
        let grants: Grants = serde_json::from_value(grants).unwrap();
        let row = AccountRow {
            administrator: grants.admin,
            ..AccountRow::new(name, server::clock::now())
        };
        let accounts = &self.front.store.accounts;
        accounts.put_account(&row).await.unwrap();
        let rows = grants.to_rows();
        accounts.set_grants(name, &rows).await.unwrap();
        self.token(name, NewTokenRequest::default()).await
    }

    /// Makes a token of an account.
    pub(crate) async fn token(&self, name: &str, request: NewTokenRequest) -> String {
        let token = self.front.auth.issue(name, request).await.unwrap();
        token.text().to_owned()
    }

    /// Starts a request without credentials.
    pub(crate) fn anonymous(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Starts a request of the administrator.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.admin)
    }

    /// Sends a request of the administrator without a body.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> Answer {
        send(self.request(method, path)).await
    }

    /// Pushes a blob in one request and returns its digest.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> oci::Digest {
        let digest = oci::Digest::sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = send(self.request("POST", &path).body(bytes.to_vec())).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    /// Pushes a manifest under a tag or digest.
    pub(crate) async fn push_manifest(
        &self,
        repository: &str,
        name: &str,
        (media_type, bytes): (&str, Vec<u8>),
    ) -> Answer {
        let path = format!("/v2/{repository}/manifests/{name}");
        let request = self.request("PUT", &path);
        send(request.header("content-type", media_type).body(bytes)).await
    }

    /// Pushes an image with one layer, `text`, and returns the manifest's bytes.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, text: &str) -> Vec<u8> {
        self.push_blob(repository, b"{}").await;
        self.push_blob(repository, text.as_bytes()).await;
        let bytes = image(text, None);
        let answer = self.push_manifest(repository, tag, (MANIFEST, bytes.clone()));
        assert_eq!(answer.await.status, 201);
        bytes
    }
}

/// Returns the settings of a signer whose keys lie in `home`.
pub(crate) fn signer_config(socket: PathBuf, home: &Path) -> SignerConfig {
    SignerConfig {
        service: ServiceConfig {
            installation: Installation::default(),
            authority: AuthorityConfig {
                folder: home.join("keys"),
                subject: AuthoritySubject::default(),
                pki: signer::PkiSettings::default(),
                kdf_cost: KdfCost::TESTS_ONLY,
            },
            unlock: UnlockSource::Default(home.join("unlock")),
            custody: None,
            crl_period: DEFAULT_CRL_PERIOD,
            log_origin: "sign.example/log".to_owned(),
            clock: Arc::new(server::clock::now),
        },
        socket,
        socket_group: None,
        allowed_uids: vec![rustix::process::geteuid().as_raw()],
    }
}

pub(crate) fn aws_settings() -> AwsSettings {
    AwsSettings {
        installation: Installation::default(),
        sealing_key: SealingKey::new(&[7; 32]),
        requests_per_second: 1000,
    }
}

/// Returns an image manifest with the configuration `{}` and one layer.
pub(crate) fn image(text: &str, subject: Option<&oci::Descriptor>) -> Vec<u8> {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": oci::Descriptor::of("example/config".parse().unwrap(), b"{}"),
        "layers": [oci::Descriptor::of("example/layer".parse().unwrap(), text.as_bytes())],
        "annotations": {"title": text},
    });
    if let Some(subject) = subject {
        manifest["subject"] = json!(subject);
    }
    serde_json::to_vec(&manifest).unwrap()
}

/// Sends a request and reads the answer to its end.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap(),
    }
}

impl Answer {
    /// Returns a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the code of a registry's error, with the status: `404 BLOB_UNKNOWN`.
    pub(crate) fn error(&self) -> String {
        let code = self.json()["errors"][0]["code"]
            .as_str()
            .unwrap()
            .to_owned();
        format!("{} {code}", self.status.as_u16())
    }

    /// Returns the message of an error, of the registry or of the API.
    pub(crate) fn message(&self) -> String {
        let json = self.json();
        let of_registry = json["errors"][0]["message"].as_str();
        let message = of_registry.or_else(|| json["error"]["message"].as_str());
        message.unwrap().to_owned()
    }
}
