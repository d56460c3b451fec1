//! A client for OCI registries (distribution-spec 1.1), for any registry and not only ours.
//!
//! Plain HTTP is used by itself only for registries on this machine. Whatever a registry sends
//! is bounded and checked; where it sends us (redirects, upload locations, further pages, token
//! realms) is followed only as far as no credential leaves its origin and no encryption is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oci::{Reference, Registry, RepositoryName};
use reqwest::Method;
use url::Url;

use crate::ClientError;
use crate::credentials::{Credential, Credentials};
use crate::http_client::HttpOptions;

mod challenge;
mod link;
mod listing;
mod referrers;
mod repository;
mod session;
mod transport;
mod upload;

pub use repository::RegistryRepository;

use session::{Scope, Session};
use transport::{Request, Transport};

/// The settings of a registry client.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// The settings of connections.
    pub http: HttpOptions,
    /// Whether to talk plain HTTP to registries on other machines too.
    pub plain_http: bool,
    /// Where credentials come from.
    pub credentials: Credentials,
}

/// A client for any number of registries. Clones share connections and tokens.
#[derive(Clone)]
pub struct RegistryClient {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Transport,
    options: RegistryOptions,
    sessions: Mutex<HashMap<Registry, Arc<Session>>>,
}

impl RegistryClient {
    /// Returns a client. Nothing is sent yet.
    ///
    /// # Errors
    /// If the TLS settings are unusable.
    pub fn new(options: RegistryOptions) -> Result<Self, ClientError> {
        let transport = Transport::new(&options.http)?;
        let shared = Shared {
            transport,
            options,
            sessions: Mutex::new(HashMap::new()),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Returns the repository that `reference` lies in.
    pub fn repository(&self, reference: &Reference) -> RegistryRepository {
        self.named_repository(&reference.registry, &reference.repository)
    }

    /// Returns the repository `name` of `registry`.
    pub fn named_repository(
        &self,
        registry: &Registry,
        name: &RepositoryName,
    ) -> RegistryRepository {
        RegistryRepository::new(self.clone(), self.session(registry), name.clone())
    }

    /// Asks `registry` whether it takes the credentials that we have for it.
    ///
    /// # Errors
    /// [`ClientError::Denied`] if it does not.
    pub async fn ping(&self, registry: &Registry) -> Result<(), ClientError> {
        let session = self.session(registry);
        let url = session.url("v2/")?;
        let request = Request::new(Method::GET, url, Scope::none());
        let response = self.shared.transport.send(&session, &request).await?;
        response.expect_success("the registry API").await.map(drop)
    }

    /// Returns the credential that is configured for `registry`.
    ///
    /// # Errors
    /// If the place where credentials are kept is unreadable.
    pub async fn credential(&self, registry: &Registry) -> Result<Option<Credential>, ClientError> {
        self.shared.options.credentials.find(registry).await
    }

    /// Returns the names of the repositories, as far as the registry tells them
    /// (`/v2/_catalog`, which is not in the standard).
    ///
    /// # Errors
    /// If the registry does not answer, or has no catalogue.
    pub async fn repositories(
        &self,
        registry: &Registry,
    ) -> Result<Vec<RepositoryName>, ClientError> {
        let session = self.session(registry);
        listing::repositories(&self.shared.transport, &session).await
    }

    fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    fn session(&self, registry: &Registry) -> Arc<Session> {
        let mut sessions = self
            .shared
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let options = &self.shared.options;
            let base = base_url(registry, options);
            Arc::new(Session::new(
                registry.clone(),
                base,
                options.credentials.clone(),
            ))
        };
        sessions.entry(registry.clone()).or_insert_with(new).clone()
    }
}

/// A registry on this machine is spoken to in plain HTTP, unless a certificate authority was
/// named, which would have no use then.
fn base_url(registry: &Registry, options: &RegistryOptions) -> Url {
    let is_plain =
        options.plain_http || (registry.is_loopback() && options.http.extra_ca_pem.is_empty());
    let scheme = if is_plain { "http" } else { "https" };
    let host = match registry.as_str() {
        // Docker Hub's API lives on another host than its name says.
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        other => other,
    };
    format!("{scheme}://{host}/")
        .parse()
        .expect("a registry is a host and a port")
}
