//! Decisions over an artifact graph: who vouches for this, on what evidence, and does that
//! satisfy our rules right now?
//!
//! The crate is pure. It is given facts and a time and fetches nothing; `client` collects the
//! evidence, `trust` judged each envelope before we see it.

pub mod span;
pub mod yaml;
