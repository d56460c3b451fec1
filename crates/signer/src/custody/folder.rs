//! Keys in sealed files: `LABEL.key` in one folder, opened with the unlocking secret.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    Custody, CustodyError, KdfCost, KeyAlgorithm, KeyHandle, SealError, SoftwareKey, UnlockSecret,
    check_label, files, sealed,
};

/// A folder of sealed keys. A key that is opened lies in this process's memory until it is dropped.
pub struct SealedFolder {
    folder: PathBuf,
    secret: UnlockSecret,
    cost: KdfCost,
}

impl SealedFolder {
    /// Returns the keys in `folder`, which is made if it does not exist; keys that are made now
    /// cost `cost` to guess the secret of.
    pub fn open(folder: &Path, secret: UnlockSecret, cost: KdfCost) -> Result<Self, CustodyError> {
        files::create_private_folder(folder).map_err(|error| failed("make", folder, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            secret,
            cost,
        })
    }

    fn path(&self, label: &str) -> Result<PathBuf, CustodyError> {
        check_label(label)?;
        Ok(self.folder.join(format!("{label}.key")))
    }

    fn seal_failed(&self, path: &Path, source: SealError) -> CustodyError {
        match source {
            SealError::Secret(_) => CustodyError::Locked {
                custody: self.describe(),
                reason: source.to_string(),
            },
            SealError::Library => CustodyError::Library,
            source => CustodyError::Seal {
                path: path.to_owned(),
                source,
            },
        }
    }
}

impl Custody for SealedFolder {
    fn describe(&self) -> String {
        format!("the folder of sealed keys `{}`", self.folder.display())
    }

    fn contains(&self, label: &str) -> Result<bool, CustodyError> {
        let path = self.path(label)?;
        path.try_exists()
            .map_err(|error| failed("read", &path, error))
    }

    fn open(&self, label: &str) -> Result<Option<Arc<dyn KeyHandle>>, CustodyError> {
        let path = self.path(label)?;
        let bytes = files::read_bounded(&path, sealed::MAX_SEALED_BYTES)
            .map_err(|error| failed("read", &path, error))?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let pkcs8 = sealed::open(label, &bytes, &self.secret)
            .map_err(|source| self.seal_failed(&path, source))?;
        match SoftwareKey::from_pkcs8(&pkcs8) {
            Some(key) => Ok(Some(Arc::new(key))),
            None => Err(CustodyError::Unusable {
                label: label.to_owned(),
                reason: format!("`{}` holds no key of a kind that is known", path.display()),
            }),
        }
    }

    fn generate(
        &self,
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<Arc<dyn KeyHandle>, CustodyError> {
        let path = self.path(label)?;
        let key = SoftwareKey::generate(algorithm)?;
        let bytes = sealed::seal(label, &key.to_pkcs8()?, &self.secret, self.cost)
            .map_err(|source| self.seal_failed(&path, source))?;
        match files::write_new(&path, &bytes) {
            Ok(()) => Ok(Arc::new(key)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(CustodyError::Exists {
                    custody: self.describe(),
                    label: label.to_owned(),
                })
            }
            Err(error) => Err(failed("write", &path, error)),
        }
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> CustodyError {
    CustodyError::File {
        action,
        path: path.to_owned(),
        source: Arc::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custody::behaviour;

    fn secret(text: &str) -> UnlockSecret {
        UnlockSecret::parse(text.as_bytes().to_vec()).unwrap()
    }

    fn custody(folder: &Path, text: &str) -> SealedFolder {
        SealedFolder::open(folder, secret(text), KdfCost::TESTS_ONLY).unwrap()
    }

    #[test]
    fn sealed_files_behave_as_a_custody() {
        let folder = tempfile::tempdir().unwrap();
        let custody = custody(folder.path(), "correct horse battery staple");
        for algorithm in KeyAlgorithm::ALL {
            behaviour::check(&custody, &format!("check-{algorithm}"), algorithm).unwrap();
        }
    }

    #[test]
    fn another_secret_finds_it_locked() {
        let folder = tempfile::tempdir().unwrap();
        let made = custody(folder.path(), "correct horse battery staple");
        made.generate("root", KeyAlgorithm::P384).unwrap();
        let other = custody(folder.path(), "incorrect horse battery");
        assert!(other.contains("root").unwrap());
        let refused = other.open("root").err().unwrap();
        assert!(matches!(refused, CustodyError::Locked { .. }), "{refused}");
        assert!(!refused.is_passing());
        let text = format!("{refused} {refused:?}");
        assert!(!text.contains("horse"), "{text}");
    }

    #[test]
    fn labels_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let custody = custody(folder.path(), "correct horse battery staple");
        for label in ["", "../root", "a/b", "a.b", &"a".repeat(101)] {
            let refused = custody.generate(label, KeyAlgorithm::P256).err().unwrap();
            assert!(
                matches!(refused, CustodyError::Label(_)),
                "{label}: {refused}"
            );
            assert!(custody.open(label).is_err());
        }
    }

    /// Neither the key's document nor a part of its private number is in the sealed file.
    #[test]
    fn the_file_holds_no_key_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let custody = custody(folder.path(), "correct horse battery staple");
        custody.generate("root", KeyAlgorithm::P384).unwrap();
        let bytes = std::fs::read(folder.path().join("root.key")).unwrap();
        let pkcs8 = sealed::open("root", &bytes, &custody.secret).unwrap();
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(!holds(&pkcs8) && !holds(&pkcs8[40..56]));
        use base64::Engine as _;
        let text = base64::prelude::BASE64_STANDARD.encode(&pkcs8[..30]);
        assert!(!holds(text.as_bytes()));
    }
}
