//! Manifests, tags, referrers and links, and what deleting takes along.

use oci::descriptor::Annotations;
use oci::{Descriptor, Digest, ImageManifest, Manifest, MediaType, RepositoryName, Tag};

use super::at;
use crate::Store;
use crate::repositories::{NewManifest, Page, Place};

/// Runs the suite over a store without repositories.
pub async fn repositories(store: &Store) {
    a_manifest_comes_back_byte_for_byte(store).await;
    tags_move_and_are_listed_in_order(store).await;
    deleting_a_manifest_takes_its_tags(store).await;
    referrers_are_filtered_and_ordered(store).await;
    blobs_are_given_out_only_where_linked(store).await;
    repositories_are_listed_in_pages(store).await;
    a_manifest_is_found_wherever_it_lies(store).await;
    an_inventory_shows_everything_and_a_repository_can_end(store).await;
}

async fn an_inventory_shows_everything_and_a_repository_can_end(store: &Store) {
    let repository = name("suite/inventory");
    assert_eq!(
        store
            .inventory
            .manifests(&repository, &Page::first())
            .await
            .unwrap(),
        None
    );
    let image = artifact("image", None, None);
    let evidence = artifact("evidence", Some("sbom/example"), Some(&image));
    put(store, &repository, &image, &["v2", "v1"]).await;
    put(store, &repository, &evidence, &[]).await;
    let one = Page {
        after: None,
        limit: 1,
    };
    let first = store.inventory.manifests(&repository, &one).await;
    let first = first.unwrap().unwrap().remove(0);
    let rest = Page {
        after: Some(first.digest.to_string()),
        limit: 10,
    };
    let second = store.inventory.manifests(&repository, &rest).await;
    let second = second.unwrap().unwrap().remove(0);
    let (image_row, evidence_row) = match first.subject {
        None => (first, second),
        Some(_) => (second, first),
    };
    assert_eq!(image_row.tags, [tag("v1"), tag("v2")]);
    assert_eq!(evidence_row.subject.as_ref(), Some(image.digest()));
    assert_eq!(evidence_row.artifact_type.unwrap().as_str(), "sbom/example");
    assert!(evidence_row.tags.is_empty());
    let removed = store.inventory.remove_repository(&repository).await;
    assert!(removed.unwrap());
    let gone = store
        .repositories
        .manifest(&repository, image.digest())
        .await;
    assert_eq!(gone.unwrap(), None);
    let gone = store.repositories.resolve(&repository, &tag("v1")).await;
    assert_eq!(gone.unwrap(), None);
    let again = store.inventory.remove_repository(&repository).await;
    assert!(!again.unwrap());
}

async fn a_manifest_is_found_wherever_it_lies(store: &Store) {
    let manifest = artifact("in two places", None, None);
    let places = async || store.repositories.places(manifest.digest()).await.unwrap();
    assert_eq!(places().await, []);
    for (repository, tags) in [
        ("places/b", vec![]),
        ("places/a", vec![tag("v2"), tag("v1")]),
    ] {
        let new = NewManifest {
            repository: &name(repository),
            manifest: &manifest,
            digest: manifest.digest(),
            tags: &tags,
            at: at(1),
        };
        store.repositories.put_manifest(new).await.unwrap();
    }
    let place = |repository, tags| Place {
        repository: name(repository),
        tags,
    };
    let expected = [
        place("places/a", vec![tag("v1"), tag("v2")]),
        place("places/b", vec![]),
    ];
    assert_eq!(places().await, expected);
}

fn artifact(note: &str, artifact_type: Option<&str>, subject: Option<&Manifest>) -> Manifest {
    let mut annotations = Annotations::new();
    annotations.insert("note".to_owned(), note.to_owned());
    Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type: artifact_type.map(|text| text.parse().unwrap()),
        config: Descriptor::empty(),
        layers: Vec::new(),
        subject: subject.map(Manifest::descriptor),
        annotations,
    })
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

async fn put(store: &Store, repository: &RepositoryName, manifest: &Manifest, tags: &[&str]) {
    let tags: Vec<Tag> = tags.iter().map(|text| tag(text)).collect();
    let new = NewManifest {
        repository,
        manifest,
        digest: manifest.digest(),
        tags: &tags,
        at: at(0),
    };
    store.repositories.put_manifest(new).await.unwrap();
}

async fn a_manifest_comes_back_byte_for_byte(store: &Store) {
    let (repository, manifest) = (name("suite/bytes"), artifact("one", None, None));
    let rows = &store.repositories;
    let before = rows.manifest(&repository, manifest.digest()).await;
    assert_eq!(before.unwrap(), None);
    // Twice: a push that is repeated changes nothing.
    for _ in 0..2 {
        put(store, &repository, &manifest, &["v1"]).await;
        let row = rows.manifest(&repository, manifest.digest()).await;
        let row = row.unwrap().unwrap();
        assert_eq!(row.bytes, manifest.bytes());
        assert_eq!(row.media_type, MediaType::IMAGE_MANIFEST);
        assert_eq!(row.pushed_at, at(0));
    }
    let elsewhere = rows.manifest(&name("suite/other"), manifest.digest()).await;
    assert_eq!(elsewhere.unwrap(), None);
}

async fn tags_move_and_are_listed_in_order(store: &Store) {
    let repository = name("suite/tags");
    let (old, new) = (artifact("old", None, None), artifact("new", None, None));
    let rows = &store.repositories;
    assert_eq!(rows.tags(&repository, &Page::first()).await.unwrap(), None);
    put(store, &repository, &old, &["b", "a", "B", "latest"]).await;
    let resolved = rows.resolve(&repository, &tag("latest")).await.unwrap();
    assert_eq!(resolved.as_ref(), Some(old.digest()));
    put(store, &repository, &new, &["latest"]).await;
    let resolved = rows.resolve(&repository, &tag("latest")).await.unwrap();
    assert_eq!(resolved.as_ref(), Some(new.digest()));
    let all = rows.tags(&repository, &Page::first()).await.unwrap();
    assert_eq!(all.unwrap(), ["B", "a", "b", "latest"].map(tag));
    let page = Page {
        after: Some("B".to_owned()),
        limit: 2,
    };
    let second = rows.tags(&repository, &page).await.unwrap();
    assert_eq!(second.unwrap(), ["a", "b"].map(tag));
    let none = Page {
        after: None,
        limit: 0,
    };
    let empty = rows.tags(&repository, &none).await.unwrap();
    assert_eq!(empty.unwrap(), []);
}

async fn deleting_a_manifest_takes_its_tags(store: &Store) {
    let (repository, rows) = (name("suite/deleted"), &store.repositories);
    let (gone, stays) = (artifact("gone", None, None), artifact("stays", None, None));
    put(store, &repository, &gone, &["x", "y"]).await;
    put(store, &repository, &stays, &["z", "untagged"]).await;
    // Both are cached now, which deleting must see to.
    rows.manifest(&repository, gone.digest()).await.unwrap();
    rows.resolve(&repository, &tag("x")).await.unwrap();
    rows.resolve(&repository, &tag("untagged")).await.unwrap();

    let deleted = rows.delete_manifest(&repository, gone.digest()).await;
    assert!(deleted.unwrap());
    let again = rows.delete_manifest(&repository, gone.digest()).await;
    assert!(!again.unwrap());
    let row = rows.manifest(&repository, gone.digest()).await.unwrap();
    assert_eq!(row, None);
    let resolved = rows.resolve(&repository, &tag("x")).await.unwrap();
    assert_eq!(resolved, None);

    let tag_name = tag("untagged");
    assert!(rows.delete_tag(&repository, &tag_name).await.unwrap());
    assert!(!rows.delete_tag(&repository, &tag_name).await.unwrap());
    assert_eq!(rows.resolve(&repository, &tag_name).await.unwrap(), None);
    let row = rows.manifest(&repository, stays.digest()).await.unwrap();
    assert!(row.is_some());
}

async fn referrers_are_filtered_and_ordered(store: &Store) {
    let (repository, rows) = (name("suite/referrers"), &store.repositories);
    let image = artifact("image", None, None);
    let reports: Vec<Manifest> = ["1", "2", "3", "4"]
        .iter()
        .map(|note| artifact(note, Some("cve/example"), Some(&image)))
        .collect();
    let sbom = artifact("5", Some("sbom/example"), Some(&image));
    // A subject may come after what refers to it (distribution-spec, Pushing Manifests).
    for manifest in reports.iter().chain([&sbom, &image]) {
        put(store, &repository, manifest, &[]).await;
    }
    let all = rows.referrers(&repository, image.digest(), None).await;
    let all = all.unwrap();
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by_key(|descriptor| descriptor.digest.clone()));
    let kind: MediaType = "sbom/example".parse().unwrap();
    let sboms = rows
        .referrers(&repository, image.digest(), Some(&kind))
        .await;
    assert_eq!(sboms.unwrap(), [sbom.descriptor()]);
    let nothing = Digest::sha256(b"nothing");
    let empty = rows.referrers(&name("suite/unknown"), &nothing, None).await;
    assert_eq!(empty.unwrap(), []);
    let deleted = rows.delete_manifest(&repository, sbom.digest()).await;
    assert!(deleted.unwrap());
    let sboms = rows
        .referrers(&repository, image.digest(), Some(&kind))
        .await;
    assert_eq!(sboms.unwrap(), []);
}

async fn blobs_are_given_out_only_where_linked(store: &Store) {
    let (mine, theirs) = (name("suite/mine"), name("suite/theirs"));
    let (digest, links) = (Digest::sha256(b"layer"), &store.links);
    let size = links.blob_in_repository(&mine, &digest).await.unwrap();
    assert_eq!(size, None);
    for _ in 0..2 {
        links.link_blob(&mine, &digest, 5).await.unwrap();
    }
    let size = links.blob_in_repository(&mine, &digest).await.unwrap();
    assert_eq!(size, Some(5));
    let size = links.blob_in_repository(&theirs, &digest).await.unwrap();
    assert_eq!(size, None);
    assert!(links.unlink_blob(&mine, &digest).await.unwrap());
    assert!(!links.unlink_blob(&mine, &digest).await.unwrap());
    let size = links.blob_in_repository(&mine, &digest).await.unwrap();
    assert_eq!(size, None);
}

async fn repositories_are_listed_in_pages(store: &Store) {
    let all = store.repositories.list(&Page::first()).await.unwrap();
    assert!(all.contains(&name("suite/tags")) && all.is_sorted());
    let page = Page {
        after: Some(all[0].to_string()),
        limit: 2,
    };
    assert_eq!(store.repositories.list(&page).await.unwrap(), all[1..3]);
}
