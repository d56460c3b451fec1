//! From a path under `/v2/` to what is asked for.
//!
//! Repository names contain slashes, so the path is read from its end. Nothing is decoded but the
//! colon of a digest: every other percent sign fails the grammar of the name that it stands in,
//! and with it every encoded slash, dot or NUL.

use oci::{Digest, RepositoryName, Tag};
use store::blob::UploadId;

use super::error::{Code, RegistryError};

/// What a path names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    /// `/v2/`: is this a registry, and are my credentials good?
    Base,
    /// `/v2/_catalog`.
    Catalog,
    /// Anything else: inside a repository.
    In(RepositoryName, Place),
}

/// A place inside a repository.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// `blobs/DIGEST`.
    Blob(Digest),
    /// `blobs/uploads/`.
    Uploads,
    /// `blobs/uploads/ID`.
    Upload(UploadId),
    /// `manifests/TAG` or `manifests/DIGEST`.
    Manifest(TagOrDigest),
    /// `tags/list`.
    Tags,
    /// `referrers/DIGEST`.
    Referrers(Digest),
}

/// The last part of a manifest's path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TagOrDigest {
    /// A tag.
    Tag(Tag),
    /// A digest: everything with a colon, so that a malformed digest is never taken for a tag.
    Digest(Digest),
}

impl Route {
    /// Parses the path of a request, which starts with `/v2`.
    pub(crate) fn parse(path: &str) -> Result<Self, RegistryError> {
        let path = path.strip_prefix("/v2").unwrap_or(path);
        let path = path.strip_prefix('/').unwrap_or(path);
        match path {
            "" => return Ok(Self::Base),
            "_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        let (name, place) = parse_place(path)?;
        let name: RepositoryName = name
            .parse()
            .map_err(|error| RegistryError::new(Code::NameInvalid, format!("{error}")))?;
        Ok(Self::In(name, place))
    }
}

fn parse_place(path: &str) -> Result<(&str, Place), RegistryError> {
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Ok((name, Place::Tags));
    }
    let uploads = path.strip_suffix("/blobs/uploads/");
    if let Some(name) = uploads.or_else(|| path.strip_suffix("/blobs/uploads")) {
        return Ok((name, Place::Uploads));
    }
    let (rest, last) = path.rsplit_once('/').ok_or_else(|| unknown(path))?;
    if let Some(name) = rest.strip_suffix("/blobs/uploads") {
        let id = last.parse().map_err(|_| {
            RegistryError::new(Code::BlobUploadUnknown, "there is no such upload session")
        })?;
        return Ok((name, Place::Upload(id)));
    }
    if let Some(name) = rest.strip_suffix("/blobs") {
        return Ok((name, Place::Blob(parse_digest(last)?)));
    }
    if let Some(name) = rest.strip_suffix("/referrers") {
        return Ok((name, Place::Referrers(parse_digest(last)?)));
    }
    if let Some(name) = rest.strip_suffix("/manifests") {
        return Ok((name, Place::Manifest(parse_tag_or_digest(last)?)));
    }
    Err(unknown(path))
}

/// Parses a digest, as it stands in a path or a query.
pub(crate) fn parse_digest(text: &str) -> Result<Digest, RegistryError> {
    decode_colon(text)
        .parse()
        .map_err(|error| RegistryError::new(Code::DigestInvalid, format!("{error}")))
}

fn parse_tag_or_digest(text: &str) -> Result<TagOrDigest, RegistryError> {
    let text = decode_colon(text);
    if text.contains(':') {
        return parse_digest(&text).map(TagOrDigest::Digest);
    }
    text.parse()
        .map(TagOrDigest::Tag)
        .map_err(|error| RegistryError::new(Code::ManifestInvalid, format!("{error}")))
}

fn decode_colon(text: &str) -> String {
    text.replace("%3A", ":").replace("%3a", ":")
}

fn unknown(path: &str) -> RegistryError {
    let path: String = path.chars().take(200).collect();
    RegistryError::new(
        Code::NameUnknown,
        format!("there is nothing at `/v2/{path}`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &str) -> Code {
        Route::parse(path).unwrap_err().code()
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::sha256(b"x");
        let name = |text: &str| text.parse::<RepositoryName>().unwrap();
        let tag = |text: &str| Place::Manifest(TagOrDigest::Tag(text.parse().unwrap()));
        let by_digest = Place::Manifest(TagOrDigest::Digest(digest.clone()));
        let id = "0190a3c2-0000-4000-8000-000000000000";
        for (path, route) in [
            ("/v2", Route::Base),
            ("/v2/", Route::Base),
            ("/v2/_catalog", Route::Catalog),
            ("/v2/a/b/tags/list", Route::In(name("a/b"), Place::Tags)),
            (
                "/v2/a/manifests/latest",
                Route::In(name("a"), tag("latest")),
            ),
            (
                "/v2/a/blobs/manifests/x",
                Route::In(name("a/blobs"), tag("x")),
            ),
            (
                &format!("/v2/a/manifests/{digest}"),
                Route::In(name("a"), by_digest.clone()),
            ),
            (
                &format!("/v2/a/manifests/{}", digest.as_str().replace(':', "%3A")),
                Route::In(name("a"), by_digest),
            ),
            (
                &format!("/v2/a/blobs/{digest}"),
                Route::In(name("a"), Place::Blob(digest.clone())),
            ),
            (
                &format!("/v2/a/referrers/{digest}"),
                Route::In(name("a"), Place::Referrers(digest.clone())),
            ),
            ("/v2/a/blobs/uploads/", Route::In(name("a"), Place::Uploads)),
            ("/v2/a/blobs/uploads", Route::In(name("a"), Place::Uploads)),
            (
                &format!("/v2/a/blobs/uploads/{id}"),
                Route::In(name("a"), Place::Upload(id.parse().unwrap())),
            ),
        ] {
            assert_eq!(Route::parse(path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn malformed_names_are_refused_with_the_code_of_their_part() {
        let digest = Digest::sha256(b"x");
        for (path, expected) in [
            ("/v2/A/tags/list".to_owned(), Code::NameInvalid),
            ("/v2/../tags/list".to_owned(), Code::NameInvalid),
            ("/v2/a/../../etc/tags/list".to_owned(), Code::NameInvalid),
            ("/v2/a%2fb/tags/list".to_owned(), Code::NameInvalid),
            ("/v2/a%00/tags/list".to_owned(), Code::NameInvalid),
            ("/v2//tags/list".to_owned(), Code::NameInvalid),
            (
                format!("/v2/{}/tags/list", "a".repeat(256)),
                Code::NameInvalid,
            ),
            (format!("/v2//blobs/{digest}"), Code::NameInvalid),
            ("/v2/a/blobs/sha256:../../x".to_owned(), Code::NameUnknown),
            ("/v2/a/blobs/sha256:..".to_owned(), Code::DigestInvalid),
            ("/v2/a/blobs/md5:00".to_owned(), Code::DigestInvalid),
            ("/v2/a/referrers/latest".to_owned(), Code::DigestInvalid),
            ("/v2/a/manifests/sha256:bad".to_owned(), Code::DigestInvalid),
            (
                "/v2/a/manifests/sha256%3Abad".to_owned(),
                Code::DigestInvalid,
            ),
            ("/v2/a/manifests/.hidden".to_owned(), Code::ManifestInvalid),
            ("/v2/a/manifests/%2e%2e".to_owned(), Code::ManifestInvalid),
            ("/v2/a/blobs/uploads/x".to_owned(), Code::BlobUploadUnknown),
            ("/v2/a/blobs/uploads/..".to_owned(), Code::BlobUploadUnknown),
            ("/v2/a".to_owned(), Code::NameUnknown),
            ("/v2/a/b/c".to_owned(), Code::NameUnknown),
        ] {
            assert_eq!(code(&path), expected, "{path}");
        }
    }
}
