//! Buildspecs, runs, builders and deploy targets.

pub mod engine;
pub mod runner;

pub mod builder;
pub mod dockerfile;

pub mod artifacts;
pub mod container;
