//! Servers that cheat with their history are caught: one that rewrites it, one that is put back to
//! an older state, and one that shows two histories to different people.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use client::control::ControlClient;
use client::log::{BrokenLog, LogError, LogSource, audit};
use client::witness::WitnessAddress;
use serde_json::json;
use server::state::Front;
use signer::custody::{KdfCost, UnlockSource};
use signer::log::LogKey;
use signer::log::key::LogKeyFiles;
use signer::witness::{Witness, WitnessConfig};
use signer::{Batch, LogEntry, LogRecords, MemoryRecords, Records, StartError, TreeNode};
use time::OffsetDateTime;
use tokio::sync::watch;
use trust::tlog::note::SignatureType;
use trust::tlog::{Checkpoint, Frontier, LogPolicy, LogProofError, SignedNote, VerifierKey};

use crate::harness::{TestServer, send, signer_config};

/// A signer's keys, and its records: what a cheating operator has in hand.
struct Operator {
    home: tempfile::TempDir,
    records: Arc<MemoryRecords>,
}

impl Operator {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            records: Arc::default(),
        }
    }

    async fn serve(&self) -> TestServer {
        TestServer::start_signed_by(self.records.clone(), self.home.path()).await
    }

    fn key(&self) -> LogKey {
        let folder = self.home.path().join("keys");
        let secret = UnlockSource::File(self.home.path().join("unlock"));
        let files = LogKeyFiles {
            folder: &folder,
            label: "log",
            secret: &secret.load(&folder).unwrap(),
            kdf_cost: KdfCost::TESTS_ONLY,
        };
        LogKey::open_or_make(&files, ("sign.example/log", SignatureType::Ed25519)).unwrap()
    }

    async fn entries(&self) -> Vec<Vec<u8>> {
        self.records.log_entries(0, u64::MAX).await.unwrap()
    }

    /// Goes on with other entries, as if they had always been there: whoever has the key can sign
    /// for them.
    async fn rewrite(&mut self, entries: Vec<Vec<u8>>) {
        let mut tree = Frontier::empty();
        let mut batch = Batch::default();
        for (position, bytes) in (0..).zip(entries) {
            let nodes = &mut batch.nodes;
            tree.push(&bytes, |node, hash| nodes.push(TreeNode { node, hash }));
            let at = OffsetDateTime::UNIX_EPOCH;
            batch.entries.push(LogEntry {
                position,
                at,
                bytes,
            });
        }
        let key = self.key();
        let note = key.sign_checkpoint(&Checkpoint {
            origin: key.origin().to_owned(),
            size: tree.size(),
            root: tree.root(),
            extensions: Vec::new(),
        });
        batch.checkpoint = Some(note.to_string());
        self.records = Arc::default();
        self.records.commit(&batch).await.unwrap();
    }
}

/// Has events written into the log, which are quicker than signatures.
async fn append(server: &TestServer, face: &str, count: usize) {
    let append = async |number: usize| {
        let body = json!({"face": face, "number": number});
        let kind = signer::log::EntryKind::Deployment;
        server.front.record_event(kind, body).await.unwrap();
    };
    futures_util::future::join_all((0..count).map(append)).await;
}

fn source(server: &TestServer) -> LogSource {
    let base = format!("{}/", server.url).parse().unwrap();
    LogSource::Server(ControlClient::new(base, Some(server.admin.clone())).unwrap())
}

async fn newest(server: &TestServer) -> Checkpoint {
    let source = source(server);
    let (key, note) = (
        source.key().await.unwrap(),
        source.checkpoint().await.unwrap(),
    );
    Checkpoint::verify(&note, &key).unwrap()
}

/// What somebody finds who remembers `before`.
async fn look(server: &TestServer, before: &Checkpoint) -> Result<(), BrokenLog> {
    look_with(server, std::slice::from_ref(before)).await
}

async fn look_with(server: &TestServer, before: &[Checkpoint]) -> Result<(), BrokenLog> {
    let now = newest(server).await;
    let found = audit(&source(server), &now, (before, |_, _| {})).await;
    match found {
        Ok(()) => Ok(()),
        Err(LogError::Broken(broken)) => Err(broken),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_log_that_only_grew_is_what_it_was() {
    let operator = Operator::new();
    let server = operator.serve().await;
    append(&server, "one", 300).await;
    let before = newest(&server).await;
    assert_eq!(look(&server, &before).await, Ok(()));
    drop(server);
    let server = operator.serve().await;
    append(&server, "one", 300).await;
    assert_eq!(look(&server, &before).await, Ok(()));
    assert_eq!(newest(&server).await.size, 600);
}

#[tokio::test]
async fn a_rewritten_history_is_caught() {
    let mut operator = Operator::new();
    let server = operator.serve().await;
    append(&server, "one", 300).await;
    let before = newest(&server).await;
    drop(server);
    let mut entries = operator.entries().await;
    entries[1] = br#"{"v":1,"kind":"deployment","at":"2026-03-01T12:00:00Z"}"#.to_vec();
    operator.rewrite(entries).await;
    let server = operator.serve().await;
    append(&server, "one", 10).await;
    assert_eq!(look(&server, &before).await, Err(BrokenLog::Rewritten(300)));
    // A newcomer sees a log in good order: only who remembers, or asks witnesses, can know.
    let now = newest(&server).await;
    assert_eq!(look(&server, &now).await, Ok(()));
}

#[tokio::test]
async fn a_log_that_is_put_back_and_continued_is_caught() {
    let mut operator = Operator::new();
    let server = operator.serve().await;
    append(&server, "one", 300).await;
    let before = newest(&server).await;
    drop(server);
    let backup = operator.entries().await[..200].to_vec();
    operator.rewrite(backup).await;
    let server = operator.serve().await;
    append(&server, "two", 50).await;
    let shrunk = BrokenLog::Shrunk {
        before: 300,
        now: 250,
    };
    assert_eq!(look(&server, &before).await, Err(shrunk));
    append(&server, "two", 100).await;
    assert_eq!(look(&server, &before).await, Err(BrokenLog::Rewritten(300)));
}

/// Whoever edits the database without the key is caught by the signer itself at its next start, or
/// else by whoever reads the log.
#[tokio::test]
async fn an_edited_database_is_caught() {
    let operator = Operator::new();
    let server = operator.serve().await;
    append(&server, "one", 300).await;
    drop(server);
    let head = operator.records.log_head().await.unwrap();
    for (edited, is_noticed_at_the_start) in [(299, true), (1, false)] {
        let mut entries = operator.entries().await;
        let nodes = operator.records.log_nodes(NODE_256, 1).await.unwrap();
        entries[edited].push(b' ');
        let mut batch = Batch {
            checkpoint: head.checkpoint.clone(),
            ..Batch::default()
        };
        batch.nodes = vec![TreeNode {
            node: NODE_256,
            hash: nodes[0],
        }];
        for (position, bytes) in (0..).zip(entries) {
            let at = head.at;
            batch.entries.push(LogEntry {
                position,
                at,
                bytes,
            });
        }
        let records = Arc::new(MemoryRecords::default());
        records.commit(&batch).await.unwrap();
        if is_noticed_at_the_start {
            let config = signer_config(operator.home.path().join("sock"), operator.home.path());
            let refused = signer::serve(config, records, std::future::pending()).await;
            assert!(matches!(refused, Err(StartError::Log(_))));
        } else {
            let server = TestServer::start_signed_by(records, operator.home.path()).await;
            assert_eq!(look_with(&server, &[]).await, Err(BrokenLog::Root(300)));
        }
    }
}

const NODE_256: trust::tlog::Node = trust::tlog::Node {
    height: 8,
    number: 0,
};

/// A witness that watches the log of `log`, and what stops it.
async fn witness(folder: &Path, log: &VerifierKey) -> (WitnessAddress, watch::Sender<bool>) {
    let unlock = UnlockSource::Default(folder.join("unlock"));
    let witness = Witness::open(&WitnessConfig {
        folder: folder.join("witness"),
        name: "w.example/w".to_owned(),
        secret: unlock.load(&folder.join("witness")).unwrap(),
        kdf_cost: KdfCost::TESTS_ONLY,
        logs: vec![log.clone()],
    })
    .unwrap();
    let key = witness.verifier().clone();
    let (stop, stopped) = watch::channel(false);
    let (tell, told) = tokio::sync::oneshot::channel::<SocketAddr>();
    let ready = move |address| tell.send(address).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    tokio::spawn(server::witness::serve(witness, listen, (ready, stopped)));
    let url = format!("http://{}/", told.await.unwrap()).parse().unwrap();
    (WitnessAddress { url, key }, stop)
}

/// Asks the witness once, and returns the checkpoint that is published then.
async fn published(front: &Front, witness: &WitnessAddress) -> SignedNote {
    let (stop, stopped) = watch::channel(false);
    let asking = server::transparency::run(front.clone(), vec![witness.clone()], stopped);
    let asking = tokio::spawn(asking);
    let mut published = front.transparency.published();
    let found = published.wait_for(Option::is_some).await.unwrap();
    let note = found.as_ref().unwrap().note.clone();
    drop(found);
    stop.send_replace(true);
    asking.await.unwrap().unwrap();
    note
}

#[tokio::test]
async fn a_server_with_two_faces_is_caught_by_a_witness_and_by_who_saw_the_other() {
    let mut operator = Operator::new();
    let first = operator.serve().await;
    append(&first, "one", 20).await;
    let log = source(&first).key().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (witness, _serving) = witness(folder.path(), &log).await;
    let policy = LogPolicy {
        logs: vec![log],
        witnesses: vec![witness.key.clone()],
        threshold: 1,
    };
    let seen = policy
        .accept(&published(&first.front, &witness).await)
        .unwrap();
    assert_eq!(seen.size, 20);

    // The same key signs another history, for others; once shorter, once longer than the first.
    let own = operator.entries().await;
    for shown in [10, 30] {
        let other = (0..shown).map(|n| format!("{{\"kind\":\"hold\",\"n\":{n}}}").into_bytes());
        operator.rewrite(other.collect()).await;
        let second = operator.serve().await;
        let note = published(&second.front, &witness).await;
        let refused = LogProofError::Witnesses {
            found: 0,
            needed: 1,
        };
        assert_eq!(policy.accept(&note), Err(refused));
        assert!(look(&second, &seen).await.is_err());
    }
    // The honest face goes on, and is cosigned.
    operator.rewrite(own).await;
    let first = operator.serve().await;
    append(&first, "one", 5).await;
    let note = published(&first.front, &witness).await;
    assert_eq!(policy.accept(&note).unwrap().size, 25);
}

/// The answers of the witness protocol, each with its status (C2SP tlog-witness).
#[tokio::test]
async fn a_witness_answers_with_the_statuses_of_the_specification() {
    let operator = Operator::new();
    let server = operator.serve().await;
    append(&server, "one", 20).await;
    let log = source(&server).key().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (witness, _serving) = witness(folder.path(), &log).await;
    let note = source(&server).checkpoint().await.unwrap().to_string();
    let strange = note.replace("sign.example/log", "other.example/log");
    let forged = note.replace("\n20\n", "\n21\n");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |body: String| {
        let url = witness.url.join("add-checkpoint").unwrap();
        let answer = client.post(url).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let hash = note.lines().nth(2).unwrap().to_owned();
    for (body, status) in [
        ("nonsense".to_owned(), 400),
        (format!("old 21\n\n{note}"), 400),
        (format!("old 0\n\n{strange}"), 404),
        (format!("old 0\n\n{forged}"), 403),
        (format!("old 5\n\n{note}"), 409),
        (format!("old 0\n{hash}\n\n{note}"), 422),
        (format!("old 0\n\n{note}"), 200),
        (format!("old 0\n\n{note}"), 409),
        (format!("old 20\n\n{note}"), 200),
    ] {
        let (found, text) = ask(body.clone()).await;
        assert_eq!(found, status, "{body}: {text}");
    }
    let (_, size) = ask(format!("old 0\n\n{note}")).await;
    assert_eq!(size, "20\n");
    let origin = oci::Digest::sha256(b"sign.example/log");
    let url = witness
        .url
        .join(&format!("{}/checkpoint", origin.hex()))
        .unwrap();
    let kept = client.get(url).send().await.unwrap().text().await.unwrap();
    assert!(kept.starts_with(&note));
    assert_eq!(kept.lines().count(), note.lines().count() + 1);
}

const PROJECT: &str = "apiVersion: countersign.dev/v1\nkind: Project\nname: shop\n";

#[tokio::test]
async fn acts_of_people_and_what_follows_are_in_the_log() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let account = json!({"name": "ops", "grants": {"pull": ["**"]}});
    let made = send(server.request("POST", "/api/v1/accounts").json(&account)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let project = json!({"text": PROJECT, "files": {}});
    let applied = send(
        server
            .request("PUT", "/api/v1/projects/shop")
            .json(&project),
    )
    .await;
    assert_eq!(applied.status, 200, "{applied:?}");
    let removed = server.ask("DELETE", "/api/v1/accounts/ops").await;
    assert_eq!(removed.status, 204);
    let entries = operator.entries().await;
    let said: Vec<_> = entries
        .iter()
        .map(|entry| serde_json::from_slice::<serde_json::Value>(entry).unwrap())
        .filter(|entry| entry["kind"] != "profile")
        .map(|entry| {
            format!(
                "{} {} by {}",
                entry["kind"], entry["change"], entry["by"]["account"]
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            r#""permission" "put" by "admin""#,
            r#""policy" "applied" by "admin""#,
            r#""permission" "removed" by "admin""#,
        ]
    );
}
