//! `countersign forecast`.

use server::api::forecast::Forecast;

use crate::context::Context;
use crate::duration::Span;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;
use crate::render::table::Table;

/// Show which artifacts become unverifiable soon because their last signature expires, and which
/// certificates do.
///
/// The first to expire comes first, with the tags that name it and the environments that it serves.
/// The exit code is 7 when something that serves is among them.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How far to look ahead, such as `12h` or `30d`.
    #[arg(long, value_name = "TIME", default_value = "30d")]
    within: Span,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    let path = format!("api/v1/forecast?withinSecs={}", args.within.seconds());
    let forecast: Forecast = control.get(&path).await?;
    context.print(&forecast, text)?;
    if forecast.truncated {
        context.warn("there is more: only the first to expire are listed");
    }
    let serves = |one: &server::api::forecast::ExpiringArtifact| !one.environments.is_empty();
    Ok(match forecast.artifacts.iter().any(serves) {
        true => ExitCode::Inconclusive,
        false => ExitCode::Done,
    })
}

fn text(forecast: &Forecast) -> String {
    let until = render::time(forecast.until);
    let mut text = String::new();
    for one in &forecast.certificates {
        let subject = render::sanitise(&one.subject);
        let expires = render::time(one.expires);
        text.push_str(&format!("certificate `{subject}` expires at {expires}\n"));
    }
    if forecast.artifacts.is_empty() {
        return text + &format!("no artifact loses its last signature by {until}\n");
    }
    let mut table = Table::new(["EXPIRES", "ARTIFACT", "NAMES", "SERVES", "PROFILE"]);
    for one in &forecast.artifacts {
        table.row([
            render::time(one.expires),
            one.digest.short().to_owned(),
            or_dash(&one.names),
            or_dash(&one.environments),
            one.profile.to_string(),
        ]);
    }
    text + &table.draw()
}

fn or_dash(words: &[String]) -> String {
    match words.is_empty() {
        true => "-".to_owned(),
        false => render::sanitise(&words.join(", ")),
    }
}
