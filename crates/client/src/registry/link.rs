//! `Link: <…>; rel="next"` (RFC 8288), by which registries hand out long lists in pages.
//!
//! The next page must be on the registry itself (oras-go GHSA-h7vf), and somewhere that we have
//! not been: the page cap of the caller bounds the rest (endless paging, fixed in oras-go 2.6.2).

use url::Url;

use super::session::Session;
use crate::ClientError;

/// Returns the address of the next page, if the header names one.
pub(super) fn next(
    session: &Session,
    page: &Url,
    header: Option<&str>,
) -> Result<Option<Url>, ClientError> {
    let Some(target) = header.and_then(next_target) else {
        return Ok(None);
    };
    let refused = || session.malformed("its next page is not on the registry".to_owned());
    let url = page.join(target).map_err(|_| refused())?;
    if url.origin() != session.base().origin() {
        return Err(refused());
    }
    if url == *page {
        return Err(session.malformed("its next page is the same page".to_owned()));
    }
    Ok(Some(url))
}

fn next_target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let (target, after) = rest[start + 1..].split_once('>')?;
        let parameters = after.split(",").next().unwrap_or_default();
        let is_next = |parameter: &str| {
            let parameter = parameter.trim().to_ascii_lowercase();
            matches!(parameter.as_str(), "rel=next" | "rel=\"next\"")
        };
        if parameters.split(';').any(is_next) {
            return Some(target);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, expected) in [
            (
                r#"</v2/_catalog?n=1&last=a>; rel="next""#,
                Some("/v2/_catalog?n=1&last=a"),
            ),
            (r#"</a>; rel="prev", </b>; rel=next"#, Some("/b")),
            (r#"</a>; title="x"; rel="next""#, Some("/a")),
            (r#"</a>"#, None),
            (r#"</a"#, None),
            ("", None),
        ] {
            assert_eq!(next_target(header), expected, "{header}");
        }
    }
}
