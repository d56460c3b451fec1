//! `countersign log verify`.

use std::path::{Path, PathBuf};

use client::log::{LogError, audit};
use serde::{Deserialize, Serialize};
use trust::tlog::{Checkpoint, LogPolicy, LogProofError, SignedNote, VerifierKey, cosignature};

use crate::context::{Context, read_file};
use crate::error::CliError;
use crate::exit::ExitCode;

/// Check the whole log: every entry, every tile, the root, and that it only grew.
///
/// Everything is fetched and computed again. With `--state`, what was checked is remembered, and
/// the next time the log must begin with it: a server that rewrote its history is caught. Give the
/// same witnesses as others do, and a server that shows different histories to different people is
/// caught too.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Check an exported log in this folder instead of a server's.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The log's key.
    #[arg(long, value_name = "VKEY")]
    key: Option<VerifierKey>,
    /// The key of a witness whose cosignature counts. May be given several times.
    #[arg(long = "witness", value_name = "VKEY")]
    witnesses: Vec<VerifierKey>,
    /// How many of the witnesses must have cosigned [default: all that are given].
    #[arg(long, value_name = "N")]
    threshold: Option<usize>,
    /// The file in which what was seen is remembered; made at the first time.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

/// What is remembered of a log.
#[derive(Serialize, Deserialize)]
struct State {
    key: VerifierKey,
    checkpoint: String,
}

/// What was found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    verified: bool,
    origin: String,
    size: u64,
    root: String,
    /// The witnesses that cosigned, of those that were named.
    witnesses: usize,
    /// The size that was remembered, and is the beginning of the log.
    continues: Option<u64>,
    /// The stable code of what is wrong.
    code: Option<&'static str>,
    /// What is wrong, in words.
    reason: Option<String>,
}

/// Checks.
pub(super) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let source = super::source(args.dir, context).await?;
    let state = args.state.as_deref().map(load).transpose()?.flatten();
    let known = args
        .key
        .or_else(|| state.as_ref().map(|state| state.key.clone()));
    let key = super::key(known, &source, context).await?;
    let before = state
        .as_ref()
        .map(|state| remembered(state, &key))
        .transpose()?;
    let note = source.checkpoint().await.map_err(super::failed)?;
    let policy = LogPolicy {
        logs: vec![key.clone()],
        threshold: args.threshold.unwrap_or(args.witnesses.len()),
        witnesses: args.witnesses,
    };
    let mut verified = blank(&note, &policy, before.as_ref());
    let checkpoint = match policy.accept(&note) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            verified.fail(code(&error), &error);
            return print(&verified, context);
        }
    };
    let checks = audit(&source, &checkpoint, (before.as_slice(), |_, _| {})).await;
    match checks {
        Ok(()) => verified.verified = true,
        Err(LogError::Broken(broken)) => verified.fail(broken.code(), &broken),
        Err(error) => return Err(super::failed(error)),
    }
    if let (true, Some(path)) = (verified.verified, &args.state) {
        let checkpoint = note.to_string();
        save(path, &State { key, checkpoint })?;
    }
    print(&verified, context)
}

impl Verified {
    fn fail(&mut self, code: &'static str, error: &dyn std::error::Error) {
        self.code = Some(code);
        self.reason = Some(error.to_string());
    }
}

fn blank(note: &SignedNote, policy: &LogPolicy, before: Option<&Checkpoint>) -> Verified {
    let claimed = Checkpoint::parse(note.unverified_text()).ok();
    Verified {
        verified: false,
        origin: policy
            .logs
            .first()
            .map_or_else(String::new, |key| key.name().to_owned()),
        size: claimed.as_ref().map_or(0, |checkpoint| checkpoint.size),
        root: claimed.map_or_else(String::new, |checkpoint| checkpoint.root.to_string()),
        witnesses: cosignature::count(note, &policy.witnesses).unwrap_or(0),
        continues: before.map(|checkpoint| checkpoint.size),
        code: None,
        reason: None,
    }
}

fn code(error: &LogProofError) -> &'static str {
    match error {
        LogProofError::Witnesses { .. } => "log-witnesses-missing",
        _ => "log-checkpoint-invalid",
    }
}

fn print(verified: &Verified, context: &Context) -> Result<ExitCode, CliError> {
    context.print(verified, text)?;
    Ok(match verified.verified {
        true => ExitCode::Done,
        false => ExitCode::Untrusted,
    })
}

fn text(verified: &Verified) -> String {
    let Verified { origin, size, .. } = verified;
    if let (Some(code), Some(reason)) = (verified.code, &verified.reason) {
        return format!("log {origin} is not what it should be: {code}: {reason}\n");
    }
    let mut text = format!(
        "log {origin}: {size} entries verified, root {}\n",
        verified.root
    );
    if let Some(before) = verified.continues {
        text += &format!("it continues the {before} entries that were seen before\n");
    }
    if verified.witnesses > 0 {
        text += &format!("{} witnesses cosigned it\n", verified.witnesses);
    }
    text
}

fn load(path: &Path) -> Result<Option<State>, CliError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_file(path)?;
    let state = serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("`{}` is not what `log verify` remembers", path.display());
        CliError::config(message).because(error)
    })?;
    Ok(Some(state))
}

/// What is remembered was verified when it was written; it is verified again, because a file can
/// be changed.
fn remembered(state: &State, key: &VerifierKey) -> Result<Checkpoint, CliError> {
    let note = SignedNote::parse(state.checkpoint.as_bytes());
    let checkpoint = note
        .map_err(Into::into)
        .and_then(|note| Checkpoint::verify(&note, key));
    checkpoint.map_err(|error| {
        CliError::config("what is remembered of the log is not signed by its key").because(error)
    })
}

fn save(path: &Path, state: &State) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::config(format!("`{}` cannot be written", path.display())).because(error)
    };
    let mut json = serde_json::to_vec_pretty(state)
        .map_err(|error| CliError::internal("the state is not JSON").because(error))?;
    json.push(b'\n');
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, json).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}
