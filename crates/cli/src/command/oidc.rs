//! `countersign oidc`.

use std::path::PathBuf;

use oci::Pattern;
use server::api::oidc::{Access, Issuer, NewIssuer};
use signer::profile::rules::Glob;

use super::pending::done_or_pending;
use crate::context::{Context, read_file};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// Trust the workload identities of a CI system (OpenID Connect).
///
/// A workload shows the CI system's token (`countersign login --oidc-token-file`, or POST
/// /api/v1/oidc/token) and gets one of ours for fifteen minutes. It signs where the rules of a
/// profile name the workload.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Trust an issuer, or change its settings.
    Add(Add),
    /// List the issuers.
    List,
    /// Trust an issuer no more.
    Remove {
        /// The issuer's address.
        issuer: String,
    },
}

#[derive(clap::Args)]
struct Add {
    /// The issuer's address, exactly as its tokens say it (`iss`).
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// The audience that its tokens must be for (`aud`); best the address of this server.
    #[arg(long, value_name = "TEXT")]
    audience: String,
    /// The issuer's keys (a JSON Web Key Set), when the server cannot fetch them itself.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// A claim to keep, for rules that ask for it; may be repeated.
    #[arg(long = "claim", value_name = "NAME")]
    claims: Vec<String>,
    /// The subjects that may read or write repositories, as a pattern.
    #[arg(long, value_name = "PATTERN")]
    subject: Option<Glob>,
    /// A repository, or pattern of them, that these subjects may read; may be repeated.
    #[arg(long, value_name = "PATTERN", requires = "subject")]
    pull: Vec<Pattern>,
    /// A repository, or pattern of them, that these subjects may write; may be repeated.
    #[arg(long, value_name = "PATTERN", requires = "subject")]
    push: Vec<Pattern>,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    match args.action {
        Action::Add(add) => {
            let answer = control.post("api/v1/oidc/issuers", &request(add)?).await?;
            done_or_pending(context, answer, |issuer: &Issuer| {
                format!(
                    "tokens of `{}` are accepted\n",
                    render::sanitise(&issuer.issuer)
                )
            })
        }
        Action::List => {
            let issuers: Vec<Issuer> = control.get("api/v1/oidc/issuers").await?;
            context.print(&issuers, |issuers| table(issuers))?;
            Ok(ExitCode::Done)
        }
        Action::Remove { issuer } => {
            let issuers: Vec<Issuer> = control.get("api/v1/oidc/issuers").await?;
            let known = issuers.iter().find(|known| known.issuer == issuer);
            let missing = || {
                CliError::not_found(format!(
                    "issuer `{}` is not trusted",
                    render::sanitise(&issuer)
                ))
            };
            let path = format!("api/v1/oidc/issuers/{}", known.ok_or_else(missing)?.id);
            let answer = control.delete(&path).await?;
            done_or_pending(context, answer, |(): &()| {
                format!(
                    "tokens of `{}` are accepted no more\n",
                    render::sanitise(&issuer)
                )
            })
        }
    }
}

fn request(add: Add) -> Result<NewIssuer, CliError> {
    let jwks = add.jwks.as_deref().map(|path| {
        serde_json::from_slice(&read_file(path)?).map_err(|error| {
            CliError::config(format!("`{}` is not a JSON Web Key Set", path.display()))
                .because(error)
        })
    });
    let access = add.subject.map(|subject| Access {
        subject,
        claims: Default::default(),
        pull: add.pull,
        push: add.push,
    });
    Ok(NewIssuer {
        issuer: add.issuer,
        audience: add.audience,
        claims: add.claims,
        jwks: jwks.transpose()?,
        access: access.into_iter().collect(),
    })
}

fn table(issuers: &[Issuer]) -> String {
    if issuers.is_empty() {
        return "no issuer is trusted\n".to_owned();
    }
    let mut table = Table::new(["ISSUER", "AUDIENCE", "KEYS", "CLAIMS"]);
    for issuer in issuers {
        table.row([
            render::sanitise(&issuer.issuer),
            render::sanitise(&issuer.audience),
            if issuer.jwks.is_some() {
                "given"
            } else {
                "fetched"
            }
            .to_owned(),
            render::sanitise(&issuer.claims.join(", ")),
        ]);
    }
    table.draw()
}
