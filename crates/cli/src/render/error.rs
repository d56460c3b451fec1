//! The one place where an error is put into words.
//!
//! ```text
//! error: manifest `v1` not found in `registry.example/app`
//!   caused by: …
//! hint: …
//! ```

use std::error::Error;

use serde_json::json;

use super::sanitise;
use crate::context::Output;
use crate::error::CliError;

/// Writes `error` to standard error, as text or as JSON.
pub(crate) fn write(error: &CliError, output: &Output) {
    let text = match output {
        Output::Json => as_json(error),
        _ => as_text(error),
    };
    super::to_stderr(&text);
}

fn as_text(error: &CliError) -> String {
    let mut text = format!("error: {}\n", sanitise(&error.to_string()));
    for cause in causes(error) {
        text.push_str(&format!("  caused by: {}\n", sanitise(&cause)));
    }
    if let Some(hint) = error.hint_text() {
        text.push_str(&format!("hint: {}\n", sanitise(hint)));
    }
    text
}

fn as_json(error: &CliError) -> String {
    let document = json!({
        "error": {
            "kind": error.kind().name(),
            "message": error.to_string(),
            "causes": causes(error),
            "hint": error.hint_text(),
        }
    });
    format!("{document}\n")
}

fn causes(error: &CliError) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> CliError {
        CliError::not_found("tag `\u{1b}[2J` not found")
            .because("the registry said so")
            .hint("list tags with `countersign list`")
    }

    #[test]
    fn text_has_causes_and_a_hint() {
        insta::assert_snapshot!(as_text(&error()), @r"
        error: tag `\u{1b}[2J` not found
          caused by: the registry said so
        hint: list tags with `countersign list`
        ");
    }

    #[test]
    fn json_has_the_kind() {
        insta::assert_snapshot!(as_json(&error()), @r#"{"error":{"causes":["the registry said so"],"hint":"list tags with `countersign list`","kind":"not-found","message":"tag `\u001b[2J` not found"}}"#);
    }
}
