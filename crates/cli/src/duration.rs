//! Stretches of time on the command line: `90s`, `15m`, `24h`, `30d`.

use std::str::FromStr;

/// A stretch of time, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(u32);

impl Span {
    /// Returns the number of seconds.
    pub(crate) fn seconds(self) -> u32 {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a time: write it like `90s`, `15m`, `24h` or `30d`");
        let unit = text.chars().last().ok_or_else(wrong)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        let seconds = number.checked_mul(factor).filter(|seconds| *seconds > 0);
        seconds.map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_a_number_and_a_unit() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("24h", Some(86_400)),
            ("30d", Some(2_592_000)),
            ("0h", None),
            ("", None),
            ("h", None),
            ("-1h", None),
            ("1w", None),
            ("1é", None),
            ("99999999d", None),
        ] {
            let found = text.parse::<Span>().ok().map(Span::seconds);
            assert_eq!(found, expected, "{text}");
        }
    }
}
