//! Decisions over an artifact graph.
