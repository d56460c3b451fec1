//! Who this installation is to AWS's clients: its account number and region, kept for ever.
//!
//! Both stand in the ARNs that trust policies name, so they are written down at the first start and
//! cannot be changed by a flag later.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use signer::{AccountNumber, Installation};

/// The file in the data folder.
const FILE: &str = "installation.json";

/// What may be asked for at the first start.
#[derive(Clone, Debug, Default)]
pub struct InstallationOptions {
    /// The account number, instead of a random one.
    pub number: Option<AccountNumber>,
    /// The region, instead of the default one.
    pub region: Option<String>,
}

/// Says why the installation is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallationError {
    /// The file cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what was written there.
    #[error("`{}` does not hold an account number and a region", .0.display())]
    Shape(PathBuf, #[source] serde_json::Error),
    /// Another number or region was chosen at the first start.
    #[error(
        "the {what} of this installation is `{found}`, not `{asked}`: it was fixed at the first \
         start, because signatures and trust policies name it"
    )]
    Fixed {
        /// Account number or region.
        what: &'static str,
        /// What it is.
        found: String,
        /// What was asked for.
        asked: String,
    },
}

/// Returns the installation of the data folder, made at the first start.
pub(super) fn open(
    data: &Path,
    options: &InstallationOptions,
) -> Result<Installation, InstallationError> {
    let path = data.join(FILE);
    let failed = |action| {
        let path = path.clone();
        move |source| InstallationError::File {
            action,
            path,
            source,
        }
    };
    match std::fs::read(&path) {
        Ok(bytes) => {
            let kept: Installation = serde_json::from_slice(&bytes)
                .map_err(|error| InstallationError::Shape(path.clone(), error))?;
            check(&kept, options)?;
            Ok(kept)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = make(options).map_err(failed("make"))?;
            let text = serde_json::to_string(&made).unwrap_or_default();
            super::folders::write_secret(&path, &text).map_err(failed("write"))?;
            Ok(made)
        }
        Err(error) => Err(failed("read")(error)),
    }
}

fn check(kept: &Installation, options: &InstallationOptions) -> Result<(), InstallationError> {
    let number = options.number.map(|number| number.to_string());
    let asked = [
        ("account number", kept.number.to_string(), number),
        ("region", kept.region.clone(), options.region.clone()),
    ];
    for (what, found, asked) in asked {
        match asked {
            Some(asked) if asked != found => {
                return Err(InstallationError::Fixed { what, found, asked });
            }
            _ => {}
        }
    }
    Ok(())
}

fn make(options: &InstallationOptions) -> std::io::Result<Installation> {
    let number = match options.number {
        Some(number) => number,
        None => {
            let mut random = [0u8; 12];
            rand::fill(&mut random).map_err(|_| std::io::Error::other("no randomness"))?;
            AccountNumber::from_random(random)
        }
    };
    let region = options.region.clone();
    Ok(Installation {
        number,
        region: region.unwrap_or_else(|| signer::account::DEFAULT_REGION.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_and_the_region_are_fixed_at_the_first_start() {
        let folder = tempfile::tempdir().unwrap();
        let none = InstallationOptions::default();
        let first = open(folder.path(), &none).unwrap();
        assert_ne!(first.number, AccountNumber::UNSET);
        assert_eq!(first.region, "us-east-1");
        assert_eq!(open(folder.path(), &none).unwrap(), first);
        let same = InstallationOptions {
            number: Some(first.number),
            region: Some(first.region.clone()),
        };
        assert_eq!(open(folder.path(), &same).unwrap(), first);
        for other in [
            InstallationOptions {
                number: Some(AccountNumber::UNSET),
                ..none.clone()
            },
            InstallationOptions {
                region: Some("eu-west-1".to_owned()),
                ..none.clone()
            },
        ] {
            let refused = open(folder.path(), &other).unwrap_err();
            assert!(matches!(refused, InstallationError::Fixed { .. }));
        }
    }

    #[test]
    fn a_given_number_and_region_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let given = InstallationOptions {
            number: Some("111122223333".parse().unwrap()),
            region: Some("local-1".to_owned()),
        };
        let made = open(folder.path(), &given).unwrap();
        assert_eq!(made.number.as_str(), "111122223333");
        assert_eq!(made.region, "local-1");
        std::fs::write(folder.path().join(FILE), "{}").unwrap();
        assert!(matches!(
            open(folder.path(), &given),
            Err(InstallationError::Shape(..))
        ));
    }
}
