//! Which files of an image anybody asks for, and how much of each.
//!
//! One table for all cataloguers, so that a layer is read once. Files of which only some lines
//! matter are cut down at once: the file lists and licence texts of a large image would otherwise
//! take more memory than all the rest.

/// How much of a file is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All of it.
    Whole,
    /// Up to the first empty line: the headers of a message.
    Headers,
    /// The lines that contain this text.
    LinesWith(&'static str),
    /// The lines that begin with one of these texts.
    LinesStarting(&'static [&'static str]),
}

/// Returns how much of the file at `path` is kept, if any. The path has no leading slash.
pub(crate) fn keep(path: &str) -> Option<Keep> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let in_folder = |suffix: &str| {
        folder == suffix
            || folder
                .strip_suffix(suffix)
                .is_some_and(|rest| rest.ends_with('/'))
    };
    match name {
        "os-release" if folder == "etc" || folder == "usr/lib" => Some(Keep::Whole),
        // Where `/etc/os-release` leads on distributions with editions.
        _ if folder == "usr/lib/os.release.d" => Some(Keep::Whole),
        "status" if in_folder("lib/dpkg") => Some(Keep::Whole),
        _ if in_folder("lib/dpkg/status.d") && !name.ends_with(".md5sums") => Some(Keep::Whole),
        _ if in_folder("lib/dpkg/info") && name.ends_with(".list") => {
            Some(Keep::LinesWith("-info"))
        }
        "copyright" if folder.starts_with("usr/share/doc/") => {
            Some(Keep::LinesStarting(&["Format:", "License:"]))
        }
        "METADATA" if ends_with(folder, ".dist-info") => Some(Keep::Headers),
        "PKG-INFO" if ends_with(folder, ".egg-info") => Some(Keep::Headers),
        _ if ends_with(name, ".egg-info") => Some(Keep::Headers),
        _ => None,
    }
}

/// `python -m build` writes lower case; some old installers wrote `.EGG-INFO`.
fn ends_with(text: &str, suffix: &str) -> bool {
    let start = text.len().wrapping_sub(suffix.len());
    text.get(start..)
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

impl Keep {
    /// Returns what is kept of `bytes`.
    pub(crate) fn cut(self, bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Whole => bytes,
            Self::Headers => {
                let mut length = 0;
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    if line.trim_ascii().is_empty() {
                        break;
                    }
                    length += line.len();
                }
                bytes[..length].to_vec()
            }
            Self::LinesWith(text) => lines(&bytes, |line| {
                line.windows(text.len())
                    .any(|window| window == text.as_bytes())
            }),
            Self::LinesStarting(starts) => lines(&bytes, |line| {
                starts
                    .iter()
                    .any(|start| line.starts_with(start.as_bytes()))
            }),
        }
    }
}

fn lines(bytes: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| wanted(line))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_paths() {
        let table = [
            ("etc/os-release", Some(Keep::Whole)),
            ("usr/lib/os-release", Some(Keep::Whole)),
            ("opt/etc/os-release", None),
            ("var/lib/dpkg/status", Some(Keep::Whole)),
            ("opt/root/var/lib/dpkg/status", Some(Keep::Whole)),
            ("var/xlib/dpkg/status", None),
            ("var/lib/dpkg/status-old", None),
            ("var/lib/dpkg/status.d/base", Some(Keep::Whole)),
            ("var/lib/dpkg/status.d/base.md5sums", None),
            (
                "var/lib/dpkg/info/python3-yaml.list",
                Some(Keep::LinesWith("-info")),
            ),
            ("var/lib/dpkg/info/python3-yaml.md5sums", None),
            (
                "usr/lib/python3/dist-packages/a.dist-info/METADATA",
                Some(Keep::Headers),
            ),
            (
                "usr/lib/python3/dist-packages/A.EGG-INFO/PKG-INFO",
                Some(Keep::Headers),
            ),
            (
                "usr/lib/python3/dist-packages/a.egg-info",
                Some(Keep::Headers),
            ),
            ("srv/METADATA", None),
            ("é.egg-info", Some(Keep::Headers)),
            ("", None),
            ("info", None),
        ];
        for (path, expected) in table {
            assert_eq!(keep(path), expected, "{path}");
        }
    }

    #[test]
    fn only_what_matters_is_kept() {
        let cut = |keep: Keep, text: &str| String::from_utf8(keep.cut(text.into())).unwrap();
        assert_eq!(
            cut(Keep::Headers, "Name: a\r\n\r\nlong text"),
            "Name: a\r\n"
        );
        assert_eq!(cut(Keep::Headers, "Name: a"), "Name: a");
        assert_eq!(
            cut(Keep::LinesWith("-info"), "/a\n/a-1.egg-info\n/b"),
            "/a-1.egg-info\n"
        );
        let licence = Keep::LinesStarting(&["License:"]);
        assert_eq!(
            cut(licence, "x\nLicense: MIT\n License: no\n"),
            "License: MIT\n"
        );
    }
}
