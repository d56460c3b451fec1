//! A signer on a socket in a temporary folder, with a clock that moves when it is told to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use signer::custody::KdfCost;
use signer::service::DEFAULT_CRL_PERIOD;
use signer::{
    AuthorityConfig, AuthoritySubject, Grants, LeafPolicy, MemoryRecords, PkiSettings, Principal,
    ProfileSpec, ServiceConfig, SignRequest, SignerClient, SignerConfig, SigningPlatform,
    StartError, UnlockSource,
};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const CRL_URL: &str = "http://127.0.0.1:5000/pki/ca.crl";
pub(crate) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// A signer that serves, and what stops it.
type Running = (oneshot::Sender<()>, JoinHandle<Result<(), StartError>>);

pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) records: Arc<MemoryRecords>,
    pub(crate) client: SignerClient,
    time: Arc<Mutex<OffsetDateTime>>,
    running: Option<Running>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("signer")).unwrap();
        let unlock = folder.path().join("unlock");
        signer::custody::files::write_new(&unlock, b"correct horse battery staple").unwrap();
        let mut fixture = Self {
            client: SignerClient::connect(&folder.path().join("signer/signer.sock")),
            records: Arc::new(MemoryRecords::default()),
            time: Arc::new(Mutex::new(NOW)),
            running: None,
            folder,
        };
        fixture.restart(own_uid(fixture.folder.path())).await;
        fixture
    }

    /// Stops the signer, if it runs, and starts it for `uid`.
    pub(crate) async fn restart(&mut self, uid: u32) {
        self.stop().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let config = config(self.folder.path(), (uid, self.time.clone()));
        let serving = tokio::spawn(signer::serve(config, self.records.clone(), shutdown));
        self.running = Some((stop, serving));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((stop, serving)) = self.running.take() {
            stop.send(()).unwrap();
            serving.await.unwrap().unwrap();
        }
    }

    pub(crate) fn set_time(&self, now: OffsetDateTime) {
        *self.time.lock().unwrap() = now;
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("signer/signer.sock")
    }
}

pub(crate) fn own_uid(folder: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(folder).unwrap().uid()
}

fn config(folder: &Path, (uid, time): (u32, Arc<Mutex<OffsetDateTime>>)) -> SignerConfig {
    SignerConfig {
        service: ServiceConfig {
            installation: signer::Installation::default(),
            authority: AuthorityConfig {
                folder: folder.join("signer/keys"),
                subject: AuthoritySubject::default(),
                pki: PkiSettings {
                    crl_url: Some(CRL_URL.to_owned()),
                    ..PkiSettings::default()
                },
                kdf_cost: KdfCost::TESTS_ONLY,
            },
            unlock: UnlockSource::File(folder.join("unlock")),
            custody: None,
            crl_period: DEFAULT_CRL_PERIOD,
            log_origin: "sign.example/log".to_owned(),
            clock: Arc::new(move || *time.lock().unwrap()),
        },
        socket: folder.join("signer/signer.sock"),
        socket_group: None,
        allowed_uids: vec![uid],
    }
}

pub(crate) fn admin() -> Principal {
    Principal::account("root").as_admin()
}

pub(crate) fn spec(name: &str) -> ProfileSpec {
    ProfileSpec {
        name: name.parse().unwrap(),
        platform: SigningPlatform::default(),
        validity: "7 days".parse().unwrap(),
        leaf: LeafPolicy::Rotating { days: 3 },
        dialect: signer::Dialect::default(),
        owner: None,
        grants: Grants {
            accounts: ["dev".to_owned()].into(),
            ..Grants::default()
        },
        rules: Default::default(),
        two_person: false,
    }
}

pub(crate) fn request(profile: &str) -> SignRequest {
    let target = serde_json::json!({"targetArtifact": {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", "a".repeat(64)),
        "size": 512,
    }});
    SignRequest {
        principal: Principal::account("dev"),
        profile: profile.parse().unwrap(),
        owner: None,
        payload: target.to_string().into_bytes(),
        artifact: Default::default(),
    }
}
