//! Asking a person on the terminal.

use std::io::{BufRead, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::error::CliError;

/// Asks for something that must not be seen, with the echo turned off.
pub(crate) fn ask_secret(question: &str) -> Result<String, CliError> {
    let unreadable =
        |e: std::io::Error| CliError::config("the terminal could not be read").because(e);
    super::to_stderr(question);
    let quiet = Quiet::start().map_err(unreadable)?;
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    drop(quiet);
    // The line end that the person typed was not echoed either.
    super::to_stderr("\n");
    let _ = std::io::stderr().flush();
    read.map_err(unreadable)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for a line.
pub(crate) fn ask(question: &str) -> Result<String, CliError> {
    super::to_stderr(question);
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| CliError::config("the terminal could not be read").because(e))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal without echo, until this is dropped.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn start() -> std::io::Result<Self> {
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(&stdin)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // If this fails there is no terminal left to restore.
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.before);
    }
}
