//! The Referrers API: every manifest whose subject is a given digest.
//!
//! distribution-spec, Listing Referrers. The answer is an index, also for a digest or repository
//! that nobody pushed yet. It is paged by rows and by bytes: clients refuse an index above 4 MiB.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, header};
use oci::manifest::MAX_MANIFEST_BYTES;
use oci::{Descriptor, Digest, Index, MediaType};

use super::error::RegistryError;
use super::listings::Paging;
use super::reply;
use super::scope::Scope;

/// The header that says which filters were applied.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The most bytes of descriptors in one page; the rest of an index fits into what is left.
const MAX_PAGE_BYTES: usize = MAX_MANIFEST_BYTES - 4096;

/// Answers `referrers/DIGEST`.
pub(crate) async fn get(
    scope: &Scope,
    subject: &Digest,
    query: Option<&str>,
) -> Result<Response, RegistryError> {
    scope.caller.require_pull(&scope.repository)?;
    let paging = Paging::parse(query)?;
    let filter = artifact_type(query);
    let found = find(scope, subject, filter.as_deref()).await?;
    let (page, more) = cut(found, &paging);
    let last = page.last().map(|descriptor| descriptor.digest.clone());
    let index = serde_json::to_vec(&Index::new(page))
        .map_err(|error| RegistryError::internal(error.to_string()))?;
    let mut response = index.into_response();
    let kind = MediaType::IMAGE_INDEX;
    reply::insert(&mut response, header::CONTENT_TYPE, kind.as_str());
    if filter.is_some() {
        reply::insert(&mut response, FILTERS_APPLIED, "artifactType");
    }
    if let Some(last) = last.filter(|_| more) {
        let link = next(scope, subject, &paging, (&last, filter.as_deref()));
        reply::insert(&mut response, header::LINK, &link);
    }
    Ok(response)
}

fn artifact_type(query: Option<&str>) -> Option<String> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(name, value)| name == "artifactType" && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

async fn find(
    scope: &Scope,
    subject: &Digest,
    filter: Option<&str>,
) -> Result<Vec<Descriptor>, RegistryError> {
    let wanted = match filter.map(str::parse::<MediaType>) {
        None => None,
        Some(Ok(wanted)) => Some(wanted),
        // What is not a media type is not the type of any artifact.
        Some(Err(_)) => return Ok(Vec::new()),
    };
    let repositories = &scope.front.store.repositories;
    Ok(repositories
        .referrers(&scope.repository, subject, wanted.as_ref())
        .await?)
}

/// Cuts the page out of all referrers, which are in the order of their digests.
fn cut(found: Vec<Descriptor>, paging: &Paging) -> (Vec<Descriptor>, bool) {
    let after = paging.after.as_deref().unwrap_or_default();
    let mut page = Vec::new();
    let mut bytes = 0;
    for descriptor in found {
        if descriptor.digest.as_str() <= after {
            continue;
        }
        bytes += serde_json::to_vec(&descriptor).map_or(0, |text| text.len() + 1);
        // One descriptor is always given: a page without any would never end.
        if page.len() >= paging.rows || (bytes > MAX_PAGE_BYTES && !page.is_empty()) {
            return (page, true);
        }
        page.push(descriptor);
    }
    (page, false)
}

fn next(scope: &Scope, subject: &Digest, paging: &Paging, at: (&Digest, Option<&str>)) -> String {
    let (last, filter) = at;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("n", &paging.rows.to_string());
    query.append_pair("last", last.as_str());
    if let Some(filter) = filter {
        query.append_pair("artifactType", filter);
    }
    let (name, query) = (&scope.repository, query.finish());
    format!("</v2/{name}/referrers/{subject}?{query}>; rel=\"next\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(count: usize, annotation_bytes: usize) -> Vec<Descriptor> {
        let mut all: Vec<Descriptor> = (0..count)
            .map(|number| {
                let text = number.to_string();
                let mut descriptor = Descriptor::of(MediaType::IMAGE_MANIFEST, text.as_bytes());
                let value = "x".repeat(annotation_bytes);
                descriptor.annotations.insert("a".to_owned(), value);
                descriptor
            })
            .collect();
        all.sort_by(|a, b| a.digest.cmp(&b.digest));
        all
    }

    /// Follows the pages and returns how many rows each had.
    fn pages(all: &[Descriptor], rows: usize) -> Vec<usize> {
        let mut paging = Paging { rows, after: None };
        let mut lengths = Vec::new();
        loop {
            let (page, more) = cut(all.to_vec(), &paging);
            lengths.push(page.len());
            if !more {
                return lengths;
            }
            paging.after = page.last().map(|last| last.digest.to_string());
        }
    }

    #[test]
    fn pages_are_cut_by_rows_and_by_bytes() {
        assert_eq!(pages(&descriptors(5, 1), 2), [2, 2, 1]);
        assert_eq!(pages(&descriptors(4, 1), 2), [2, 2]);
        assert_eq!(pages(&[], 2), [0]);
        let large = descriptors(3, MAX_PAGE_BYTES / 2);
        assert_eq!(pages(&large, 100), [1, 1, 1]);
    }
}
