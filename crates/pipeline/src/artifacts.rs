//! The files that commands leave behind, picked by globs from a workspace that they could change
//! as they liked.
//!
//! To be called when nothing writes to the workspace any more. Nothing is followed out of it:
//! symbolic links are left out, only regular files are taken, and their number, size and depth
//! are bounded.

use std::fs;
use std::path::{Path, PathBuf};

/// The most files. Ours to choose; a build that leaves more should leave an archive.
pub const MAX_FILES: usize = 10_000;
/// The most bytes of one file. Ours to choose: what is attached as evidence is read at once.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// The deepest folder.
const MAX_DEPTH: usize = 32;
/// The most entries that are looked at: bounds the work on a folder full of empty ones.
const MAX_ENTRIES: usize = 1_000_000;

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundFile {
    /// The path below the base folder, with `/`.
    pub path: String,
    /// Where it is on this machine.
    pub location: PathBuf,
    /// Its size, in bytes.
    pub size: u64,
}

/// Says why files cannot be collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The base folder is missing, or is not a folder of the workspace.
    #[error("`{0}` is not a folder of the workspace")]
    Base(String),
    /// The file is missing, or is not a regular file of the workspace.
    #[error("`{0}` is not a file of the workspace")]
    Missing(String),
    /// A file is too large.
    #[error("`{path}` has {size} bytes, more than the limit of {MAX_FILE_BYTES}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size, in bytes.
        size: u64,
    },
    /// There are too many files or folders.
    #[error("more than {0} files or folders")]
    TooMany(usize),
    /// Reading failed.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file or folder.
        path: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

/// Returns the files below `base` (itself below `workspace`) that one of `globs` names, by path.
///
/// `*` and `?` match within a part of a path, `**` matches any number of folders.
///
/// # Errors
/// Everything that [`ArtifactError`] names.
pub fn collect(
    workspace: &Path,
    base: &str,
    globs: &[String],
) -> Result<Vec<FoundFile>, ArtifactError> {
    let root = folder(workspace, base)?;
    let mut walk = Walk {
        globs: globs.iter().map(|glob| parts(glob)).collect(),
        found: Vec::new(),
        entries: 0,
    };
    walk.folder(&root, &mut Vec::new())?;
    walk.found.sort();
    Ok(walk.found)
}

/// Returns the content of one file below `workspace`.
///
/// # Errors
/// Everything that [`ArtifactError`] names.
pub fn read(workspace: &Path, path: &str) -> Result<Vec<u8>, ArtifactError> {
    let missing = || ArtifactError::Missing(path.to_owned());
    let (parent, name) = match path.rsplit_once('/') {
        Some((parent, name)) => (folder(workspace, parent).map_err(|_| missing())?, name),
        None => (workspace.to_owned(), path),
    };
    let location = parent.join(name);
    let metadata = fs::symlink_metadata(&location).map_err(|_| missing())?;
    if !metadata.is_file() || matches!(name, "" | "." | "..") {
        return Err(missing());
    }
    check_size(path, metadata.len())?;
    fs::read(&location).map_err(|source| ArtifactError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Goes down part by part, through folders only: `canonicalize` would follow links first and ask
/// afterwards.
fn folder(workspace: &Path, path: &str) -> Result<PathBuf, ArtifactError> {
    let refuse = || ArtifactError::Base(path.to_owned());
    let mut at = workspace.to_owned();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        at.push(part);
        let metadata = fs::symlink_metadata(&at).map_err(|_| refuse())?;
        if part == ".." || !metadata.is_dir() {
            return Err(refuse());
        }
    }
    Ok(at)
}

fn check_size(path: &str, size: u64) -> Result<(), ArtifactError> {
    match size {
        0..=MAX_FILE_BYTES => Ok(()),
        _ => Err(ArtifactError::TooLarge {
            path: path.to_owned(),
            size,
        }),
    }
}

fn parts(glob: &str) -> Vec<String> {
    let part = |part: &&str| !matches!(*part, "" | ".");
    glob.split('/').filter(part).map(str::to_owned).collect()
}

struct Walk {
    globs: Vec<Vec<String>>,
    found: Vec<FoundFile>,
    entries: usize,
}

impl Walk {
    fn folder(&mut self, folder: &Path, at: &mut Vec<String>) -> Result<(), ArtifactError> {
        let read_error = |source| ArtifactError::Read {
            path: at.join("/"),
            source,
        };
        let entries: Result<Vec<_>, _> = fs::read_dir(folder).map_err(read_error)?.collect();
        for entry in entries.map_err(read_error)? {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(ArtifactError::TooMany(MAX_ENTRIES));
            }
            // A name that is not UTF-8 can be matched by no glob.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            at.push(name);
            // `DirEntry::metadata` does not follow links.
            if let Ok(metadata) = entry.metadata() {
                if metadata.is_file() {
                    self.file(&entry.path(), at, metadata.len())?;
                } else if metadata.is_dir() && at.len() < MAX_DEPTH {
                    self.folder(&entry.path(), at)?;
                }
            }
            at.pop();
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, at: &[String], size: u64) -> Result<(), ArtifactError> {
        if !self.globs.iter().any(|glob| matches(glob, at)) {
            return Ok(());
        }
        if self.found.len() >= MAX_FILES {
            return Err(ArtifactError::TooMany(MAX_FILES));
        }
        check_size(&at.join("/"), size)?;
        self.found.push(FoundFile {
            path: at.join("/"),
            location: path.to_owned(),
            size,
        });
        Ok(())
    }
}

/// Matches a path against a glob, both cut into parts. Works row by row, so that many `**` cost
/// their number times the depth and not a power of it.
fn matches(glob: &[String], path: &[String]) -> bool {
    let mut row = vec![false; path.len() + 1];
    row[0] = true;
    for part in glob {
        let mut next = vec![false; path.len() + 1];
        for index in 0..=path.len() {
            next[index] = match part.as_str() {
                "**" => row[index] || (index > 0 && next[index - 1]),
                _ => index > 0 && row[index - 1] && matches_part(part, &path[index - 1]),
            };
        }
        row = next;
    }
    row[path.len()]
}

fn matches_part(glob: &str, name: &str) -> bool {
    let glob: Vec<char> = glob.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut g, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                g += 1;
                n += 1;
            }
            // Let the last star take one more character and try again.
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    g = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(globs: &[&str], expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a.json", "b.txt", "out/c.json", "out/deep/d.json"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("passwd")).unwrap();
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        let found = collect(folder.path(), ".", &globs).unwrap();
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, expected, "{globs:?}");
    }

    #[test]
    fn globs_name_files_and_never_links() {
        let all = ["a.json", "b.txt", "out/c.json", "out/deep/d.json"];
        check(&["**/*"], &all);
        check(&["**"], &all);
        check(&["*"], &["a.json", "b.txt"]);
        check(&["*.json", "./b.t?t"], &["a.json", "b.txt"]);
        check(&["**/*.json"], &["a.json", "out/c.json", "out/deep/d.json"]);
        check(&["out/*"], &["out/c.json"]);
        check(&["out/**/d.json"], &["out/deep/d.json"]);
        check(&["passwd", "etc/*", "../*", "none"], &[]);
    }

    #[test]
    fn one_file_is_read_and_nothing_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("out")).unwrap();
        fs::write(root.join("out/report.json"), "{}").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("passwd")).unwrap();
        assert_eq!(read(root, "out/report.json").unwrap(), b"{}");
        for path in [
            "passwd",
            "link/passwd",
            "out",
            "none",
            "..",
            "out/../out/report.json",
        ] {
            let error = read(root, path).unwrap_err();
            assert!(
                matches!(error, ArtifactError::Missing(_)),
                "{path}: {error}"
            );
        }
    }

    #[test]
    fn the_base_folder_is_a_folder_of_the_workspace() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
        for base in ["link", "..", "none"] {
            let found = collect(folder.path(), base, &["*".to_owned()]);
            assert!(matches!(found, Err(ArtifactError::Base(_))), "{base}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("big")).unwrap();
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
        let error = read(folder.path(), "big").unwrap_err();
        assert!(matches!(error, ArtifactError::TooLarge { .. }), "{error}");
    }
}
