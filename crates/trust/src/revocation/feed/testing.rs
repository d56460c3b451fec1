//! An authority that signs heartbeats and bundles, for tests.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::line::{RevocationLine, Revoked};
use super::{BundleHead, Head, Heartbeat, empty_chain, extend_chain};
use crate::tlog::note::{SignatureType, SignedNote, VerifierKey};

pub(super) const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

pub(super) struct Authority {
    pair: Ed25519KeyPair,
    pub(super) key: VerifierKey,
    pub(super) lines: Vec<String>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = VerifierKey::new("example/log", SignatureType::Ed25519, public).unwrap();
        let lines = Vec::new();
        Self { pair, key, lines }
    }

    /// Revokes the certificate of this serial, and returns the line.
    pub(super) fn revoke(&mut self, serial: &str) -> String {
        let line = RevocationLine {
            sequence: self.lines.len() as u64 + 1,
            at: NOW,
            reason: "leaked".to_owned(),
            revoked: Revoked::Certificate {
                serial: serial.to_owned(),
                from: None,
            },
        };
        self.lines.push(line.to_json());
        line.to_json()
    }

    pub(super) fn head(&self) -> Head {
        let extend = |chain, line: &String| extend_chain(&chain, line);
        Head {
            origin: "example/log".to_owned(),
            sequence: self.lines.len() as u64,
            log_size: 7,
            chain: self.lines.iter().fold(empty_chain(), extend),
            issuers: vec!["ab".repeat(32)],
        }
    }

    pub(super) fn sign(&self, text: String) -> SignedNote {
        let signature = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        SignedNote::new(text, vec![self.key.line(signature)]).unwrap()
    }

    /// The line of a heartbeat over `head`.
    pub(super) fn heartbeat_over(&self, head: Head, time: OffsetDateTime) -> String {
        Heartbeat::line(&self.sign(Heartbeat { head, time }.to_string()))
    }

    pub(super) fn heartbeat(&self, time: OffsetDateTime) -> String {
        self.heartbeat_over(self.head(), time)
    }

    /// A bundle that is valid for a day from now on.
    pub(super) fn bundle(&self) -> String {
        let head = BundleHead {
            head: self.head(),
            from: NOW,
            until: NOW + Duration::DAY,
        };
        let lines = self.lines.iter().map(String::as_str);
        super::Bundle::write(&self.sign(head.to_string()), lines)
    }
}
