//! Inbound HTTP and the process roles.
//!
//! The front role is the only one that listens on the network: the registry under `/v2/`, the
//! control API under `/api/v1/`. The roles of `docs/design/001-first-run.md` are processes of
//! their own. HTTP shapes live here; rows live in `store`, rules in the rooms below.

pub mod auth;
pub mod error;
pub mod router;
pub mod state;

pub mod api;
pub mod registry;

pub mod listen;
pub mod observe;
mod request;
pub mod revocations;

pub mod aws;

pub mod control;
mod git;
pub mod oidc;
pub mod proxy;
pub mod source;
pub mod transparency;
pub mod two_person;
pub mod witness;

pub mod custody;
pub mod roles;
pub mod supervisor;
pub mod verifier;

pub mod backup;
mod worker;

pub mod clock;

pub use error::{ApiError, ErrorKind};
pub use state::{Front, FrontState};
pub use supervisor::{ServeOptions, serve};
