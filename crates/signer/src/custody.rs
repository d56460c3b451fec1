//! Custody: how private keys lie on disk, and what unlocks them.
//!
//! A key is PKCS#8 sealed with AES-256-GCM under a key that argon2id makes from the unlocking
//! secret ([`sealed`]). The secret never lies beside the keys: it comes from a file that the
//! caller names, from an open file descriptor, or from a file outside the data folder
//! ([`unlock`]). Only certificate authority keys are ever written; leaf keys live and die in
//! memory.

pub mod files;
pub mod sealed;
pub mod unlock;

pub use sealed::{KdfCost, SealError};
pub use unlock::{UnlockError, UnlockSecret, UnlockSource};
