//! `countersign profile`.

mod rules;

use std::path::PathBuf;

use server::api::signing::{NewProfile, Profile, PutProfile};
use signer::{
    Dialect, Grants, LeafPolicy, ProfileChange, ProfileName, ProfileStatus, RevocationRequest,
    RevocationTarget, SigningPlatform, Validity,
};
use time::OffsetDateTime;

use super::pending::done_or_pending;
use crate::command::revoking;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// The life of a leaf in the dialect of AWS, in days, when nothing else is asked for.
const AWS_LEAF_DAYS: u16 = 3;

/// Make, show, cancel and revoke signing profiles.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make a profile.
    Create(Create),
    /// List the profiles that you may use; administrators see all.
    List,
    /// Show a profile, with the identity that stands for it in trust policies.
    Show {
        /// The profile.
        name: ProfileName,
    },
    /// Let a profile sign no more. Its signatures stay valid.
    Cancel {
        /// The profile.
        name: ProfileName,
    },
    /// Revoke what a profile signed, for ever, and let it sign no more.
    Revoke(Revoke),
    /// Show, set and try the rules of a profile: who may sign what with it.
    Rules(rules::Args),
}

#[derive(clap::Args)]
struct Create {
    /// The name, which becomes the common name of its certificates.
    name: ProfileName,
    /// How long its signatures are valid, such as `7 days`, `3 months`, `1 year`.
    #[arg(long, value_name = "TIME")]
    validity: Validity,
    /// An account that may sign with it; may be repeated.
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    /// A pipeline whose runs may sign with it; may be repeated.
    #[arg(long = "pipeline", value_name = "PROJECT/PIPELINE")]
    pipelines: Vec<String>,
    /// Sign with one certificate for DAYS days, which is faster. A single signature can then be
    /// revoked on the server only, not by certificate revocation list.
    #[arg(long, value_name = "DAYS")]
    rotating_leaf: Option<u16>,
    /// What it signs for: the algorithm and the format.
    #[arg(long, value_name = "NAME", default_value_t)]
    platform: SigningPlatform,
    /// The rules of who may sign what, in YAML or JSON, in place of `--account` and `--pipeline`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["accounts", "pipelines"])]
    rules: Option<PathBuf>,
    /// Let changing, canceling and revoking it take two administrators.
    #[arg(long)]
    two_person: bool,
    /// What its envelopes carry: `plain` for every verifier, `aws` for the Notation plugin of AWS
    /// Signer, which then asks this server whether a signature was revoked. Asks for a rotating
    /// leaf [default there: 3 days].
    #[arg(long, value_name = "DIALECT", default_value = "plain", value_parser = parse_dialect)]
    dialect: Dialect,
    /// Make a new version when the profile exists with other settings.
    #[arg(long)]
    replace: bool,
}

#[derive(clap::Args)]
struct Revoke {
    /// The profile.
    name: ProfileName,
    /// From when on, as RFC 3339, in the past [default: everything that it ever signed].
    #[arg(long, value_name = "TIME", value_parser = revoking::parse_time)]
    from: Option<OffsetDateTime>,
    /// Only what this version of it signed; the profile signs again once it has another.
    #[arg(long, value_name = "VERSION")]
    profile_version: Option<String>,
    /// Why.
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present = "preview",
        default_value = ""
    )]
    reason: String,
    /// Show what would be revoked, and revoke nothing.
    #[arg(long)]
    preview: bool,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Create(create) => return self::create(create, context).await,
        Action::List => list(context).await?,
        Action::Show { name } => {
            let control = context.control(None).await?;
            let profile: Profile = control.get(&path(&name, "")).await?;
            context.print(&profile, shown)?;
        }
        Action::Cancel { name } => {
            let control = context.control(None).await?;
            let empty = serde_json::json!({});
            let answer = control.post(&path(&name, "/cancel"), &empty).await?;
            return done_or_pending(context, answer, |profile: &Profile| {
                match profile.profile.status {
                    ProfileStatus::Revoked => format!("`{name}` was revoked already\n"),
                    _ => format!("`{name}` signs no more; its signatures stay valid\n"),
                }
            });
        }
        Action::Revoke(revoke) => return self::revoke(revoke, context).await,
        Action::Rules(args) => return rules::run(args, context).await,
    }
    Ok(ExitCode::Done)
}

async fn create(create: Create, context: &Context) -> Result<ExitCode, CliError> {
    let request = NewProfile {
        name: create.name,
        platform: create.platform,
        validity: create.validity,
        leaf: match (create.rotating_leaf, create.dialect) {
            (Some(days), _) => LeafPolicy::Rotating { days },
            (None, Dialect::Aws) => LeafPolicy::Rotating {
                days: AWS_LEAF_DAYS,
            },
            (None, Dialect::Plain) => LeafPolicy::PerJob,
        },
        dialect: create.dialect,
        grants: Grants {
            accounts: create.accounts.into_iter().collect(),
            pipelines: create.pipelines.into_iter().collect(),
        },
        rules: create
            .rules
            .as_deref()
            .map(rules::load)
            .transpose()?
            .unwrap_or_default(),
        two_person: create.two_person,
        replace: create.replace,
    };
    let control = context.control(None).await?;
    let answer = control.post("api/v1/profiles", &request).await?;
    done_or_pending(context, answer, |put: &PutProfile| {
        let name = &put.profile.profile.name;
        let first = match put.change {
            ProfileChange::Created => format!("made profile `{name}`\n"),
            ProfileChange::Updated => format!("made a new version of profile `{name}`\n"),
            ProfileChange::Unchanged => format!("profile `{name}` is so already\n"),
        };
        first + &shown(&put.profile)
    })
}

async fn list(context: &Context) -> Result<(), CliError> {
    let control = context.control(None).await?;
    let profiles: Vec<Profile> = control.get("api/v1/profiles").await?;
    context.print(&profiles, |profiles| {
        if profiles.is_empty() {
            return "there is no profile that you may use\n".to_owned();
        }
        let mut table = Table::new(["NAME", "STATUS", "VALIDITY", "LEAF", "GRANTED TO"]);
        for Profile { profile, .. } in profiles {
            table.row([
                profile.name.to_string(),
                format!("{:?}", profile.status).to_lowercase(),
                profile.validity.to_string(),
                leaf(profile.leaf),
                granted(profile),
            ]);
        }
        table.draw()
    })
}

async fn revoke(revoke: Revoke, context: &Context) -> Result<ExitCode, CliError> {
    let target = RevocationTarget::Profile {
        name: revoke.name.clone(),
        version: revoke.profile_version.clone(),
    };
    if revoke.preview {
        return revoking::preview(target, revoke.from, context).await;
    }
    let request = RevocationRequest {
        target,
        from: revoke.from,
        reason: revoke.reason,
    };
    let what = match &revoke.profile_version {
        None => format!("what `{}` signed; it signs no more", revoke.name),
        Some(version) => format!("what version `{version}` of `{}` signed", revoke.name),
    };
    revoking::revoke(&request, &what, context).await
}

fn path(name: &ProfileName, rest: &str) -> String {
    format!("api/v1/profiles/{name}{rest}")
}

fn parse_dialect(text: &str) -> Result<Dialect, String> {
    match text {
        "plain" => Ok(Dialect::Plain),
        "aws" => Ok(Dialect::Aws),
        _ => Err("expected `plain` or `aws`".to_owned()),
    }
}

fn shown(shown: &Profile) -> String {
    let Profile { profile, identity } = shown;
    let status = format!("{:?}", profile.status).to_lowercase();
    let mut lines = vec![
        ("name", profile.name.to_string()),
        ("version", profile.version.clone()),
        ("status", status),
        ("validity", profile.validity.to_string()),
        ("leaf", leaf(profile.leaf)),
        ("dialect", dialect(profile.dialect).to_owned()),
        ("granted to", granted(profile)),
        ("made", render::time(profile.created_at)),
        ("identity", identity.clone()),
    ];
    if let Some(revocation) = &profile.revocation {
        let reason = render::sanitise(&revocation.reason);
        let from = render::time(revocation.from);
        lines.push(("revoked", format!("from {from} on: {reason}")));
    }
    lines
        .iter()
        .map(|(name, value)| format!("{name:<11} {value}\n"))
        .collect()
}

fn leaf(policy: LeafPolicy) -> String {
    match policy {
        LeafPolicy::PerJob => "per job".to_owned(),
        LeafPolicy::Rotating { days } => format!("{days} days"),
    }
}

fn dialect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Plain => "plain",
        Dialect::Aws => "aws",
    }
}

fn granted(profile: &signer::SigningProfile) -> String {
    let grants = &profile.grants;
    if !profile.rules.is_empty() {
        let ids: Vec<&str> = profile
            .rules
            .as_slice()
            .iter()
            .map(|rule| rule.id.as_str())
            .collect();
        return format!("rules {}", ids.join(", "));
    }
    let accounts = grants.accounts.iter().map(|name| render::sanitise(name));
    let pipelines = grants.pipelines.iter();
    let pipelines = pipelines.map(|name| format!("pipeline {}", render::sanitise(name)));
    let names: Vec<String> = accounts.chain(pipelines).collect();
    match names.is_empty() {
        true => "nobody".to_owned(),
        false => names.join(", "),
    }
}
