//! The signer: the only room with private keys.
//!
//! It holds the certificate authority, the signing profiles, and a record of every signing job.
//! It runs as a process of its own, behind a unix socket that admits the front alone, and is
//! handed nothing but payloads of at most 4 KiB: no network, no registry, no shell. A request
//! names a profile, never a key.
//!
//! Dialect: Notary Project envelopes in the scheme `notary.x509.signingAuthority` without custom
//! critical attributes (signature-specification; signing-scheme), and DSSE over in-toto
//! statements, whose leaf certificate's validity is the signature's. Where the records lie is
//! left to an implementation of [`Records`]; who the caller is, to the front.

pub mod account;
pub mod job;
pub mod principal;
pub mod profile;
pub mod validity;

pub mod authority;
pub mod custody;
mod keys;

pub mod log;
pub mod records;

pub mod acceptance;
pub mod payload;
pub mod service;

pub mod client;
pub mod protocol;
pub mod server;

pub mod witness;

pub mod confine;
pub mod tls;

pub use acceptance::Acceptance;
pub use account::{AccountNumber, AccountNumberError, Arn, ArnKind, Installation};
pub use authority::{Authority, AuthorityConfig, AuthorityError, AuthoritySubject, PkiSettings};
pub use client::{SignerClient, SignerClientError};
pub use confine::{Allowed, Confinement, confine};
pub use custody::{Custody, CustodyError, KeyAlgorithm, KeyHandle, UnlockSource};
pub use job::{IssuedLeaf, JobId, JobKind, JobRevocation, JobStatus, RevokedLeaf, SigningJob};
pub use payload::RefusedPayload;
pub use principal::{Denial, Principal, PrincipalKind, Workload};
pub use profile::rules::{Artifact, Rule, RuleId, Rules, Unknown};
pub use profile::{
    Dialect, Grants, LeafPolicy, PermissionChange, PermissionError, PermittedAction, ProfileName,
    ProfilePermission, ProfileRevocation, ProfileSpec, ProfileStatus, SigningPlatform,
    SigningPlatformError, SigningProfile, TagChange,
};
pub use records::{
    Batch, Coverage, CoverageQuery, ExpiryQuery, JobPage, JobQuery, KeptRevocation, LeafName,
    LogEntry, LogHead, LogRecords, MemoryRecords, Records, RecordsError, RevocationRecords,
    TreeNode,
};
pub use server::{SignerConfig, serve};
pub use service::{
    AttestRequest, Clock, ExpiringJob, ExpiryPlace, FeedPage, Head, JobFilter, JobListing, Preview,
    PreviewedJob, ProfileChange, ProvenEntry, Recorded, RevocationAnswer, RevocationOutcome,
    RevocationQuestion, RevocationRequest, RevocationTarget, RevokedParts, RuleStep, RuleTest,
    RuleTestResult, ServiceConfig, SignRequest, SignedEnvelope, Signer, SignerError, StartError,
    StatusQuestion,
};
pub use validity::{Validity, ValidityUnit};
