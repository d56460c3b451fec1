//! `countersign access-key`.

use client::control::ControlClient;
use serde::Serialize;
use server::api::access_keys::{AccountKeys, IssuedKey, NewKey, NewNumber, OWN_ACCOUNT};
use signer::AccountNumber;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// Make, list and delete access keys, with which clients of AWS sign their requests.
///
/// A key may do what its account may, or less when it is made with a limited token. Its secret is
/// shown once.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// The account [default: that of your token]. Another one needs an administrator.
    #[arg(long, global = true, value_name = "NAME")]
    account: Option<String>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make an access key and show its secret, for the only time.
    Create {
        /// Make one that ends by itself after so many seconds, with a session token.
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
        /// Write lines that a shell evaluates.
        #[arg(long)]
        export: bool,
    },
    /// List the lasting access keys of the account.
    List,
    /// Delete an access key: it is worthless at once.
    Delete {
        /// The public part, such as `AKIA…`.
        id: String,
    },
    /// Give the account a number of its own, as its tenant; for administrators.
    SetNumber {
        /// Twelve digits; that of the installation when left out.
        number: Option<AccountNumber>,
    },
}

#[derive(Serialize)]
struct Deleted {
    deleted: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Numbered {
    account_number: Option<AccountNumber>,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let account = args.account.as_deref().unwrap_or(OWN_ACCOUNT);
    let base = format!("api/v1/accounts/{account}");
    match args.action {
        Action::Create { expires_in, export } => {
            let key = create(&control, &base, expires_in).await?;
            let text = if export { exported } else { issued };
            context.print(&key, text)?;
        }
        Action::List => {
            let keys: AccountKeys = control.get(&format!("{base}/access-keys")).await?;
            context.print(&keys, listed)?;
        }
        Action::Delete { id } => {
            let () = control.delete(&format!("{base}/access-keys/{id}")).await?;
            context.print(&Deleted { deleted: id }, |done| {
                format!("deleted access key `{}`\n", done.deleted)
            })?;
        }
        Action::SetNumber { number } => {
            let account_number = number;
            let new = NewNumber { account_number };
            let () = control.put(&format!("{base}/number"), &new).await?;
            context.print(&Numbered { account_number }, |done| {
                match done.account_number {
                    Some(number) => format!("the account has number {number} now\n"),
                    None => "the account has the number of the installation now\n".to_owned(),
                }
            })?;
        }
    }
    Ok(ExitCode::Done)
}

async fn create(
    control: &ControlClient,
    base: &str,
    expires_in_secs: Option<u64>,
) -> Result<IssuedKey, CliError> {
    let new = NewKey { expires_in_secs };
    Ok(control.post(&format!("{base}/access-keys"), &new).await?)
}

fn issued(key: &IssuedKey) -> String {
    let mut lines = vec![
        ("account", key.account.clone()),
        ("account number", key.account_number.to_string()),
        ("region", key.region.clone()),
        ("access key id", key.access_key_id.clone()),
        ("secret access key", key.secret_access_key.clone()),
    ];
    if let Some(token) = &key.session_token {
        lines.push(("session token", token.clone()));
    }
    if let Some(expiry) = key.expires_at {
        lines.push(("until", render::time(expiry)));
    }
    let lines = lines.iter();
    let mut text: String = lines
        .map(|(name, value)| format!("{name:<18} {value}\n"))
        .collect();
    text.push_str("the secret is not shown again\n");
    text
}

/// The variables that AWS's clients read.
fn exported(key: &IssuedKey) -> String {
    let mut lines = vec![
        ("AWS_ACCESS_KEY_ID", &key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
        ("AWS_REGION", &key.region),
    ];
    lines.extend(
        key.session_token
            .as_ref()
            .map(|token| ("AWS_SESSION_TOKEN", token)),
    );
    let lines = lines.iter();
    lines
        .map(|(name, value)| format!("export {name}='{value}'\n"))
        .collect()
}

fn listed(keys: &AccountKeys) -> String {
    if keys.access_keys.is_empty() {
        return format!("account `{}` has no access key\n", keys.account);
    }
    let mut table = Table::new(["ACCESS KEY", "MADE", "MAY DO"]);
    for key in &keys.access_keys {
        let may = if key.limited {
            "less than its account"
        } else {
            "what its account may"
        };
        table.row([
            key.access_key_id.clone(),
            render::time(key.created_at),
            may.to_owned(),
        ]);
    }
    table.draw()
}
