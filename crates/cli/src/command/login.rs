//! `countersign login`.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};

use client::credentials::{Credential, Credentials, DockerConfig};
use client::{RegistryClient, RegistryOptions};
use oci::Registry;
use serde::Serialize;
use server::api::oidc::{ForeignToken, WorkloadToken};

use crate::context::{Context, read_file};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::terminal;

/// The longest password that is read, in bytes. The longest tokens (ECR) have a few thousand.
const MAX_PASSWORD_BYTES: u64 = 64 * 1024;

/// Keep credentials for a registry or a Countersign server, after trying them.
///
/// They are kept where Docker's clients keep theirs: in the credential helper that is configured
/// there, else in `$DOCKER_CONFIG/config.json`, readable by you only. For a Countersign server
/// the user name is that of the account, and the password is its token.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The registry, such as `registry.example:5000`.
    registry: Registry,
    /// The user name or account.
    #[arg(short, long)]
    username: Option<String>,
    /// Read the password or token from standard input.
    #[arg(long)]
    password_stdin: bool,
    /// Exchange the token of a CI system in FILE for a short-lived one of a Countersign server,
    /// which signs where rules name the workload.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["username", "password_stdin"])]
    oidc_token_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct LoggedIn {
    registry: Registry,
    username: String,
}

/// Logs in.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    if let Some(file) = &args.oidc_token_file {
        return exchange(file, args.registry, context).await;
    }
    let (username, password) = ask(&args, context)?;
    let credential = Credential::Basic {
        username: username.clone(),
        password: password.into(),
    };
    let registry = args.registry;
    let options = RegistryOptions {
        http: context.http_options().clone(),
        plain_http: context.plain_http(),
        credentials: Credentials::Fixed(BTreeMap::from([(registry.clone(), credential.clone())])),
    };
    RegistryClient::new(options)?.ping(&registry).await?;
    load(context)?.store(&registry, &credential).await?;
    context.print(&LoggedIn { registry, username }, |done| {
        format!("logged in to {} as {}\n", done.registry, done.username)
    })?;
    Ok(ExitCode::Done)
}

/// The registry is not tried with the new token: it may open nothing there but signing.
async fn exchange(
    file: &Path,
    registry: Registry,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let text = String::from_utf8(read_file(file)?);
    let text = text.map_err(|e| CliError::usage("the file does not hold a token").because(e))?;
    let request = ForeignToken {
        token: text.trim().to_owned(),
    };
    let control = context.anonymous_control(&registry)?;
    let token: WorkloadToken = control.post("api/v1/oidc/token", &request).await?;
    let credential = Credential::Basic {
        username: token.account.clone(),
        password: token.token.into(),
    };
    load(context)?.store(&registry, &credential).await?;
    let done = LoggedIn {
        registry,
        username: token.account,
    };
    context.print(&done, |done| {
        let subject = render::sanitise(&token.workload.subject);
        let until = render::time(token.expires_at);
        format!(
            "logged in to {} as workload {subject} until {until}\n",
            done.registry
        )
    })?;
    Ok(ExitCode::Done)
}

/// Loads the file that credentials are kept in.
pub(super) fn load(context: &Context) -> Result<DockerConfig, CliError> {
    let path = context.docker_config_file().ok_or_else(|| {
        CliError::config("there is no folder for credentials: `HOME` is not set")
            .hint("set `DOCKER_CONFIG` to a folder")
    })?;
    Ok(DockerConfig::load(&path)?)
}

fn ask(args: &Args, context: &Context) -> Result<(String, String), CliError> {
    let can_ask = context.can_ask();
    let username = match (&args.username, can_ask && !args.password_stdin) {
        (Some(username), _) => username.clone(),
        (None, true) => ask_line("user name: ")?,
        (None, false) => {
            return Err(CliError::usage("no user name was given").hint("add `--username NAME`"));
        }
    };
    let password = match (args.password_stdin, can_ask) {
        (true, _) => read_stdin()?,
        (false, true) => terminal::ask_secret("password or token: ")?,
        (false, false) => {
            return Err(CliError::usage("no password was given")
                .hint("pipe it in, with `--password-stdin`"));
        }
    };
    if username.is_empty() || username.contains(':') || password.is_empty() {
        return Err(CliError::usage(
            "user name and password may not be empty, and no user name has a colon",
        ));
    }
    Ok((username, password))
}

fn ask_line(question: &str) -> Result<String, CliError> {
    let unreadable = |e| CliError::config("the terminal could not be read").because(e);
    let mut terminal = std::io::stderr();
    terminal
        .write_all(question.as_bytes())
        .and_then(|()| terminal.flush())
        .map_err(unreadable)?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(unreadable)?;
    Ok(line.trim().to_owned())
}

fn read_stdin() -> Result<String, CliError> {
    let mut password = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_PASSWORD_BYTES)
        .read_to_string(&mut password)
        .map_err(|e| CliError::usage("standard input is not a password").because(e))?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}
