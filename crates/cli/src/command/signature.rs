//! `countersign signature`.

use server::api::signing::{RevokeSignature, SigningJob};
use signer::{JobId, JobStatus};

use super::pending::{Answer, done_or_pending};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;

/// Show and revoke single signatures.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show who had what signed, and when.
    Show {
        /// The signing job, as `sign` printed it.
        job: JobId,
    },
    /// Revoke a signature, for ever.
    Revoke {
        /// The signing job, as `sign` printed it.
        job: JobId,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Revoke the certificate even if other signatures were made with it, and they with it.
        #[arg(long)]
        whole_certificate: bool,
    },
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let job: SigningJob = match args.action {
        Action::Show { job } => control.get(&format!("api/v1/signatures/{job}")).await?,
        Action::Revoke {
            job,
            reason,
            whole_certificate,
        } => {
            let request = RevokeSignature {
                reason,
                whole_leaf: whole_certificate,
            };
            let path = format!("api/v1/signatures/{job}/revoke");
            let job: SigningJob = match control.post(&path, &request).await? {
                Answer::Done(job) => job,
                pending => return done_or_pending(context, pending, shown),
            };
            if job
                .revocation
                .as_ref()
                .is_some_and(|revocation| !revocation.on_crl)
            {
                context.warn(
                    "other signatures were made with the same certificate, so it is not on the \
                     revocation list: verifiers that do not ask this server will not learn of it",
                );
                context.hint("add `--whole-certificate` to revoke those signatures as well");
            }
            job
        }
    };
    context.print(&job, shown)?;
    Ok(ExitCode::Done)
}

fn shown(job: &SigningJob) -> String {
    let mut lines = vec![
        ("job", job.id.to_string()),
        (
            "status",
            match job.status {
                JobStatus::Succeeded => "valid until it expires".to_owned(),
                JobStatus::Revoked => "revoked".to_owned(),
            },
        ),
        ("signed", job.target.to_string()),
        ("at", render::time(job.signed_at)),
        ("expires", render::time(job.expires)),
        (
            "profile",
            format!("{} ({})", job.profile, job.profile_version),
        ),
        ("asked by", render::sanitise(&job.caller.describe())),
        (
            "rule",
            job.rule
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
        ),
        ("leaf", job.leaf_sha256.clone()),
    ];
    if let Some(revocation) = &job.revocation {
        let (at, by) = (
            render::time(revocation.at),
            render::sanitise(&revocation.by),
        );
        let reason = render::sanitise(&revocation.reason);
        lines.push(("revoked", format!("{at} by {by}: {reason}")));
    }
    lines
        .iter()
        .map(|(name, value)| format!("{name:<9} {value}\n"))
        .collect()
}
