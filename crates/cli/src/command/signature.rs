//! `countersign signature`.

use oci::Digest;
use server::api::signing::{RevokeSignature, SigningJob};
use signer::{JobId, JobStatus, LeafName, RevocationRequest, RevocationTarget};
use time::OffsetDateTime;

use super::pending::{Answer, done_or_pending};
use crate::command::revoking;
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
    /// Revoke signatures, for ever: one, all over a digest, or all of a certificate.
    Revoke(Revoke),
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["job", "digest", "certificate"])))]
struct Revoke {
    /// The signing job, as `sign` printed it.
    job: Option<JobId>,
    /// All signatures made so far over this digest. One that is made later is not covered.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
    /// All signatures made with this leaf certificate: its serial number or SHA-256, in
    /// hexadecimal.
    #[arg(long, value_name = "SERIAL|SHA256", value_parser = parse_leaf)]
    certificate: Option<LeafName>,
    /// From when on, as RFC 3339, in the past; not for a single signature.
    #[arg(long, value_name = "TIME", value_parser = revoking::parse_time, conflicts_with = "job")]
    from: Option<OffsetDateTime>,
    /// Why.
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present = "preview",
        default_value = ""
    )]
    reason: String,
    /// Revoke the certificate even if other signatures were made with it, and they with it.
    #[arg(long, requires = "job")]
    whole_certificate: bool,
    /// Show what would be revoked, and revoke nothing.
    #[arg(long)]
    preview: bool,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Show { job } => {
            let control = context.control(None).await?;
            let job: SigningJob = control.get(&format!("api/v1/signatures/{job}")).await?;
            context.print(&job, shown)?;
            Ok(ExitCode::Done)
        }
        Action::Revoke(Revoke {
            job: Some(job),
            preview: false,
            reason,
            whole_certificate,
            ..
        }) => revoke_one(job, (reason, whole_certificate), context).await,
        Action::Revoke(revoke) => {
            let (target, what) = revoke.target()?;
            if revoke.preview {
                return revoking::preview(target, revoke.from, context).await;
            }
            let request = RevocationRequest {
                target,
                from: revoke.from,
                reason: revoke.reason,
            };
            revoking::revoke(&request, &what, context).await
        }
    }
}

impl Revoke {
    fn target(&self) -> Result<(RevocationTarget, String), CliError> {
        Ok(match (&self.job, &self.digest, &self.certificate) {
            (Some(id), _, _) => {
                let (id, whole_leaf) = (*id, self.whole_certificate);
                let what = format!("signature {id}");
                (RevocationTarget::Job { id, whole_leaf }, what)
            }
            (_, Some(digest), _) => {
                let what = format!("what was signed so far over `{digest}`");
                (RevocationTarget::Digest(digest.clone()), what)
            }
            (_, _, Some(leaf)) => {
                let what = format!("what was signed with {leaf}");
                (RevocationTarget::Certificate(leaf.clone()), what)
            }
            _ => return Err(CliError::usage("nothing is named that could be revoked")),
        })
    }
}

async fn revoke_one(
    job: JobId,
    (reason, whole_leaf): (String, bool),
    context: &Context,
) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let request = RevokeSignature { reason, whole_leaf };
    let path = format!("api/v1/signatures/{job}/revoke");
    let job: SigningJob = match control.post(&path, &request).await? {
        Answer::Done(job) => job,
        pending => return done_or_pending(context, pending, shown),
    };
    let revocation = job.revocation.as_ref();
    if revocation.is_some_and(|revocation| !revocation.on_crl) {
        context.warn(
            "other signatures were made with the same certificate, so it is not on the revocation \
             list: verifiers that do not hear this server's revocations will not learn of it",
        );
        context.hint("add `--whole-certificate` to revoke those signatures as well");
    }
    context.print(&job, shown)?;
    Ok(ExitCode::Done)
}

/// A SHA-256 has 64 digits, and a serial number at most 40 (RFC 5280 §4.1.2.2).
fn parse_leaf(text: &str) -> Result<LeafName, String> {
    let text = text.replace(':', "").to_ascii_lowercase();
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.len() {
        64 if is_hex => Ok(LeafName::Sha256(text)),
        1..=40 if is_hex => Ok(LeafName::Serial(text)),
        _ => Err("expected a serial number or a SHA-256 fingerprint in hexadecimal".to_owned()),
    }
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
