//! What commands take for REF: an artifact in a registry, or in an image layout.
//!
//! `registry/repository[:tag][@digest]`, or `oci:FOLDER[:tag|@digest]` for a layout, which may also
//! be written `oci-layout:FOLDER…`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use client::{ArtifactSink, Layout, TagOrDigest};
use oci::{Descriptor, Digest, Reference, Tag};

use crate::context::Context;
use crate::error::CliError;
use crate::render;

/// The words before the colon that announce a layout, as in other tools: skopeo's, and oras's.
const LAYOUT_PREFIXES: [&str; 2] = ["oci:", "oci-layout:"];

/// A repository or layout, and what is named in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// In a registry.
    Registry(Reference),
    /// In a layout.
    Layout {
        /// The folder.
        folder: PathBuf,
        /// The tag or digest, if one was given.
        name: Option<TagOrDigest>,
    },
}

impl Target {
    /// Returns the tag or digest, if one was given.
    pub(crate) fn name(&self) -> Option<TagOrDigest> {
        match self {
            Self::Registry(reference) => TagOrDigest::of(reference),
            Self::Layout { name, .. } => name.clone(),
        }
    }

    /// Returns the tag, if what was given is one and not a digest.
    pub(crate) fn tag(&self) -> Option<Tag> {
        match self.name()? {
            TagOrDigest::Tag(tag) => Some(tag),
            TagOrDigest::Digest(_) => None,
        }
    }

    /// Returns the tag or digest.
    pub(crate) fn require_name(&self) -> Result<TagOrDigest, CliError> {
        self.name().ok_or_else(|| {
            CliError::usage(format!("`{self}` names no artifact"))
                .hint("add `:tag`, or better `@sha256:…`")
        })
    }

    /// Returns the same place at `digest`: what travels after resolution.
    pub(crate) fn at(&self, digest: &Digest) -> Self {
        match self {
            Self::Registry(reference) => Self::Registry(reference.at(digest.clone())),
            Self::Layout { folder, .. } => Self::Layout {
                folder: folder.clone(),
                name: Some(TagOrDigest::Digest(digest.clone())),
            },
        }
    }

    /// Opens the repository or layout, which must exist.
    pub(crate) fn open(&self, context: &Context) -> Result<Box<dyn ArtifactSink>, CliError> {
        match self {
            Self::Registry(reference) => Ok(Box::new(context.repository(reference)?)),
            Self::Layout { folder, .. } => Ok(Box::new(Layout::open(folder)?)),
        }
    }

    /// Opens the repository or layout to write to; a layout is made if there is none.
    pub(crate) fn open_or_create(
        &self,
        context: &Context,
    ) -> Result<Box<dyn ArtifactSink>, CliError> {
        match self {
            Self::Registry(_) => self.open(context),
            Self::Layout { folder, .. } => Ok(Box::new(Layout::create(folder)?)),
        }
    }

    /// Resolves the name, once: what follows goes by the digest. Warns that tags move, if
    /// `warning` says what is about to be done to the digest.
    pub(crate) async fn resolve(
        &self,
        repository: &dyn ArtifactSink,
        context: &Context,
        warning: Option<&str>,
    ) -> Result<Descriptor, CliError> {
        let name = self.require_name()?;
        let descriptor = repository.resolve(&name).await?;
        if let (Some(action), TagOrDigest::Tag(tag)) = (warning, &name) {
            context.warn(&format!(
                "tag `{tag}` may move: {action} `{}`, which it names now",
                descriptor.digest
            ));
        }
        Ok(descriptor)
    }
}

impl FromStr for Target {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        let layout = |prefix: &&str| text.strip_prefix(*prefix);
        match LAYOUT_PREFIXES.iter().find_map(layout) {
            Some(rest) => parse_layout(rest),
            None => Ok(Self::Registry(text.parse()?)),
        }
    }
}

fn parse_layout(text: &str) -> Result<Target, CliError> {
    let (folder, name) = match (text.split_once('@'), text.rsplit_once(':')) {
        (Some((folder, digest)), _) => (folder, Some(TagOrDigest::Digest(digest.parse()?))),
        // A colon in the path of a folder is no tag: tags have no slash.
        (None, Some((folder, tag))) if !tag.contains('/') => {
            (folder, Some(TagOrDigest::Tag(tag.parse()?)))
        }
        _ => (text, None),
    };
    if folder.is_empty() {
        return Err(CliError::usage(format!("`oci:{text}` names no folder")));
    }
    Ok(Target::Layout {
        folder: folder.into(),
        name,
    })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, name) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::Layout { folder, name } => (folder, name),
        };
        let folder = render::sanitise(&folder.display().to_string());
        match name {
            None => write!(f, "oci:{folder}"),
            Some(TagOrDigest::Tag(tag)) => write!(f, "oci:{folder}:{tag}"),
            Some(TagOrDigest::Digest(digest)) => write!(f, "oci:{folder}@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_round_trip() {
        let digest = Digest::sha256(b"x");
        for text in [
            "127.0.0.1:5000/apps/shop:1.0".to_owned(),
            format!("127.0.0.1:5000/apps/shop@{digest}"),
            "oci:folder".to_owned(),
            "oci:/a/b:v1".to_owned(),
            "oci:/a:b/c".to_owned(),
            format!("oci:./folder@{digest}"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        let other = "oci-layout:folder:v1".parse::<Target>().unwrap();
        assert_eq!(other.to_string(), "oci:folder:v1");
    }

    #[test]
    fn malformed_targets_are_refused() {
        for text in ["", "oci:", "oci::v1", "oci:a:", "oci:a@sha256:1", "a"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
