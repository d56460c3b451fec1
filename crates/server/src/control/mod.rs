//! The control loop: what makes runs go on.
//!
//! Everything that a run is lies in the store. A step is computed by the pure state machine of
//! `pipeline::run` and applied in one transaction together with the queue jobs that it causes, so
//! a process that is killed at any moment leaves nothing half done: the loop looks at the store
//! when it starts, and goes on. What happens in the registry and in git only makes it look sooner.
//!
//! Judging is `gate`'s, signing the signer's, building and deploying the worker's. The routes are
//! in `crate::api`.

mod handle;
pub(crate) mod log;
pub(crate) mod projects;
pub(crate) mod runs;

pub(crate) mod approval;
pub(crate) mod judge;
pub(crate) mod perform;
pub(crate) mod sign;

pub(crate) mod events;

pub(crate) mod assign;
pub(crate) mod report;
pub(crate) mod work;

pub(crate) mod triggers;

mod driver;
mod error;

pub use driver::run;
pub use error::ControlError;
pub use handle::Control;
pub(crate) use triggers::look_at_branches;
