//! All revocations that are known, arranged so that one question costs four look-ups.

use std::collections::HashMap;
use std::sync::Arc;

use oci::Digest;
use time::OffsetDateTime;

use super::line::{RevocationLine, Revoked};

/// The most lines that are kept: a million take about 300 MB.
pub const MAX_REVOCATIONS: u64 = 1_000_000;

/// One signature, as far as revocation asks about it.
#[derive(Clone, Copy, Debug)]
pub struct Questioned<'a> {
    /// Its identity ([`super::signature_identity`]).
    pub identity: &'a str,
    /// The serial number of the leaf, in hexadecimal.
    pub serial: &'a str,
    /// The common name of the leaf: the profile.
    pub profile: &'a str,
    /// What was signed: the target artifact, or the first subject of a statement.
    pub target: Option<&'a Digest>,
    /// When it was signed, if somebody vouches for it; if nobody does, it may have been any time.
    pub signed_at: Option<OffsetDateTime>,
}

/// All revocations that are known.
#[derive(Clone, Debug, Default)]
pub struct RevocationSet {
    signatures: HashMap<String, Arc<RevocationLine>>,
    certificates: HashMap<String, Vec<Window>>,
    profiles: HashMap<String, Vec<Window>>,
    digests: HashMap<Digest, Vec<Window>>,
}

/// A stretch of time, and the line that revokes what was signed in it.
#[derive(Clone, Debug)]
struct Window {
    from: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
    line: Arc<RevocationLine>,
}

impl Window {
    fn covers(&self, signed_at: Option<OffsetDateTime>) -> bool {
        signed_at.is_none_or(|at| {
            self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
        })
    }
}

impl RevocationSet {
    /// Adds what a line revokes. Nothing is ever taken away.
    pub fn add(&mut self, line: RevocationLine) {
        let line = Arc::new(line);
        let window = |from, until| Window {
            from,
            until,
            line: line.clone(),
        };
        match &line.revoked {
            Revoked::Signatures { identities, .. } => {
                for hash in identities {
                    let hash = hash.to_ascii_lowercase();
                    self.signatures.entry(hash).or_insert_with(|| line.clone());
                }
            }
            Revoked::Certificate { serial, from } => {
                let windows = self
                    .certificates
                    .entry(canonical_serial(serial))
                    .or_default();
                windows.push(window(*from, None));
            }
            Revoked::Profile {
                profile,
                from,
                until,
                ..
            } => {
                let windows = self.profiles.entry(profile.clone()).or_default();
                windows.push(window(Some(*from), *until));
            }
            Revoked::Digest {
                digest,
                from,
                until,
            } => {
                let windows = self.digests.entry(digest.clone()).or_default();
                windows.push(window(*from, Some(*until)));
            }
        }
    }

    /// Returns the line that revokes a signature, if one does.
    pub fn find(&self, asked: &Questioned<'_>) -> Option<&RevocationLine> {
        let hash = asked.identity.to_ascii_lowercase();
        let windows = [
            self.certificates.get(&canonical_serial(asked.serial)),
            self.profiles.get(asked.profile),
            asked.target.and_then(|target| self.digests.get(target)),
        ];
        let mut windows = windows.into_iter().flatten().flatten();
        let covering = windows.find(|window| window.covers(asked.signed_at));
        let single = self.signatures.get(&hash);
        let line = single.or_else(|| covering.map(|window| &window.line));
        line.map(Arc::as_ref)
    }
}

/// DER writes a leading zero where the first bit is set; it is the same number.
fn canonical_serial(hexadecimal: &str) -> String {
    hexadecimal.trim_start_matches('0').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
    const BEFORE: OffsetDateTime = datetime!(2026-03-01 11:59:59 UTC);

    fn set(revoked: Revoked) -> RevocationSet {
        let mut set = RevocationSet::default();
        set.add(RevocationLine {
            sequence: 1,
            at: NOON + Duration::HOUR,
            reason: "leaked".to_owned(),
            revoked,
        });
        set
    }

    fn profile(until: Option<OffsetDateTime>) -> Revoked {
        Revoked::Profile {
            profile: "ci".to_owned(),
            version: None,
            from: NOON,
            until,
        }
    }

    fn certificate(from: Option<OffsetDateTime>) -> Revoked {
        let serial = "00AB".to_owned();
        Revoked::Certificate { serial, from }
    }

    #[test]
    fn a_line_covers_what_it_says_and_no_more() {
        let (x, y) = (Digest::sha256(b"x"), Digest::sha256(b"y"));
        let signatures = |hash: &str| Revoked::Signatures {
            identities: vec!["11".to_owned(), hash.to_owned()],
            job: None,
        };
        let digest = |digest: &Digest| Revoked::Digest {
            digest: digest.clone(),
            from: None,
            until: NOON,
        };
        // The signature asked about: hash `AA`, serial `ab`, profile `ci`, digest `x`.
        let table = [
            ("its hash", signatures("aa"), Some(NOON), true),
            ("another hash", signatures("ab"), Some(NOON), false),
            ("its certificate", certificate(None), Some(BEFORE), true),
            (
                "its certificate from then on",
                certificate(Some(NOON)),
                Some(NOON),
                true,
            ),
            (
                "its certificate, later",
                certificate(Some(NOON)),
                Some(BEFORE),
                false,
            ),
            ("its profile from then on", profile(None), Some(NOON), true),
            ("its profile, later", profile(None), Some(BEFORE), false),
            (
                "a version until then",
                profile(Some(NOON + Duration::SECOND)),
                Some(NOON),
                true,
            ),
            (
                "a version that was over",
                profile(Some(NOON)),
                Some(NOON),
                false,
            ),
            ("no time that counts", profile(Some(NOON)), None, true),
            ("its digest before", digest(&x), Some(BEFORE), true),
            ("its digest, signed again", digest(&x), Some(NOON), false),
            ("another digest", digest(&y), Some(BEFORE), false),
        ];
        for (name, revoked, signed_at, expected) in table {
            let asked = Questioned {
                identity: "AA",
                serial: "ab",
                profile: "ci",
                target: Some(&x),
                signed_at,
            };
            assert_eq!(set(revoked).find(&asked).is_some(), expected, "{name}");
        }
    }

    #[test]
    fn a_revocation_that_is_moved_further_back_covers_more() {
        let mut set = set(profile(None));
        let earlier = RevocationLine {
            sequence: 2,
            at: NOON + Duration::HOUR,
            reason: "leaked before".to_owned(),
            revoked: Revoked::Profile {
                profile: "ci".to_owned(),
                version: None,
                from: BEFORE,
                until: None,
            },
        };
        let asked = Questioned {
            identity: "aa",
            serial: "ab",
            profile: "ci",
            target: None,
            signed_at: Some(BEFORE),
        };
        assert!(set.find(&asked).is_none());
        set.add(earlier);
        assert_eq!(set.find(&asked).unwrap().sequence, 2);
    }
}
