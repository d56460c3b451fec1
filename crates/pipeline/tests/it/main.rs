//! The engines with the real tools: buildah, podman, runc, git, and Debian's `docker-registry`.
//!
//! These tests need root and the packages that `make test` installs. Where something is missing
//! they fail and name it: a test that is skipped has shown nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic too")]

mod build;
mod commands;
mod deploy;
mod machine;
