//! The vocabulary of OCI artifacts: digest, reference, descriptor, manifest, image layout, and
//! the artifact graph.
//!
//! Every other room of the house speaks in these types, so they are parsed once, at the border,
//! and carried inward. Documents keep the bytes they were parsed from: a digest is always over
//! the original bytes, never over something that was written again. Unknown JSON members are
//! accepted (image-spec, `considerations.md`, Extensibility).
//!
//! This crate is pure: no files, no network, no clock. Standards: OCI image-spec 1.1,
//! distribution-spec 1.1.

pub mod digest;
pub mod media_type;
pub mod name;
pub mod pattern;
pub mod reference;

pub mod descriptor;
pub mod manifest;

pub mod graph;
pub mod layout;

pub use descriptor::Descriptor;
pub use digest::{Digest, DigestAlgorithm, DigestWriter};
pub use graph::{ArtifactGraph, GraphWalk};
pub use manifest::{ImageManifest, Index, Manifest};
pub use media_type::MediaType;
pub use name::{Registry, RepositoryName, Tag};
pub use pattern::{Pattern, PatternError};
pub use reference::Reference;
