//! Who refers to whom in a layout.
//!
//! A layout has no such list, so every manifest that `index.json` lists, also by way of other
//! indexes, is read once; the result is kept until `index.json` changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use oci::{Descriptor, Digest};

use super::Layout;
use crate::ClientError;

/// The most manifests that are looked at. A layout with more than an artifact graph may have
/// ([`oci::graph::GraphLimits`]), sixteen times over, is no release.
const MAX_MANIFESTS: usize = 65_536;

/// The referrers of each subject.
#[derive(Debug)]
pub(super) struct ReferrersMap {
    computed_from: Digest,
    by_subject: BTreeMap<Digest, Vec<Descriptor>>,
}

/// Returns the descriptors of all manifests whose subject is `digest`.
pub(super) fn list(layout: &Layout, digest: &Digest) -> Result<Vec<Descriptor>, ClientError> {
    let bytes = layout.index_bytes()?;
    let state = Digest::sha256(&bytes);
    let mut known = layout
        .referrers
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let map = match known.take() {
        Some(map) if map.computed_from == state => map,
        _ => ReferrersMap {
            computed_from: state,
            by_subject: compute(layout, layout.parse_index(bytes)?.manifests)?,
        },
    };
    let found = map.by_subject.get(digest).cloned().unwrap_or_default();
    *known = Some(map);
    Ok(found)
}

fn compute(
    layout: &Layout,
    listed: Vec<Descriptor>,
) -> Result<BTreeMap<Digest, Vec<Descriptor>>, ClientError> {
    let mut by_subject: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut waiting = listed;
    while let Some(descriptor) = waiting.pop() {
        if !seen.insert(descriptor.digest.clone()) {
            continue;
        }
        if seen.len() > MAX_MANIFESTS {
            return Err(ClientError::TooLarge {
                what: format!("the list of manifests in `{}`", layout.place()),
                limit_bytes: MAX_MANIFESTS as u64,
            });
        }
        // One that is missing or unreadable refers to nothing that we could show.
        let Ok(manifest) = layout.read_manifest(&descriptor.digest, Some(&descriptor.media_type))
        else {
            continue;
        };
        if let Some(subject) = manifest.subject() {
            let referrers = by_subject.entry(subject.digest.clone()).or_default();
            referrers.push(manifest.descriptor());
        }
        if let Some(index) = manifest.as_index() {
            waiting.extend(index.manifests.iter().cloned());
        }
    }
    Ok(by_subject)
}
