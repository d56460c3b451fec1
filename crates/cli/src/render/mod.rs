//! Putting results into words: trees, tables, sizes, and text that cannot harm a terminal.

pub(crate) mod error;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod tree;

use std::io::Write;

/// Returns `text` with every character that a terminal could obey shown as `\u{…}` instead.
///
/// Tags, annotations, media types and log lines are other people's words. Control characters
/// move the cursor or set titles; bidirectional overrides make a line read as another.
pub(crate) fn sanitise(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_invisible(character) {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Returns several lines of foreign text, sanitised; line ends and tabs stay.
#[allow(dead_code, reason = "used by commands that show logs")]
pub(crate) fn sanitise_lines(text: &str) -> String {
    let line = |line: &str| {
        line.split('\t')
            .map(sanitise)
            .collect::<Vec<_>>()
            .join("\t")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Bidirectional and zero-width format characters (Unicode TR #36, 3.1 and 2.10.2).
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Returns a number of bytes in the largest unit that keeps a digit before the point.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = count * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Returns a time to the second, in UTC, as RFC 3339.
pub(crate) fn time(time: time::OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_else(|_| time.to_string())
}

/// Writes to standard error; if that is gone, there is nobody left to tell.
pub(crate) fn to_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_cannot_be_commanded() {
        for (text, expected) in [
            ("plain – text", "plain – text"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("a\nb\tc", "a\\u{a}b\\u{9}c"),
            ("admin\u{202e}txt", "admin\\u{202e}txt"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
        ] {
            assert_eq!(sanitise(text), expected);
        }
        assert_eq!(sanitise_lines("a\tb\r\nc\u{1b}[0m"), "a\tb\nc\\u{1b}[0m");
    }

    #[test]
    fn sizes_have_a_digit_before_the_point() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (u64::MAX / 16, "1048575.9 TiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }
}
