//! Repositories in SQLite, behind caches of manifests and tags.

use std::sync::Arc;

use async_trait::async_trait;
use oci::{Descriptor, Digest, MediaType, RepositoryName, Tag};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::StoreError;
use crate::cache::Cache;
use crate::repositories::{
    BlobLinks, Inventory, InventoryRow, MAX_PAGE_ROWS, MAX_PLACES, MAX_TAGS_AT_ONCE, ManifestRow,
    NewManifest, Page, Place, Repositories,
};
use crate::sqlite::Database;
use crate::sqlite::columns::{
    collect, first, get_json, get_optional_parsed, get_parsed, get_time, get_unsigned, micros,
    signed,
};

/// The most manifests in memory. An ordinary one has one or two kilobytes.
const CACHED_MANIFESTS: usize = 4096;
/// The largest manifest in memory, in bytes, so that the cache has at most 64 MiB.
const CACHED_MANIFEST_BYTES: usize = 16 * 1024;
/// The most tags in memory.
const CACHED_TAGS: usize = 16 * 1024;

/// Repositories in SQLite.
pub(crate) struct SqliteRepositories {
    database: Arc<Database>,
    manifests: Cache<(RepositoryName, Digest), Arc<ManifestRow>>,
    tags: Cache<(RepositoryName, Tag), Digest>,
}

impl SqliteRepositories {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            manifests: Cache::new(CACHED_MANIFESTS),
            tags: Cache::new(CACHED_TAGS),
        }
    }
}

#[async_trait]
impl Repositories for SqliteRepositories {
    async fn put_manifest(&self, new: NewManifest<'_>) -> Result<(), StoreError> {
        if new.tags.len() > MAX_TAGS_AT_ONCE {
            return Err(StoreError::TooLarge {
                what: "number of tags",
                limit: MAX_TAGS_AT_ONCE as u64,
            });
        }
        let row = InsertManifest::of(&new)?;
        let tags: Vec<Tag> = new.tags.to_vec();
        self.database
            .write(move |connection| row.insert(connection, &tags))
            .await?;
        self.manifests
            .forget(|(name, digest)| name == new.repository && digest == new.digest);
        self.tags
            .forget(|(name, tag)| name == new.repository && new.tags.contains(tag));
        Ok(())
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Arc<ManifestRow>>, StoreError> {
        let key = (repository.clone(), digest.clone());
        let generation = match self.manifests.get(&key) {
            Ok(row) => return Ok(Some(row)),
            Err(generation) => generation,
        };
        let (name, wanted) = key.clone();
        let found = self
            .database
            .read(move |connection| select_manifest(connection, &name, &wanted))
            .await?;
        let Some(row) = found.map(Arc::new) else {
            return Ok(None);
        };
        if row.bytes.len() <= CACHED_MANIFEST_BYTES {
            self.manifests.fill(generation, key, Arc::clone(&row));
        }
        Ok(Some(row))
    }

    async fn resolve(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, StoreError> {
        let key = (repository.clone(), tag.clone());
        let generation = match self.tags.get(&key) {
            Ok(digest) => return Ok(Some(digest)),
            Err(generation) => generation,
        };
        let (name, wanted) = key.clone();
        let found = self
            .database
            .read(move |connection| select_tag(connection, &name, &wanted))
            .await?;
        if let Some(digest) = &found {
            self.tags.fill(generation, key, digest.clone());
        }
        Ok(found)
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        page: &Page,
    ) -> Result<Option<Vec<Tag>>, StoreError> {
        let (repository, page) = (repository.clone(), page.clone());
        self.database
            .read(move |connection| {
                let Some(id) = repository_id(connection, &repository)? else {
                    return Ok(None);
                };
                let mut statement = connection.prepare_cached(
                    "SELECT name FROM tags WHERE repository_id = ?1 AND name > ?2
                     ORDER BY name LIMIT ?3",
                )?;
                let after = page.after.as_deref().unwrap_or_default();
                let rows = statement.query(params![id, after, page_limit(&page)])?;
                collect(rows, |row| get_parsed(row, 0)).map(Some)
            })
            .await
    }

    async fn delete_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool, StoreError> {
        let (name, wanted) = (repository.clone(), tag.clone());
        let deleted = self
            .database
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "DELETE FROM tags WHERE name = ?2
                     AND repository_id = (SELECT id FROM repositories WHERE name = ?1)",
                )?;
                Ok(statement.execute(params![name.as_str(), wanted.as_str()])? > 0)
            })
            .await?;
        self.tags
            .forget(|(name, known)| name == repository && known == tag);
        Ok(deleted)
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let (name, wanted) = (repository.clone(), digest.clone());
        let deleted = self
            .database
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "DELETE FROM manifests WHERE digest = ?2
                     AND repository_id = (SELECT id FROM repositories WHERE name = ?1)",
                )?;
                Ok(statement.execute(params![name.as_str(), wanted.as_str()])? > 0)
            })
            .await?;
        self.manifests
            .forget(|(name, known)| name == repository && known == digest);
        // Which tags went with it is not worth a query: deletions are rare.
        self.tags.forget(|(name, _)| name == repository);
        Ok(deleted)
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> Result<Vec<Descriptor>, StoreError> {
        let (repository, subject) = (repository.clone(), subject.clone());
        let artifact_type = artifact_type.cloned();
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT media_type, digest, length(bytes), artifact_type, annotations
                     FROM manifests WHERE subject = ?2 AND (?3 IS NULL OR artifact_type = ?3)
                     AND repository_id = (SELECT id FROM repositories WHERE name = ?1)
                     ORDER BY digest",
                )?;
                let wanted = artifact_type.as_ref().map(MediaType::as_str);
                let rows =
                    statement.query(params![repository.as_str(), subject.as_str(), wanted])?;
                collect(rows, referrer)
            })
            .await
    }

    async fn places(&self, digest: &Digest) -> Result<Vec<Place>, StoreError> {
        let digest = digest.to_string();
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT repositories.name, tags.name
                     FROM repositories JOIN manifests ON manifests.repository_id = repositories.id
                     LEFT JOIN tags ON tags.repository_id = repositories.id
                         AND tags.digest = manifests.digest
                     WHERE manifests.digest = ?1 ORDER BY repositories.name, tags.name LIMIT ?2",
                )?;
                let rows = statement.query(params![digest, signed(MAX_PLACES as u64)])?;
                let rows: Vec<(RepositoryName, Option<Tag>)> = collect(rows, |row| {
                    Ok((get_parsed(row, 0)?, get_optional_parsed(row, 1)?))
                })?;
                Ok(by_repository(rows))
            })
            .await
    }

    async fn list(&self, page: &Page) -> Result<Vec<RepositoryName>, StoreError> {
        let page = page.clone();
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT name FROM repositories WHERE name > ?1 ORDER BY name LIMIT ?2",
                )?;
                let after = page.after.as_deref().unwrap_or_default();
                let rows = statement.query(params![after, page_limit(&page)])?;
                collect(rows, |row| get_parsed(row, 0))
            })
            .await
    }
}

fn by_repository(rows: Vec<(RepositoryName, Option<Tag>)>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (repository, tag) in rows {
        match places.last_mut() {
            Some(last) if last.repository == repository => last.tags.extend(tag),
            _ => places.push(Place {
                repository,
                tags: tag.into_iter().collect(),
            }),
        }
    }
    places
}

#[async_trait]
impl Inventory for SqliteRepositories {
    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: &Page,
    ) -> Result<Option<Vec<InventoryRow>>, StoreError> {
        let (repository, page) = (repository.clone(), page.clone());
        self.database
            .read(move |connection| {
                let Some(id) = repository_id(connection, &repository)? else {
                    return Ok(None);
                };
                // A tag has no space, so a list of them can be one text.
                let mut statement = connection.prepare_cached(
                    "SELECT digest, media_type, artifact_type, subject, pushed_at,
                     (SELECT group_concat(name, ' ') FROM tags
                      WHERE tags.repository_id = manifests.repository_id
                      AND tags.digest = manifests.digest)
                     FROM manifests WHERE repository_id = ?1 AND digest > ?2
                     ORDER BY digest LIMIT ?3",
                )?;
                let after = page.after.as_deref().unwrap_or_default();
                let rows = statement.query(params![id, after, page_limit(&page)])?;
                collect(rows, inventory_row).map(Some)
            })
            .await
    }

    async fn remove_repository(&self, repository: &RepositoryName) -> Result<bool, StoreError> {
        let name = repository.clone();
        let removed = self
            .database
            .write(move |connection| {
                let mut statement =
                    connection.prepare_cached("DELETE FROM repositories WHERE name = ?1")?;
                Ok(statement.execute([name.as_str()])? > 0)
            })
            .await?;
        self.manifests.forget(|(name, _)| name == repository);
        self.tags.forget(|(name, _)| name == repository);
        Ok(removed)
    }
}

#[async_trait]
impl BlobLinks for SqliteRepositories {
    async fn link_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StoreError> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.database
            .write(move |connection| {
                let id = ensure_repository(connection, &repository)?;
                let mut statement = connection.prepare_cached(
                    "INSERT INTO repository_blobs (repository_id, digest, size)
                     VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?;
                statement.execute(params![id, digest.as_str(), signed(size)])?;
                Ok(())
            })
            .await
    }

    async fn blob_in_repository(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>, StoreError> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT size FROM repository_blobs WHERE digest = ?2
                     AND repository_id = (SELECT id FROM repositories WHERE name = ?1)",
                )?;
                let rows = statement.query(params![repository.as_str(), digest.as_str()])?;
                first(rows, |row| get_unsigned(row, 0))
            })
            .await
    }

    async fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.database
            .write(move |connection| {
                let mut statement = connection.prepare_cached(
                    "DELETE FROM repository_blobs WHERE digest = ?2
                     AND repository_id = (SELECT id FROM repositories WHERE name = ?1)",
                )?;
                Ok(statement.execute(params![repository.as_str(), digest.as_str()])? > 0)
            })
            .await
    }
}

/// The columns of a new manifest, owned, so that they can travel to the writer.
struct InsertManifest {
    repository: RepositoryName,
    digest: Digest,
    media_type: MediaType,
    artifact_type: Option<MediaType>,
    subject: Option<Digest>,
    annotations: String,
    bytes: Vec<u8>,
    at: i64,
}

impl InsertManifest {
    fn of(new: &NewManifest<'_>) -> Result<Self, StoreError> {
        let annotations = serde_json::to_string(new.manifest.annotations());
        Ok(Self {
            repository: new.repository.clone(),
            digest: new.digest.clone(),
            media_type: new.manifest.media_type().clone(),
            artifact_type: new.manifest.artifact_type().cloned(),
            subject: new.manifest.subject().map(|subject| subject.digest.clone()),
            annotations: annotations.map_err(|error| StoreError::corrupt("annotations", error))?,
            bytes: new.manifest.bytes().to_vec(),
            at: micros(new.at),
        })
    }

    fn insert(&self, connection: &Connection, tags: &[Tag]) -> Result<(), StoreError> {
        let id = ensure_repository(connection, &self.repository)?;
        // The same bytes may come again under another media type; the last push says what it is.
        let mut statement = connection.prepare_cached(
            "INSERT INTO manifests
             (repository_id, digest, media_type, artifact_type, subject, annotations, bytes, pushed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (repository_id, digest) DO UPDATE SET media_type = excluded.media_type,
             artifact_type = excluded.artifact_type, subject = excluded.subject,
             annotations = excluded.annotations",
        )?;
        statement.execute(params![
            id,
            self.digest.as_str(),
            self.media_type.as_str(),
            self.artifact_type.as_ref().map(MediaType::as_str),
            self.subject.as_ref().map(Digest::as_str),
            self.annotations,
            self.bytes,
            self.at,
        ])?;
        let mut statement = connection.prepare_cached(
            "INSERT INTO tags (repository_id, name, digest, tagged_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (repository_id, name)
             DO UPDATE SET digest = excluded.digest, tagged_at = excluded.tagged_at",
        )?;
        for tag in tags {
            statement.execute(params![id, tag.as_str(), self.digest.as_str(), self.at])?;
        }
        Ok(())
    }
}

fn ensure_repository(connection: &Connection, name: &RepositoryName) -> Result<i64, StoreError> {
    if let Some(id) = repository_id(connection, name)? {
        return Ok(id);
    }
    let mut statement = connection.prepare_cached("INSERT INTO repositories (name) VALUES (?1)")?;
    Ok(statement.insert([name.as_str()])?)
}

fn repository_id(
    connection: &Connection,
    name: &RepositoryName,
) -> Result<Option<i64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id FROM repositories WHERE name = ?1")?;
    let id = statement.query_row([name.as_str()], |row| row.get(0));
    Ok(id.optional()?)
}

fn select_manifest(
    connection: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<ManifestRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT digest, media_type, bytes, subject, pushed_at FROM manifests WHERE digest = ?2
         AND repository_id = (SELECT id FROM repositories WHERE name = ?1)",
    )?;
    let rows = statement.query(params![repository.as_str(), digest.as_str()])?;
    first(rows, |row| {
        Ok(ManifestRow {
            digest: get_parsed(row, 0)?,
            media_type: get_parsed(row, 1)?,
            bytes: row.get::<_, Vec<u8>>(2)?.into(),
            subject: get_optional_parsed(row, 3)?,
            pushed_at: get_time(row, 4)?,
        })
    })
}

fn select_tag(
    connection: &Connection,
    repository: &RepositoryName,
    tag: &Tag,
) -> Result<Option<Digest>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT digest FROM tags WHERE name = ?2
         AND repository_id = (SELECT id FROM repositories WHERE name = ?1)",
    )?;
    let rows = statement.query(params![repository.as_str(), tag.as_str()])?;
    first(rows, |row| get_parsed(row, 0))
}

fn inventory_row(row: &Row<'_>) -> Result<InventoryRow, StoreError> {
    let tags: Option<String> = row.get(5)?;
    let tags = tags.unwrap_or_default();
    let tags = tags.split_ascii_whitespace().map(str::parse);
    let mut tags = tags
        .collect::<Result<Vec<Tag>, _>>()
        .map_err(|error| StoreError::corrupt("tags", error))?;
    tags.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    Ok(InventoryRow {
        digest: get_parsed(row, 0)?,
        media_type: get_parsed(row, 1)?,
        artifact_type: get_optional_parsed(row, 2)?,
        subject: get_optional_parsed(row, 3)?,
        pushed_at: get_time(row, 4)?,
        tags,
    })
}

fn referrer(row: &Row<'_>) -> Result<Descriptor, StoreError> {
    let media_type = get_parsed(row, 0)?;
    let mut descriptor = Descriptor::new(media_type, get_parsed(row, 1)?, get_unsigned(row, 2)?);
    descriptor.artifact_type = get_optional_parsed(row, 3)?;
    descriptor.annotations = get_json(row, 4)?;
    Ok(descriptor)
}

fn page_limit(page: &Page) -> i64 {
    signed(page.limit.min(MAX_PAGE_ROWS) as u64)
}
