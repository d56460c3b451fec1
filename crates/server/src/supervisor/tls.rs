//! The TLS certificate that the server makes for itself: `DATA/tls/NAME`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::folders::write_secret;
use crate::listen::TlsFiles;

/// With less than this left the certificate is made anew at the next start.
const RENEWED_BEFORE: time::Duration = time::Duration::days(30);
/// When the files were made, in seconds since 1970.
const MADE: &str = "made";

/// Says why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnTlsError {
    /// The name cannot be one of a server.
    #[error("`{0}` is not a host name: use letters, digits, `-` and `.`")]
    Name(String),
    /// The certificate cannot be made.
    #[error("cannot make a TLS certificate for `{0}`: {1}")]
    Make(String, String),
    /// A file cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// Returns the certificate for `host`, made when there is none or it is about to expire, and the
/// file of the root that clients must trust.
pub(super) fn open(
    data: &Path,
    host: &str,
    now: OffsetDateTime,
) -> Result<(TlsFiles, PathBuf), OwnTlsError> {
    check_name(host)?;
    let folder = data.join("tls").join(host);
    let root = folder.join("ca.pem");
    if let Some(files) = kept(&folder, now) {
        return Ok((files, root));
    }
    let made = signer::tls::self_signed(host, now)
        .map_err(|error| OwnTlsError::Make(host.to_owned(), error.to_string()))?;
    std::fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
    let stamp = now.unix_timestamp().to_string();
    let files = [
        ("key.pem", &made.key_pem),
        ("cert.pem", &made.chain_pem),
        ("ca.pem", &made.root_pem),
        (MADE, &stamp),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        write_secret(&path, text.trim_end()).map_err(failed("write", &path))?;
    }
    // Clients read it, whoever they run as.
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&root, readable).map_err(failed("set the mode of", &root))?;
    Ok((
        TlsFiles {
            certificate: made.chain_pem,
            key: made.key_pem,
        },
        root,
    ))
}

fn kept(folder: &Path, now: OffsetDateTime) -> Option<TlsFiles> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let made: i64 = read(MADE)?.trim().parse().ok()?;
    let made = OffsetDateTime::from_unix_timestamp(made).ok()?;
    let fresh = made + signer::tls::SELF_SIGNED_LIFE - RENEWED_BEFORE > now;
    let files = TlsFiles {
        certificate: read("cert.pem")?,
        key: read("key.pem")?,
    };
    (fresh && read("ca.pem").is_some() && files.server_config().is_ok()).then_some(files)
}

fn check_name(host: &str) -> Result<(), OwnTlsError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
    };
    match host.len() <= 200 && host.split('.').all(label) {
        true => Ok(()),
        false => Err(OwnTlsError::Name(host.chars().take(80).collect())),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OwnTlsError + use<> {
    let path = path.to_owned();
    move |source| OwnTlsError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_again_before_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let now = crate::clock::now();
        let (first, root) = open(folder.path(), "signer.example", now).unwrap();
        assert!(root.ends_with("tls/signer.example/ca.pem") && root.exists());
        let again = open(folder.path(), "signer.example", now).unwrap().0;
        assert_eq!(again.certificate.trim_end(), first.certificate.trim_end());
        let late = now + signer::tls::SELF_SIGNED_LIFE - RENEWED_BEFORE;
        let renewed = open(folder.path(), "signer.example", late).unwrap().0;
        assert_ne!(renewed.certificate, first.certificate);
        renewed.server_config().unwrap();
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../x",
            "A.example",
            "a..b",
            "-a",
            "a b",
        ] {
            assert!(
                matches!(check_name(bad), Err(OwnTlsError::Name(_))),
                "{bad}"
            );
        }
        assert!(check_name("signer-1.example.internal").is_ok());
    }
}
