//! The text of a choice, parsed.

use std::path::PathBuf;
use std::str::FromStr;

use signer::custody::SecretSource;
use url::Url;

/// What stands before the labels of keys where nothing else was chosen.
const DEFAULT_PREFIX: &str = "countersign";

/// Where the keys lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CustodyChoice {
    /// In sealed files.
    #[default]
    File,
    /// In an HSM.
    Token(TokenChoice),
    /// In AWS KMS.
    Kms(KmsChoice),
    /// In Vault.
    Vault(VaultChoice),
}

/// A token behind a PKCS#11 module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenChoice {
    pub(super) module: PathBuf,
    pub(super) token: String,
    pub(super) prefix: String,
    pub(super) pin: SecretSource,
    pub(super) allow: Vec<PathBuf>,
    pub(super) allow_tcp: Vec<u16>,
    pub(super) environment: Vec<(String, String)>,
}

/// A region of AWS KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsChoice {
    pub(super) region: String,
    pub(super) endpoint: Url,
    pub(super) prefix: String,
    pub(super) credentials: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
}

/// A transit engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultChoice {
    pub(super) server: Url,
    pub(super) mount: String,
    pub(super) prefix: String,
    pub(super) token: SecretSource,
    pub(super) ca: Option<PathBuf>,
}

/// Says why a text is not a choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CustodyChoiceError {
    /// It begins with no kind that is known.
    #[error("`{0}` is not a custody: use `file`, `pkcs11:…`, `kms:…` or `vault:…`")]
    Kind(String),
    /// A part is missing.
    #[error("custody `{kind}` needs `{part}`")]
    Missing {
        /// The kind.
        kind: &'static str,
        /// The part.
        part: &'static str,
    },
    /// A part is not known, or given twice.
    #[error("custody `{kind}` has no part `{part}`, or has it twice")]
    Unknown {
        /// The kind.
        kind: &'static str,
        /// The part.
        part: String,
    },
    /// A part is not what it should be.
    #[error("`{part}` of custody `{kind}` is not {expected}")]
    Malformed {
        /// The kind.
        kind: &'static str,
        /// The part.
        part: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A secret stands in the text.
    #[error(
        "`{0}` would show a secret to everybody who lists processes: put it into a file and name \
         that"
    )]
    Secret(&'static str),
}

impl FromStr for CustodyChoice {
    type Err = CustodyChoiceError;

    fn from_str(text: &str) -> Result<Self, CustodyChoiceError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "file" if rest.is_empty() => Ok(Self::File),
            "pkcs11" => token(rest).map(Self::Token),
            "kms" => kms(rest).map(Self::Kms),
            "vault" => vault(rest).map(Self::Vault),
            _ => {
                let shown = kind.chars().take(40).collect();
                Err(CustodyChoiceError::Kind(shown))
            }
        }
    }
}

fn token(rest: &str) -> Result<TokenChoice, CustodyChoiceError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = Parts::parse("pkcs11", &[(path, ';'), (query, '&')])?;
    for secret in ["pin-value", "x-pin"] {
        if parts.take(secret).is_some() {
            return Err(CustodyChoiceError::Secret("pin-value"));
        }
    }
    let choice = TokenChoice {
        module: parts.need("module-path")?.into(),
        token: parts.need("token")?,
        prefix: parts.prefix("object")?,
        pin: parts.secret("pin-source")?,
        allow: parts.take_all("x-allow").map(PathBuf::from).collect(),
        allow_tcp: parts.ports("x-allow-tcp")?,
        environment: parts.variables("x-env")?,
    };
    parts.end()?;
    Ok(choice)
}

fn kms(rest: &str) -> Result<KmsChoice, CustodyChoiceError> {
    let (region, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = Parts::parse("kms", &[(query, '&')])?;
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if region.is_empty() || !region.bytes().all(allowed) {
        return Err(parts.malformed("region", "a region such as `eu-central-1`"));
    }
    let endpoint = parts.take("endpoint");
    let endpoint = endpoint.unwrap_or_else(|| format!("https://kms.{region}.amazonaws.com"));
    let choice = KmsChoice {
        region: region.to_owned(),
        endpoint: parts.url("endpoint", &endpoint)?,
        prefix: parts.prefix("prefix")?,
        credentials: parts.take("credentials").map(PathBuf::from),
        ca: parts.take("ca-file").map(PathBuf::from),
    };
    parts.end()?;
    Ok(choice)
}

fn vault(rest: &str) -> Result<VaultChoice, CustodyChoiceError> {
    let (server, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parts = Parts::parse("vault", &[(query, '&')])?;
    if parts.take("token").is_some() {
        return Err(CustodyChoiceError::Secret("token"));
    }
    let choice = VaultChoice {
        server: parts.url("address", server)?,
        mount: parts.take("mount").unwrap_or_else(|| "transit".to_owned()),
        prefix: parts.prefix("prefix")?,
        token: parts.secret("token-file")?,
        ca: parts.take("ca-file").map(PathBuf::from),
    };
    parts.end()?;
    Ok(choice)
}

/// The named parts of a text, taken one by one.
struct Parts {
    kind: &'static str,
    named: Vec<(String, String)>,
}

impl Parts {
    fn parse(kind: &'static str, texts: &[(&str, char)]) -> Result<Self, CustodyChoiceError> {
        let mut named = Vec::new();
        for (text, separator) in texts {
            for part in text.split(*separator).filter(|part| !part.is_empty()) {
                let pair = part.split_once('=');
                let decoded = pair.and_then(|(name, value)| Some((name, percent_decode(value)?)));
                let Some((name, value)) = decoded else {
                    let part = part.chars().take(40).collect();
                    return Err(CustodyChoiceError::Unknown { kind, part });
                };
                named.push((name.to_owned(), value));
            }
        }
        Ok(Self { kind, named })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.named.iter().position(|(found, _)| found == name)?;
        Some(self.named.swap_remove(index).1)
    }

    fn take_all(&mut self, name: &str) -> impl Iterator<Item = String> + use<> {
        let (taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.named)
            .into_iter()
            .partition(|(found, _)| found == name);
        self.named = kept;
        taken.into_iter().map(|(_, value)| value)
    }

    fn need(&mut self, part: &'static str) -> Result<String, CustodyChoiceError> {
        let kind = self.kind;
        let value = self.take(part).filter(|value| !value.is_empty());
        value.ok_or(CustodyChoiceError::Missing { kind, part })
    }

    fn prefix(&mut self, part: &'static str) -> Result<String, CustodyChoiceError> {
        let prefix = self.take(part).unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        match signer::custody::check_label(&prefix) {
            Ok(()) => Ok(prefix),
            Err(_) => Err(self.malformed(part, "letters, digits, `_` and `-`")),
        }
    }

    /// A file, `file:FILE` (RFC 7512 §2.4), or `fd:NUMBER`.
    fn secret(&mut self, part: &'static str) -> Result<SecretSource, CustodyChoiceError> {
        let text = self.need(part)?;
        match text.strip_prefix("fd:") {
            Some(number) => match number.parse() {
                Ok(number) => Ok(SecretSource::Descriptor(number)),
                Err(_) => Err(self.malformed(part, "the number of a file descriptor")),
            },
            None => {
                let path = text.strip_prefix("file:").unwrap_or(&text);
                Ok(SecretSource::File(path.into()))
            }
        }
    }

    fn ports(&mut self, part: &'static str) -> Result<Vec<u16>, CustodyChoiceError> {
        let ports: Result<Vec<u16>, _> = self.take_all(part).map(|port| port.parse()).collect();
        ports.map_err(|_| self.malformed(part, "a port"))
    }

    fn variables(
        &mut self,
        part: &'static str,
    ) -> Result<Vec<(String, String)>, CustodyChoiceError> {
        let values: Vec<String> = self.take_all(part).collect();
        let split = |value: String| {
            let (name, value) = value.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let variables: Option<Vec<_>> = values.into_iter().map(split).collect();
        variables.ok_or_else(|| self.malformed(part, "`NAME=VALUE`"))
    }

    /// HTTPS, or HTTP to this machine: a token must not travel in the clear.
    fn url(&self, part: &'static str, text: &str) -> Result<Url, CustodyChoiceError> {
        let expected = "an `https` URL, or an `http` URL of this machine";
        let url: Url = text.parse().map_err(|_| self.malformed(part, expected))?;
        let local = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let has_secret = !url.username().is_empty() || url.password().is_some();
        match (url.scheme(), has_secret) {
            ("https", false) => Ok(url),
            ("http", false) if local => Ok(url),
            _ => Err(self.malformed(part, expected)),
        }
    }

    fn malformed(&self, part: &'static str, expected: &'static str) -> CustodyChoiceError {
        let kind = self.kind;
        CustodyChoiceError::Malformed {
            kind,
            part,
            expected,
        }
    }

    fn end(self) -> Result<(), CustodyChoiceError> {
        let kind = self.kind;
        match self.named.into_iter().next() {
            None => Ok(()),
            Some((part, _)) => Err(CustodyChoiceError::Unknown { kind, part }),
        }
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(*high)? * 16 + digit(*low)?;
                bytes.push(u8::try_from(value).ok()?);
                rest = tail;
            }
            (b'%', _) => return None,
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CustodyChoice, CustodyChoiceError> {
        text.parse()
    }

    #[test]
    fn each_kind_is_parsed() {
        assert_eq!(parse("file").unwrap(), CustodyChoice::File);
        let text = "pkcs11:token=The%20Token;object=prod?module-path=/usr/lib/softhsm.so\
                    &pin-source=file:/etc/pin&x-allow=/var/lib/hsm&x-allow-tcp=2223\
                    &x-env=HSM_CONF%3D/etc/hsm.conf";
        let CustodyChoice::Token(token) = parse(text).unwrap() else {
            panic!("a token")
        };
        assert_eq!(token.token, "The Token");
        assert_eq!(token.prefix, "prod");
        assert_eq!(token.pin, SecretSource::File("/etc/pin".into()));
        assert_eq!(token.allow, [PathBuf::from("/var/lib/hsm")]);
        assert_eq!(token.allow_tcp, [2223]);
        let variable = ("HSM_CONF".to_owned(), "/etc/hsm.conf".to_owned());
        assert_eq!(token.environment, [variable]);

        let CustodyChoice::Kms(kms) = parse("kms:eu-central-1").unwrap() else {
            panic!("a region")
        };
        assert_eq!(
            kms.endpoint.as_str(),
            "https://kms.eu-central-1.amazonaws.com/"
        );
        assert_eq!(kms.prefix, "countersign");

        let text = "vault:https://vault.example:8200?mount=pki/transit&token-file=fd:3";
        let CustodyChoice::Vault(vault) = parse(text).unwrap() else {
            panic!("an engine")
        };
        assert_eq!(vault.mount, "pki/transit");
        assert_eq!(vault.token, SecretSource::Descriptor(3));
    }

    #[test]
    fn mistakes_are_named() {
        let table = [
            ("hsm:", "`hsm` is not a custody"),
            ("file:x", "`file` is not a custody"),
            ("pkcs11:token=a", "custody `pkcs11` needs `module-path`"),
            ("pkcs11:token=a?module-path=/m", "needs `pin-source`"),
            ("pkcs11:token=a;pin-value=1?module-path=/m", "show a secret"),
            ("pkcs11:token=a?module-path=/m&pin-value=1", "show a secret"),
            (
                "pkcs11:token=a;slot-id=3?module-path=/m&pin-source=/p",
                "no part `slot-id`",
            ),
            ("pkcs11:token=%zz", "no part `token=%zz`"),
            ("kms:", "`region` of custody `kms` is not a region"),
            (
                "kms:eu?endpoint=http://kms.example",
                "is not an `https` URL",
            ),
            (
                "kms:eu?endpoint=https://a:b@kms.example",
                "is not an `https` URL",
            ),
            (
                "kms:eu?prefix=a/b",
                "`prefix` of custody `kms` is not letters",
            ),
            ("vault:https://v.example", "needs `token-file`"),
            ("vault:https://v.example?token=s.1", "show a secret"),
            (
                "vault:http://v.example?token-file=/t",
                "is not an `https` URL",
            ),
            ("vault:https://v.example?token-file=fd:x", "file descriptor"),
        ];
        for (text, expected) in table {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
