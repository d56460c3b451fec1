//! The public interface, over the advisories that come with the demo.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic too")]

mod demo_advisories;
