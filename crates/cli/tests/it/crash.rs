//! The signer is killed in the middle of a thousand signatures, or runs out of disk, and starts
//! again: jobs and log agree exactly, and nothing that was acknowledged is missing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use server::observe::LogFormat;
use server::roles::signer::{AuthorityOptions, SignerSettings};
use server::roles::signer_records::StoredRecords;
use server::roles::{ChildSettings, RoleSettings};
use signer::{
    Installation, JobId, JobQuery, LogRecords, Principal, ProfileSpec, Records, SignRequest,
    SignedEnvelope, SignerClient,
};
use store::SigningRecords;
use tokio::task::JoinSet;
use trust::tlog::{Checkpoint, Frontier, SignedNote, VerifierKey};

/// How many signatures are under way when the signer is killed.
const CONCURRENT: u64 = 1000;
/// The full run has fifty (`scripts/crash.py`); these keep the test quick.
const ROUNDS: u64 = 3;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn socket(&self) -> PathBuf {
        self.folder.path().join("signer.sock")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("signer")
    }

    /// Starts the role as the supervisor would; `limit_kib` bounds the size of its files.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test of the program has to start it"
    )]
    fn start(&self, limit_kib: Option<u32>) -> Child {
        let program = env!("CARGO_BIN_EXE_countersign");
        let limit = limit_kib.map_or("unlimited".to_owned(), |limit| limit.to_string());
        // Writing beyond the limit is an error then, and not the end of the process.
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec {program} serve --role signer");
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let settings = ChildSettings {
            supervisor: std::process::id().try_into().unwrap(),
            log_format: LogFormat::Text,
            log_filter: None,
            role: RoleSettings::Signer(Box::new(self.settings())),
        };
        let stdin = child.stdin.take().unwrap();
        serde_json::to_writer(stdin, &settings).unwrap();
        child
    }

    fn settings(&self) -> SignerSettings {
        let settings = serde_json::json!({
            "folder": self.data(),
            "socket": self.socket(),
            "socket_group": null,
            "allowed_uids": [],
            "unlock": "an unlocking secret of a test",
            "public_url": "http://sign.example",
            "authority": AuthorityOptions::default(),
            "installation": Installation::default(),
        });
        serde_json::from_value(settings).unwrap()
    }

    /// Checks that log and jobs agree, and returns the positions of all jobs.
    async fn check(&self) -> BTreeMap<JobId, u64> {
        let rows = SigningRecords::open(&self.data().join("signer.db")).unwrap();
        let records = StoredRecords::new(rows);
        let head = records.log_head().await.unwrap();
        let mut tree = Frontier::empty();
        let mut signed = BTreeMap::new();
        while tree.size() < head.size {
            let entries = records.log_entries(tree.size(), 256).await.unwrap();
            assert!(!entries.is_empty(), "the log has a gap at {}", tree.size());
            for entry in entries {
                let parsed: serde_json::Value = serde_json::from_slice(&entry).unwrap();
                if parsed["kind"] == "signature" {
                    let job: JobId = parsed["job"].as_str().unwrap().parse().unwrap();
                    assert!(
                        signed.insert(job, tree.size()).is_none(),
                        "{job} is there twice"
                    );
                }
                tree.push(&entry, |_, _| {});
            }
        }
        let checkpoint = self.checkpoint(&head.checkpoint.unwrap());
        assert_eq!(
            (checkpoint.size, checkpoint.root),
            (tree.size(), tree.root())
        );
        assert_eq!(jobs(&records).await, signed);
        signed
    }

    fn checkpoint(&self, note: &str) -> Checkpoint {
        let key = std::fs::read_to_string(self.data().join("keys/log.vkey")).unwrap();
        let key: VerifierKey = key.trim_end().parse().unwrap();
        let note = SignedNote::parse(note.as_bytes()).unwrap();
        Checkpoint::verify(&note, &key).unwrap()
    }
}

async fn jobs(records: &StoredRecords) -> BTreeMap<JobId, u64> {
    let mut found = BTreeMap::new();
    let mut query = JobQuery {
        limit: 1000,
        ..JobQuery::default()
    };
    loop {
        let page = records.jobs(&query).await.unwrap();
        found.extend(page.jobs.iter().map(|job| (job.id, job.position)));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
}

fn place() -> Place {
    Place {
        folder: tempfile::tempdir().unwrap(),
    }
}

fn request(number: u64) -> SignRequest {
    let target = serde_json::json!({"targetArtifact": {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": oci::Digest::sha256(&number.to_be_bytes()),
        "size": 2,
    }});
    SignRequest {
        principal: Principal::account("dev"),
        profile: "ci-build".parse().unwrap(),
        owner: None,
        payload: target.to_string().into_bytes(),
        artifact: Default::default(),
    }
}

async fn put_profile(client: &SignerClient) {
    let spec: ProfileSpec = serde_json::from_value(serde_json::json!({
        "name": "ci-build",
        "validity": "7 days",
        "leaf": {"rotating": {"days": 3}},
        "grants": {"accounts": ["dev"]},
    }))
    .unwrap();
    let admin = Principal::account("root").as_admin();
    client.put_profile(admin, spec, false).await.unwrap();
}

/// Has signatures made until `enough` of them were given out, and kills the signer then, while all
/// the others are under way.
async fn sign_until_killed(place: &Place, enough: usize) -> Vec<SignedEnvelope> {
    let mut child = place.start(None);
    let client = SignerClient::connect(&place.socket());
    put_profile(&client).await;
    let mut signing = JoinSet::new();
    for number in 0..CONCURRENT {
        let client = client.clone();
        signing.spawn(async move { client.sign(request(number)).await });
    }
    let mut given = Vec::new();
    while given.len() < enough {
        let signed = signing.join_next().await.unwrap().unwrap();
        given.push(signed.unwrap());
    }
    child.kill().unwrap();
    // What was on its way to us when the signer died was given out as well.
    while let Some(done) = signing.try_join_next() {
        given.extend(done.unwrap().ok());
    }
    signing.abort_all();
    child.wait().unwrap();
    given
}

fn assert_there(found: &BTreeMap<JobId, u64>, given: &[SignedEnvelope]) {
    for signed in given {
        assert_eq!(
            found.get(&signed.job),
            Some(&signed.position),
            "{}",
            signed.job
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_killed_loses_nothing_that_it_gave_out() {
    let place = place();
    let mut given = Vec::new();
    for round in 0..ROUNDS {
        let enough = usize::try_from(1 + round * 300).unwrap();
        given.extend(sign_until_killed(&place, enough).await);
        let found = place.check().await;
        assert_there(&found, &given);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_without_room_refuses_and_loses_nothing_that_it_gave_out() {
    let place = place();
    let mut child = place.start(Some(512));
    let client = SignerClient::connect(&place.socket());
    put_profile(&client).await;
    let mut given = Vec::new();
    let refused = loop {
        assert!(given.len() < 10_000, "the limit was never met");
        match client.sign(request(given.len() as u64)).await {
            Ok(signed) => given.push(signed),
            Err(refused) => break refused,
        }
    };
    let signer::SignerClientError::Failed(failure) = refused else {
        panic!("expected a clean refusal: {refused}");
    };
    assert_eq!(failure.code, "signer-records-failed");
    assert!(child.try_wait().unwrap().is_none(), "the signer ended");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!given.is_empty());
    assert_there(&place.check().await, &given);

    // With room again, it goes on.
    let mut child = place.start(None);
    let client = SignerClient::connect(&place.socket());
    given.push(client.sign(request(0)).await.unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_there(&place.check().await, &given);
}
