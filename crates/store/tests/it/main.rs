//! The store through its public face: the behaviour suite over every back end, and crashes.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod crashes;
mod signing;
mod suite;
