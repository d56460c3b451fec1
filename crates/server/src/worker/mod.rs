//! The work of the worker role: one file for each kind of action.
//!
//! A worker asks the front for jobs and does them with the engines of `pipeline`, under the token
//! of the job's run. Everything that it makes is addressed by content or named after the run, so
//! a job that is given out again after a crash is simply done again.

pub(crate) mod front;
pub(crate) mod journal;

pub(crate) mod job;

mod commands;
mod deploy;
mod evidence;
mod failure;
mod image;
mod images;

pub(crate) mod engines;

pub(crate) use failure::WorkFailure;
