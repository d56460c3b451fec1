//! The revocation list that the authority signs: for verifiers that know nothing of the feed.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::super::ocsp::Answers;
use super::super::{Signer, SignerError};
use crate::authority::{CrlTimes, RevocationEntry, whole_seconds};
use crate::job::RevokedLeaf;

/// A revocation list as it is given out.
#[derive(Clone, Debug)]
pub struct RevocationList {
    /// The list in DER.
    pub der: Arc<[u8]>,
    /// Its number.
    pub number: u64,
    /// Until when it may be used.
    pub next_update: OffsetDateTime,
}

/// Revoked leaves, and the list that was made of them.
pub(in crate::service) struct ListState {
    leaves: BTreeMap<String, RevokedLeaf>,
    period: Duration,
    /// The lists in use, by the number of their issuer.
    made: BTreeMap<u32, (OffsetDateTime, RevocationList)>,
    /// The answers of the OCSP responders in use.
    pub(in crate::service) answers: Answers,
}

impl ListState {
    pub(in crate::service) fn new(leaves: Vec<RevokedLeaf>, period: Duration) -> Self {
        let leaves = leaves.into_iter().map(|leaf| (leaf.serial.clone(), leaf));
        Self {
            leaves: leaves.collect(),
            period,
            made: BTreeMap::new(),
            answers: Answers::default(),
        }
    }

    /// Returns `leaf` united with what is known of it already.
    pub(super) fn united(&self, leaf: RevokedLeaf) -> RevokedLeaf {
        match self.leaves.get(&leaf.serial) {
            Some(known) => known.clone().union(leaf),
            None => leaf,
        }
    }

    pub(super) fn add(&mut self, leaves: Vec<RevokedLeaf>) {
        self.leaves
            .extend(leaves.into_iter().map(|leaf| (leaf.serial.clone(), leaf)));
        self.made.clear();
        self.answers.forget();
    }

    /// Returns how long lists and answers may be used.
    pub(in crate::service) fn period(&self) -> Duration {
        self.period
    }

    /// Returns the list in use, unless more than half of its time is over: then there is still
    /// time for verifiers to fetch the next one.
    fn current(&self, issuer: u32, now: OffsetDateTime) -> Option<RevocationList> {
        let (made_at, list) = self.made.get(&issuer)?;
        let fresh = (*made_at..*made_at + self.period / 2).contains(&now);
        fresh.then(|| list.clone())
    }

    /// Returns the leaf of this serial number, if it is revoked.
    pub(in crate::service) fn find(&self, serial: &str) -> Option<&RevokedLeaf> {
        self.leaves.get(serial)
    }

    fn entries(
        &mut self,
        issuer: u32,
        now: OffsetDateTime,
    ) -> Result<Vec<RevocationEntry>, SignerError> {
        self.leaves.retain(|_, leaf| leaf.listed_until > now);
        let entry = |leaf: &RevokedLeaf| {
            let serial = hex::decode(&leaf.serial);
            let serial = serial.map_err(|error| SignerError::Internal(error.to_string()))?;
            let RevokedLeaf {
                revoked_at,
                invalid_from,
                ..
            } = *leaf;
            Ok(RevocationEntry {
                serial,
                revoked_at,
                invalid_from,
            })
        };
        let leaves = self.leaves.values().filter(|leaf| leaf.issuer == issuer);
        leaves.map(entry).collect()
    }
}

impl Signer {
    /// Returns the revocation list of the intermediate whose key has this identifier, of the newest
    /// when it is absent: made anew when something changed or half its time is over.
    pub async fn revocation_list(
        &self,
        key_id: Option<&str>,
    ) -> Result<RevocationList, SignerError> {
        let issuer = match key_id {
            None => self.authority.current(),
            Some(id) => self.authority.issuer_by_key(id).ok_or_else(no_issuer(id))?,
        };
        let issuer = issuer.generation();
        let mut state = self.list.lock().await;
        let now = self.now();
        if let Some(list) = state.current(issuer, now) {
            return Ok(list);
        }
        let entries = state.entries(issuer, now)?;
        let number = self.records.next_crl_number().await?;
        let next_update = whole_seconds(now + state.period);
        let times = CrlTimes {
            this_update: now,
            next_update,
        };
        let authority = self.authority.clone();
        let signing = move || {
            let mut issuers = authority.issuers().iter();
            let issuer = issuers.find(|one| one.generation() == issuer);
            let issuer = issuer.ok_or(SignerError::NoIssuer(String::new()))?;
            Ok(issuer.sign_crl(number, times, &entries)?)
        };
        let der = self.pool.run(signing).await?.into();
        let list = RevocationList {
            der,
            number,
            next_update,
        };
        state.made.insert(issuer, (now, list.clone()));
        Ok(list)
    }
}

fn no_issuer(key_id: &str) -> impl FnOnce() -> SignerError {
    let key_id = key_id.chars().take(80).collect();
    move || SignerError::NoIssuer(key_id)
}
