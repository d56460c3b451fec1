//! `countersign verifier`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::control::ControlClient;
use client::revocation::HttpCrls;
use client::revocation_feed::FeedReader;
use server::observe::{LogFormat, init_log};
use server::verifier::VerifierParts;
use trust::revocation::feed::FeedHandle;
use trust::tlog::VerifierKey;

use crate::context::{Context, read_file};
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::trust_config;

/// How often the server is asked for its key before the verifier gives up, and the pause between.
const KEY_ATTEMPTS: u32 = 30;
const KEY_PAUSE: Duration = Duration::from_secs(1);

/// Verify for the programs of one machine, with revocations that arrive as they are made.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Run the verifier.
    ///
    /// It subscribes to the revocations of the server that `--server` names and answers
    /// `POST /verify` with what `countersign verify --output json` prints. When it hears nothing of
    /// the server for ten seconds, revocation is unknown, and a policy that enforces it refuses.
    Serve(Serve),
}

#[derive(clap::Args)]
struct Serve {
    /// The address to listen on: a loopback address.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5900")]
    listen: SocketAddr,
    /// The file with the token for the server [default: that of `countersign login`].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The key that the server's revocations must be signed with [default: the one that it shows
    /// when the verifier starts].
    #[arg(long, value_name = "VKEY")]
    revocation_key: Option<VerifierKey>,
    /// Use this trust policy instead of the one that was imported.
    #[arg(long, value_name = "FILE")]
    trust_policy: Option<PathBuf>,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let Action::Serve(serve) = args.action;
    init_log(LogFormat::Text, context.log_filter().as_deref());
    let control = control(&serve, context).await?;
    let key = match serve.revocation_key {
        Some(key) => key,
        None => fetch_key(&control).await?,
    };
    tracing::info!(%key, server = %control.base(), "subscribing to revocations");
    let parts = VerifierParts {
        policy: trust_config::load_policy(serve.trust_policy.as_deref(), context)?,
        store: trust_config::load_store(context)?,
        reader: FeedReader::new(control, FeedHandle::new(key), Arc::new(now)),
        crls: HttpCrls::new(context.http_options())?,
        registries: context.registries()?,
    };
    let stop = server::roles::stop_signal()
        .map_err(|error| CliError::internal("signals cannot be watched").because(error))?;
    let served = server::verifier::run(parts, serve.listen, stop).await;
    served.map_err(|error| CliError::wrapping(Kind::Config, error))?;
    Ok(ExitCode::Done)
}

fn now() -> time::OffsetDateTime {
    server::clock::now()
}

async fn control(serve: &Serve, context: &Context) -> Result<ControlClient, CliError> {
    let Some(file) = &serve.token_file else {
        return context.control(None).await;
    };
    let token = String::from_utf8_lossy(&read_file(file)?).trim().to_owned();
    context.control_with_token(token)
}

/// Asks the server for the key of its log; it may still be starting.
async fn fetch_key(control: &ControlClient) -> Result<VerifierKey, CliError> {
    let mut attempt = 1;
    loop {
        match control.get_text("log/key").await {
            Ok(text) => {
                return text.trim().parse().map_err(|error| {
                    CliError::config("the server shows no usable key").because(error)
                });
            }
            Err(error) if attempt == KEY_ATTEMPTS => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "the server does not answer yet"),
        }
        attempt += 1;
        tokio::time::sleep(KEY_PAUSE).await;
    }
}
