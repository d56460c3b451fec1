//! The `Range` of a download and the `Content-Range` of an upload.

use http::{HeaderMap, header};

use super::error::{Code, RegistryError};

/// What a download asked for, over a blob of a known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: no range, or one in a form that RFC 9110 §14.2 lets a server ignore. Several
    /// ranges in one request are ignored too: answering them multiplies the bytes.
    Whole,
    /// Part of it: the first byte and the number of bytes, at least one.
    Part {
        /// The first byte, from 0.
        start: u64,
        /// The number of bytes.
        length: u64,
    },
    /// A range that holds no byte of the blob: 416.
    Unsatisfiable,
}

/// Reads the `Range` header (RFC 9110 §14.1.2).
pub(crate) fn wanted(headers: &HeaderMap, size: u64) -> Wanted {
    let value = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
    let Some(range) = value.and_then(|value| value.strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => part(first, last.saturating_add(1), size),
        (Some(_), Some(_)) => Wanted::Unsatisfiable,
        (Some(first), None) if last.is_empty() => part(first, size, size),
        (None, Some(count)) if first.is_empty() => part(size.saturating_sub(count), size, size),
        _ => Wanted::Whole,
    }
}

fn part(start: u64, end: u64, size: u64) -> Wanted {
    let end = end.min(size);
    if start >= end {
        return Wanted::Unsatisfiable;
    }
    Wanted::Part {
        start,
        length: end - start,
    }
}

/// Reads the `Content-Range` of an upload, `first-last` as distribution-spec writes it, and
/// returns where the piece starts. A length that does not agree with `Content-Length` is refused.
pub(crate) fn piece_start(headers: &HeaderMap) -> Result<Option<u64>, RegistryError> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else {
        return Ok(None);
    };
    let (first, last) = value
        .to_str()
        .ok()
        .and_then(parse_content_range)
        .ok_or_else(|| {
            let message = "`Content-Range` is not `first-last`, two numbers in order";
            RegistryError::new(Code::BlobUploadInvalid, message)
        })?;
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| number(length.to_str().ok()?));
    match length {
        Some(length) if length != last - first + 1 => Err(RegistryError::new(
            Code::SizeInvalid,
            format!("`Content-Range` {first}-{last} does not have `Content-Length` {length}"),
        )),
        _ => Ok(Some(first)),
    }
}

/// `first-last`, and for clients that follow RFC 9110 §14.4 also `bytes first-last/total`.
fn parse_content_range(text: &str) -> Option<(u64, u64)> {
    let text = text.trim();
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    // `last - first + 1` must not overflow.
    (first <= last && last < u64::MAX).then_some((first, last))
}

/// Digits only: `parse` alone would accept a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Returns the `Range` header of an upload session that has `size` bytes. Zero bytes are `0-0`:
/// the grammar has no way to say nothing.
pub(crate) fn received(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn ranges_are_cut_to_the_blob() {
        let part = |start, length| Wanted::Part { start, length };
        for (range, size, expected) in [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=2-5", 10, part(2, 4)),
            ("bytes=5-", 10, part(5, 5)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-30", 10, part(0, 10)),
            ("bytes=5-100", 10, part(5, 5)),
            ("bytes=0-18446744073709551615", 10, part(0, 10)),
            ("bytes=10-", 10, Wanted::Unsatisfiable),
            ("bytes=10-12", 10, Wanted::Unsatisfiable),
            ("bytes=5-0", 10, Wanted::Unsatisfiable),
            ("bytes=-0", 10, Wanted::Unsatisfiable),
            ("bytes=0-", 0, Wanted::Unsatisfiable),
            ("bytes=0-0,2-2", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("bytes=+1-2", 10, Wanted::Whole),
            ("bytes=99999999999999999999-", 10, Wanted::Whole),
            ("lines=0-1", 10, Wanted::Whole),
        ] {
            let headers = headers(header::RANGE, range);
            assert_eq!(wanted(&headers, size), expected, "{range}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 10), Wanted::Whole);
    }

    #[test]
    fn content_ranges_are_numbers_in_order() {
        for (value, expected) in [
            ("0-9", Some(0)),
            ("10-19", Some(10)),
            ("bytes 10-19/*", Some(10)),
            ("9-0", None),
            ("-", None),
            ("a-b", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            let start = piece_start(&headers(header::CONTENT_RANGE, value));
            assert_eq!(start.ok().flatten(), expected, "{value}");
        }
    }

    #[test]
    fn the_length_must_agree() {
        let mut headers = headers(header::CONTENT_RANGE, "0-9");
        headers.insert(header::CONTENT_LENGTH, "10".parse().unwrap());
        assert_eq!(piece_start(&headers).unwrap(), Some(0));
        headers.insert(header::CONTENT_LENGTH, "11".parse().unwrap());
        assert_eq!(piece_start(&headers).unwrap_err().code(), Code::SizeInvalid);
    }

    #[test]
    fn nothing_received_is_still_a_range() {
        assert_eq!(
            (received(0), received(1), received(10)),
            ("0-0".into(), "0-0".into(), "0-9".into())
        );
    }
}
