//! Licences of Debian packages: `/usr/share/doc/<package>/copyright`, where it is
//! machine-readable.
//!
//! Only the `License:` fields of copyright-format 1.0 (DEP-5) are read. A free-form file gives
//! none: guessing a licence from its text is another tool's work.

use std::collections::BTreeSet;

use crate::files::FileView;
use crate::licence::{Licence, in_expression};

/// Returns the licences that the copyright file of a package declares, sorted.
pub(super) fn licences(view: &FileView, package: &str) -> Vec<Licence> {
    let Some(file) = view.file(&format!("usr/share/doc/{package}/copyright")) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&file.bytes);
    if !text.starts_with("Format:") {
        return Vec::new();
    }
    let declared = text
        .lines()
        .filter_map(|line| line.strip_prefix("License:"));
    let licences: BTreeSet<Licence> = declared.flat_map(in_expression).collect();
    licences.into_iter().collect()
}
