//! The unlocking secret and where it comes from.
//!
//! It is never inside the data folder: whoever copies the folder (a backup, a volume) must not get
//! the keys. An unlock file that others can read is refused rather than used.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::{KdfCost, SealError, files};

/// The shortest unlocking secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 16;
/// The longest unlocking secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 4096;
/// Where the default file lies when the program runs as root.
pub const ROOT_DEFAULT_PATH: &str = "/etc/countersign/unlock";

/// The unlocking secret: one text, so that it can be handed on to another process. Wiped when
/// dropped; never shown.
#[derive(Clone)]
pub struct UnlockSecret(Zeroizing<String>);

impl UnlockSecret {
    /// Parses what a file or descriptor held; one line break at the end does not count.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, UnlockError> {
        Self::of_text(parse_text(bytes)?)
    }

    fn of_text(text: Zeroizing<String>) -> Result<Self, UnlockError> {
        if (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(UnlockError::Length(text.len()))
        }
    }

    /// Returns the text, to be handed on to the signer's process and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Derives a key for another use than the signing keys, by argon2id with the cost of guessing
    /// that those have: whoever learns the key must not find a weak secret with it any faster.
    ///
    /// # Errors
    /// When the cost is out of range or memory is short.
    pub fn derive(
        &self,
        purpose: &'static str,
        cost: KdfCost,
    ) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.lanes, Some(32));
        let params = params.map_err(|_| SealError::Cost)?;
        let mut key = Zeroizing::new([0u8; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(self.bytes(), purpose.as_bytes(), &mut *key)
            .map_err(|_| SealError::Cost)?;
        Ok(key)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for UnlockSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockSecret(…)")
    }
}

/// Where the unlocking secret comes from.
#[derive(Clone, Debug)]
pub enum UnlockSource {
    /// A file that the caller named.
    File(PathBuf),
    /// An open file descriptor, read to its end.
    Descriptor(u32),
    /// A file outside the data folder that is made, once, when it does not exist.
    Default(PathBuf),
    /// Whoever has it already: the process that started this one, or a service that unwrapped it.
    Given(UnlockSecret),
}

/// Where another secret comes from: a PIN, a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that only its owner may read, outside the data folder.
    File(PathBuf),
    /// An open file descriptor, read to its end.
    Descriptor(u32),
}

impl SecretSource {
    /// Returns the secret, for a server whose data folder is `data`; one line break at the end
    /// does not count.
    pub fn load(&self, data: &Path) -> Result<Zeroizing<String>, UnlockError> {
        match self {
            Self::File(path) => read_file(path, data),
            Self::Descriptor(number) => read_descriptor(*number),
        }
    }
}

/// Says why there is no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnlockError {
    /// The file cannot be read or made.
    #[error("cannot {action} secret file `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The descriptor cannot be read.
    #[error("cannot read a secret from file descriptor {number}")]
    Descriptor {
        /// The descriptor's number.
        number: u32,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// Others may read or change the file.
    #[error("secret file `{path}` has mode {mode:04o}: others may read or change it; make it 0600")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file lies inside the folder whose keys it unlocks.
    #[error(
        "secret file `{path}` is inside the data folder `{data}`: a copy of the folder would hold both"
    )]
    InsideData {
        /// The file.
        path: PathBuf,
        /// The data folder.
        data: PathBuf,
    },
    /// The secret is not text.
    #[error("the unlocking secret is not UTF-8 text")]
    NotText,
    /// The secret is too short or too long.
    #[error("the unlocking secret has {0} bytes: use {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}")]
    Length(usize),
}

impl UnlockSource {
    /// Returns the source that is a secret which was unwrapped elsewhere.
    pub fn given(bytes: Vec<u8>) -> Result<Self, UnlockError> {
        UnlockSecret::parse(bytes).map(Self::Given)
    }

    /// Returns the default source: `/etc/countersign/unlock` for root, else
    /// `countersign/unlock` in the configuration folder of the user.
    pub fn default_for(is_root: bool, config_home: &Path) -> Self {
        Self::Default(if is_root {
            PathBuf::from(ROOT_DEFAULT_PATH)
        } else {
            config_home.join("countersign/unlock")
        })
    }

    /// Says in words where the secret comes from.
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => format!("the unlocking secret is read from `{}`", path.display()),
            Self::Descriptor(number) => {
                format!("the unlocking secret is read from file descriptor {number}")
            }
            Self::Default(path) => format!(
                "the unlocking secret is read from `{}`, outside the data folder and readable by \
                 its owner alone; without it the signing keys cannot be opened, so keep a copy of \
                 it apart from the copies of the data",
                path.display()
            ),
            Self::Given(_) => "the unlocking secret was unwrapped by a service".to_owned(),
        }
    }

    /// Returns the secret, for keys below the folder `data`.
    pub fn load(&self, data: &Path) -> Result<UnlockSecret, UnlockError> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::Descriptor(number) => UnlockSecret::of_text(read_descriptor(*number)?),
            Self::File(path) => UnlockSecret::of_text(read_file(path, data)?),
            Self::Default(path) => {
                self.create_default(data)?;
                UnlockSecret::of_text(read_file(path, data)?)
            }
        }
    }

    /// Makes the default file when it is the source and does not exist; returns its path when it
    /// was made now.
    pub fn create_default(&self, data: &Path) -> Result<Option<&Path>, UnlockError> {
        let Self::Default(path) = self else {
            return Ok(None);
        };
        if path.exists() {
            return Ok(None);
        }
        refuse_inside(path, data)?;
        let failed = |source| UnlockError::File {
            action: "make",
            path: path.clone(),
            source,
        };
        let mut random = Zeroizing::new([0u8; 32]);
        rand::fill(&mut *random).map_err(|_| failed(std::io::Error::other("no randomness")))?;
        let mut text = Zeroizing::new(hex::encode(random.as_slice()));
        text.push('\n');
        if let Some(folder) = path.parent() {
            files::create_private_folder(folder).map_err(failed)?;
        }
        files::write_new(path, text.as_bytes()).map_err(failed)?;
        Ok(Some(path))
    }
}

fn refuse_inside(path: &Path, data: &Path) -> Result<(), UnlockError> {
    let real = |path: &Path| path.canonicalize();
    let folder = path.parent().and_then(|folder| real(folder).ok());
    let real_path = real(path)
        .ok()
        .or(folder)
        .unwrap_or_else(|| path.to_owned());
    let real_data = real(data).unwrap_or_else(|_| data.to_owned());
    if real_path.starts_with(&real_data) || path.starts_with(data) {
        let (path, data) = (path.to_owned(), data.to_owned());
        return Err(UnlockError::InsideData { path, data });
    }
    Ok(())
}

fn read_file(path: &Path, data: &Path) -> Result<Zeroizing<String>, UnlockError> {
    refuse_inside(path, data)?;
    let failed = |source| UnlockError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    // A pipe made by a shell, `--unlock-file <(…)`, has nobody else at its other end.
    if metadata.mode() & 0o170_000 == 0o100_000 && mode & 0o077 != 0 {
        return Err(UnlockError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    parse_text(read_bounded(file).map_err(failed)?)
}

fn read_descriptor(number: u32) -> Result<Zeroizing<String>, UnlockError> {
    let failed = |source| UnlockError::Descriptor { number, source };
    // Opening by this path needs no unsafe code to take the descriptor over.
    let file = File::open(format!("/proc/self/fd/{number}")).map_err(failed)?;
    parse_text(read_bounded(file).map_err(failed)?)
}

fn parse_text(bytes: Vec<u8>) -> Result<Zeroizing<String>, UnlockError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        UnlockError::NotText
    })?;
    let mut text = Zeroizing::new(text);
    let without = text.strip_suffix('\n').map_or(text.len(), str::len);
    text.truncate(without);
    Ok(text)
}

fn read_bounded(file: File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(MAX_SECRET_BYTES + 2);
    file.take(MAX_SECRET_BYTES as u64 + 2)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (data, config) = (root.path().join("data"), root.path().join("config"));
        std::fs::create_dir(&data).unwrap();
        (root, data, config)
    }

    #[test]
    fn the_default_file_is_made_once_and_only_for_its_owner() {
        let (_root, data, config) = folders();
        let source = UnlockSource::default_for(false, &config);
        let made = source.create_default(&data).unwrap().unwrap().to_owned();
        assert_eq!(made, config.join("countersign/unlock"));
        let mode = std::fs::metadata(&made).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let first = source.load(&data).unwrap();
        assert!(source.create_default(&data).unwrap().is_none());
        assert_eq!(source.load(&data).unwrap().bytes(), first.bytes());
        assert_eq!(first.bytes().len(), 64);
    }

    #[test]
    fn a_derived_key_depends_on_the_secret_and_the_purpose() {
        let derive = |secret: &str, purpose| {
            let secret = UnlockSecret::parse(secret.as_bytes().to_vec()).unwrap();
            *secret.derive(purpose, KdfCost::TESTS_ONLY).unwrap()
        };
        let key = derive("correct horse battery", "countersign/one/v1");
        assert_eq!(key, derive("correct horse battery", "countersign/one/v1"));
        assert_ne!(key, derive("correct horse battery", "countersign/two/v1"));
        assert_ne!(key, derive("incorrect horse battery", "countersign/one/v1"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (root, data, _) = folders();
        let path = root.path().join("unlock");
        std::fs::write(&path, "0123456789abcdef").unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o602, false)] {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap();
            let loaded = UnlockSource::File(path.clone()).load(&data);
            assert_eq!(loaded.is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn a_file_inside_the_data_folder_is_refused() {
        let (root, data, _) = folders();
        let inside = data.join("unlock");
        let source = UnlockSource::Default(inside.clone());
        let made = source.create_default(&data);
        assert!(matches!(made, Err(UnlockError::InsideData { .. })));
        assert!(!inside.exists());
        // A way around by a link, and by `..`.
        std::os::unix::fs::symlink(&data, root.path().join("link")).unwrap();
        std::fs::write(&inside, "0123456789abcdef").unwrap();
        for path in [
            root.path().join("link/unlock"),
            root.path().join("config/../data/unlock"),
        ] {
            std::fs::create_dir_all(root.path().join("config")).unwrap();
            let loaded = UnlockSource::File(path.clone()).load(&data);
            assert!(
                matches!(loaded, Err(UnlockError::InsideData { .. })),
                "{path:?}"
            );
        }
    }

    #[test]
    fn the_length_is_bounded_and_one_line_break_does_not_count() {
        let table = [
            (b"short".to_vec(), None),
            (b"0123456789abcde\n".to_vec(), None),
            (b"0123456789abcdef\n".to_vec(), Some(16)),
            (b"0123456789abcdef\n\n".to_vec(), Some(17)),
            (vec![b'x'; MAX_SECRET_BYTES], Some(MAX_SECRET_BYTES)),
            (vec![b'x'; MAX_SECRET_BYTES + 1], None),
            (vec![0xff; 32], None),
        ];
        for (bytes, expected) in table {
            let length = UnlockSecret::parse(bytes)
                .ok()
                .map(|secret| secret.bytes().len());
            assert_eq!(length, expected);
        }
    }

    #[test]
    fn a_descriptor_is_read_to_its_end() {
        use std::os::fd::AsRawFd as _;
        let (root, data, _) = folders();
        let path = root.path().join("unlock");
        std::fs::write(&path, "0123456789abcdef").unwrap();
        let file = File::open(&path).unwrap();
        let number = u32::try_from(file.as_raw_fd()).unwrap();
        assert!(UnlockSource::Descriptor(number).load(&data).is_ok());
        let missing = UnlockSource::Descriptor(4_000_000).load(&data);
        assert!(matches!(missing, Err(UnlockError::Descriptor { .. })));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = UnlockSecret::parse(b"0123456789abcdef".to_vec()).unwrap();
        assert_eq!(format!("{secret:?}"), "UnlockSecret(…)");
    }
}
