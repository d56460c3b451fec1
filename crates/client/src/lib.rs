//! What Countersign asks of others: registries, layouts, revocation lists, key
//! management services, the control plane.
//!
//! The pure rooms decide; this one fetches what they decide over, and brings what they made to
//! where it belongs. Everything that comes in is hostile until its digest was checked: bytes,
//! pages, depth and time are bounded, and no credential leaves for an origin that it was not
//! given for. Judging signatures is `trust`'s business, keeping things is `store`'s.

pub mod cached;
pub mod source;

pub mod layout;
pub mod registry;

pub mod credentials;

pub mod copy;
mod walk;

pub mod envelope_artifact;

pub mod evidence;
pub mod oidc;
pub mod revocation;
pub mod revocation_feed;
pub mod verification;

pub mod kms;
pub mod sigv4;
pub mod vault;

pub mod control;
pub mod download;
pub mod http_client;
pub mod log;
pub mod witness;

mod blob;
mod error;
mod file;

pub use error::{ClientError, ErrorKind};
pub use layout::Layout;
pub use registry::{RegistryClient, RegistryOptions, RegistryRepository};
pub use source::{ArtifactSink, ArtifactSource, TagOrDigest};
pub use walk::{walk, walk_signatures};
