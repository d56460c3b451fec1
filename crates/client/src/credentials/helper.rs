//! Credential helper programs: `docker-credential-<name> get|store|erase`.

use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{Credential, TOKEN_USERNAME, basic};
use crate::ClientError;

/// How long a helper may take: some ask a cloud's API, none should ask a person for longer.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer of a helper, in bytes. The longest tokens (ECR) have a few thousand.
const MAX_HELPER_BYTES: u64 = 64 * 1024;
/// What every helper says when it knows nothing of a server (docker-credential-helpers).
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    secret: String,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    #[serde(rename = "Username")]
    username: &'a str,
    #[serde(rename = "Secret")]
    secret: &'a str,
}

/// Asks the helper for the credential of `server`.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credential>, ClientError> {
    let output = call(name, "get", server.as_bytes()).await?;
    if output.success {
        let answer: Answer = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed(name, "it did not answer with JSON of the right shape"))?;
        return Ok(Some(basic(answer.username, answer.secret)));
    }
    let words = String::from_utf8_lossy(&output.stdout);
    if words.trim() == NOT_FOUND {
        return Ok(None);
    }
    Err(failed(name, words.trim()))
}

/// Has the helper keep a credential.
pub(super) async fn store(
    name: &str,
    server: &str,
    credential: &Credential,
) -> Result<(), ClientError> {
    let username = match credential {
        Credential::Basic { username, .. } => username,
        Credential::IdentityToken(_) => TOKEN_USERNAME,
    };
    let entry = Entry {
        server,
        username,
        secret: credential.secret().expose(),
    };
    let input = serde_json::to_vec(&entry).map_err(|_| failed(name, "no entry could be made"))?;
    expect_success(name, call(name, "store", &input).await?)
}

/// Has the helper forget a credential.
pub(super) async fn erase(name: &str, server: &str) -> Result<(), ClientError> {
    expect_success(name, call(name, "erase", server.as_bytes()).await?)
}

struct Output {
    success: bool,
    stdout: Vec<u8>,
}

fn expect_success(name: &str, output: Output) -> Result<(), ClientError> {
    if output.success {
        return Ok(());
    }
    Err(failed(name, String::from_utf8_lossy(&output.stdout).trim()))
}

async fn call(name: &str, verb: &str, input: &[u8]) -> Result<Output, ClientError> {
    // The name becomes part of a program's name: it must not lead out of `$PATH`.
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        return Err(failed(name, "its name has characters other than letters"));
    }
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| failed(name, &e.to_string()))?;
    match tokio::time::timeout(HELPER_TIMEOUT, converse(&mut child, input)).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(e)) => Err(failed(name, &e.to_string())),
        Err(_) => Err(failed(name, "it did not answer in time")),
    }
}

async fn converse(child: &mut Child, input: &[u8]) -> std::io::Result<Output> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that answers without listening closes its end early, which is its right.
        let _ = stdin.write_all(input).await;
    }
    let mut stdout = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(MAX_HELPER_BYTES).read_to_end(&mut stdout).await?;
    }
    let status = child.wait().await?;
    Ok(Output {
        success: status.success(),
        stdout,
    })
}

fn failed(name: &str, reason: &str) -> ClientError {
    ClientError::Configuration {
        what: format!("credential helper `docker-credential-{name}` failed: {reason}"),
        source: None,
    }
}
