//! Tests of the binary and of the house it lives in.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic too")]

mod architecture;
mod environment;

mod artifacts;
mod crash;
mod gate;
mod log;
mod reference;
mod scanning;
mod serve;
mod sign;
mod verify;
