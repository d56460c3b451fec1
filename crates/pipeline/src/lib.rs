//! Buildspecs, runs, builders and deploy targets.
