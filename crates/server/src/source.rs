//! One repository of the server's own store, as a source and sink of artifacts.
//!
//! What walks, copies and collects evidence over a registry does the same here, without HTTP. It
//! checks no grants: whoever holds a [`StoreSource`] has already decided that it may be used.

use async_trait::async_trait;
use client::{ArtifactSink, ArtifactSource, ClientError, TagOrDigest};
use oci::{Descriptor, Digest, Manifest, RepositoryName, Tag};
use store::StoreError;
use store::repositories::NewManifest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::clock;
use crate::state::{Change, Front, RegistryEvent};

/// How many bytes are copied at a time.
const COPY_BYTES: usize = 256 * 1024;

/// One repository of the server's own store.
#[derive(Clone)]
pub struct StoreSource {
    front: Front,
    repository: RepositoryName,
    account: String,
}

impl StoreSource {
    /// Returns `repository`, written to in the name of `account`.
    pub fn new(front: &Front, repository: &RepositoryName, account: &str) -> Self {
        Self {
            front: front.clone(),
            repository: repository.clone(),
            account: account.to_owned(),
        }
    }

    /// Returns the repository.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    fn missing(&self, what: String) -> ClientError {
        ClientError::NotFound {
            what,
            place: self.repository.to_string(),
        }
    }

    async fn stored(&self, digest: &Digest) -> Result<Manifest, ClientError> {
        let repositories = &self.front.store.repositories;
        let row = repositories
            .manifest(&self.repository, digest)
            .await
            .map_err(|error| failed("read a manifest", error))?
            .ok_or_else(|| self.missing(format!("manifest `{digest}`")))?;
        Manifest::parse(row.media_type.clone(), row.bytes.to_vec()).map_err(|error| {
            ClientError::Malformed {
                place: self.repository.to_string(),
                reason: format!("manifest `{digest}` cannot be read"),
                source: Some(Box::new(error)),
            }
        })
    }

    async fn put(&self, manifest: &Manifest, tags: &[Tag]) -> Result<(), ClientError> {
        let new = NewManifest {
            repository: &self.repository,
            manifest,
            digest: manifest.digest(),
            tags,
            at: clock::now(),
        };
        let put = self.front.store.repositories.put_manifest(new).await;
        put.map_err(|error| failed("keep a manifest", error))?;
        self.tell(Change::Pushed {
            digest: manifest.digest().clone(),
            media_type: manifest.media_type().clone(),
            subject: manifest.subject().map(|subject| subject.digest.clone()),
            tags: tags.to_vec(),
        });
        Ok(())
    }

    fn tell(&self, change: Change) {
        self.front.tell(RegistryEvent {
            repository: self.repository.clone(),
            account: self.account.clone(),
            change,
        });
    }

    /// A blob is given out only where it is linked, by whatever way it is asked for.
    async fn require_link(&self, digest: &Digest) -> Result<(), ClientError> {
        match self.has_blob(digest).await? {
            true => Ok(()),
            false => Err(self.missing(format!("blob `{digest}`"))),
        }
    }
}

#[async_trait]
impl ArtifactSource for StoreSource {
    async fn resolve(&self, name: &TagOrDigest) -> Result<Descriptor, ClientError> {
        let digest = match name {
            TagOrDigest::Digest(digest) => digest.clone(),
            TagOrDigest::Tag(tag) => {
                let repositories = &self.front.store.repositories;
                let resolved = repositories.resolve(&self.repository, tag).await;
                let resolved = resolved.map_err(|error| failed("resolve a tag", error))?;
                resolved.ok_or_else(|| self.missing(format!("tag `{tag}`")))?
            }
        };
        let manifest = self.stored(&digest).await?;
        let size = manifest.bytes().len() as u64;
        Ok(Descriptor::new(manifest.media_type().clone(), digest, size))
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, ClientError> {
        self.stored(&descriptor.digest).await
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, ClientError> {
        let repositories = &self.front.store.repositories;
        let referrers = repositories.referrers(&self.repository, digest, None).await;
        referrers.map_err(|error| failed("list referrers", error))
    }

    async fn blob(
        &self,
        descriptor: &Descriptor,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let digest = &descriptor.digest;
        self.require_link(digest).await?;
        match self.front.store.blobs.read(digest, limit_bytes).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(self.missing(format!("blob `{digest}`"))),
            Err(StoreError::TooLarge { .. }) => Err(ClientError::TooLarge {
                what: format!("blob `{digest}`"),
                limit_bytes,
            }),
            Err(error) => Err(failed("read a blob", error)),
        }
    }

    async fn blob_to(
        &self,
        descriptor: &Descriptor,
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), ClientError> {
        let digest = &descriptor.digest;
        self.require_link(digest).await?;
        let opened = self.front.store.blobs.open(digest).await;
        let mut reader = opened
            .map_err(|error| failed("open a blob", error))?
            .ok_or_else(|| self.missing(format!("blob `{digest}`")))?;
        let mut hash = oci::DigestWriter::new(digest.algorithm());
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let count = reader.bytes.read(&mut buffer).await;
            let count = count.map_err(|error| failed("read a blob", error))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            let written = writer.write_all(&buffer[..count]).await;
            written.map_err(|error| failed("copy a blob", error))?;
        }
        let found = hash.finish();
        match found == *digest {
            true => Ok(()),
            false => Err(ClientError::DigestMismatch {
                place: self.repository.to_string(),
                expected: digest.clone(),
                found,
            }),
        }
    }
}

#[async_trait]
impl ArtifactSink for StoreSource {
    async fn has_blob(&self, digest: &Digest) -> Result<bool, ClientError> {
        let links = &self.front.store.links;
        let linked = links.blob_in_repository(&self.repository, digest).await;
        Ok(linked
            .map_err(|error| failed("look for a blob", error))?
            .is_some())
    }

    async fn push_blob_from(
        &self,
        descriptor: &Descriptor,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<(), ClientError> {
        let digest = &descriptor.digest;
        if self.has_blob(digest).await? {
            return Ok(());
        }
        let write = |error| failed("write a blob", error);
        let writer = self.front.store.blobs.writer(digest.algorithm()).await;
        let mut writer = writer.map_err(write)?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let count = reader.read(&mut buffer).await;
            let count = count.map_err(|error| failed("read the incoming blob", error))?;
            if count == 0 {
                break;
            }
            writer.write(&buffer[..count]).await.map_err(write)?;
        }
        let size = writer.commit(digest).await.map_err(write)?;
        let links = &self.front.store.links;
        let linked = links.link_blob(&self.repository, digest, size).await;
        linked.map_err(|error| failed("link a blob", error))
    }

    async fn push_manifest(
        &self,
        manifest: &Manifest,
        tag: Option<&Tag>,
    ) -> Result<(), ClientError> {
        self.put(manifest, tag.map_or(&[], std::slice::from_ref))
            .await
    }

    async fn tag(&self, digest: &Digest, tag: &Tag) -> Result<(), ClientError> {
        let manifest = self.stored(digest).await?;
        self.put(&manifest, std::slice::from_ref(tag)).await
    }

    async fn delete(&self, digest: &Digest) -> Result<(), ClientError> {
        let repositories = &self.front.store.repositories;
        let deleted = repositories.delete_manifest(&self.repository, digest).await;
        match deleted.map_err(|error| failed("delete a manifest", error))? {
            true => {
                self.tell(Change::Deleted {
                    digest: digest.clone(),
                });
                Ok(())
            }
            false => Err(self.missing(format!("manifest `{digest}`"))),
        }
    }
}

fn failed(
    doing: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> ClientError {
    ClientError::Other {
        what: format!("could not {doing}"),
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use oci::MediaType;
    use store::Store;

    use super::*;
    use crate::state::{FrontParts, FrontState};

    fn front(folder: &std::path::Path) -> Front {
        FrontState::new(FrontParts {
            store: Store::open(folder).unwrap(),
            public_url: "http://127.0.0.1:1".to_owned(),
            folder: folder.to_owned(),
            signer_socket: folder.join("signer.sock"),
            worker_token_hash: None,
            aws: crate::aws::AwsSettings::for_tests(),
        })
    }

    fn artifact(layer: Descriptor, subject: Option<Descriptor>) -> Manifest {
        Manifest::from_image(&oci::ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_MANIFEST),
            artifact_type: Some("cve/example".parse().unwrap()),
            config: Descriptor::empty(),
            layers: vec![layer],
            subject,
            annotations: Default::default(),
        })
    }

    #[tokio::test]
    async fn what_is_pushed_is_found_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let front = front(folder.path());
        let repository: RepositoryName = "apps/shop".parse().unwrap();
        let source = StoreSource::new(&front, &repository, "dev");
        let mut events = front.events.subscribe();

        let layer = Descriptor::of(MediaType::JSON, b"{}");
        let mut bytes = &b"{}"[..];
        source.push_blob_from(&layer, &mut bytes).await.unwrap();
        let image = artifact(layer.clone(), None);
        let report = artifact(layer.clone(), Some(image.descriptor()));
        let tag: Tag = "v1".parse().unwrap();
        source.push_manifest(&image, Some(&tag)).await.unwrap();
        source.push_manifest(&report, None).await.unwrap();

        let root = source.resolve(&TagOrDigest::Tag(tag)).await.unwrap();
        assert_eq!(root.digest, *image.digest());
        let graph = client::walk(&source, root, Default::default()).await;
        assert_eq!(graph.nodes().count(), 2);
        assert_eq!(source.blob(&layer, 2).await.unwrap(), b"{}");
        let told = events.recv().await.unwrap();
        assert_eq!(told.account, "dev");
        let told = events.recv().await.unwrap();
        let Change::Pushed { subject, .. } = told.change else {
            panic!("a push was told as something else");
        };
        assert_eq!(subject.as_ref(), Some(image.digest()));

        source.delete(report.digest()).await.unwrap();
        assert!(source.delete(report.digest()).await.is_err());
        assert_eq!(source.referrers(image.digest()).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_blob_of_another_repository_is_not_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let front = front(folder.path());
        let mine = StoreSource::new(&front, &"mine".parse().unwrap(), "dev");
        let theirs = StoreSource::new(&front, &"theirs".parse().unwrap(), "dev");
        let blob = Descriptor::of(MediaType::JSON, b"secret");
        mine.push_blob_from(&blob, &mut &b"secret"[..])
            .await
            .unwrap();
        assert!(theirs.blob(&blob, 100).await.unwrap_err().is_not_found());
        let mut bytes = Vec::new();
        let copied = theirs.blob_to(&blob, &mut bytes).await;
        assert!(copied.unwrap_err().is_not_found() && bytes.is_empty());
        let refused = theirs.push_blob_from(&blob, &mut &b"other"[..]).await;
        assert!(refused.is_err(), "other bytes under the same digest");
    }
}
