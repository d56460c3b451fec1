//! The kept files and the symbolic links of one or more layers, by path.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use super::File;

/// The most symbolic links on the way to a file: `MAXSYMLINKS` of Linux.
const MAX_LINKS: usize = 40;

/// Something at a path.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(File),
    /// A symbolic link and where it leads.
    Symlink(Box<str>),
    /// A file that somebody asked for and that could not be kept.
    Unreadable,
}

impl Node {
    /// Returns roughly how many bytes it takes.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::File(file) => file.bytes.len(),
            Self::Symlink(target) => target.len(),
            Self::Unreadable => 0,
        }
    }
}

/// Nodes by path, without leading slash.
#[derive(Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<Box<str>, Node>,
}

impl Tree {
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (&**path, node))
    }

    pub(crate) fn is_unreadable(&self, path: &str) -> bool {
        matches!(self.get(path), Some(Node::Unreadable))
    }

    pub(crate) fn insert(&mut self, path: String, node: Node) {
        self.nodes.insert(path.into(), node);
    }

    /// Removes a file, or a folder with all that is in it.
    pub(crate) fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.clear_folder(path);
    }

    /// Removes what is in a folder; the root is the empty path.
    pub(crate) fn clear_folder(&mut self, path: &str) {
        if path.is_empty() {
            return self.nodes.clear();
        }
        // All that begins with `path/` sorts between `path/` and `path0`: zero follows the slash.
        let (first, end) = (format!("{path}/"), format!("{path}0"));
        let range = (Bound::Included(&*first), Bound::Excluded(&*end));
        let inside: Vec<Box<str>> = self
            .nodes
            .range::<str, _>(range)
            .map(|(path, _)| path.clone())
            .collect();
        for path in inside {
            self.nodes.remove(&path);
        }
    }

    /// Makes way for an entry: a file replaces whatever was there, a folder replaces a file but
    /// joins a folder.
    pub(crate) fn make_way(&mut self, path: &str, is_folder: bool) {
        if self.nodes.is_empty() {
            return;
        }
        match is_folder {
            true => drop(self.nodes.remove(path)),
            false => self.remove(path),
        }
    }

    /// Adds the nodes of a higher layer, for which way was made already.
    pub(crate) fn put_on_top(&mut self, mut upper: Self) {
        self.nodes.append(&mut upper.nodes);
    }

    /// Follows symbolic links to a real path. Nothing if there are too many: a cycle.
    pub(crate) fn resolve(&self, path: &str) -> Option<String> {
        let mut links = 0;
        let mut real = String::new();
        let mut rest: VecDeque<&str> = path.split('/').collect();
        while let Some(part) = rest.pop_front() {
            match part {
                "" | "." => continue,
                ".." => {
                    real.truncate(real.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let parent = real.len();
            if parent > 0 {
                real.push('/');
            }
            real.push_str(part);
            let Some(Node::Symlink(target)) = self.get(&real) else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            real.truncate(if target.starts_with('/') { 0 } else { parent });
            for part in target.split('/').rev() {
                rest.push_front(part);
            }
        }
        Some(real)
    }
}
