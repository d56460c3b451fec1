use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::ImageManifest;

#[derive(Default)]
struct Registry {
    manifests: HashMap<Digest, Manifest>,
    referrers: HashMap<Digest, Vec<Descriptor>>,
}

impl Registry {
    fn push(&mut self, artifact_type: &str, subject: Option<&Digest>) -> Digest {
        let subject_of = |digest: &Digest| self.manifests[digest].descriptor().bare();
        let manifest = Manifest::from_image(&ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_MANIFEST),
            artifact_type: Some(artifact_type.parse().unwrap()),
            config: Descriptor::empty(),
            layers: Vec::new(),
            subject: subject.map(subject_of),
            annotations: Default::default(),
        });
        let digest = manifest.digest().clone();
        if let Some(subject) = subject {
            self.referrers
                .entry(subject.clone())
                .or_default()
                .push(manifest.descriptor());
        }
        self.manifests.insert(digest.clone(), manifest);
        digest
    }

    fn walk(&self, root: &Digest, limits: GraphLimits) -> ArtifactGraph {
        let mut walk = GraphWalk::new(self.manifests[root].descriptor(), limits);
        loop {
            let asks = walk.take_asks();
            if asks.is_empty() {
                return walk.finish();
            }
            for ask in asks {
                match ask {
                    Ask::Manifest(descriptor) => {
                        let found = self.manifests.get(&descriptor.digest).cloned();
                        walk.give_manifest(&descriptor.digest, found.ok_or("not found".to_owned()));
                    }
                    Ask::Referrers(digest) => {
                        let found = self.referrers.get(&digest).cloned().unwrap_or_default();
                        walk.give_referrers(&digest, Ok(found));
                    }
                }
            }
        }
    }
}

fn signed_image() -> (Registry, Digest, Digest) {
    let mut registry = Registry::default();
    let image = registry.push("a/image", None);
    let sbom = registry.push("sbom/example", Some(&image));
    registry.push(MediaType::NOTARY_SIGNATURE.as_str(), Some(&image));
    registry.push(MediaType::NOTARY_SIGNATURE.as_str(), Some(&sbom));
    (registry, image, sbom)
}

#[test]
fn a_signature_does_not_change_the_graph_root_and_evidence_does() {
    let (mut registry, image, sbom) = signed_image();
    let root = registry.walk(&image, GraphLimits::default()).graph_root();
    registry.push(MediaType::APPROVAL.as_str(), Some(&image));
    assert_eq!(
        registry.walk(&image, GraphLimits::default()).graph_root(),
        root
    );
    registry.push("test/report", Some(&sbom));
    assert_ne!(
        registry.walk(&image, GraphLimits::default()).graph_root(),
        root
    );
}

#[test]
fn removed_evidence_changes_the_graph_root() {
    let (mut registry, image, _) = signed_image();
    let root = registry.walk(&image, GraphLimits::default()).graph_root();
    registry.referrers.remove(&image);
    assert_ne!(
        registry.walk(&image, GraphLimits::default()).graph_root(),
        root
    );
}

#[test]
fn a_cycle_of_claimed_referrers_ends() {
    let (mut registry, image, sbom) = signed_image();
    let back = registry.manifests[&image].descriptor();
    registry.referrers.entry(sbom).or_default().push(back);
    let graph = registry.walk(&image, GraphLimits::default());
    assert_eq!(graph.nodes().count(), 4);
}

#[test]
fn what_does_not_name_the_subject_is_noted_and_skipped() {
    let (mut registry, image, _) = signed_image();
    let stranger = registry.push("sbom/example", None);
    let listed = registry.manifests[&stranger].descriptor();
    registry.referrers.get_mut(&image).unwrap().push(listed);
    let graph = registry.walk(&image, GraphLimits::default());
    let problem = graph.node(&stranger).unwrap().problem.as_deref().unwrap();
    insta::assert_snapshot!(problem, @"has no `subject`, though it is listed as a referrer");
}

#[test]
fn limits_cut_the_walk_and_say_so() {
    let (mut registry, image, _) = signed_image();
    let mut last = image.clone();
    for n in 0..40 {
        last = registry.push(&format!("t/n{n}"), Some(&last));
    }
    let deep = registry.walk(&image, GraphLimits::default());
    insta::assert_snapshot!(deep.truncated().unwrap(), @"more than 16 edges deep");
    assert_eq!(deep.graph_root(), None);
    let few = GraphLimits {
        nodes: 3,
        ..GraphLimits::default()
    };
    insta::assert_snapshot!(registry.walk(&image, few).truncated().unwrap(), @"more than 3 manifests");
}

proptest! {
    #[test]
    fn every_removal_of_evidence_shows(parents in prop::collection::vec(0usize..8, 1..12), removed in any::<prop::sample::Index>()) {
        let mut registry = Registry::default();
        let mut pushed = vec![registry.push("a/image", None)];
        for (n, parent) in parents.iter().enumerate() {
            let subject = pushed[parent % pushed.len()].clone();
            pushed.push(registry.push(&format!("t/n{n}"), Some(&subject)));
        }
        let image = pushed[0].clone();
        let before = registry.walk(&image, GraphLimits::default()).graph_root();
        let gone = &pushed[1 + removed.index(parents.len())];
        for listed in registry.referrers.values_mut() {
            listed.retain(|descriptor| descriptor.digest != *gone);
        }
        prop_assert_ne!(registry.walk(&image, GraphLimits::default()).graph_root(), before);
    }
}
