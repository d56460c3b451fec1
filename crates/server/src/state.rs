//! What every handler of the front shares.

use std::path::PathBuf;
use std::sync::Arc;

use oci::{Digest, MediaType, RepositoryName, Tag};
use store::Store;
use tokio::sync::broadcast;

use crate::auth::Authenticator;
use crate::aws::{Aws, AwsSettings};
use crate::control::Control;
use crate::observe::Metrics;
use crate::revocations::Revocations;
use crate::transparency::Transparency;

/// The shared state as handlers take it.
pub type Front = Arc<FrontState>;

/// How many registry events wait for a slow receiver. One that falls behind is told so and reads
/// the store again.
const EVENT_BACKLOG: usize = 1024;

/// What every handler of the front shares.
pub struct FrontState {
    /// What the front keeps.
    pub store: Store,
    /// Verifies credentials and makes tokens.
    pub auth: Authenticator,
    /// The URL under which people and tools reach this server, without a slash at the end.
    pub public_url: String,
    /// The front's own folder: database, blobs, git repositories.
    pub folder: PathBuf,
    /// The signer's socket. Connect for each request, or keep a connection: the signer may be
    /// restarted at any time.
    pub signer_socket: PathBuf,
    /// The signer behind that socket. It may be restarted at any time; the client finds it again.
    pub signer: signer::SignerClient,
    /// The log as it is published.
    pub transparency: Transparency,
    /// The keys of issuers of workload identities.
    pub issuer_keys: crate::oidc::KeyCache,
    /// Access keys and what else the AWS face remembers.
    pub aws: Aws,
    /// Counters.
    pub metrics: Metrics,
    /// Tells what happened in the registry, after it was made durable.
    pub events: broadcast::Sender<RegistryEvent>,
    /// The revocations as far as they are known here, and those who hear of them.
    pub revocations: Revocations,
    /// Signals and locks of the control loop.
    pub control: Control,
}

/// What a [`FrontState`] is made of.
pub struct FrontParts {
    /// What the front keeps.
    pub store: Store,
    /// See [`FrontState::public_url`].
    pub public_url: String,
    /// See [`FrontState::folder`].
    pub folder: PathBuf,
    /// See [`FrontState::signer_socket`].
    pub signer_socket: PathBuf,
    /// The SHA-256 of the worker's token, if a worker may connect.
    pub worker_token_hash: Option<String>,
    /// Account number, region and sealing key of the AWS face.
    pub aws: AwsSettings,
}

impl FrontState {
    /// Returns the state of a front that has just started.
    pub fn new(parts: FrontParts) -> Front {
        Arc::new(Self {
            auth: Authenticator::new(parts.store.accounts.clone(), parts.worker_token_hash),
            store: parts.store,
            public_url: parts.public_url.trim_end_matches('/').to_owned(),
            folder: parts.folder,
            signer: signer::SignerClient::connect(&parts.signer_socket),
            signer_socket: parts.signer_socket,
            transparency: Transparency::default(),
            issuer_keys: crate::oidc::KeyCache::default(),
            aws: Aws::new(parts.aws),
            metrics: Metrics::new(),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            revocations: Revocations::default(),
            control: Control::default(),
        })
    }

    /// Tells whoever listens what happened. Nobody listening is fine.
    pub fn tell(&self, event: RegistryEvent) {
        let _ = self.events.send(event);
    }
}

/// Something that happened in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEvent {
    /// Where it happened.
    pub repository: RepositoryName,
    /// The account that did it.
    pub account: String,
    /// What happened.
    pub change: Change,
}

/// A change of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A manifest was pushed, perhaps not for the first time.
    Pushed {
        /// The digest that it is kept under.
        digest: Digest,
        /// Its media type.
        media_type: MediaType,
        /// The manifest that it refers to, if it is evidence or an endorsement.
        subject: Option<Digest>,
        /// The tags that were moved to it.
        tags: Vec<Tag>,
    },
    /// A manifest was deleted with all its tags.
    Deleted {
        /// Its digest.
        digest: Digest,
    },
    /// A tag was deleted; the manifest stays.
    Untagged {
        /// The tag.
        tag: Tag,
    },
}
