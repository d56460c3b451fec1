//! The transparency log over HTTP.

use serde_json::{Value, json};
use trust::tlog::{Checkpoint, Frontier, LogPolicy, LogProof, SignedNote, Tile, VerifierKey};

use crate::harness::{MANIFEST, TestServer, send};

/// A front with a signer, and `count` signatures of the account `dev`.
async fn signed(count: usize) -> (TestServer, String, Vec<Value>) {
    let server = TestServer::start().await;
    let dev = server.account("dev", json!({})).await;
    let profile = json!({"name": "ci-build", "validity": "7 days",
        "leaf": {"rotating": {"days": 3}}, "grants": {"accounts": ["dev"]}});
    let made = send(server.request("POST", "/api/v1/profiles").json(&profile)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let sign = async |number: usize| {
        let digest = oci::Digest::sha256(&number.to_be_bytes());
        let artifact = json!({"mediaType": MANIFEST, "digest": digest, "size": 2});
        let body = json!({"profile": "ci-build", "artifact": artifact});
        let request = server
            .anonymous("POST", "/api/v1/signatures")
            .bearer_auth(&dev);
        let answer = send(request.json(&body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    };
    let jobs = futures_util::future::join_all((0..count).map(sign)).await;
    (server, dev, jobs)
}

async fn key(server: &TestServer) -> VerifierKey {
    let answer = send(server.anonymous("GET", "/log/key")).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    text.trim_end().parse().unwrap()
}

async fn checkpoint(server: &TestServer) -> Checkpoint {
    let note = server.ask("GET", "/log/checkpoint").await;
    let note = SignedNote::parse(&note.body).unwrap();
    Checkpoint::verify(&note, &key(server).await).unwrap()
}

#[tokio::test]
async fn the_tree_of_the_tiles_is_that_of_the_checkpoint() {
    let (server, _, jobs) = signed(300).await;
    let head = checkpoint(&server).await;
    assert_eq!(head.origin, "sign.example/log");
    let mut tree = Frontier::empty();
    let (mut leaves, mut found) = (Vec::new(), Vec::new());
    for tile in Tile::all_of(head.size) {
        let answer = server.ask("GET", &format!("/log/{tile}")).await;
        assert_eq!(answer.status, 200, "{tile}");
        if tile.to_string().contains("entries") {
            for entry in tile.entries(&answer.body).unwrap() {
                tree.push(entry, |_, _| {});
                let entry: Value = serde_json::from_slice(entry).unwrap();
                found.extend(entry["job"].as_str().map(str::to_owned));
            }
        } else if tile.first_node().height == 0 {
            leaves.extend(tile.hashes(&answer.body).unwrap());
        }
    }
    assert_eq!((tree.size(), tree.root()), (head.size, head.root));
    assert_eq!(trust::tlog::tree::root_of(&leaves), head.root);
    let mut expected: Vec<_> = jobs
        .iter()
        .map(|job| job["job"].as_str().unwrap().to_owned())
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_job_is_proven_by_its_entry() {
    let (server, dev, jobs) = signed(9).await;
    let policy = LogPolicy {
        logs: vec![key(&server).await],
        witnesses: Vec::new(),
        threshold: 0,
    };
    for job in &jobs {
        let id = job["job"].as_str().unwrap();
        let path = format!("/log/proof?job={id}");
        let answer = send(server.anonymous("GET", &path).bearer_auth(&dev)).await;
        let proof = LogProof::parse(&answer.body).unwrap();
        assert_eq!(json!(proof.position), job["position"]);
        let entry = proof.extra.clone().unwrap();
        assert!(proof.verify(&entry, &policy).is_ok());
        let shown = server.ask("GET", &format!("/log/entry/{id}")).await.json();
        assert_eq!(
            shown["entry"],
            serde_json::from_slice::<Value>(&entry).unwrap()
        );
        let envelope = job["envelope"].as_str().unwrap();
        let envelope = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, envelope).unwrap();
        assert_eq!(
            shown["entry"]["envelopeSha256"],
            oci::Digest::sha256(&envelope).hex()
        );
    }
}

/// Anybody may have the key; everything else is for accounts, and for nobody else.
#[tokio::test]
async fn the_log_is_for_accounts() {
    let (server, dev, _) = signed(1).await;
    assert_eq!(send(server.anonymous("GET", "/log/key")).await.status, 200);
    let paths = [
        "checkpoint",
        "tile/0/000.p/1",
        "tile/entries/000.p/1",
        "proof?position=0",
        "entry/0",
    ];
    for path in paths {
        let path = format!("/log/{path}");
        assert_eq!(
            send(server.anonymous("GET", &path)).await.status,
            401,
            "{path}"
        );
        let worker = server.anonymous("GET", &path).bearer_auth("worker-secret");
        assert_eq!(send(worker).await.status, 403, "{path}");
        let account = server.anonymous("GET", &path).bearer_auth(&dev);
        assert_eq!(send(account).await.status, 200, "{path}");
    }
    for (path, status) in [
        ("tile/0/000", 404),
        ("tile/1/000.p/1", 404),
        ("tile/0/999.p/1", 404),
        ("tile/8/000", 400),
        ("tile/0/0", 400),
        ("tile/entries/x", 400),
        ("proof", 400),
        ("proof?position=99", 404),
        ("proof?job=x", 400),
        ("entry/99", 404),
        ("entry/x", 400),
        ("entry/01890a5d-ac96-774b-bcce-b302099a8057", 404),
    ] {
        assert_eq!(
            server.ask("GET", &format!("/log/{path}")).await.status,
            status,
            "{path}"
        );
    }
}
