//! `countersign log show`.

use serde_json::Value;
use server::api::log::ShownEntry;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;

/// Show an entry of the log.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The position of the entry, or the signing job that it is about.
    #[arg(value_name = "POSITION|JOB")]
    which: String,
}

/// Shows.
pub(super) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let which = super::which(&args.which)?;
    let control = context.control(None).await?;
    let shown: ShownEntry = control.get(&format!("log/entry/{which}")).await?;
    context.print(&shown, text)?;
    Ok(ExitCode::Done)
}

fn text(shown: &ShownEntry) -> String {
    let entry: Value = serde_json::from_str(shown.entry.get()).unwrap_or_default();
    let mut lines = format!("{:<16} {}\n", "position", shown.position);
    for (name, value) in entry.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        lines += &format!(
            "{:<16} {}\n",
            render::sanitise(name),
            render::sanitise(&value)
        );
    }
    lines
}
