//! Tests of the client against a small real registry that can be told to misbehave.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic too")]

mod artifacts;
mod server;

mod control;
mod copying;
mod evidence;
mod hostile;
mod keys;
mod login;
mod reading;
mod tls;
mod writing;
