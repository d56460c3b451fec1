//! A front with its control loop, a signer, and a worker that a test plays by hand.
//!
//! The signer is the real one behind its socket; the worker speaks the real protocol, but says
//! what the test wants it to say.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use server::listen::Listener;
use server::roles::signer::SignerSettings;
use server::router::router;
use server::state::{Front, FrontParts, FrontState};
use store::Store;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::{Answer, MANIFEST, send};

const WORKER_SECRET: &str = "worker-secret";
const ADMIN_TOKEN_ACCOUNT: &str = "admin";
/// How long a test waits for what must happen by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that the control loop needs.
pub(crate) struct Workshop {
    pub(crate) front: Front,
    pub(crate) url: String,
    pub(crate) admin: String,
    client: reqwest::Client,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Workshop {
    /// Starts over what lies in `folder`.
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_at(folder, "127.0.0.1:0".parse().unwrap()).await
    }

    /// Starts over what lies in `folder`, on the address that it had before.
    pub(crate) async fn start_at(folder: &Path, address: SocketAddr) -> Self {
        let (stop, stopped) = watch::channel(false);
        let listener = Listener::bind(address, None).await;
        let listener = listener.unwrap();
        let url = listener.url();
        let socket = folder.join("signer.sock");
        let settings = SignerSettings {
            installation: signer::Installation::default(),
            folder: folder.join("signer"),
            socket: socket.clone(),
            socket_group: None,
            allowed_uids: Vec::new(),
            unlock: "an unlocking secret of a test".to_owned(),
            public_url: url.clone(),
            authority: server::roles::signer::AuthorityOptions::default(),
            custody: server::custody::CustodySettings::default(),
        };
        std::fs::create_dir_all(&settings.folder).unwrap();
        let signer = server::roles::signer::run(settings, stopped.clone());
        let front = FrontState::new(FrontParts {
            store: Store::open(&folder.join("front")).unwrap(),
            public_url: url.clone(),
            folder: folder.join("front"),
            signer_socket: socket,
            worker_token_hash: Some(server::auth::hash_token(WORKER_SECRET)),
            aws: crate::harness::aws_settings(),
        });
        let tasks = vec![
            tokio::spawn(async { signer.await.unwrap() }),
            tokio::spawn(server::control::run(front.clone(), stopped.clone())),
            tokio::spawn(listener.serve(router(front.clone()), stopped)),
        ];
        let admin = administrator(&front).await;
        // Deriving the key from the secret takes seconds when all tests do it at the same time.
        let ready = async { while front.signer.ping().await.is_err() {} };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
        Self {
            front,
            url,
            admin,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            stop,
            tasks,
        }
    }

    /// Stops everything, as a signal would.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    /// Ends everything at once, wherever it is.
    pub(crate) async fn kill(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }

    /// Returns the address that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Asks for a job without waiting.
    pub(crate) async fn lease_nothing(&self) -> Value {
        let request = json!({"owner": "by-hand", "waitSecs": 0});
        let what = ("POST", "/api/v1/worker/lease");
        self.get(WORKER_SECRET, what, request).await
    }

    /// Puts a manifest as the administrator.
    pub(crate) async fn put_manifest(&self, path: &str, manifest: &Value) {
        let request = self.client.put(format!("{}{path}", self.url));
        let request = request.header("content-type", MANIFEST);
        let bytes = serde_json::to_vec(manifest).unwrap();
        let answer = send(request.bearer_auth(&self.admin).body(bytes)).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }

    /// Sends a request with a JSON body under a token.
    pub(crate) async fn ask(
        &self,
        token: &str,
        (method, path): (&str, &str),
        body: Value,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = request.bearer_auth(token);
        match body {
            Value::Null => send(request).await,
            body => send(request.json(&body)).await,
        }
    }

    /// As [`Workshop::ask`], and it must succeed.
    pub(crate) async fn get(&self, token: &str, what: (&str, &str), body: Value) -> Value {
        let answer = self.ask(token, what, body).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            answer.status.is_success(),
            "{what:?}: {} {text}",
            answer.status
        );
        match answer.body.is_empty() {
            true => Value::Null,
            false => answer.json(),
        }
    }

    /// Leases the next job, which must be of this kind.
    pub(crate) async fn lease(&self, kind: &str) -> Value {
        let request = json!({"owner": "by-hand", "waitSecs": 20});
        let job = self
            .get(WORKER_SECRET, ("POST", "/api/v1/worker/lease"), request)
            .await;
        assert_eq!(job["work"]["kind"], kind, "{job}");
        job
    }

    /// Sends something about a job.
    pub(crate) async fn report(&self, job: &Value, (verb, mut body): (&str, Value)) -> Answer {
        let path = format!("/api/v1/worker/jobs/{}/{verb}", job["job"]);
        match verb {
            "extend" => body = job["holder"].clone(),
            _ => body["holder"] = job["holder"].clone(),
        }
        self.ask(WORKER_SECRET, ("POST", &path), body).await
    }

    /// Completes a job.
    pub(crate) async fn complete(&self, job: &Value, outcome: Value) {
        let answer = self
            .report(job, ("complete", json!({"outcome": outcome})))
            .await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{text}");
    }

    /// Pushes an image as the token of a run may, and returns its descriptor.
    pub(crate) async fn push(
        &self,
        token: &str,
        repository: &str,
        manifest: &Value,
    ) -> oci::Descriptor {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let digest = oci::Digest::sha256(&bytes);
        let path = format!("/v2/{repository}/manifests/{digest}");
        let url = format!("{}{path}", self.url);
        let request = self.client.put(url).bearer_auth(token);
        let answer = send(request.header("content-type", MANIFEST).body(bytes.clone())).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, StatusCode::CREATED, "{text}");
        oci::Descriptor::of(MANIFEST.parse().unwrap(), &bytes)
    }

    /// Pushes a blob.
    pub(crate) async fn push_blob(&self, token: &str, repository: &str, bytes: &[u8]) {
        let digest = oci::Digest::sha256(bytes);
        let path = format!(
            "{}/v2/{repository}/blobs/uploads/?digest={digest}",
            self.url
        );
        let request = self.client.post(path).bearer_auth(token);
        let answer = send(request.body(bytes.to_vec())).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }

    /// Waits until the newest run of a pipeline has a status, and returns it.
    pub(crate) async fn run(&self, pipeline: &str, status: &str) -> Value {
        let mut changes = self.front.control.changes();
        let path = format!("/api/v1/runs?pipeline={pipeline}&limit=1");
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let list = self.get(&self.admin, ("GET", &path), Value::Null).await;
                let found = list[0].clone();
                if found["status"] == status {
                    return found;
                }
                changes.changed().await.unwrap();
            }
        })
        .await;
        let found = waited.unwrap_or_else(|_| panic!("{pipeline} never became {status}"));
        self.shown(&found).await
    }

    async fn shown(&self, run: &Value) -> Value {
        let id = run["id"].as_str().unwrap_or_default();
        let path = format!("/api/v1/runs/{id}");
        self.get(&self.admin, ("GET", &path), Value::Null).await
    }

    /// Returns the whole log of a run as text.
    pub(crate) async fn log(&self, id: &str) -> String {
        let path = format!("/api/v1/runs/{id}/logs");
        let answer = self.ask(&self.admin, ("GET", &path), Value::Null).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            format!(
                "{}: {}\n",
                line["action"].as_str().unwrap(),
                line["text"].as_str().unwrap()
            )
        };
        text.lines().map(line).collect()
    }
}

async fn administrator(front: &Front) -> String {
    let accounts = &front.store.accounts;
    if accounts
        .account(ADMIN_TOKEN_ACCOUNT)
        .await
        .unwrap()
        .is_none()
    {
        let row = store::accounts::AccountRow {
            administrator: true,
            ..store::accounts::AccountRow::new(ADMIN_TOKEN_ACCOUNT, server::clock::now())
        };
        accounts.put_account(&row).await.unwrap();
    }
    let request = server::auth::NewTokenRequest::default();
    let token = front
        .auth
        .issue(ADMIN_TOKEN_ACCOUNT, request)
        .await
        .unwrap();
    token.text().to_owned()
}
