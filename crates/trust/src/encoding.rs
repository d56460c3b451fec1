//! Base64 in the two alphabets that envelopes use, and times as envelopes write them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns `bytes` in standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Returns the bytes of a standard base64 text, or `None` if it is not canonical.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Returns the bytes of a base64 text in either alphabet, with padding (DSSE, envelope.md).
pub(crate) fn from_any_base64(text: &str) -> Option<Vec<u8>> {
    from_base64(text).or_else(|| URL_SAFE.decode(text).ok())
}

/// Returns `bytes` in URL-safe base64 without padding (RFC 7515 §2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the bytes of an unpadded URL-safe base64 text, or `None` if it is not canonical.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Returns the time in RFC 3339, in UTC, without a fraction of a second (R022).
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    whole_seconds(time)
        .format(&Rfc3339)
        .unwrap_or_else(|_| time.unix_timestamp().to_string())
}

/// Returns the time in UTC, cut to the second.
pub(crate) fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.unix_timestamp()).unwrap_or(time)
}

/// Returns the time, in UTC, that an RFC 3339 text names, or `None` if it is not one, has a
/// fraction, or lies outside the years 0 to 9999 in UTC.
pub(crate) fn from_rfc3339(text: &str) -> Option<OffsetDateTime> {
    if text.contains('.') {
        return None;
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    OffsetDateTime::from_unix_timestamp(time.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lose_their_fraction_when_written_and_may_not_have_one_when_read() {
        let time = time::macros::datetime!(2026-01-02 03:04:05.678 +02:00);
        assert_eq!(rfc3339(time), "2026-01-02T01:04:05Z");
        assert_eq!(
            from_rfc3339("2026-01-02T01:04:05Z"),
            Some(whole_seconds(time))
        );
        for bad in [
            "2026-01-02T01:04:05.678Z",
            "2026-01-02",
            "",
            "1767315845",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(from_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_is_read_only_in_its_own_alphabet_and_padding() {
        assert_eq!(from_base64url("-_8"), Some(vec![0xfb, 0xff]));
        for bad in ["-_8=", "+/8", "-_9", "-_8\n"] {
            assert_eq!(from_base64url(bad), None, "{bad:?}");
        }
        assert_eq!(from_base64("+/8="), Some(vec![0xfb, 0xff]));
        for bad in ["+/8", "-_8=", "+/9=", " +/8="] {
            assert_eq!(from_base64(bad), None, "{bad:?}");
        }
    }
}
