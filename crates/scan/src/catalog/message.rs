//! Fields of the form `Name: value`, with continuation lines: dpkg's status, Python's metadata.
//!
//! Debian Policy §5.1 and RFC 5322 §2.2 agree on what is needed here.

/// The fields of one paragraph, in their order.
pub(super) struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    /// Reads one paragraph. A line that is no field is skipped; the value of a field is its first
    /// line, since no field that we ask for goes on.
    pub(super) fn parse(paragraph: &'a str) -> Self {
        let field = |line: &'a str| {
            let (name, value) = line.split_once(':')?;
            let is_name = !name.is_empty() && !line.starts_with([' ', '\t']);
            is_name.then(|| (name, value.trim()))
        };
        Self(paragraph.lines().filter_map(field).collect())
    }

    /// Returns the first field with this name, in any case, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// Returns all fields with this name, in any case.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let same = move |field: &&(&str, &str)| field.0.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|field| field.1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Splits a file into paragraphs at its empty lines (Debian Policy §5.1: lines of only spaces and
/// tabs count as empty).
pub(super) fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = 0;
        while !rest.is_empty() {
            let line = rest[end..].split_inclusive('\n').next().unwrap_or_default();
            let is_break = line.trim().is_empty();
            if !is_break {
                end += line.len();
                continue;
            }
            let paragraph = &rest[..end];
            rest = &rest[end + line.len()..];
            end = 0;
            if !paragraph.is_empty() {
                return Some(paragraph);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_end_at_empty_lines() {
        let table: [(&str, &[&str]); 5] = [
            ("", &[]),
            ("\n\n", &[]),
            ("a: 1\n", &["a: 1\n"]),
            ("a: 1\n x\n\n \nb: 2", &["a: 1\n x\n", "b: 2"]),
            ("\r\na: 1\r\n\r\nb", &["a: 1\r\n", "b"]),
        ];
        for (text, expected) in table {
            assert_eq!(paragraphs(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn fields_are_found_in_any_case() {
        let fields = Fields::parse("Name: a\n more: not a field\nLicense:\nlicense: MIT\n");
        assert_eq!(fields.get("name"), Some("a"));
        assert_eq!(fields.get("License"), Some("MIT"));
        assert_eq!(fields.get("more"), None);
    }
}
