//! Writes a report as a table for people, with a summary and what is not covered.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{FixState, Report};
use crate::matching::Finding;
use crate::severity::Severity;

/// The first line of the table.
const HEADINGS: [&str; 6] = [
    "NAME",
    "INSTALLED",
    "FIXED IN",
    "TYPE",
    "VULNERABILITY",
    "SEVERITY",
];

pub(super) fn write(report: &Report) -> String {
    let rows: Vec<[String; 6]> = report.findings.matches.iter().map(row).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text.push_str(&columns(&rows));
        text.push('\n');
    }
    text.push_str(&summary(report));
    for gap in &report.findings.coverage.gaps {
        let _ = writeln!(text, "not covered: {}", clean(&gap.reason));
    }
    if report.findings.coverage.stale {
        let _ = writeln!(
            text,
            "stale: the advisory database was built on {}",
            report.database.built.date()
        );
    }
    text
}

fn row(finding: &Finding) -> [String; 6] {
    let fixed = match finding.state {
        FixState::Fixed => finding.fixed_in.join(", "),
        FixState::WontFix => "(won't fix)".to_owned(),
        FixState::NotFixed | FixState::Unknown => String::new(),
    };
    let package = &finding.package;
    [
        clean(&package.name),
        clean(&package.version),
        clean(&fixed),
        package.kind.as_str().to_owned(),
        clean(&finding.id),
        finding.severity.to_string(),
    ]
}

/// Aligns the columns; the last one is not padded.
pub(crate) fn aligned<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &[&str]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    };
    line(&headings);
    for row in rows {
        line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

fn columns(rows: &[[String; 6]]) -> String {
    aligned(HEADINGS, rows)
}

/// An image decides what its packages are called, so nothing of that may steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn summary(report: &Report) -> String {
    let matches = &report.findings.matches;
    let mut counts: BTreeMap<Severity, usize> = BTreeMap::new();
    for finding in matches {
        *counts.entry(finding.severity).or_default() += 1;
    }
    let of = |(severity, count): (&Severity, &usize)| {
        format!("{count} {}", severity.as_str().to_lowercase())
    };
    let counts: Vec<String> = counts.iter().rev().map(of).collect();
    let fixable = matches
        .iter()
        .filter(|f| f.state == FixState::Fixed)
        .count();
    let found = match matches.len() {
        0 if report.findings.coverage.complete => "no vulnerabilities found".to_owned(),
        0 => "no vulnerabilities found in what is covered".to_owned(),
        1 => format!(
            "1 vulnerability ({}), {fixable} with a fix",
            counts.join(", ")
        ),
        n => format!(
            "{n} vulnerabilities ({}), {fixable} with a fix",
            counts.join(", ")
        ),
    };
    let ignored = match report.findings.ignored.len() {
        0 => String::new(),
        n => format!("; {n} set aside by a rule"),
    };
    format!("{found}{ignored}\n")
}
