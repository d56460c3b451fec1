//! Decisions over an artifact graph: who vouches for this, on what evidence, and does that
//! satisfy our rules right now?
//!
//! The crate is pure. It is given facts and a time and fetches nothing: `client` collects the
//! evidence, `trust` has judged each envelope, `scan` reads the reports. [`decide()`] is a function
//! of a policy and those facts, and its result is a tree: for every requirement a result, a stable
//! code, the reason, the evidence and the remedy. Three results exist, and what is unknown never
//! passes.

pub mod policy;
pub use policy::{GatePolicy, PolicyError};

pub mod facts;
pub use facts::{Content, Facts, NewestKnown};

mod decide;
pub use decide::{decide, newest_signed};

pub mod decision;
pub use decision::{Decision, DecisionResult, Requirement, RequirementResult};

pub mod code;
pub use code::Code;

pub mod statement;
pub mod verdict;

pub mod expression;
mod render;

pub mod span;
pub mod yaml;
