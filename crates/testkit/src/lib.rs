//! Test certificates and fixed times.
