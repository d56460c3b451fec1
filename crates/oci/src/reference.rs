//! References: registry, repository, and a tag or a digest or both.
//!
//! No name is ever completed: there is no default registry and no default tag, because a
//! reference that means something else on another machine cannot be vouched for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::DigestError;
use crate::name::NameError;
use crate::{Digest, Registry, RepositoryName, Tag};

/// A reference to an artifact, `registry/repository[:tag][@digest]`.
///
/// With both a tag and a digest, the digest decides and the tag is what a person called it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The registry that holds the repository.
    pub registry: Registry,
    /// The repository.
    pub repository: RepositoryName,
    /// The tag, if one was given.
    pub tag: Option<Tag>,
    /// The digest, if one was given.
    pub digest: Option<Digest>,
}

/// Says why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There is no `/` between a registry and a repository.
    #[error(
        "`{0}` is not a reference: expected `registry/repository:tag` or `registry/repository@digest`"
    )]
    Shape(String),
    /// One of the names is malformed.
    #[error("`{0}` is not a reference")]
    Name(String, #[source] NameError),
    /// The digest is malformed.
    #[error("`{0}` is not a reference")]
    Digest(String, #[source] DigestError),
}

impl Reference {
    /// Returns the same repository at `digest`, without a tag: what travels after resolution.
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// Returns `registry/repository`, the form that trust policies call a scope.
    pub fn scope(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let shown = || text.chars().take(300).collect::<String>();
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|e| ReferenceError::Digest(shown(), e))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (registry, path) = rest
            .split_once('/')
            .ok_or_else(|| ReferenceError::Shape(shown()))?;
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        let name = |e| ReferenceError::Name(shown(), e);
        Ok(Self {
            registry: registry.parse().map_err(name)?,
            repository: repository.parse().map_err(name)?,
            tag: tag.map(str::parse).transpose().map_err(name)?,
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::name::deserialize_from_str(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_round_trip() {
        let digest = Digest::sha256(b"x");
        for text in [
            "localhost:5000/a/b:1.0".to_owned(),
            "registry.example/a".to_owned(),
            format!("127.0.0.1:5000/a@{digest}"),
            format!("127.0.0.1:5000/a:t@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in [
            "",
            "a",
            "/a",
            "host/",
            "host/A",
            "host/a:",
            "host/a@",
            "host/a@sha256:1",
            "h h/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
