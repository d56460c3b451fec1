//! `countersign pull`.
//!
//! Titles come from whoever pushed the artifact. They may name files below the folder and
//! nothing else: no absolute path, no `..`, no way through a symbolic link (oras GHSA-g5v4,
//! GHSA-8xwf, GHSA-m37j). A file is written beside its place and renamed into it when its digest
//! is known to be right; renaming replaces a link and does not follow it. Archives are not
//! unpacked.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use client::ArtifactSource;
use client::copy::{self, CopyEvent};
use oci::{Descriptor, Digest, Manifest};
use serde::Serialize;

use crate::artifact::TITLE;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::progress::Progress;
use crate::render;
use crate::target::Target;

/// Pull the files of an artifact into a folder.
///
/// Layers without a title are left out; use `countersign copy` to keep everything.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact.
    #[arg(value_name = "REF")]
    target: Target,
    /// The folder to write to.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Refuse to replace files that are there already.
    #[arg(short, long)]
    keep_old_files: bool,
}

#[derive(Serialize)]
struct Pulled {
    reference: String,
    files: Vec<PulledFile>,
    /// The digests of layers that have no title.
    skipped: Vec<Digest>,
}

#[derive(Serialize)]
struct PulledFile {
    path: PathBuf,
    #[serde(flatten)]
    descriptor: Descriptor,
}

/// Pulls.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let source = args.target.open(context)?;
    let root = args.target.resolve(&*source, context, None).await?;
    let manifest = source.manifest(&root).await?;
    let (titled, skipped) = layers(&manifest)?;
    let progress = Progress::new(context);
    let mut files = Vec::new();
    for (title, layer) in titled {
        let place = prepare(&args, &title)?;
        write_file(&*source, layer, &place, &progress).await?;
        files.push(PulledFile {
            path: place,
            descriptor: layer.clone(),
        });
    }
    let pulled = Pulled {
        reference: args.target.at(&root.digest).to_string(),
        files,
        skipped,
    };
    context.print(&pulled, text)?;
    if !pulled.skipped.is_empty() {
        context.hint("layers without a title are kept by `countersign copy REF oci:FOLDER`");
    }
    Ok(ExitCode::Done)
}

fn text(pulled: &Pulled) -> String {
    let mut text = format!("pulled {}\n", pulled.reference);
    for file in &pulled.files {
        let path = render::sanitise(&file.path.display().to_string());
        text.push_str(&format!(
            "  {path}  {}\n",
            render::bytes(file.descriptor.size)
        ));
    }
    for digest in &pulled.skipped {
        text.push_str(&format!("  left out {digest}: it has no title\n"));
    }
    text
}

/// Layers with their titles, and the digests of those that have none.
type Layers<'a> = (Vec<(PathBuf, &'a Descriptor)>, Vec<Digest>);

fn layers(manifest: &Manifest) -> Result<Layers<'_>, CliError> {
    let Some(image) = manifest.as_image() else {
        return Err(CliError::usage("an index has no files")
            .hint("pull one of its manifests; `countersign discover` shows them"));
    };
    let mut titled = Vec::new();
    let mut skipped = Vec::new();
    let mut seen = BTreeSet::new();
    for layer in &image.layers {
        let Some(title) = layer.annotations.get(TITLE) else {
            skipped.push(layer.digest.clone());
            continue;
        };
        let path = checked_title(title)?;
        if !seen.insert(path.clone()) {
            return Err(refused(title, "two layers have this title"));
        }
        titled.push((path, layer));
    }
    Ok((titled, skipped))
}

/// Returns the path that a title names, if it leads down and nowhere else.
fn checked_title(title: &str) -> Result<PathBuf, CliError> {
    if title.is_empty() || title.contains(['\0', '\\']) {
        return Err(refused(title, "it is no file name"));
    }
    let path = Path::new(title);
    let leads_down = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    match leads_down && !title.ends_with('/') {
        true => Ok(path.to_owned()),
        false => Err(refused(
            title,
            "it does not lead to a file below the folder",
        )),
    }
}

fn refused(title: &str, reason: &str) -> CliError {
    CliError::new(
        crate::error::Kind::Untrusted,
        format!("title `{title}` is refused: {reason}"),
    )
    .hint("look at the artifact with `countersign discover`, and ask who pushed it")
}

/// Makes the folders above a file, and returns its path. Each folder below the one that the user
/// named must be a real one.
fn prepare(args: &Args, title: &Path) -> Result<PathBuf, CliError> {
    let unwritable = |path: &Path, e| {
        CliError::config(format!("`{}` could not be created", path.display())).because(e)
    };
    std::fs::create_dir_all(&args.directory).map_err(|e| unwritable(&args.directory, e))?;
    let mut folder = args.directory.clone();
    for part in title.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        match std::fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let shown = title.display().to_string();
                return Err(refused(&shown, "a folder on the way is not a real folder"));
            }
            Err(_) => std::fs::create_dir(&folder).map_err(|e| unwritable(&folder, e))?,
        }
    }
    let place = args.directory.join(title);
    match std::fs::symlink_metadata(&place) {
        Ok(found) if found.is_dir() => Err(CliError::new(
            crate::error::Kind::Conflict,
            format!("`{}` is a folder", place.display()),
        )),
        Ok(_) if args.keep_old_files => Err(CliError::new(
            crate::error::Kind::Conflict,
            format!("`{}` exists already", place.display()),
        )),
        _ => Ok(place),
    }
}

async fn write_file(
    source: &dyn ArtifactSource,
    layer: &Descriptor,
    place: &Path,
    progress: &Progress,
) -> Result<(), CliError> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let temporary = folder.join(format!(".{}.part", layer.digest.hex()));
    let unwritable = |e: std::io::Error| {
        CliError::config(format!("`{}` could not be written", place.display())).because(e)
    };
    // A remainder of an earlier attempt, or a trap: either way not to be written through.
    let _ = std::fs::remove_file(&temporary);
    let mut file = tokio::fs::File::create_new(&temporary)
        .await
        .map_err(unwritable)?;
    let show = |event: CopyEvent<'_>| progress.show(event);
    let written = match copy::fetch_blob(source, layer, &mut file, &show).await {
        Ok(()) => file.sync_all().await.map_err(unwritable),
        Err(e) => Err(e.into()),
    };
    let placed = written.and_then(|()| std::fs::rename(&temporary, place).map_err(unwritable));
    if placed.is_err() {
        // Best effort: the error that matters is the first.
        let _ = std::fs::remove_file(&temporary);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_lead_down_or_are_refused() {
        for good in ["cve.json", "a/b/c.txt", "a b", "...", "-x"] {
            assert_eq!(checked_title(good).unwrap(), Path::new(good));
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            "..",
            ".",
            "./a",
            "a/",
            "a\\b",
            "a\0b",
        ] {
            assert!(checked_title(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_symbolic_link_on_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        let args = Args {
            target: "oci:x:v1".parse().unwrap(),
            directory: dir.path().to_owned(),
            keep_old_files: false,
        };
        assert!(prepare(&args, Path::new("link/file")).is_err());
        assert!(prepare(&args, Path::new("real/file")).is_ok());
    }
}
