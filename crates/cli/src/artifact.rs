//! Making an artifact out of files, for `push` and `attach`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use client::ArtifactSink;
use client::copy::{self, CopyEvent};
use oci::descriptor::Annotations;
use oci::{Descriptor, DigestAlgorithm, DigestWriter, ImageManifest, Manifest, MediaType, Tag};
use time::format_description::well_known::Rfc3339;

use crate::context::Context;
use crate::error::CliError;
use crate::progress::Progress;

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

/// An artifact whose files were read once: nothing was sent yet, and nothing that is wrong with
/// the command line can come up any more.
pub(crate) struct NewArtifact {
    artifact_type: MediaType,
    annotations: Annotations,
    layers: Vec<(PathBuf, Descriptor)>,
    progress: Progress,
}

impl NewArtifact {
    /// Reads the files and checks the annotations.
    pub(crate) async fn prepare(
        artifact_type: MediaType,
        given_files: &[String],
        given_annotations: &[String],
        context: &Context,
    ) -> Result<Self, CliError> {
        let annotations = annotations(given_annotations, context)?;
        let mut layers = Vec::new();
        for (title, file) in files(given_files)? {
            let mut layer = describe(&file)
                .await
                .map_err(|e| unreadable(&file.path, e))?;
            layer.annotations.insert(TITLE.to_owned(), title);
            layers.push((file.path, layer));
        }
        Ok(Self {
            artifact_type,
            annotations,
            layers,
            progress: Progress::new(context),
        })
    }

    /// Pushes the files, and then the manifest over them.
    pub(crate) async fn push(
        self,
        sink: &dyn ArtifactSink,
        subject: Option<&Descriptor>,
        tag: Option<&Tag>,
    ) -> Result<Manifest, CliError> {
        let show = |event: CopyEvent<'_>| self.progress.show(event);
        let mut layers = Vec::new();
        for (path, layer) in self.layers {
            let reader = tokio::fs::File::open(&path).await;
            let mut reader = reader.map_err(|e| unreadable(&path, e))?;
            copy::send_blob(sink, &layer, &mut reader, &show).await?;
            layers.push(layer);
        }
        let config = Descriptor::empty();
        sink.push_blob_from(&config, &mut &b"{}"[..]).await?;
        if layers.is_empty() {
            // image-spec `manifest.md`: `layers` should not be empty, for the sake of old
            // registries.
            layers.push(config.clone());
        }
        let manifest = Manifest::from_image(&ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_MANIFEST),
            artifact_type: Some(self.artifact_type),
            config,
            layers,
            subject: subject.map(Descriptor::bare),
            annotations: self.annotations,
        });
        sink.push_manifest(&manifest, tag).await?;
        Ok(manifest)
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> CliError {
    CliError::config(format!("`{}` could not be read", path.display())).because(error)
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
