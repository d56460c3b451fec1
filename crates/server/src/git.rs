//! Where the branches of the hosted git repositories stand.
//!
//! The control loop looks every few seconds, so it reads the one line that it wants from the file
//! (gitrepository-layout) and starts no process. Everything else about git is `pipeline::git`'s.

use std::fs;
use std::path::{Path, PathBuf};

use pipeline::git::{GitError, GitRepositories};
use pipeline::project::Name;

use crate::error::{ApiError, chain};
use crate::state::{Front, FrontState};

/// The longest file with packed references that is read, in bytes: about half a million of them.
const MAX_PACKED_REFS_BYTES: u64 = 64 * 1024 * 1024;

/// Returns the folder of all repositories.
pub(crate) fn root(front: &FrontState) -> PathBuf {
    front.folder.join("git")
}

/// Makes an empty repository, unless it is there.
pub(crate) async fn create(front: &Front, name: &Name) -> Result<(), ApiError> {
    let created = match GitRepositories::open(&root(front)) {
        Ok(repositories) => repositories.create(name).await,
        Err(error) => Err(error),
    };
    created.map_err(failed)
}

/// Removes a repository with everything in it.
pub(crate) async fn remove(front: &Front, name: &Name) -> Result<(), ApiError> {
    let (root, name) = (root(front), name.clone());
    let removed =
        tokio::task::spawn_blocking(move || GitRepositories::open(&root)?.remove(&name)).await;
    removed.map_err(ApiError::internal)?.map_err(failed)
}

fn failed(error: GitError) -> ApiError {
    match error {
        GitError::Missing => ApiError::unavailable("git is not installed on the server", &error)
            .hint("install the package `git` there"),
        _ => ApiError::internal(chain(&error)),
    }
}

/// Returns the commit that a branch leads to, if there is one.
pub(crate) async fn head(front: &Front, name: &Name, branch: &str) -> Option<String> {
    // A name has neither slashes nor dots.
    let folder = root(front).join(format!("{name}.git"));
    let branch = branch.to_owned();
    let found = tokio::task::spawn_blocking(move || read_head(&folder, &branch)).await;
    found.ok().flatten()
}

fn read_head(folder: &Path, branch: &str) -> Option<String> {
    // The name comes from a declarative file of an administrator; it must stay below the folder.
    let is_safe = |part: &str| !part.is_empty() && part != ".." && part != ".";
    if !branch.split('/').all(is_safe) {
        return None;
    }
    let reference = format!("refs/heads/{branch}");
    let loose = fs::read_to_string(folder.join(&reference)).ok();
    let commit = loose.or_else(|| packed(folder, &reference))?;
    let commit = commit.trim();
    let is_commit =
        matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| commit.to_owned())
}

fn packed(folder: &Path, reference: &str) -> Option<String> {
    let path = folder.join("packed-refs");
    if fs::metadata(&path).ok()?.len() > MAX_PACKED_REFS_BYTES {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    lines.find_map(|line| {
        let (commit, name) = line.split_once(' ')?;
        (name == reference).then(|| commit.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_found_loose_or_packed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (loose, packed) = ("a".repeat(40), "b".repeat(40));
        fs::create_dir_all(path.join("refs/heads/team")).unwrap();
        fs::write(path.join("refs/heads/team/x"), format!("{loose}\n")).unwrap();
        let lines = format!("# pack-refs with: peeled\n{packed} refs/heads/main\n^{loose}\n");
        fs::write(path.join("packed-refs"), lines).unwrap();
        for (branch, expected) in [
            ("team/x", Some(&loose)),
            ("main", Some(&packed)),
            ("mai", None),
            ("team", None),
            ("", None),
            ("../config", None),
            ("../../HEAD", None),
        ] {
            assert_eq!(read_head(path, branch).as_ref(), expected, "{branch}");
        }
        fs::write(path.join("refs/heads/main"), "ref: refs/heads/team/x\n").unwrap();
        assert_eq!(read_head(path, "main"), None, "a symbolic reference");
    }
}
