//! A source that keeps what it read: small things, by digest, up to a number of bytes.
//!
//! What a digest names never changes, so manifests and envelopes are read once. What changes, tags
//! and the list of what refers to a manifest, is asked for every time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use oci::{Descriptor, Digest, Manifest};
use tokio::io::AsyncWrite;

use crate::ClientError;
use crate::source::{ArtifactSource, TagOrDigest};

/// What was read, of all repositories together. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Mutex<Kept>>);

/// A repository, by name, and a digest in it: what one repository gives out, another may not have.
type Key = (Arc<str>, Digest);

struct Kept {
    limit_bytes: usize,
    bytes: usize,
    entries: HashMap<Key, (u64, Item)>,
    /// The keys by when they were last used.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

#[derive(Clone)]
enum Item {
    Manifest(Arc<Manifest>),
    Blob(Arc<[u8]>),
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Manifest(manifest) => manifest.bytes().len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }
}

impl Cache {
    /// Returns an empty cache that keeps at most `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            limit_bytes,
            bytes: 0,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        })))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn get(&mut self, key: &Key) -> Option<Item> {
        let (used, item) = self.entries.get_mut(key)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key.clone());
        Some(item.clone())
    }

    /// Keeps an item, and forgets those that were not used for longest. One that would displace a
    /// large part of the others is not kept.
    fn put(&mut self, key: Key, item: Item) {
        let length = item.len();
        if length > self.limit_bytes / 16 || self.entries.contains_key(&key) {
            return;
        }
        while self.bytes + length > self.limit_bytes
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            let forgotten = self.entries.remove(&oldest);
            self.bytes -= forgotten.map_or(0, |(_, item)| item.len());
        }
        self.uses += 1;
        self.bytes += length;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, (self.uses, item));
    }
}

/// A repository, read through a cache.
pub struct CachedSource<'a> {
    inner: &'a dyn ArtifactSource,
    repository: Arc<str>,
    cache: Cache,
}

impl<'a> CachedSource<'a> {
    /// Returns `inner`, whose unique name is `repository`, read through `cache`.
    pub fn new(inner: &'a dyn ArtifactSource, repository: &str, cache: &Cache) -> Self {
        Self {
            inner,
            repository: repository.into(),
            cache: cache.clone(),
        }
    }

    fn key(&self, digest: &Digest) -> Key {
        (self.repository.clone(), digest.clone())
    }
}

#[async_trait]
impl ArtifactSource for CachedSource<'_> {
    async fn resolve(&self, name: &TagOrDigest) -> Result<Descriptor, ClientError> {
        if let TagOrDigest::Digest(digest) = name
            && let Some(Item::Manifest(manifest)) = self.cache.kept().get(&self.key(digest))
        {
            let size = manifest.bytes().len() as u64;
            let media_type = manifest.media_type().clone();
            return Ok(Descriptor::new(media_type, digest.clone(), size));
        }
        self.inner.resolve(name).await
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, ClientError> {
        let key = self.key(&descriptor.digest);
        if let Some(Item::Manifest(manifest)) = self.cache.kept().get(&key) {
            return Ok(Manifest::clone(&manifest));
        }
        let manifest = self.inner.manifest(descriptor).await?;
        let item = Item::Manifest(Arc::new(manifest.clone()));
        self.cache.kept().put(key, item);
        Ok(manifest)
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, ClientError> {
        self.inner.referrers(digest).await
    }

    async fn blob(
        &self,
        descriptor: &Descriptor,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let key = self.key(&descriptor.digest);
        if let Some(Item::Blob(bytes)) = self.cache.kept().get(&key) {
            return Ok(bytes.to_vec());
        }
        let bytes = self.inner.blob(descriptor, limit_bytes).await?;
        let item = Item::Blob(bytes.as_slice().into());
        self.cache.kept().put(key, item);
        Ok(bytes)
    }

    async fn blob_to(
        &self,
        descriptor: &Descriptor,
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<(), ClientError> {
        self.inner.blob_to(descriptor, writer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("r".into(), Digest::sha256(name.as_bytes()))
    }

    fn blob(length: usize) -> Item {
        Item::Blob(vec![0; length].into())
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_first() {
        let cache = Cache::new(160);
        let mut kept = cache.kept();
        for number in 0..16 {
            kept.put(key(&number.to_string()), blob(10));
        }
        assert!(kept.get(&key("0")).is_some());
        kept.put(key("new"), blob(10));
        assert!(kept.get(&key("1")).is_none());
        assert!(kept.get(&key("0")).is_some() && kept.get(&key("new")).is_some());
        assert_eq!(
            (kept.bytes, kept.entries.len(), kept.by_use.len()),
            (160, 16, 16)
        );
        // What is large is not kept, and what is kept is counted once.
        kept.put(key("large"), blob(11));
        kept.put(key("new"), blob(10));
        assert_eq!((kept.bytes, kept.entries.len()), (160, 16));
    }

    #[test]
    fn repositories_do_not_share() {
        let cache = Cache::new(160);
        cache.kept().put(key("x"), blob(1));
        let other = ("other".into(), Digest::sha256(b"x"));
        assert!(cache.kept().get(&other).is_none());
    }
}
