//! `countersign revocation`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use server::api::revocations::NewBundle;
use time::OffsetDateTime;
use trust::revocation::feed::{Bundle, BundleError, MAX_BUNDLE_BYTES, RevocationLine, Revoked};
use trust::tlog::VerifierKey;

use crate::context::{Context, read_file};
use crate::duration::Span;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// Carry revocations to where there is no network, and look at them.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Write all revocations to standard output, signed, for a limited time.
    Export {
        /// How long the file may be used, such as `24h` or `7d`; at most 90 days. What is revoked
        /// meanwhile is not known to those who use it.
        #[arg(long, value_name = "TIME", default_value = "24h")]
        valid_for: Span,
    },
    /// Verify a file of revocations and show what is in it.
    Show {
        /// The file.
        file: PathBuf,
        /// The key that it must be signed with: that of the server's log.
        #[arg(long, value_name = "VKEY")]
        revocation_key: VerifierKey,
    },
}

/// A bundle as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    origin: String,
    sequence: u64,
    log_size: u64,
    issuers: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    until: OffsetDateTime,
    /// Why it may not be used now, if it may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    revocations: Vec<RevocationLine>,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.action {
        Action::Export { valid_for } => {
            let control = context.control(None).await?;
            let request = NewBundle {
                valid_for_secs: valid_for.seconds(),
            };
            let bundle = control.post_for_text("api/v1/revocations/bundle", &request);
            context.print_bytes(bundle.await?.as_bytes())?;
            Ok(ExitCode::Done)
        }
        Action::Show {
            file,
            revocation_key,
        } => show(&load_bundle(&file, &revocation_key)?, context),
    }
}

/// Reads a bundle that `key` signed. Whether its time has come or gone is not asked here.
pub(crate) fn load_bundle(file: &Path, key: &VerifierKey) -> Result<Bundle, CliError> {
    let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    if size > MAX_BUNDLE_BYTES as u64 {
        let file = file.display();
        return Err(CliError::config(format!(
            "`{file}` is too large for a revocation bundle"
        )));
    }
    Bundle::read(&read_file(file)?, key).map_err(|error| {
        let hint = match &error {
            BundleError::Head(_) => {
                "the key is the one that the server's `/log/key` shows; take it from there over a way \
                 that you trust"
            }
            _ => "export the revocations again",
        };
        let message = format!("`{}` cannot be used", file.display());
        let cause = CliError::wrapping(Kind::Config, error);
        CliError::config(message).because(cause).hint(hint)
    })
}

fn show(bundle: &Bundle, context: &Context) -> Result<ExitCode, CliError> {
    let head = bundle.head();
    let unusable = bundle.unusable_at(context.now());
    let shown = Shown {
        origin: head.head.origin.clone(),
        sequence: head.head.sequence,
        log_size: head.head.log_size,
        issuers: head.head.issuers.clone(),
        from: head.from,
        until: head.until,
        unusable,
        revocations: bundle.lines().to_vec(),
    };
    context.print(&shown, text)?;
    Ok(match shown.unusable {
        None => ExitCode::Done,
        Some(_) => ExitCode::Inconclusive,
    })
}

fn text(shown: &Shown) -> String {
    let (from, until) = (render::time(shown.from), render::time(shown.until));
    let mut text = format!(
        "{} revocations of `{}`, valid from {from} until {until}\n",
        shown.sequence,
        render::sanitise(&shown.origin)
    );
    if let Some(reason) = &shown.unusable {
        text.push_str(&format!("not to be used now: {reason}\n"));
    }
    if shown.revocations.is_empty() {
        return text;
    }
    let mut table = Table::new(["NUMBER", "AT", "WHAT", "WHY"]);
    for line in &shown.revocations {
        table.row([
            line.sequence.to_string(),
            render::time(line.at),
            render::sanitise(&described(&line.revoked)),
            render::sanitise(&line.reason),
        ]);
    }
    text + &table.draw()
}

fn described(revoked: &Revoked) -> String {
    let from = |from: &Option<OffsetDateTime>| match from {
        None => String::new(),
        Some(from) => format!(" from {} on", render::time(*from)),
    };
    match revoked {
        Revoked::Signatures { job: Some(job), .. } => format!("signature {job}"),
        Revoked::Signatures { identities, .. } => format!("{} signatures", identities.len()),
        Revoked::Certificate { serial, from: time } => {
            format!("certificate {serial}{}", from(time))
        }
        Revoked::Profile {
            profile,
            version: None,
            from: time,
            ..
        } => format!("profile {profile}{}", from(&Some(*time))),
        Revoked::Profile {
            profile,
            version: Some(version),
            from: time,
            ..
        } => format!(
            "version {version} of profile {profile}{}",
            from(&Some(*time))
        ),
        Revoked::Digest { digest, until, .. } => {
            format!("{digest} as signed until {}", render::time(*until))
        }
        _ => "something that is not known here".to_owned(),
    }
}
