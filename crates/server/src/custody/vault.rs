//! Keys in a transit engine, each under the name `PREFIX-LABEL`.

use client::vault::{TransitSignature, VaultClient, VaultError, VaultOptions};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use signer::custody::{CustodyError, KeyAlgorithm, KeyUse, RemoteKeys, RemoteSignature};
use tokio::runtime::Handle;

use super::settings::VaultSettings;

/// The keys of one engine.
pub(super) struct VaultKeys {
    client: VaultClient,
    prefix: String,
    runtime: Handle,
}

impl VaultKeys {
    pub(super) fn connect(settings: VaultSettings, runtime: Handle) -> Result<Self, CustodyError> {
        let http = settings.http();
        let name = describe(settings.server.as_str(), &settings.mount);
        let options = VaultOptions {
            server: settings.server,
            mount: settings.mount,
            token: settings.token,
            http,
        };
        Ok(Self {
            client: VaultClient::new(options).map_err(|error| failed(&name, "connect", error))?,
            prefix: settings.prefix,
            runtime,
        })
    }

    fn name(&self, label: &str) -> String {
        format!("{}-{label}", self.prefix)
    }

    fn failed(&self, action: &'static str) -> impl Fn(VaultError) -> CustodyError {
        let name = self.describe();
        move |error| failed(&name, action, error)
    }
}

fn describe(server: &str, mount: &str) -> String {
    format!("Vault engine `{mount}` at `{server}`")
}

impl RemoteKeys for VaultKeys {
    fn describe(&self) -> String {
        describe(self.client.server().as_str(), self.client.mount())
    }

    fn public_key(&self, label: &str) -> Result<Option<Vec<u8>>, CustodyError> {
        let name = self.name(label);
        let found = self.runtime.block_on(self.client.key(&name));
        let Some(key) = found.map_err(self.failed("give a public key"))? else {
            return Ok(None);
        };
        let unusable = |reason: &str| CustodyError::Unusable {
            label: label.to_owned(),
            reason: reason.to_owned(),
        };
        if key.exportable {
            return Err(unusable(
                "it can be taken out of Vault: make one that is not exportable and has no \
                 plaintext backup",
            ));
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(key.public_key_pem.as_bytes());
        let der = der.map_err(|_| unusable("Vault gave a public half that is not PEM"))?;
        Ok(Some(der.to_vec()))
    }

    fn create(&self, label: &str, algorithm: KeyAlgorithm) -> Result<Vec<u8>, CustodyError> {
        let kind = match algorithm {
            KeyAlgorithm::P256 => "ecdsa-p256",
            KeyAlgorithm::P384 => "ecdsa-p384",
            KeyAlgorithm::Rsa3072 => "rsa-3072",
        };
        let name = self.name(label);
        let made = self.runtime.block_on(self.client.create_key(&name, kind));
        made.map_err(self.failed("make a key"))?;
        let found = self.public_key(label)?;
        found.ok_or_else(|| self.failed("make a key")(VaultError::Malformed))
    }

    fn sign(&self, label: &str, request: RemoteSignature<'_>) -> Result<Vec<u8>, CustodyError> {
        let what = TransitSignature {
            hash: request.hash,
            hash_algorithm: match request.algorithm {
                KeyAlgorithm::P256 => "sha2-256",
                KeyAlgorithm::P384 | KeyAlgorithm::Rsa3072 => "sha2-384",
            },
            padding: match (request.algorithm, request.usage) {
                (KeyAlgorithm::Rsa3072, KeyUse::Certificate) => Some("pkcs1v15"),
                (KeyAlgorithm::Rsa3072, KeyUse::Envelope) => Some("pss"),
                _ => None,
            },
        };
        let name = self.name(label);
        let signed = self.runtime.block_on(self.client.sign(&name, what));
        signed.map_err(self.failed("sign"))
    }
}

fn failed(name: &str, action: &'static str, error: VaultError) -> CustodyError {
    let (custody, reason) = (name.to_owned(), error.to_string());
    match error {
        VaultError::Unavailable { reason, .. } => CustodyError::Unavailable { custody, reason },
        VaultError::Token(_) => CustodyError::Locked { custody, reason },
        _ => CustodyError::Refused {
            custody,
            action,
            reason,
        },
    }
}
