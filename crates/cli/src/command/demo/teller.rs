//! Tells the story: numbered steps with times, commands as they are typed, and what came of them.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::error::CliError;
use crate::render;

/// The width of the rule under a heading, in characters.
const RULE: usize = 100;

/// Prints the story and keeps the times of its steps.
pub(super) struct Teller {
    colours: bool,
    begun: Instant,
    step: Option<(String, Instant)>,
    times: Vec<(String, Duration)>,
    attacks: Vec<(String, String)>,
}

impl Teller {
    /// Returns a teller that writes to standard output, in colour on a terminal.
    pub(super) fn new() -> Self {
        Self {
            colours: std::io::stdout().is_terminal(),
            begun: Instant::now(),
            step: None,
            times: Vec::new(),
            attacks: Vec::new(),
        }
    }

    /// Begins a step; the one before it ends.
    pub(super) fn step(&mut self, title: &str) {
        self.end_step();
        let number = self.times.len() + 1;
        self.line("");
        self.painted("1;36", &format!("{number:>2}  {title}"));
        self.painted("2", &"─".repeat(RULE));
        self.step = Some((title.to_owned(), Instant::now()));
    }

    /// Says a sentence.
    pub(super) fn say(&self, text: &str) {
        self.line(&format!("    {text}"));
    }

    /// Shows a command as it is typed by `who`.
    pub(super) fn command(&self, who: &str, line: &str) {
        self.painted("1", &format!("    {who}$ {line}"));
    }

    /// Shows what a command printed, indented, without control characters.
    pub(super) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.painted("2", &format!("      {}", render::sanitise(line)));
        }
    }

    /// Says that something holds that had to hold.
    pub(super) fn holds(&self, text: &str) {
        self.painted("32", &format!("    ✓ {text}"));
    }

    /// Notes an attack and the code that refused it, for the closing table.
    pub(super) fn refused(&mut self, attack: &str, code: &str) {
        self.painted("32", &format!("    ✓ refused: {code}"));
        self.attacks.push((attack.to_owned(), code.to_owned()));
    }

    /// Prints the tables of steps and attacks.
    pub(super) fn finish(&mut self) {
        self.end_step();
        self.line("");
        self.painted(
            "1;36",
            "    step                                                            seconds",
        );
        for (title, time) in &self.times {
            self.line(&format!("    {title:<62} {:>8.1}", time.as_secs_f64()));
        }
        let total = self.begun.elapsed().as_secs_f64();
        self.painted("1", &format!("    {:<62} {total:>8.1}", "in all"));
        self.line("");
        self.painted(
            "1;36",
            "    attack                                                          refused with",
        );
        for (attack, code) in &self.attacks {
            self.line(&format!("    {attack:<62}  {code}"));
        }
        self.line("");
    }

    fn end_step(&mut self) {
        if let Some((title, begun)) = self.step.take() {
            self.times.push((title, begun.elapsed()));
        }
    }

    fn painted(&self, colour: &str, text: &str) {
        match self.colours {
            true => self.line(&format!("\u{1b}[{colour}m{text}\u{1b}[0m")),
            false => self.line(text),
        }
    }

    /// A reader that has gone away does not stop the story: `down` must still be reached.
    fn line(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// Returns the error of a story that did not go as told.
pub(super) fn broken(expected: impl Into<String>) -> CliError {
    CliError::new(crate::error::Kind::Internal, expected)
}
