//! Signing profiles, jobs, keys and the certificate authority.
