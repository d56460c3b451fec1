//! Packages, SBOMs and vulnerability matching.
