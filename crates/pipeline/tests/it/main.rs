//! The engines with the real tools: buildah, podman, runc, git, and Debian's `docker-registry`.
//!
//! These tests need root and the packages that `make test` installs. Where something is missing
//! they fail and name it: a test that is skipped has shown nothing.

mod build;
mod commands;
mod deploy;
mod machine;
