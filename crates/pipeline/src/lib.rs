//! Buildspecs, runs, builders and deploy targets.

pub mod runner;

pub mod engine;
