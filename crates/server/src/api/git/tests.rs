//! With the real git client against a listening server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::git::{Checkout, checkout};
use pipeline::runner::{self, CommandLine, RunnerError, Tail};
use store::Store;

use super::*;
use crate::api::accounts::{NewAccount, put_account};
use crate::auth::{GitGrants, Grants, NewTokenRequest};
use crate::state::{FrontParts, FrontState};

const LIMIT: Duration = Duration::from_secs(60);

struct Server {
    folder: tempfile::TempDir,
    url: String,
    front: Front,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let front = FrontState::new(FrontParts {
            store: Store::open(folder.path()).unwrap(),
            public_url: url.clone(),
            folder: folder.path().to_owned(),
            signer_socket: folder.path().join("signer.sock"),
            worker_token_hash: None,
            aws: crate::aws::AwsSettings::for_tests(),
        });
        let repositories = GitRepositories::open(&folder.path().join("git")).unwrap();
        repositories.create(&"shop".parse().unwrap()).await.unwrap();
        let router = crate::router::router(front.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { folder, url, front }
    }

    async fn token(&self, account: &str, git: GitGrants) -> String {
        let new = NewAccount {
            name: account.to_owned(),
            grants: Grants {
                git,
                ..Grants::default()
            },
            ..NewAccount::default()
        };
        put_account(&self.front, new).await.unwrap();
        let issued = self.front.auth.issue(account, NewTokenRequest::default());
        issued.await.unwrap().text().to_owned()
    }

    fn url(&self, account: &str, token: &str) -> String {
        let address = self.url.strip_prefix("http://").unwrap();
        format!("http://{account}:{token}@{address}/git/shop.git")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn git(folder: &Path, arguments: &[&str]) -> Result<String, RunnerError> {
    let command = CommandLine::new(runner::find_program("git").unwrap())
        .env("HOME", folder)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .directory(folder);
    let output = runner::capture(&command, LIMIT).await?;
    Ok(String::from_utf8(output.stdout).unwrap())
}

fn grants(pull: &[&str], push: &[&str]) -> GitGrants {
    let parse = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect();
    GitGrants {
        pull: parse(pull),
        push: parse(push),
    }
}

async fn commit(server: &Server) -> PathBuf {
    let work = server.path("work");
    fs::create_dir(&work).unwrap();
    git(&work, &["init", "-q", "-b", "main"]).await.unwrap();
    fs::write(work.join("file"), "content").unwrap();
    // Large enough that git sends it in chunks, without a length.
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(work.join("large"), noise).unwrap();
    git(&work, &["add", "."]).await.unwrap();
    git(&work, &["commit", "-q", "-m", "first"]).await.unwrap();
    work
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_fetched_again_by_people_and_by_the_worker() {
    let server = Server::start().await;
    let token = server.token("dev", grants(&[], &["shop"])).await;
    let work = commit(&server).await;
    let url = server.url("dev", &token);
    git(&work, &["push", "-q", &url, "main"]).await.unwrap();
    let head = git(&work, &["rev-parse", "HEAD"]).await.unwrap();
    git(&work, &["clone", "-q", &url, "../clone"])
        .await
        .unwrap();
    assert!(server.path("clone/large").is_file());

    fs::write(work.join("file"), "second").unwrap();
    git(&work, &["commit", "-q", "-a", "-m", "second"])
        .await
        .unwrap();
    git(&work, &["push", "-q", &url, "main"]).await.unwrap();

    // The worker gets the commit that was pushed, though the branch has moved on.
    let scratch = server.path("scratch");
    fs::create_dir(&scratch).unwrap();
    let request = Checkout {
        url: &format!("{}/git/shop.git", server.url),
        commit: head.trim(),
        folder: &server.path("source"),
        scratch: &scratch,
        account: "dev",
        token: &token,
    };
    let log = Tail::default();
    let time = checkout(&request, &log).await.unwrap();
    assert_eq!(time, 1_700_000_000);
    let content = fs::read_to_string(server.path("source/file")).unwrap();
    assert_eq!(content, "content");
    assert!(!server.path("source/.git").exists());
    assert_eq!(
        fs::read_dir(&scratch).unwrap().count(),
        0,
        "no credentials stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fetching_and_pushing_need_their_own_grants() {
    let server = Server::start().await;
    let dev = server.token("dev", grants(&[], &["shop"])).await;
    let reader = server.token("reader", grants(&["shop"], &[])).await;
    let stranger = server.token("stranger", grants(&["other"], &[])).await;
    let work = commit(&server).await;
    let push = async |account: &str, token: &str| {
        git(&work, &["push", "-q", &server.url(account, token), "main"]).await
    };
    let fetch = async |account: &str, token: &str| {
        git(&work, &["ls-remote", &server.url(account, token)]).await
    };
    assert!(push("reader", &reader).await.is_err());
    assert!(push("stranger", &stranger).await.is_err());
    assert!(push("dev", "wrong").await.is_err());
    push("dev", &dev).await.unwrap();
    assert!(
        fetch("reader", &reader)
            .await
            .unwrap()
            .contains("refs/heads/main")
    );
    assert!(fetch("stranger", &stranger).await.is_err());
    assert!(fetch("dev", "wrong").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_smart_protocol_is_served() {
    let server = Server::start().await;
    let token = server.token("dev", grants(&[], &["shop", "none"])).await;
    let http = reqwest::Client::new();
    let status = async |path: &str| {
        let request = http
            .get(format!("{}{path}", server.url))
            .bearer_auth(&token);
        request.send().await.unwrap().status().as_u16()
    };
    let service = "info/refs?service=git-upload-pack";
    assert_eq!(status(&format!("/git/shop.git/{service}")).await, 200);
    for (path, expected) in [
        ("/git/shop.git/info/refs", 400),
        ("/git/shop.git/info/refs?service=git-upload-archive", 400),
        ("/git/shop.git/config", 404),
        ("/git/shop.git/HEAD", 404),
        ("/git/shop.git/objects/info/packs", 404),
        (&*format!("/git/none.git/{service}"), 404),
        (&*format!("/git/..%2fsigner.git/{service}"), 404),
        (&*format!("/git/.git/{service}"), 404),
    ] {
        assert_eq!(status(path).await, expected, "{path}");
    }
}
