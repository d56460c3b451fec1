//! `countersign account`.

use std::collections::BTreeSet;
use std::io::Read as _;

use oci::Pattern;
use server::api::accounts::{Account, AccountKind, IssuedToken, NewAccount, NewAccountToken};
use server::auth::Grants;

use super::pending::done_or_pending;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// The longest password that is read, in bytes; the server takes 256.
const MAX_PASSWORD_BYTES: u64 = 1024;

/// Make and change the accounts of persons and automations, and their groups.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make an account, and print a token of it.
    Create(Create),
    /// List the accounts.
    List,
    /// Show an account.
    Show {
        /// The account.
        name: String,
    },
    /// Change an account; what is not named stays.
    Set(Set),
    /// Remove an account with its tokens.
    Remove {
        /// The account.
        name: String,
    },
    /// Print a new token of an account.
    Token {
        /// The account.
        name: String,
        /// After how many seconds it is worthless [default: never].
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
    },
}

#[derive(clap::Args)]
struct Create {
    /// The name: lower-case letters, digits, `.`, `_` and `-`.
    name: String,
    /// It is an automation, and never counts as a person.
    #[arg(long)]
    robot: bool,
    /// A group that it is in; may be repeated.
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// It may do everything.
    #[arg(long)]
    admin: bool,
    /// A repository, or pattern of them, that it may read; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    pull: Vec<Pattern>,
    /// A repository, or pattern of them, that it may write; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    push: Vec<Pattern>,
    /// A profile without rules that it may sign with; may be repeated.
    #[arg(long = "profile", value_name = "NAME")]
    profiles: Vec<String>,
    /// Read a password from standard input, for logging in by hand.
    #[arg(long)]
    password_stdin: bool,
    /// Make no token.
    #[arg(long)]
    no_token: bool,
}

#[derive(clap::Args)]
struct Set {
    /// The account.
    name: String,
    /// Add it to a group; may be repeated.
    #[arg(long, value_name = "NAME")]
    add_group: Vec<String>,
    /// Take it out of a group; may be repeated.
    #[arg(long, value_name = "NAME")]
    remove_group: Vec<String>,
    /// Let it be a person or a robot.
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    kind: Option<AccountKind>,
    /// Let it administer everything, or no longer.
    #[arg(long, value_name = "true|false")]
    admin: Option<bool>,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    match args.action {
        Action::Create(create) => return self::create(create, context).await,
        Action::Set(set) => return self::set(set, context).await,
        Action::List => {
            let accounts: Vec<Account> = control.get("api/v1/accounts").await?;
            context.print(&accounts, |accounts| table(accounts))?;
        }
        Action::Show { name } => {
            let account: Account = control.get(&path(&name)).await?;
            context.print(&account, shown)?;
        }
        Action::Remove { name } => {
            let answer = control.delete(&path(&name)).await?;
            return done_or_pending(context, answer, |(): &()| {
                format!("removed account `{}`\n", render::sanitise(&name))
            });
        }
        Action::Token { name, expires_in } => {
            let token = issue(context, &name, expires_in).await?;
            context.print(&token, |token| format!("{}\n", token.token))?;
        }
    }
    Ok(ExitCode::Done)
}

async fn create(create: Create, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let request = NewAccount {
        name: create.name.clone(),
        grants: Grants {
            admin: create.admin,
            pull: create.pull,
            push: create.push,
            profiles: create.profiles,
            ..Grants::default()
        },
        password: create.password_stdin.then(read_password).transpose()?,
        project: None,
        kind: kind_of(create.robot),
        groups: create.groups.into_iter().collect(),
    };
    let answer = control.post("api/v1/accounts", &request).await?;
    let code = done_or_pending(context, answer, |account: &Account| {
        format!("made account `{}`\n", account.name)
    })?;
    if code == ExitCode::Done && !create.no_token {
        let token = issue(context, &create.name, None).await?;
        context.print(&token, |token| format!("token {}\n", token.token))?;
    }
    Ok(code)
}

async fn issue(
    context: &Context,
    name: &str,
    expires_in: Option<u64>,
) -> Result<IssuedToken, CliError> {
    let request = NewAccountToken {
        limits: None,
        expires_in_secs: expires_in,
    };
    let control = context.control(None).await?;
    Ok(control
        .post(&format!("{}/tokens", path(name)), &request)
        .await?)
}

async fn set(set: Set, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let known: Account = control.get(&path(&set.name)).await?;
    let mut groups: BTreeSet<String> = known.groups;
    groups.extend(set.add_group);
    groups.retain(|group| !set.remove_group.contains(group));
    let request = NewAccount {
        name: known.name,
        grants: Grants {
            admin: set.admin.unwrap_or(known.grants.admin),
            ..known.grants
        },
        password: None,
        project: known.project,
        kind: set.kind.unwrap_or(known.kind),
        groups,
    };
    let answer = control.put(&path(&set.name), &request).await?;
    done_or_pending(context, answer, shown)
}

fn path(name: &str) -> String {
    // The server refuses names that would need escapes; a slash must not lead elsewhere.
    format!(
        "api/v1/accounts/{}",
        name.replace(['/', '?', '#', '%'], "_")
    )
}

fn kind_of(robot: bool) -> AccountKind {
    match robot {
        true => AccountKind::Robot,
        false => AccountKind::Person,
    }
}

fn parse_kind(text: &str) -> Result<AccountKind, String> {
    match text {
        "person" => Ok(AccountKind::Person),
        "robot" => Ok(AccountKind::Robot),
        _ => Err("expected `person` or `robot`".to_owned()),
    }
}

fn read_password() -> Result<String, CliError> {
    let mut text = String::new();
    let read = std::io::stdin()
        .take(MAX_PASSWORD_BYTES)
        .read_to_string(&mut text);
    read.map_err(|e| CliError::usage("standard input is not a password").because(e))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn words(account: &Account) -> [String; 4] {
    let groups: Vec<String> = account
        .groups
        .iter()
        .map(|one| render::sanitise(one))
        .collect();
    [
        render::sanitise(&account.name),
        format!("{:?}", account.kind).to_lowercase(),
        if account.grants.admin { "yes" } else { "no" }.to_owned(),
        groups.join(", "),
    ]
}

fn table(accounts: &[Account]) -> String {
    let mut table = Table::new(["NAME", "KIND", "ADMIN", "GROUPS"]);
    accounts
        .iter()
        .for_each(|account| table.row(words(account)));
    table.draw()
}

fn shown(account: &Account) -> String {
    let [name, kind, admin, groups] = words(account);
    let list = |patterns: &[Pattern]| {
        let words: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        words.join(", ")
    };
    let profiles = render::sanitise(&account.grants.profiles.join(", "));
    let lines = [
        ("name", name),
        ("kind", kind),
        ("admin", admin),
        ("groups", groups),
        ("pull", list(&account.grants.pull)),
        ("push", list(&account.grants.push)),
        ("profiles", profiles),
        ("made", render::time(account.created_at)),
    ];
    lines
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:<9} {value}\n"))
        .collect()
}
