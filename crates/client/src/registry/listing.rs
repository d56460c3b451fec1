//! Lists of names: the tags of a repository, the repositories of a registry.

use std::str::FromStr;

use oci::{RepositoryName, Tag};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::link;
use super::session::{Scope, Session};
use super::transport::{Request, Transport};
use crate::ClientError;

/// The longest page, in bytes. A page of a thousand longest tags has 130,000.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The most pages.
const MAX_PAGES: usize = 1000;
/// How many names a page is asked to have; what most registries cap it at.
const PAGE_LENGTH: usize = 1000;

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<String>>,
}

/// Returns the tags of a repository, in the registry's order.
pub(super) async fn tags(
    transport: &Transport,
    session: &Session,
    name: &RepositoryName,
) -> Result<Vec<Tag>, ClientError> {
    let url = session.url(&format!("v2/{name}/tags/list?n={PAGE_LENGTH}"))?;
    let pages = Pages {
        transport,
        session,
        scope: Scope::repository(name, "pull"),
        what: "list of tags",
        name: Some(name),
    };
    pages
        .collect(url, |page: Tags| page.tags.unwrap_or_default())
        .await
}

/// Returns the repositories of a registry, in the registry's order.
pub(super) async fn repositories(
    transport: &Transport,
    session: &Session,
) -> Result<Vec<RepositoryName>, ClientError> {
    let url = session.url(&format!("v2/_catalog?n={PAGE_LENGTH}"))?;
    let pages = Pages {
        transport,
        session,
        scope: Scope::catalogue(),
        what: "list of repositories",
        name: None,
    };
    pages
        .collect(url, |page: Repositories| {
            page.repositories.unwrap_or_default()
        })
        .await
}

struct Pages<'a> {
    transport: &'a Transport,
    session: &'a Session,
    scope: Scope,
    what: &'static str,
    name: Option<&'a RepositoryName>,
}

impl Pages<'_> {
    /// Reads all pages. Names that break the grammar are left out: nothing could be done with
    /// them, and one of them must not hide the others.
    async fn collect<P, T>(
        &self,
        first: Url,
        names: impl Fn(P) -> Vec<String>,
    ) -> Result<Vec<T>, ClientError>
    where
        P: DeserializeOwned,
        T: FromStr,
    {
        let mut found = Vec::new();
        let mut next = Some(first);
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else {
                return Ok(found);
            };
            let (page, following) = self.page(url).await?;
            found.extend(names(page).iter().filter_map(|name| name.parse().ok()));
            next = following;
        }
        match next {
            None => Ok(found),
            Some(_) => Err(self
                .session
                .malformed(format!("its {} has more than {MAX_PAGES} pages", self.what))),
        }
    }

    async fn page<P: DeserializeOwned>(&self, url: Url) -> Result<(P, Option<Url>), ClientError> {
        let request = Request::new(Method::GET, url.clone(), self.scope.clone());
        let mut response = self.transport.send(self.session, &request).await?;
        if let Some(name) = self.name {
            response = response.of(name);
        }
        let response = response.expect_success(self.what).await?;
        let following = link::next(self.session, &url, response.header("link"))?;
        let body = response.body(MAX_PAGE_BYTES, self.what).await?;
        let page = serde_json::from_slice(&body).map_err(|e| {
            self.session
                .malformed(format!("its {} is not JSON: {e}", self.what))
        })?;
        Ok((page, following))
    }
}
