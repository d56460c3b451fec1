//! Envelopes, certificate chains, trust policy and verification.
