//! What `verify` found, in words.

use client::verification::{FailedCheck, JudgedSignature, Report, Verdict};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use trust::VerificationAction;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;

/// Prints the report and returns the exit code.
pub(super) fn finish(report: &Report, context: &Context) -> Result<ExitCode, CliError> {
    context.print(report, text)?;
    for problem in &report.problems {
        let reason = render::sanitise(&problem.reason);
        context.warn(&format!("{} could not be read: {reason}", problem.digest));
    }
    if let Some(limit) = &report.truncated {
        context.warn(&format!(
            "this is not everything: the walk stopped at {limit}"
        ));
    }
    Ok(match report.verdict() {
        Verdict::Trusted | Verdict::Skipped => ExitCode::Done,
        Verdict::Untrusted => ExitCode::Untrusted,
        Verdict::Undecided => ExitCode::Inconclusive,
    })
}

fn text(report: &Report) -> String {
    let verdict = match (report.skipped, report.trusted) {
        (true, _) => "not verified",
        (false, true) => "trusted",
        (false, false) => "not trusted",
    };
    let policy = render::sanitise(&report.policy);
    let mut text = format!("{verdict}  {}\n", render::sanitise(&report.reference));
    text.push_str(&format!("under statement `{policy}` of the trust policy\n"));
    if let Some(note) = &report.note {
        text.push_str(&format!("{note}\n"));
    }
    for artifact in &report.artifacts {
        if report.artifacts.len() > 1 {
            let kind = artifact.artifact_type.as_ref().map(ToString::to_string);
            let kind = kind.unwrap_or_else(|| "artifact".to_owned());
            text.push_str(&format!("{kind}  {}\n", artifact.digest));
            if artifact.signatures.is_empty() {
                text.push_str("  no signature\n");
            }
        }
        for signature in &artifact.signatures {
            text.push_str(&lines(signature));
        }
    }
    text
}

fn lines(signature: &JudgedSignature) -> String {
    let mark = if signature.trusted { "✓" } else { "✗" };
    let outcome = &signature.outcome;
    let mut text = format!("{mark} signature {}\n", signature.digest);
    match (&outcome.signer, &outcome.claimed_signer) {
        (Some(signer), _) => line(&mut text, "signed by", &signer.subject.to_string()),
        (None, Some(claimed)) => line(&mut text, "claims", &claimed.subject.to_string()),
        (None, None) => {}
    }
    if let Some(time) = outcome.signing_time {
        line(&mut text, "signed at", &moment(time));
    }
    if let Some(time) = outcome.expires {
        line(&mut text, "expires", &moment(time));
    }
    for (name, value) in &outcome.user_metadata {
        line(&mut text, "metadata", &format!("{name}={value}"));
    }
    for FailedCheck { failure, remedy } in &signature.failures {
        let action = match failure.action {
            VerificationAction::Enforce => "",
            VerificationAction::Log | VerificationAction::Skip => " (only logged)",
        };
        let kind = failure.verification_type.name();
        let reason = format!("{} [{}]{action}", failure.reason, failure.code);
        line(&mut text, kind, &reason);
        line(&mut text, "remedy", remedy);
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    let value = render::sanitise(value);
    text.push_str(&format!("    {name:<20}{value}\n"));
}

fn moment(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
