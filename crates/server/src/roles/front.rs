//! The front: the only role that listens on the network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use client::witness::WitnessAddress;
use serde::{Deserialize, Serialize};
use store::accounts::{AccountRow, TokenRow};
use store::{Accounts, Store};
use tokio::sync::watch;

use crate::auth::{NewToken, hash_token};
use crate::aws::AwsSettings;
use crate::clock;
use crate::listen::{Listener, TlsFiles};
use crate::router::router;
use crate::state::{FrontParts, FrontState};

/// The account that the first start makes.
pub const ADMINISTRATOR: &str = "admin";
/// How long an upload may rest before it is dropped: a day, as in other registries.
const UPLOAD_LIFE: time::Duration = time::Duration::DAY;
/// How often resting uploads are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(3600);

/// What the front is started with.
#[derive(Serialize, Deserialize)]
pub struct FrontSettings {
    /// The front's own folder.
    pub folder: PathBuf,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The certificate and key, unless the address is a loopback one.
    pub tls: Option<TlsFiles>,
    /// The URL under which others reach this server; by default that of the address.
    pub public_url: Option<String>,
    /// The signer's socket.
    pub signer_socket: PathBuf,
    /// The SHA-256 of the worker's token.
    pub worker_token_hash: Option<String>,
    /// The witnesses that are asked to cosign the log's checkpoints, each as `URL=VKEY`.
    #[serde(default)]
    pub witnesses: Vec<String>,
    /// What the AWS face is started with.
    pub aws: AwsSettings,
    /// The administrator's token, at the first start.
    pub first_token: Option<String>,
}

/// Runs the front until `stop` becomes true, then lets requests in flight finish.
///
/// # Errors
/// When the store cannot be opened or the address cannot be listened on.
pub async fn run(settings: FrontSettings, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let folder = &settings.folder;
    let store = Store::open(folder)
        .with_context(|| format!("cannot open the store in `{}`", folder.display()))?;
    if let Some(token) = &settings.first_token {
        make_administrator(&*store.accounts, token).await?;
    }
    let witnesses = settings.witnesses.iter().map(|text| text.parse());
    let witnesses = witnesses
        .collect::<Result<Vec<WitnessAddress>, _>>()
        .context("a witness")?;
    // Only now: the supervisor takes the first connection for the end of the first start.
    let listener = Listener::bind(settings.listen, settings.tls.as_ref()).await?;
    let front = FrontState::new(FrontParts {
        store,
        public_url: settings.public_url.unwrap_or_else(|| listener.url()),
        folder: settings.folder,
        signer_socket: settings.signer_socket,
        worker_token_hash: settings.worker_token_hash,
        aws: settings.aws,
    });
    let sweeper = tokio::spawn(sweep(front.store.clone()));
    let control = tokio::spawn(crate::control::run(front.clone(), stop.clone()));
    let witnesses = tokio::spawn(crate::transparency::run(
        front.clone(),
        witnesses,
        stop.clone(),
    ));
    let resumed = tokio::spawn({
        let front = front.clone();
        async move {
            if let Err(error) = crate::two_person::resume(&front).await {
                tracing::warn!("confirmed operations cannot be resumed: {error:?}");
            }
        }
    });
    let revocations = tokio::spawn({
        let front = front.clone();
        async move { front.revocations.run(&front).await }
    });
    let proxies = tokio::spawn(crate::proxy::run(front.clone(), stop.clone()));
    let signing = tokio::spawn(crate::aws::ecr::run_signing(front.clone(), stop.clone()));
    let lifecycle = tokio::spawn(crate::aws::ecr::run_lifecycle(front.clone(), stop.clone()));
    let address = listener.address();
    tracing::info!(
        url = front.public_url,
        "ready: front listening on {address}"
    );
    listener.serve(router(front), stop).await;
    sweeper.abort();
    resumed.abort();
    control.abort();
    proxies.abort();
    witnesses.abort();
    signing.abort();
    lifecycle.abort();
    revocations.abort();
    tracing::info!("front stopped");
    Ok(())
}

/// Makes the administrator's account with the token that the supervisor wrote down. Doing it
/// again is harmless: a first start that was killed half-way is simply repeated.
async fn make_administrator(accounts: &dyn Accounts, token: &str) -> anyhow::Result<()> {
    let id = NewToken::id_of(token).context("the administrator's token is malformed")?;
    if accounts.account(ADMINISTRATOR).await?.is_none() {
        let row = AccountRow {
            administrator: true,
            ..AccountRow::new(ADMINISTRATOR, clock::now())
        };
        accounts.put_account(&row).await?;
    }
    if accounts.token(id).await?.is_none() {
        let row = TokenRow {
            id: id.to_owned(),
            account: ADMINISTRATOR.to_owned(),
            secret_hash: hash_token(token),
            scopes: serde_json::Value::Null,
            created_at: clock::now(),
            expires_at: None,
        };
        accounts.add_token(&row).await?;
    }
    Ok(())
}

/// Drops uploads that nobody went on with, and tokens that are over.
async fn sweep(store: Store) {
    let mut ticks = tokio::time::interval(SWEEP_PERIOD);
    loop {
        ticks.tick().await;
        if let Err(error) = store.accounts.forget_expired_tokens(clock::now()).await {
            tracing::warn!(error = crate::error::chain(&error), "token sweep");
        }
        match store.uploads.expire(clock::now() - UPLOAD_LIFE).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "dropped uploads that rested for a day"),
            Err(error) => tracing::warn!(error = crate::error::chain(&error), "upload sweep"),
        }
    }
}
