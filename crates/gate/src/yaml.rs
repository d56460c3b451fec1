//! Reading YAML documents that people write: gate policies, the declarative file, buildspecs.
//!
//! A person who made a mistake needs the place: every error carries line, column and the member
//! it is about, also when the document is well-formed and only its meaning is wrong. For that the
//! document is read a second time, into a tree of positions, but only when there is an error to
//! place. Aliases and merge keys are refused: they make a policy say something other than what a
//! reviewer reads, and they are how small documents become large ones.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};

mod tree;

/// The largest document, in bytes. The longest real buildspecs and policies have a few dozen
/// kilobytes.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
/// The deepest nesting of a document. Ours need eight levels.
pub const MAX_DEPTH: usize = 32;
/// The most nodes of a document.
pub const MAX_NODES: usize = 50_000;

/// Says what is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// The file, if the caller named it.
    pub file: Option<String>,
    /// The line and the column, from 1.
    pub position: Option<(u64, u64)>,
    /// The member that it is about, such as `pipelines[0].stages[1].name`.
    pub member: String,
    /// What is wrong.
    pub reason: String,
}

impl DocumentError {
    /// Returns the same error, about the file `name`.
    pub fn in_file(mut self, name: &str) -> Self {
        self.file = Some(name.to_owned());
        self
    }
}

impl std::error::Error for DocumentError {}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        match (self.position, &self.file) {
            (Some((line, column)), Some(_)) => write!(f, "{line}:{column}: ")?,
            (Some((line, column)), None) => write!(f, "line {line}, column {column}: ")?,
            (None, Some(_)) => write!(f, " ")?,
            (None, None) => {}
        }
        if !self.member.is_empty() {
            write!(f, "`{}`: ", self.member)?;
        }
        f.write_str(&self.reason)
    }
}

/// A mistake in the meaning of a document, found after it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The path of the member, such as `pipelines[0].stages[1].name`.
    pub member: String,
    /// What is wrong.
    pub reason: String,
}

impl Mistake {
    /// Returns a mistake about `member`.
    pub fn new(member: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            member: member.into(),
            reason: reason.into(),
        }
    }
}

/// Parses `text` and checks its meaning.
///
/// # Errors
/// If the text is too large, is not YAML, has not the shape of `T`, or `check` finds a mistake. Of
/// several mistakes, the one that stands first in the document is reported.
pub fn parse<T: DeserializeOwned>(
    text: &str,
    check: impl FnOnce(&T) -> Vec<Mistake>,
) -> Result<T, DocumentError> {
    let value: T = read(text)?;
    let mistakes = check(&value);
    if mistakes.is_empty() {
        return Ok(value);
    }
    let tree = tree::Tree::read(text).unwrap_or_default();
    let mut placed: Vec<DocumentError> = mistakes.into_iter().map(|m| place(m, &tree)).collect();
    placed.sort_by_key(|error| error.position.unwrap_or((u64::MAX, 0)));
    Err(placed.swap_remove(0))
}

fn place(mistake: Mistake, tree: &tree::Tree) -> DocumentError {
    DocumentError {
        file: None,
        position: tree.position(&mistake.member),
        member: mistake.member,
        reason: mistake.reason,
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        let size = text.len();
        return Err(DocumentError {
            file: None,
            position: None,
            member: String::new(),
            reason: format!("document has {size} bytes, more than {MAX_DOCUMENT_BYTES}"),
        });
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| described(text, &error))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_documents: 1,
            max_aliases: 0,
            max_anchors: 0,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn described(text: &str, error: &serde_saphyr::Error) -> DocumentError {
    let position = error
        .location()
        .map(|location| (location.line(), location.column()));
    let reason = reason(error);
    let member = match (position, tree::Tree::read(text)) {
        (Some(at), None) => member_before(text, at),
        // An unknown member is at its name, everything else at its value: a mapping and its first
        // name stand in the same place.
        (Some(at), Some(tree)) if reason.starts_with("missing field") => tree.mapping_at(at),
        (Some(at), Some(tree)) if reason.starts_with("unknown field") => tree.member_at(at),
        (Some(at), Some(tree)) => tree.value_at(at),
        _ => String::new(),
    };
    DocumentError {
        file: None,
        position,
        member,
        reason,
    }
}

/// Text that is not YAML has no positions; what stands before the line of the error has some.
fn member_before(text: &str, at: (u64, u64)) -> String {
    let lines = usize::try_from(at.0)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let before: String = text.split_inclusive('\n').take(lines).collect();
    match tree::Tree::read(&before) {
        Some(tree) => tree.mapping_at(at),
        None => String::new(),
    }
}

/// The library appends the place to its message; we print it ourselves, once.
fn reason(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let place = error
        .location()
        .map(|l| format!(" at line {}, column {}", l.line(), l.column()));
    let bare = place.and_then(|place| text.strip_suffix(&place).map(str::to_owned));
    reworded(bare.unwrap_or(text))
}

/// Messages that speak to programmers, in words for the author of a document.
fn reworded(text: String) -> String {
    if text.starts_with("budget breached: Anchors") || text.starts_with("budget breached: Aliases")
    {
        return "anchors and aliases are not supported: write the value out".to_owned();
    }
    match text.as_str() {
        "expected string scalar" => {
            return "expected a text; one that holds `: ` or ` #` must be in quotes".to_owned();
        }
        "expected sequence start" => return "expected a list".to_owned(),
        "expected mapping start" => return "expected a mapping".to_owned(),
        _ => {}
    }
    if text.starts_with("budget breached: Documents") {
        return "there is more than one document in the file".to_owned();
    }
    if let Some(limit) = text.strip_prefix("budget breached: ") {
        return format!("the document is too large or too deep ({limit})");
    }
    match text.strip_suffix(", set DuplicateKeyPolicy in Options if acceptable") {
        Some(bare) => bare.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests;
