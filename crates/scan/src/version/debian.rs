//! Versions of Debian packages: `[epoch:]upstream[-revision]`.
//!
//! Debian Policy §5.6.12. Non-digits and digits alternate; `~` sorts before everything, even the
//! end, letters sort before all other characters, and digits count as numbers.

use std::cmp::Ordering;

use super::VersionError;

/// The longest version, in bytes. The longest in Debian has less than a hundred.
const MAX_VERSION_BYTES: usize = 1024;

/// A Debian version. Equal versions may be written differently: `1.0` and `0:1.0-0`.
#[derive(Clone, Copy, Debug)]
pub struct DebianVersion<'a> {
    epoch: u32,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> DebianVersion<'a> {
    /// Reads a version.
    ///
    /// Like dpkg, this accepts an upstream version that does not begin with a digit: such
    /// packages are installed all over the world, and their order is well defined.
    ///
    /// # Errors
    /// If the epoch is not a number of at most 31 bits, the upstream version is empty, or a
    /// character is not allowed in its place.
    pub fn parse(text: &'a str) -> Result<Self, VersionError> {
        let refuse = |reason: &str| VersionError::new(text, "Debian", reason);
        let trimmed = text.trim();
        if trimmed.len() > MAX_VERSION_BYTES {
            return Err(refuse("too long"));
        }
        let (epoch, rest) = match trimmed.split_once(':') {
            Some((epoch, rest)) => (epoch, rest),
            None => ("0", trimmed),
        };
        let is_number = !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit());
        let epoch: u32 = match epoch.parse() {
            // dpkg holds the epoch in an `int`.
            Ok(epoch) if is_number && epoch <= i32::MAX.unsigned_abs() => epoch,
            _ => return Err(refuse("the epoch is not a number")),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        let allowed = |extra: &'static [u8]| {
            move |byte: u8| {
                byte.is_ascii_alphanumeric() || b".+~".contains(&byte) || extra.contains(&byte)
            }
        };
        if upstream.is_empty() {
            return Err(refuse("the upstream version is empty"));
        }
        if !upstream.bytes().all(allowed(b"-:")) || !revision.bytes().all(allowed(b"")) {
            return Err(refuse("a character is not allowed"));
        }
        Ok(Self {
            epoch,
            upstream,
            revision,
        })
    }
}

impl Ord for DebianVersion<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.upstream, other.upstream))
            .then_with(|| compare(self.revision, other.revision))
    }
}

impl PartialOrd for DebianVersion<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebianVersion<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DebianVersion<'_> {}

/// Compares an upstream version or a revision: first the non-digits, then the digits, and again.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b) = (take(&mut a, is_text), take(&mut b, is_text));
        let (number_a, number_b) = (take(&mut a, is_digit), take(&mut b, is_digit));
        let order = compare_text(text_a, text_b).then_with(|| compare_number(number_a, number_b));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn is_digit(byte: &u8) -> bool {
    byte.is_ascii_digit()
}

fn is_text(byte: &u8) -> bool {
    !byte.is_ascii_digit()
}

/// Takes the longest prefix of bytes that `wanted` accepts.
fn take<'a>(bytes: &mut &'a [u8], wanted: impl Fn(&u8) -> bool) -> &'a [u8] {
    let length = bytes.iter().take_while(|byte| wanted(byte)).count();
    let (prefix, rest) = bytes.split_at(length);
    *bytes = rest;
    prefix
}

fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |bytes: &[u8], index: usize| match bytes.get(index) {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|index| rank(a, index).cmp(&rank(b, index)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Compares numbers of any length: without leading zeros, the longer one is the larger.
fn compare_number(a: &[u8], b: &[u8]) -> Ordering {
    let zeros = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
    let (a, b) = (&a[zeros(a)..], &b[zeros(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(a: &str, b: &str) -> Ordering {
        DebianVersion::parse(a)
            .unwrap()
            .cmp(&DebianVersion::parse(b).unwrap())
    }

    #[test]
    fn the_table_of_pairs() {
        use Ordering::{Equal, Greater, Less};
        let table = [
            // The example of the policy manual: `~~`, `~~a`, `~`, the empty part, `a`.
            ("1~~", Less, "1~~a"),
            ("1~~a", Less, "1~"),
            ("1~", Less, "1"),
            ("1", Less, "1a"),
            ("1.0", Equal, "0:1.0"),
            ("1.0", Equal, "1.0-0"),
            ("1.0-", Equal, "1.0"),
            ("1.0", Less, "1.0-1"),
            ("9", Less, "10"),
            ("1.09", Equal, "1.9"),
            ("1.18446744073709551616", Greater, "1.18446744073709551615"),
            ("2:1", Greater, "1:9"),
            ("1a", Less, "1+"),
            ("1a", Less, "1.0"),
            ("1-2-3", Greater, "1-2-2"),
            ("1.2-3+deb12u1", Greater, "1.2-3"),
            ("1.2-3+deb12u1", Less, "1.2-3+deb12u2"),
            ("1.2-3~bpo12+1", Less, "1.2-3"),
            ("3.0.11-1~deb12u2", Less, "3.0.13-1~deb12u1"),
            ("2.36-9+deb12u9", Less, "2.36-9+deb12u10"),
            ("1:1.2.13.dfsg-1", Less, "1:1.3.dfsg-1"),
            ("7.88.1-10+deb12u5", Greater, "7.88.1-10"),
            // `0` and `0.0.0` differ, whatever the numbers in them.
            ("0.0.0-1", Greater, "0-01"),
        ];
        for (a, expected, b) in table {
            assert_eq!(order(a, b), expected, "{a} {b}");
            assert_eq!(order(b, a), expected.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            ":1",
            "a:1",
            "-1:1",
            "+1:1",
            "1:",
            "-1",
            "1 2",
            "1_2",
            "1-a:b",
            "é",
            "2147483648:1",
        ] {
            assert!(DebianVersion::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(
            versions in proptest::array::uniform3("([0-2]:)?[0-9]{1,2}[a-b0-9.+~]{0,5}(-[a0-1~+]{1,4})?"),
        ) {
            let [a, b, c] = &versions;
            prop_assert_eq!(order(a, a), Ordering::Equal);
            prop_assert_eq!(order(a, b), order(b, a).reverse());
            if order(a, b).is_le() && order(b, c).is_le() {
                prop_assert!(order(a, c).is_le());
            }
            if order(a, b).is_eq() {
                prop_assert_eq!(order(a, c), order(b, c));
            }
        }

        #[test]
        fn any_text_never_panics(a: String, b: String) {
            if let (Ok(a), Ok(b)) = (DebianVersion::parse(&a), DebianVersion::parse(&b)) {
                let _ = a.cmp(&b);
            }
        }
    }
}
