//! Keys in AWS KMS, each under the alias `alias/PREFIX-LABEL`.

use std::sync::Arc;

use client::kms::{KmsClient, KmsError, KmsOptions, KmsSignature};
use signer::custody::{CustodyError, KeyAlgorithm, KeyUse, RemoteKeys, RemoteSignature};
use tokio::runtime::Handle;

use super::settings::KmsSettings;
use crate::clock;

/// The keys of one region.
pub(super) struct KmsKeys {
    client: KmsClient,
    region: String,
    prefix: String,
    runtime: Handle,
}

impl KmsKeys {
    pub(super) fn connect(settings: KmsSettings, runtime: Handle) -> Result<Self, CustodyError> {
        let options = KmsOptions {
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            key: settings.key(),
            clock: Arc::new(clock::now),
            http: settings.http(),
        };
        let name = describe(&settings.region);
        Ok(Self {
            client: KmsClient::new(options).map_err(|error| failed(&name, "connect", error))?,
            region: settings.region,
            prefix: settings.prefix,
            runtime,
        })
    }

    fn alias(&self, label: &str) -> String {
        format!("alias/{}-{label}", self.prefix)
    }

    fn failed(&self, action: &'static str) -> impl Fn(KmsError) -> CustodyError {
        let name = self.describe();
        move |error| failed(&name, action, error)
    }
}

fn describe(region: &str) -> String {
    format!("AWS KMS in `{region}`")
}

impl RemoteKeys for KmsKeys {
    fn describe(&self) -> String {
        describe(&self.region)
    }

    fn public_key(&self, label: &str) -> Result<Option<Vec<u8>>, CustodyError> {
        let alias = self.alias(label);
        let found = self.runtime.block_on(self.client.public_key(&alias));
        found.map_err(self.failed("give a public key"))
    }

    fn create(&self, label: &str, algorithm: KeyAlgorithm) -> Result<Vec<u8>, CustodyError> {
        let alias = self.alias(label);
        let spec = match algorithm {
            KeyAlgorithm::P256 => "ECC_NIST_P256",
            KeyAlgorithm::P384 => "ECC_NIST_P384",
            KeyAlgorithm::Rsa3072 => "RSA_3072",
        };
        let description = format!("Countersign signing key {label}");
        let made = self.runtime.block_on(async {
            let key = self.client.create_key(spec, &description).await?;
            self.client.create_alias(&alias, &key).await?;
            self.client.public_key(&key).await
        });
        let made = made.map_err(self.failed("make a key"))?;
        made.ok_or_else(|| self.failed("make a key")(KmsError::Malformed("GetPublicKey")))
    }

    fn sign(&self, label: &str, request: RemoteSignature<'_>) -> Result<Vec<u8>, CustodyError> {
        let what = KmsSignature {
            hash: request.hash,
            algorithm: match (request.algorithm, request.usage) {
                (KeyAlgorithm::P256, _) => "ECDSA_SHA_256",
                (KeyAlgorithm::P384, _) => "ECDSA_SHA_384",
                (KeyAlgorithm::Rsa3072, KeyUse::Certificate) => "RSASSA_PKCS1_V1_5_SHA_384",
                (KeyAlgorithm::Rsa3072, KeyUse::Envelope) => "RSASSA_PSS_SHA_384",
            },
        };
        let alias = self.alias(label);
        let signed = self.runtime.block_on(self.client.sign(&alias, what));
        signed.map_err(self.failed("sign"))
    }
}

fn failed(name: &str, action: &'static str, error: KmsError) -> CustodyError {
    let (custody, reason) = (name.to_owned(), error.to_string());
    match error {
        KmsError::Unavailable { reason, .. } => CustodyError::Unavailable { custody, reason },
        KmsError::Credential { .. } => CustodyError::Locked { custody, reason },
        _ => CustodyError::Refused {
            custody,
            action,
            reason,
        },
    }
}
