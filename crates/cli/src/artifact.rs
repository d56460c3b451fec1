//! Making an artifact out of files, for `push` and `attach`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use client::ArtifactSink;
use oci::descriptor::Annotations;
use oci::{Descriptor, DigestAlgorithm, DigestWriter, ImageManifest, Manifest, MediaType};
use time::format_description::well_known::Rfc3339;

use crate::context::Context;
use crate::error::CliError;

/// The annotation that names the file of a layer (image-spec `annotations.md`).
pub(crate) const TITLE: &str = "org.opencontainers.image.title";
/// The annotation that says when an artifact was made.
const CREATED: &str = "org.opencontainers.image.created";
/// How much of a file is read at a time, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file named on the command line as `path` or `path:media/type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileArg {
    path: PathBuf,
    media_type: MediaType,
}

/// What an artifact says of itself.
pub(crate) struct ArtifactParts<'a> {
    pub(crate) artifact_type: MediaType,
    pub(crate) subject: Option<Descriptor>,
    pub(crate) files: &'a [String],
    pub(crate) annotations: &'a [String],
}

/// Pushes the files, and returns the manifest over them, which is not pushed yet.
pub(crate) async fn push_parts(
    sink: &dyn ArtifactSink,
    parts: ArtifactParts<'_>,
    context: &Context,
) -> Result<Manifest, CliError> {
    let annotations = annotations(parts.annotations, context)?;
    let files = files(parts.files)?;
    let mut layers = Vec::new();
    for (title, file) in &files {
        layers.push(push_file(sink, title, file).await?);
    }
    let config = Descriptor::empty();
    sink.push_blob_from(&config, &mut &b"{}"[..]).await?;
    if layers.is_empty() {
        // image-spec `manifest.md`: `layers` should not be empty, so that old registries take it.
        layers.push(config.clone());
    }
    Ok(Manifest::from_image(&ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        artifact_type: Some(parts.artifact_type),
        config,
        layers,
        subject: parts.subject.map(|subject| subject.bare()),
        annotations,
    }))
}

/// Returns the annotations given as `name=text`, and the time.
fn annotations(given: &[String], context: &Context) -> Result<Annotations, CliError> {
    let mut annotations = Annotations::new();
    for pair in given {
        let (name, text) = pair
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| {
                CliError::usage(format!("`{pair}` is not an annotation"))
                    .hint("write it as `name=text`")
            })?;
        annotations.insert(name.to_owned(), text.to_owned());
    }
    if let Ok(now) = context.now().replace_nanosecond(0)
        && let Ok(now) = now.format(&Rfc3339)
    {
        annotations.entry(CREATED.to_owned()).or_insert(now);
    }
    Ok(annotations)
}

/// Returns the files by their titles, in the order given.
fn files(given: &[String]) -> Result<Vec<(String, FileArg)>, CliError> {
    let mut seen = BTreeMap::new();
    let mut files = Vec::new();
    for text in given {
        let file = FileArg::parse(text);
        let title = file.title()?;
        if let Some(earlier) = seen.insert(title.clone(), text) {
            return Err(CliError::usage(format!(
                "`{earlier}` and `{text}` would both be called `{title}`"
            )));
        }
        files.push((title, file));
    }
    Ok(files)
}

async fn push_file(
    sink: &dyn ArtifactSink,
    title: &str,
    file: &FileArg,
) -> Result<Descriptor, CliError> {
    let unreadable = |e: std::io::Error| {
        CliError::config(format!("`{}` could not be read", file.path.display())).because(e)
    };
    let mut descriptor = describe(file).await.map_err(unreadable)?;
    let mut reader = tokio::fs::File::open(&file.path)
        .await
        .map_err(unreadable)?;
    sink.push_blob_from(&descriptor, &mut reader).await?;
    descriptor
        .annotations
        .insert(TITLE.to_owned(), title.to_owned());
    Ok(descriptor)
}

/// Reads the file once for its digest: a push names the digest before the content.
async fn describe(file: &FileArg) -> std::io::Result<Descriptor> {
    use tokio::io::AsyncReadExt;
    let mut reader = tokio::fs::File::open(&file.path).await?;
    let mut digest = DigestWriter::new(DigestAlgorithm::Sha256);
    let mut size = 0;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        size += count as u64;
        digest.update(&buffer[..count]);
    }
    Ok(Descriptor::new(
        file.media_type.clone(),
        digest.finish(),
        size,
    ))
}

impl FileArg {
    /// Parses `path` or `path:media/type`. A file that exists under the whole text wins.
    fn parse(text: &str) -> Self {
        let typed = text.rsplit_once(':').and_then(|(path, media_type)| {
            let media_type = media_type.parse().ok()?;
            (!path.is_empty() && !Path::new(text).exists()).then_some((path, media_type))
        });
        let (path, media_type) = typed.unwrap_or((text, MediaType::OCTET_STREAM));
        Self {
            path: path.into(),
            media_type,
        }
    }

    /// Returns the name under which a pull writes the file: the path if it leads down from here,
    /// else its last part. Other tools refuse to pull anything else.
    fn title(&self) -> Result<String, CliError> {
        let leads_down = self
            .path
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let path: PathBuf = match (leads_down, self.path.file_name()) {
            (true, _) => self
                .path
                .components()
                .filter(|part| matches!(part, Component::Normal(_)))
                .collect(),
            (false, Some(name)) => name.into(),
            (false, None) => PathBuf::new(),
        };
        match path.to_str() {
            Some(title) if !title.is_empty() => Ok(title.to_owned()),
            _ => Err(CliError::usage(format!(
                "`{}` has no name that a file can be pulled under",
                self.path.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_given_with_or_without_a_media_type() {
        for (text, path, media_type, title) in [
            (
                "cve.json:application/json",
                "cve.json",
                "application/json",
                "cve.json",
            ),
            (
                "cve.json",
                "cve.json",
                "application/octet-stream",
                "cve.json",
            ),
            ("./a/b.txt:text/plain", "./a/b.txt", "text/plain", "a/b.txt"),
            ("/tmp/cve.json:a/b", "/tmp/cve.json", "a/b", "cve.json"),
            (
                "../cve.json",
                "../cve.json",
                "application/octet-stream",
                "cve.json",
            ),
            ("a:b", "a:b", "application/octet-stream", "a:b"),
        ] {
            let file = FileArg::parse(text);
            assert_eq!(file.path, Path::new(path), "{text}");
            assert_eq!(file.media_type.as_str(), media_type, "{text}");
            assert_eq!(file.title().unwrap(), title, "{text}");
        }
    }

    #[test]
    fn two_files_of_one_name_are_refused() {
        let given = ["/a/x".to_owned(), "/b/x".to_owned()];
        assert!(
            files(&given)
                .unwrap_err()
                .to_string()
                .contains("both be called `x`")
        );
        assert!(files(&["..".to_owned()]).is_err());
    }
}
