//! Distinguished names: the subject of a certificate, and the pattern of a trusted identity.
//!
//! RFC 4514 gives the text, RFC 5280 §4.1.2.4 the contents. A name prints its most specific
//! attribute first (`CN=…,O=…,ST=…,C=…`), which is how every tool that people compare with prints
//! it, whatever the order inside the certificate.

use std::fmt;
use std::str::FromStr;

use der::{Tag, Tagged};
use serde::{Serialize, Serializer};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::Name;

/// The longest text of a name that is parsed, in bytes: more than any certificate authority
/// writes, and short enough that no parser can be made to work (CVE-2023-25656).
pub const MAX_NAME_BYTES: usize = 4096;

/// Attribute types with the names that RFC 4514 §3 and the reference implementation print.
const KNOWN: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.17", "POSTALCODE"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// A distinguished name, as a list of attributes, the most specific first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Attribute>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    kind: String,
    value: String,
}

/// Says why a text is not a distinguished name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameParseError {
    /// The text is longer than [`MAX_NAME_BYTES`].
    #[error("the name has {0} bytes, more than {MAX_NAME_BYTES}")]
    TooLong(usize),
    /// A part is not `TYPE=value`.
    #[error("`{0}` is not an attribute: expected `TYPE=value`, such as `O=Example`")]
    Attribute(String),
    /// The attribute type is not one of those that identities may name.
    #[error("attribute type `{0}` is not supported: use one of {known}", known = known_types())]
    Type(String),
    /// The same attribute type stands twice.
    #[error("attribute type `{0}` is given twice")]
    Twice(String),
    /// A value is in hexadecimal, or an attribute has several values joined by `+`.
    #[error("`{0}` uses a form that is not supported here: write one plain value per attribute")]
    Form(String),
    /// A character that must be escaped is not, or an escape is incomplete.
    #[error(
        "`{0}` is not escaped as RFC 4514 asks: write `\\` before `,` `;` `+` `\"` `\\` `<` `>`"
    )]
    Escape(String),
}

impl DistinguishedName {
    /// Reads a name out of a certificate. A value that is no text is shown as `#` and its bytes.
    pub(crate) fn from_x509(name: &Name) -> Self {
        let mut attributes: Vec<_> = name.iter().map(Attribute::from_x509).collect();
        attributes.reverse();
        Self(attributes)
    }

    /// Returns the value of an attribute by its short type, such as `CN`, if there is exactly one.
    pub fn get(&self, kind: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|one| one.kind == kind);
        match (values.next(), values.next()) {
            (Some(only), None) => Some(&only.value),
            _ => None,
        }
    }

    /// Returns the common name, or an empty text.
    pub fn common_name(&self) -> &str {
        self.get("CN").unwrap_or_default()
    }

    /// Returns whether every attribute listed here is, with the same value, in `other` (R065). An
    /// attribute that `other` has twice is ambiguous and never matches.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        let same = |one: &Attribute| other.get(&one.kind) == Some(&one.value);
        self.0.iter().all(same)
    }
}

impl Attribute {
    fn from_x509(attribute: &AttributeTypeAndValue) -> Self {
        let oid = attribute.oid.to_string();
        let known = KNOWN.iter().find(|(known, _)| *known == oid);
        let kind = known.map_or(oid.clone(), |(_, name)| (*name).to_owned());
        Self {
            kind,
            value: text_of(attribute)
                .unwrap_or_else(|| format!("#{}", hex::encode(attribute.value.value()))),
        }
    }
}

fn text_of(attribute: &AttributeTypeAndValue) -> Option<String> {
    let bytes = attribute.value.value();
    match attribute.value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::TeletexString if bytes.is_ascii() => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        Tag::BmpString => {
            let units = bytes.chunks_exact(2);
            if !units.remainder().is_empty() {
                return None;
            }
            let units: Vec<u16> = units
                .map(|two| u16::from_be_bytes([two[0], two[1]]))
                .collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

impl FromStr for DistinguishedName {
    type Err = NameParseError;

    /// Parses a name as trusted identities write it (R065, R067): attributes joined by `,`, each
    /// type at most once, `S` as another name of `ST`.
    fn from_str(text: &str) -> Result<Self, NameParseError> {
        if text.len() > MAX_NAME_BYTES {
            return Err(NameParseError::TooLong(text.len()));
        }
        let mut attributes: Vec<Attribute> = Vec::new();
        for part in split_unescaped(text) {
            let attribute = parse_attribute(part)?;
            if attributes.iter().any(|one| one.kind == attribute.kind) {
                return Err(NameParseError::Twice(attribute.kind));
            }
            attributes.push(attribute);
        }
        Ok(Self(attributes))
    }
}

/// Splits at commas that no backslash stands before.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_attribute(part: &str) -> Result<Attribute, NameParseError> {
    let shown = || part.trim().to_owned();
    let (kind, value) = part
        .split_once('=')
        .ok_or_else(|| NameParseError::Attribute(shown()))?;
    let kind = match kind.trim_matches(' ').to_ascii_uppercase().as_str() {
        "" => return Err(NameParseError::Attribute(shown())),
        "S" => "ST".to_owned(),
        other => other.to_owned(),
    };
    if !KNOWN.iter().any(|(_, known)| *known == kind) {
        return Err(NameParseError::Type(kind));
    }
    let value = unescape(value)?;
    if value.is_empty() {
        return Err(NameParseError::Attribute(shown()));
    }
    Ok(Attribute { kind, value })
}

/// Undoes the escapes of RFC 4514 §2.4 and drops unescaped spaces around the value.
fn unescape(value: &str) -> Result<String, NameParseError> {
    let wrong = || NameParseError::Escape(value.trim().to_owned());
    let trimmed = value.trim_start_matches(' ');
    if trimmed.starts_with('#') {
        return Err(NameParseError::Form(value.trim().to_owned()));
    }
    let mut bytes = Vec::with_capacity(trimmed.len());
    let mut kept = 0;
    let mut rest = trimmed.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                bytes.push(escaped(&mut rest).ok_or_else(wrong)?);
                kept = bytes.len();
            }
            b'+' => return Err(NameParseError::Form(value.trim().to_owned())),
            b'"' | b';' | b'<' | b'>' | 0 => return Err(wrong()),
            _ => {
                bytes.push(byte);
                if byte != b' ' {
                    kept = bytes.len();
                }
            }
        }
    }
    bytes.truncate(kept);
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn escaped(rest: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = rest.next()?;
    if b" \"#+,;<=>\\".contains(&first) {
        return Some(first);
    }
    let digits = [first, rest.next()?];
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some(byte[0])
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}=", attribute.kind)?;
            write_escaped(f, &attribute.value)?;
        }
        Ok(())
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            ',' | ';' | '+' | '"' | '\\' | '<' | '>' => write!(f, "\\{character}")?,
            ' ' if index == 0 || index == last => f.write_str("\\ ")?,
            '#' if index == 0 => f.write_str("\\#")?,
            // Control characters could rewrite what a terminal shows.
            control if control.is_control() => {
                let mut buffer = [0; 4];
                for byte in control.encode_utf8(&mut buffer).bytes() {
                    write!(f, "\\{byte:02X}")?;
                }
            }
            plain => write!(f, "{plain}")?,
        }
    }
    Ok(())
}

impl Serialize for DistinguishedName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn known_types() -> String {
    let names: Vec<_> = KNOWN.iter().map(|(_, name)| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> DistinguishedName {
        text.parse().unwrap()
    }

    #[test]
    fn identities_match_by_the_attributes_that_they_list() {
        let leaf = name("CN=ci-build,O=Example\\, Inc,ST=WA,C=US");
        for pattern in [
            "C=US, ST=WA, O=Example\\, Inc",
            "c=US,s=WA,o=Example\\2C Inc,CN=ci-build",
            "C=US,ST=WA, O= Example\\, Inc ",
        ] {
            assert!(name(pattern).is_subset_of(&leaf), "{pattern}");
        }
        for pattern in [
            "C=US,ST=WA,O=Example",
            "C=US,ST=wa,O=Example\\, Inc",
            "C=US,ST=WA,O=Example\\, Inc,OU=x",
            "C=US,ST=WA,O=Example\\, Inc,CN=other",
        ] {
            assert!(!name(pattern).is_subset_of(&leaf), "{pattern}");
        }
    }

    #[test]
    fn malformed_names_are_refused_with_the_part_that_is_wrong() {
        let errors = [
            "",
            "C=US,,O=x",
            "C",
            "=US",
            "C=",
            "C=US,C=US",
            "S=WA,ST=WA",
            "FOO=bar",
            "1.2.3=bar",
            "O=#0401",
            "O=a+OU=b",
            "O=a;b",
            "O=\"a\"",
            "O=a\\",
            "O=a\\x",
            "O=a\\FF",
        ]
        .map(|text| {
            format!(
                "{text:<10} {}",
                text.parse::<DistinguishedName>().unwrap_err()
            )
        });
        insta::assert_snapshot!(errors.join("\n"), @r#"
                   `` is not an attribute: expected `TYPE=value`, such as `O=Example`
        C=US,,O=x  `` is not an attribute: expected `TYPE=value`, such as `O=Example`
        C          `C` is not an attribute: expected `TYPE=value`, such as `O=Example`
        =US        `=US` is not an attribute: expected `TYPE=value`, such as `O=Example`
        C=         `C=` is not an attribute: expected `TYPE=value`, such as `O=Example`
        C=US,C=US  attribute type `C` is given twice
        S=WA,ST=WA attribute type `ST` is given twice
        FOO=bar    attribute type `FOO` is not supported: use one of `CN`, `SERIALNUMBER`, `C`, `L`, `ST`, `STREET`, `O`, `OU`, `POSTALCODE`, `DC`, `UID`
        1.2.3=bar  attribute type `1.2.3` is not supported: use one of `CN`, `SERIALNUMBER`, `C`, `L`, `ST`, `STREET`, `O`, `OU`, `POSTALCODE`, `DC`, `UID`
        O=#0401    `#0401` uses a form that is not supported here: write one plain value per attribute
        O=a+OU=b   `a+OU=b` uses a form that is not supported here: write one plain value per attribute
        O=a;b      `a;b` is not escaped as RFC 4514 asks: write `\` before `,` `;` `+` `"` `\` `<` `>`
        O="a"      `"a"` is not escaped as RFC 4514 asks: write `\` before `,` `;` `+` `"` `\` `<` `>`
        O=a\       `a\` is not escaped as RFC 4514 asks: write `\` before `,` `;` `+` `"` `\` `<` `>`
        O=a\x      `a\x` is not escaped as RFC 4514 asks: write `\` before `,` `;` `+` `"` `\` `<` `>`
        O=a\FF     `a\FF` is not escaped as RFC 4514 asks: write `\` before `,` `;` `+` `"` `\` `<` `>`
        "#);
        assert!("O=".parse::<DistinguishedName>().is_err());
        let long = format!("O={}", "x".repeat(MAX_NAME_BYTES));
        assert_eq!(
            long.parse::<DistinguishedName>(),
            Err(NameParseError::TooLong(4098))
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_name(values in prop::array::uniform4("\\PC{1,12}")) {
            let kinds = ["CN", "O", "ST", "C"];
            let attributes = kinds.into_iter().zip(values).map(|(kind, value)| Attribute {
                kind: kind.to_owned(),
                value,
            });
            let name = DistinguishedName(attributes.collect());
            prop_assert_eq!(name.to_string().parse::<DistinguishedName>(), Ok(name));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<DistinguishedName>();
        }
    }
}
