//! `maxResults` and `nextToken`: pages of at most 25, and tokens that only this operation reads.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::aws::error::AwsError;
use crate::aws::request::Query;

/// The most results of one page, and how many there are when nothing is asked.
const MAX_RESULTS: usize = 25;
/// The longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 512;

/// What is asked of a listing.
pub(super) struct Paging {
    /// The most results.
    pub(super) limit: usize,
    /// What the token of the page before says.
    pub(super) after: Option<String>,
}

impl Paging {
    /// Reads the paging of the operation `name`.
    pub(super) fn read(query: &Query, name: &str) -> Result<Self, AwsError> {
        let limit = match query.get("maxResults") {
            None => MAX_RESULTS,
            Some(text) => {
                let number = text.parse().ok().filter(|n| (1..=MAX_RESULTS).contains(n));
                number.ok_or_else(|| {
                    AwsError::validation(format!("`maxResults` is not 1 to {MAX_RESULTS}"))
                })?
            }
        };
        let after = query.get("nextToken").map(|token| open(token, name));
        Ok(Self {
            limit,
            after: after.transpose()?,
        })
    }

    /// Returns one page of a list that is in memory, and the token of the next. `key` names a
    /// place in the order of the list.
    pub(super) fn cut<T>(
        &self,
        all: Vec<T>,
        (name, key): (&str, impl Fn(&T) -> String),
    ) -> (Vec<T>, Option<String>) {
        let rest = all.into_iter().filter(|one| {
            let after = self.after.as_deref();
            after.is_none_or(|after| key(one).as_str() > after)
        });
        let mut page: Vec<T> = rest.take(self.limit + 1).collect();
        let more = page.len() > self.limit;
        page.truncate(self.limit);
        let next = page
            .last()
            .filter(|_| more)
            .map(|last| token(&key(last), name));
        (page, next)
    }
}

/// Returns the token that says `place` to the operation `name`.
pub(super) fn token(place: &str, name: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{name}\n{place}"))
}

fn open(token: &str, name: &str) -> Result<String, AwsError> {
    let wrong = || AwsError::validation("`nextToken` is not one that this operation gave out");
    if token.len() > MAX_TOKEN_BYTES {
        return Err(wrong());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let place = text
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('\n'));
    place.map(str::to_owned).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another() {
        let all: Vec<u32> = (10..17).collect();
        let mut paging = Paging {
            limit: 3,
            after: None,
        };
        let mut pages = Vec::new();
        loop {
            let (page, next) = paging.cut(all.clone(), ("numbers", u32::to_string));
            pages.push(page);
            let Some(next) = next else { break };
            paging.after = Some(open(&next, "numbers").unwrap());
            assert!(open(&next, "letters").is_err());
        }
        assert_eq!(pages, [vec![10, 11, 12], vec![13, 14, 15], vec![16]]);
    }

    #[test]
    fn a_last_page_that_is_full_has_no_token() {
        let paging = Paging {
            limit: 2,
            after: None,
        };
        let (page, next) = paging.cut(vec![1, 2], ("numbers", i32::to_string));
        assert_eq!((page, next), (vec![1, 2], None));
    }
}
