//! One repository of a registry, as source and sink.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt;
use oci::manifest::MAX_MANIFEST_BYTES;
use oci::{Descriptor, Digest, Manifest, MediaType, RepositoryName, Tag};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::session::{Scope, Session};
use super::transport::{Request, Response, Transport};
use super::{RegistryClient, listing, referrers, upload};
use crate::ClientError;
use crate::blob::{self, BlobCheck};
use crate::source::{ArtifactSink, ArtifactSource, TagOrDigest};

/// What we take for a manifest, the preferred first.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// How often a broken download goes on where it stopped.
const MAX_RESUMPTIONS: usize = 5;

/// A repository of a registry.
#[derive(Clone)]
pub struct RegistryRepository {
    client: RegistryClient,
    session: Arc<Session>,
    name: RepositoryName,
    /// The manifest that was resolved last: whoever resolves a tag reads its manifest next.
    resolved: Arc<Mutex<Option<Manifest>>>,
    /// Whether the registry is known to have no Referrers API, so that it need not be asked again.
    pub(super) lacks_referrers_api: Arc<AtomicBool>,
}

impl RegistryRepository {
    pub(super) fn new(client: RegistryClient, session: Arc<Session>, name: RepositoryName) -> Self {
        Self {
            client,
            session,
            name,
            resolved: Arc::default(),
            lacks_referrers_api: Arc::default(),
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// Returns the tags, in the registry's order.
    ///
    /// # Errors
    /// If the registry does not answer, or does not know the repository.
    pub async fn tags(&self) -> Result<Vec<Tag>, ClientError> {
        listing::tags(self.transport(), &self.session, &self.name).await
    }

    pub(super) fn transport(&self) -> &Transport {
        self.client.transport()
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.session.registry(), self.name)
    }

    /// Returns a request for `path` below the repository.
    pub(super) fn request(&self, method: Method, path: &str) -> Result<Request, ClientError> {
        let actions = match method {
            Method::GET | Method::HEAD => "pull",
            Method::DELETE => "delete",
            _ => "pull,push",
        };
        let url = self.session.url(&format!("v2/{}/{path}", self.name))?;
        let scope = Scope::repository(&self.name, actions);
        Ok(Request::new(method, url, scope))
    }

    pub(super) async fn send(&self, request: &Request) -> Result<Response, ClientError> {
        let response = self.transport().send(&self.session, request).await?;
        Ok(response.of(&self.name))
    }

    /// Reads the manifest that `name` names, and checks its digest where that is known.
    pub(super) async fn fetch_manifest(
        &self,
        name: &TagOrDigest,
        media_type: Option<&MediaType>,
    ) -> Result<Manifest, ClientError> {
        let mut request = self.request(Method::GET, &format!("manifests/{name}"))?;
        request
            .headers
            .insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let what = format!("manifest `{name}`");
        let response = self.send(&request).await?.expect_success(&what).await?;
        let stated = response.header(CONTENT_TYPE.as_str()).and_then(essence);
        let stated = stated.filter(|t| t.is_image_manifest() || t.is_index());
        let claimed = response.header("docker-content-digest").map(str::to_owned);
        let bytes = response.body(MAX_MANIFEST_BYTES, &what).await?;
        match name {
            TagOrDigest::Digest(digest) => blob::check(&self.place(), digest, &bytes)?,
            TagOrDigest::Tag(_) => self.check_claim(claimed.as_deref(), &bytes)?,
        }
        parse_manifest(&self.place(), stated.as_ref().or(media_type), bytes)
    }

    /// A registry that contradicts itself is not believed.
    fn check_claim(&self, claimed: Option<&str>, bytes: &[u8]) -> Result<(), ClientError> {
        match claimed.map(str::parse::<Digest>) {
            Some(Ok(digest)) => blob::check(&self.place(), &digest, bytes),
            _ => Ok(()),
        }
    }

    fn remember(&self, manifest: &Manifest) {
        *self.resolved.lock().unwrap_or_else(PoisonError::into_inner) = Some(manifest.clone());
    }

    fn remembered(&self, digest: &Digest) -> Option<Manifest> {
        let resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        resolved.clone().filter(|m| m.digest() == digest)
    }

    async fn put_manifest(&self, manifest: &Manifest, name: &str) -> Result<Response, ClientError> {
        let mut request = self.request(Method::PUT, &format!("manifests/{name}"))?;
        let media_type = HeaderValue::from_str(manifest.media_type().as_str())
            .map_err(|e| self.session.malformed(e.to_string()))?;
        request.headers.insert(CONTENT_TYPE, media_type);
        request.body = Some(manifest.bytes().to_vec().into());
        let response = self.send(&request).await?;
        response.expect_success(&format!("manifest `{name}`")).await
    }

    /// Starts reading a blob at `offset`.
    async fn open_blob(&self, digest: &Digest, offset: u64) -> Result<Response, ClientError> {
        let mut request = self.request(Method::GET, &format!("blobs/{digest}"))?;
        request.timeout = None;
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"))
                .map_err(|e| self.session.malformed(e.to_string()))?;
            request.headers.insert(RANGE, range);
        }
        let what = format!("blob `{digest}`");
        let response = self.send(&request).await?.expect_success(&what).await?;
        // A registry without ranges would start again from the first byte.
        if offset > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(self.broken());
        }
        Ok(response)
    }

    fn broken(&self) -> ClientError {
        ClientError::Unavailable {
            place: self.place(),
            reason: "the connection broke in the middle of a blob".to_owned(),
            source: None,
        }
    }
}

#[async_trait]
impl ArtifactSource for RegistryRepository {
    async fn resolve(&self, name: &TagOrDigest) -> Result<Descriptor, ClientError> {
        let manifest = self.fetch_manifest(name, None).await?;
        self.remember(&manifest);
        let mut descriptor = manifest.descriptor();
        if let TagOrDigest::Digest(digest) = name {
            descriptor.digest = digest.clone();
        }
        Ok(descriptor)
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, ClientError> {
        if let Some(manifest) = self.remembered(&descriptor.digest) {
            return Ok(manifest);
        }
        let name = TagOrDigest::Digest(descriptor.digest.clone());
        self.fetch_manifest(&name, Some(&descriptor.media_type))
            .await
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, ClientError> {
        referrers::list(self, digest).await
    }

    async fn blob(
        &self,
        descriptor: &Descriptor,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, ClientError> {
        blob::read(self, descriptor, limit_bytes).await
    }

    async fn blob_to(
        &self,
        descriptor: &Descriptor,
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), ClientError> {
        let mut check = BlobCheck::new(descriptor);
        for _ in 0..MAX_RESUMPTIONS {
            let response = self.open_blob(&descriptor.digest, check.received()).await?;
            if take(response, &mut check, writer).await? {
                return check.finish(&self.place());
            }
        }
        Err(self.broken())
    }
}

/// Takes the bytes of `response`. Returns whether all have come; if not, it broke off.
async fn take(
    response: Response,
    check: &mut BlobCheck<'_>,
    writer: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<bool, ClientError> {
    let mut pieces = response.into_inner().bytes_stream();
    while let Some(piece) = pieces.next().await {
        let Ok(piece) = piece else { return Ok(false) };
        check.update(&piece)?;
        writer.write_all(&piece).await.map_err(blob::write_error)?;
    }
    Ok(true)
}

#[async_trait]
impl ArtifactSink for RegistryRepository {
    async fn has_blob(&self, digest: &Digest) -> Result<bool, ClientError> {
        let request = self.request(Method::HEAD, &format!("blobs/{digest}"))?;
        let response = self.send(&request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => response
                .expect_success(&format!("blob `{digest}`"))
                .await
                .map(|_| true),
        }
    }

    async fn push_blob_from(
        &self,
        descriptor: &Descriptor,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<(), ClientError> {
        if self.has_blob(&descriptor.digest).await? {
            return Ok(());
        }
        upload::push(self, descriptor, reader).await
    }

    async fn push_manifest(
        &self,
        manifest: &Manifest,
        tag: Option<&Tag>,
    ) -> Result<(), ClientError> {
        let name = tag.map_or(manifest.digest().as_str(), Tag::as_str);
        let response = self.put_manifest(manifest, name).await?;
        match manifest.subject() {
            Some(subject) if response.header("oci-subject").is_none() => {
                referrers::announce(self, manifest, &subject.digest).await
            }
            _ => Ok(()),
        }
    }

    async fn tag(&self, digest: &Digest, tag: &Tag) -> Result<(), ClientError> {
        let name = TagOrDigest::Digest(digest.clone());
        let manifest = match self.remembered(digest) {
            Some(manifest) => manifest,
            None => self.fetch_manifest(&name, None).await?,
        };
        self.put_manifest(&manifest, tag.as_str()).await.map(drop)
    }

    async fn delete(&self, digest: &Digest) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &format!("manifests/{digest}"))?;
        let response = self.send(&request).await?;
        response
            .expect_success(&format!("deleting manifest `{digest}`"))
            .await
            .map(drop)
    }
}

/// A media type without its parameters.
fn essence(header: &str) -> Option<MediaType> {
    header.split(';').next()?.trim().parse().ok()
}

fn parse_manifest(
    place: &str,
    media_type: Option<&MediaType>,
    bytes: Vec<u8>,
) -> Result<Manifest, ClientError> {
    let parsed = match media_type {
        Some(media_type) => Manifest::parse(media_type.clone(), bytes),
        None => Manifest::sniff(bytes),
    };
    parsed.map_err(|e| ClientError::Malformed {
        place: place.to_owned(),
        reason: "a manifest is malformed".to_owned(),
        source: Some(Box::new(e)),
    })
}
