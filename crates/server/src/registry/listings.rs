//! Listings: tags of a repository, and the catalogue of repositories.
//!
//! distribution-spec, Listing Tags. `_catalog` is not in the specification, but clients ask for
//! it; it shows only what the caller may read.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::json;
use store::repositories::{MAX_PAGE_ROWS, Page};

use super::error::{Code, RegistryError};
use super::reply;
use super::scope::Scope;
use crate::auth::{Action, Caller};
use crate::state::FrontState;

/// The most rows of one answer: one row more is asked for, to see whether there is another page.
const MAX_ROWS: usize = MAX_PAGE_ROWS - 1;

/// `n` and `last` of a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    /// The most rows wanted, cut to what we give at most.
    pub(crate) rows: usize,
    /// The last row of the page before.
    pub(crate) after: Option<String>,
}

impl Paging {
    /// Reads the query. A number that is none is refused, a large one is cut (distribution
    /// CVE-2023-2253).
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, RegistryError> {
        let mut paging = Self {
            rows: MAX_ROWS,
            after: None,
        };
        let query = query.unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "n" if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) => {
                    let message = "`n` is not a number of rows";
                    return Err(RegistryError::new(Code::SizeInvalid, message));
                }
                // More digits than fit are a large number too.
                "n" => paging.rows = value.parse().unwrap_or(MAX_ROWS).min(MAX_ROWS),
                "last" => paging.after = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(paging)
    }
}

/// Answers `tags/list`.
pub(crate) async fn tags(scope: &Scope, query: Option<&str>) -> Result<Response, RegistryError> {
    scope.caller.require_pull(&scope.repository)?;
    let paging = Paging::parse(query)?;
    let page = Page {
        after: paging.after,
        limit: paging.rows + 1,
    };
    let repositories = &scope.front.store.repositories;
    let mut tags = repositories
        .tags(&scope.repository, &page)
        .await?
        .ok_or_else(|| {
            let message = format!("there is no repository `{}`", scope.repository);
            RegistryError::new(Code::NameUnknown, message)
        })?;
    let more = tags.len() > paging.rows;
    tags.truncate(paging.rows);
    let mut response = Json(json!({"name": scope.repository, "tags": tags})).into_response();
    if let Some(last) = tags.last().filter(|_| more) {
        let path = format!("/v2/{}/tags/list", scope.repository);
        let link = reply::next_page(&path, paging.rows, last.as_str());
        reply::insert(&mut response, header::LINK, &link);
    }
    Ok(response)
}

/// Answers `_catalog`.
pub(crate) async fn catalog(
    front: &FrontState,
    caller: &Caller,
    query: Option<&str>,
) -> Result<Response, RegistryError> {
    caller.require_account()?;
    let paging = Paging::parse(query)?;
    let mut names = Vec::new();
    let mut page = Page {
        after: paging.after,
        ..Page::first()
    };
    while names.len() <= paging.rows {
        let rows = front.store.repositories.list(&page).await?;
        let full = rows.len() == page.limit;
        page.after = rows.last().map(ToString::to_string);
        let readable = |name: &oci::RepositoryName| caller.may(Action::Pull, name.as_str());
        names.extend(rows.into_iter().filter(readable));
        if !full {
            break;
        }
    }
    let more = names.len() > paging.rows;
    names.truncate(paging.rows);
    let mut response = Json(json!({"repositories": names})).into_response();
    if let Some(last) = names.last().filter(|_| more) {
        let link = reply::next_page("/v2/_catalog", paging.rows, last.as_str());
        reply::insert(&mut response, header::LINK, &link);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_rows_is_capped() {
        for (query, rows) in [
            (None, MAX_ROWS),
            (Some("n=0"), 0),
            (Some("n=5"), 5),
            (Some("n=2147483648"), MAX_ROWS),
            (Some("n=99999999999999999999999"), MAX_ROWS),
        ] {
            assert_eq!(Paging::parse(query).unwrap().rows, rows, "{query:?}");
        }
        for query in ["n=-1", "n=", "n=x", "n=1e3", "n=%2B1"] {
            assert!(Paging::parse(Some(query)).is_err(), "{query}");
        }
        let after = Paging::parse(Some("last=a%2Fb")).unwrap().after;
        assert_eq!(after.as_deref(), Some("a/b"));
    }
}
