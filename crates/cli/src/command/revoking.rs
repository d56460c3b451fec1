//! What the commands that revoke share: the look beforehand, and the deed.

use server::api::revocations::{PreviewRequest, RevocationPreview};
use signer::{RevocationOutcome, RevocationRequest, RevocationTarget};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::pending::done_or_pending;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// Shows what a revocation would cover. The exit code says whether something that serves is among
/// it.
pub(super) async fn preview(
    target: RevocationTarget,
    from: Option<OffsetDateTime>,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let request = PreviewRequest { target, from };
    let path = "api/v1/revocations/preview";
    let preview: RevocationPreview = control.post(path, &request).await?;
    context.print(&preview, text)?;
    Ok(match preview.deployed.is_empty() {
        true => ExitCode::Done,
        false => ExitCode::Inconclusive,
    })
}

/// Revokes, and says what that covered.
pub(super) async fn revoke(
    request: &RevocationRequest,
    what: &str,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let answer = control.post("api/v1/revocations", request).await?;
    done_or_pending(
        context,
        answer,
        |outcome: &RevocationOutcome| match outcome.changed {
            true => format!(
                "revoked {what}: {} signatures, from position {} of the log on\n",
                outcome.signatures, outcome.from_position
            ),
            false => "that is revoked already\n".to_owned(),
        },
    )
}

/// Reads a moment.
pub(super) fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "expected a time such as `2026-03-01T12:00:00Z`".to_owned())
}

fn text(shown: &RevocationPreview) -> String {
    let preview = &shown.preview;
    let coverage = &preview.coverage;
    let mut text = format!(
        "{} signatures over {} artifacts would be revoked, {} of them in force, from position {} of \
         the log on\n",
        coverage.signatures, coverage.artifacts, coverage.in_force, preview.from_position
    );
    for (profile, count) in &coverage.by_profile {
        text.push_str(&format!(
            "  profile {}: {count}\n",
            render::sanitise(profile)
        ));
    }
    for (repository, count) in &shown.by_repository {
        text.push_str(&format!(
            "  repository {repository}: {count} artifacts of those below\n"
        ));
    }
    for one in &shown.deployed {
        let rest = match one.left {
            0 => "no signature would be left".to_owned(),
            left => format!("{left} signatures would be left"),
        };
        text.push_str(&format!(
            "  serves {}: {}@{}, {rest}\n",
            render::sanitise(&one.environment),
            one.repository,
            one.digest.short()
        ));
    }
    if preview.newest.is_empty() {
        return text;
    }
    text + &newest(shown).draw()
}

fn newest(shown: &RevocationPreview) -> Table {
    let mut table = Table::new(["JOB", "SIGNED", "PROFILE", "ARTIFACT", "LIES IN"]);
    for job in &shown.preview.newest {
        let places = shown
            .places
            .iter()
            .filter(|place| place.digest == job.digest);
        let places: Vec<String> = places.map(|place| place.repository.to_string()).collect();
        table.row([
            job.job.to_string(),
            render::time(job.signed_at),
            job.profile.to_string(),
            job.digest.short().to_owned(),
            match places.is_empty() {
                true => "-".to_owned(),
                false => places.join(", "),
            },
        ]);
    }
    table
}
