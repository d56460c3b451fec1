//! The declarative file, buildspecs, runs, builders and deploy targets.

pub mod buildspec;
pub mod project;
pub mod run;

pub mod engine;
pub mod runner;

pub mod builder;
pub mod dockerfile;

pub mod advisories;
pub mod artifacts;
pub mod build;
pub mod container;
pub mod deploy;
pub mod image_scan;
pub mod probe;

pub mod facts;
pub mod git;
pub mod provenance;
