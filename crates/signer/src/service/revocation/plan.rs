//! What a revocation covers and changes, worked out before anything happens.

use std::collections::BTreeMap;

use oci::Digest;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use trust::revocation::feed::{MAX_SIGNATURES_IN_LINE, Revoked};

use super::super::journal::Rows;
use super::super::{Signer, SignerError, administrators_only, no_job};
use super::{By, LISTED_AFTER_EXPIRY, RevocationTarget, may_handle};
use crate::authority::whole_seconds;
use crate::job::{JobId, RevokedLeaf, SigningJob};
use crate::log::entry::rfc3339;
use crate::log::{Entry, EntryKind};
use crate::profile::{ProfileName, ProfileRevocation, ProfileStatus, SigningProfile};
use crate::records::{JobQuery, LeafName};

/// How many jobs are read at once.
const PAGE: usize = 1000;
/// The most signatures of one leaf that are looked at: what a rotating leaf signs in its life.
const MAX_JOBS_OF_LEAF: usize = 1_000_000;

/// A revocation before it is made.
pub(super) struct Plan {
    /// The position from which on it counts.
    pub(super) from_position: u64,
    /// How many signatures it covers.
    pub(super) signatures: u64,
    /// The rows that it changes, all but the lines of the feed.
    pub(super) rows: Rows,
    /// What the feed says.
    pub(super) revoked: Vec<Revoked>,
    /// The profiles whose rotating leaf is not used any more.
    pub(super) retired_leaves: Vec<ProfileName>,
    /// What the log says.
    what: Value,
}

/// A moment, and the position of the log that it was resolved to.
#[derive(Clone, Copy)]
pub(super) struct From {
    /// The moment; absent when everything is covered.
    pub(super) time: Option<OffsetDateTime>,
    pub(super) position: u64,
}

/// A stretch of signing times: the rule by which a verifier applies a line.
#[derive(Clone, Copy)]
struct Window {
    from: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
}

impl Window {
    fn holds(&self, at: OffsetDateTime) -> bool {
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }
}

impl Plan {
    /// Returns the entry of the log.
    pub(super) fn entry(&self, by: &By<'_>, sequence: u64) -> Result<Entry, SignerError> {
        let mut body = self.what.clone();
        body["fromPosition"] = self.from_position.into();
        body["signatures"] = self.signatures.into();
        body["sequence"] = sequence.into();
        body["by"] = json!(by.principal);
        body["reason"] = by.reason.into();
        Ok(Entry::new(EntryKind::Revocation, body)?)
    }
}

impl Signer {
    /// Returns what a revocation changes; `None` when it changes nothing.
    pub(super) async fn plan(
        &self,
        target: &RevocationTarget,
        from: Option<OffsetDateTime>,
        by: &By<'_>,
    ) -> Result<Option<Plan>, SignerError> {
        if !matches!(target, RevocationTarget::Job { .. }) {
            administrators_only(by.principal, "revoke anything but single signatures")?;
        }
        match target {
            RevocationTarget::Job { .. } if from.is_some() => Err(SignerError::Malformed(
                "a single signature is revoked as a whole, not from a time on".to_owned(),
            )),
            RevocationTarget::Job { id, whole_leaf } => self.plan_job(*id, *whole_leaf, by).await,
            RevocationTarget::Digest(digest) => {
                let from = self.resolve(&format!("digest `{digest}`"), from).await?;
                self.plan_digest(digest, from, by).await
            }
            RevocationTarget::Certificate(leaf) => {
                let from = self.resolve(&leaf.to_string(), from).await?;
                self.plan_certificate(leaf, from, by).await
            }
            RevocationTarget::Profile { name, version } => {
                let profile = self.profile_or_not_found(name)?;
                let from = self
                    .resolve(&described(name, version.as_deref()), from)
                    .await?;
                let plan = PlanProfile {
                    profile: &profile,
                    version: version.as_deref(),
                    from,
                };
                self.plan_profile(plan, by).await
            }
        }
    }

    /// Resolves a moment to the first position of that time or later, once and for all.
    pub(super) async fn resolve(
        &self,
        what: &str,
        from: Option<OffsetDateTime>,
    ) -> Result<From, SignerError> {
        let Some(time) = from.map(whole_seconds) else {
            let time = None;
            return Ok(From { time, position: 0 });
        };
        if time > self.now() {
            return Err(refused(what, time, "that is in the future"));
        }
        let position = self.records.position_at(time).await?;
        let time = Some(time);
        Ok(From { time, position })
    }

    async fn plan_job(
        &self,
        id: JobId,
        whole_leaf: bool,
        by: &By<'_>,
    ) -> Result<Option<Plan>, SignerError> {
        let mut job = self.records.job(id).await?.ok_or_else(|| no_job(id))?;
        if !self.may_revoke(by.principal, &job) {
            may_handle(by.principal, &job, "revoke this signature")?;
        }
        let on_crl = !job.shares_leaf || whole_leaf;
        if let Some(revocation) = &job.revocation
            && revocation.on_crl >= on_crl
        {
            return Ok(None);
        }
        job = by.revoked(job, on_crl);
        let mut plan = Plan {
            from_position: job.position,
            signatures: 1,
            rows: Rows::default(),
            revoked: vec![],
            retired_leaves: vec![],
            what: json!({"job": id, "position": job.position, "onCrl": on_crl}),
        };
        if on_crl {
            plan.rows.leaves.push(self.revoked_leaf(&job, None, by.at));
            plan.retired_leaves.push(job.profile.clone());
        }
        plan.revoked.extend(match job.identity() {
            Some(identity) if !(job.shares_leaf && whole_leaf) => Some(Revoked::Signatures {
                identities: vec![identity],
                job: Some(id.to_string()),
            }),
            _ if on_crl => Some(certificate_line(&job, None)),
            _ => None,
        });
        plan.rows.jobs.push(job);
        Ok(Some(plan))
    }

    async fn plan_digest(
        &self,
        digest: &Digest,
        from: From,
        by: &By<'_>,
    ) -> Result<Option<Plan>, SignerError> {
        // What is signed in this second lies after the second's beginning, before or after the
        // revocation: those before are named one by one.
        let window = Window {
            from: from.time,
            until: Some(whole_seconds(by.at)),
        };
        let query = JobQuery {
            target: Some(digest.clone()),
            from_position: from.position,
            ..JobQuery::default()
        };
        let mut covered = Covered::new(window);
        let mut changed = Vec::new();
        self.each_job(query, |job| {
            covered.add(&job);
            if job.revocation.is_none() {
                let on_crl = !job.shares_leaf;
                changed.push(by.revoked(job, on_crl));
            }
        })
        .await?;
        if covered.count == 0 {
            return Err(SignerError::NothingSigned(format!("digest `{digest}`")));
        }
        if changed.is_empty() {
            return Ok(None);
        }
        let own = changed.iter().filter(|job| !job.shares_leaf);
        let leaves = own.map(|job| self.revoked_leaf(job, None, by.at)).collect();
        let line = Revoked::Digest {
            digest: digest.clone(),
            from: from.time,
            until: whole_seconds(by.at),
        };
        let rows = Rows {
            jobs: changed,
            leaves,
            ..Rows::default()
        };
        Ok(Some(covered.plan(
            from,
            (line, rows),
            json!({"digest": digest}),
        )))
    }

    async fn plan_certificate(
        &self,
        leaf: &LeafName,
        from: From,
        by: &By<'_>,
    ) -> Result<Option<Plan>, SignerError> {
        let jobs = self.records.jobs_of_leaf(leaf, 0, MAX_JOBS_OF_LEAF).await?;
        let Some(first) = jobs.first() else {
            return Err(SignerError::NothingSigned(leaf.to_string()));
        };
        let known = self.list.lock().await.find(&first.leaf_serial).cloned();
        if let Some(known) = known
            && !moves(&leaf.to_string(), known.invalid_from, from.time)?
        {
            return Ok(None);
        }
        let window = Window {
            from: from.time,
            until: None,
        };
        let mut covered = Covered::new(window);
        let in_range = jobs.iter().filter(|job| job.position >= from.position);
        in_range.for_each(|job| covered.add(job));
        let last = jobs.iter().max_by_key(|job| job.expires).unwrap_or(first);
        let rows = Rows {
            leaves: vec![self.revoked_leaf(last, from.time, by.at)],
            ..Rows::default()
        };
        let what = json!({"certificate": first.leaf_sha256, "serial": first.leaf_serial});
        let line = certificate_line(first, from.time);
        let mut plan = covered.plan(from, (line, rows), what);
        plan.retired_leaves.push(first.profile.clone());
        Ok(Some(plan))
    }

    async fn plan_profile(
        &self,
        plan: PlanProfile<'_>,
        by: &By<'_>,
    ) -> Result<Option<Plan>, SignerError> {
        let PlanProfile {
            profile,
            version,
            from,
        } = plan;
        if !plan.moves()? {
            return Ok(None);
        }
        let window = plan.window();
        let mut covered = Covered::new(window);
        let mut leaves: BTreeMap<String, RevokedLeaf> = BTreeMap::new();
        let mut jobs = Vec::new();
        let is_remembered = plan.is_remembered();
        let query = JobQuery {
            profile: Some(profile.name.clone()),
            profile_version: version.map(str::to_owned),
            from_position: from.position,
            ..JobQuery::default()
        };
        self.each_job(query, |job| {
            covered.add(&job);
            // A leaf is of one version, so for an older one nothing of it lies behind the window.
            let leaf = listed_leaf(&job, window.from.unwrap_or(profile.created_at), by.at);
            let known = leaves.remove(&leaf.serial);
            let leaf = known.map_or(leaf.clone(), |known| known.union(leaf));
            leaves.insert(leaf.serial.clone(), leaf);
            if !is_remembered && job.revocation.is_none() {
                jobs.push(by.revoked(job, true));
            }
        })
        .await?;
        if !is_remembered && jobs.is_empty() {
            let what = described(&profile.name, version);
            return Err(SignerError::NothingSigned(what));
        }
        leaves.retain(|_, leaf| leaf.listed_until > by.at);
        let revocation = ProfileRevocation {
            from: window.from.unwrap_or(profile.created_at),
            position: from.position,
            at: by.at,
            by: by.principal.describe(),
            reason: by.reason.to_owned(),
        };
        let line = Revoked::Profile {
            profile: profile.name.to_string(),
            version: version.map(str::to_owned),
            from: revocation.from,
            until: window.until,
        };
        let rows = Rows {
            profiles: vec![plan.revoked_profile(revocation)],
            jobs,
            leaves: leaves.into_values().collect(),
            ..Rows::default()
        };
        let what = json!({"profile": profile.name, "version": version,
                          "from": window.from.map(rfc3339)});
        let mut plan = covered.plan(from, (line, rows), what);
        plan.retired_leaves.push(profile.name.clone());
        Ok(Some(plan))
    }

    pub(super) async fn each_job(
        &self,
        mut query: JobQuery,
        mut each: impl FnMut(SigningJob),
    ) -> Result<(), SignerError> {
        query.limit = PAGE;
        loop {
            let page = self.records.jobs(&query).await?;
            page.jobs.into_iter().for_each(&mut each);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn revoked_leaf(
        &self,
        job: &SigningJob,
        invalid_from: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> RevokedLeaf {
        // The last signature of a shared leaf may have been made just now.
        let profile = self.find_profile(&job.profile).filter(|_| job.shares_leaf);
        let last = profile.and_then(|profile| profile.validity.end_after(now));
        let expires = last.map_or(job.expires, |last| last.max(job.expires));
        RevokedLeaf {
            serial: job.leaf_serial.clone(),
            issuer: job.issuer,
            revoked_at: now,
            invalid_from,
            listed_until: expires + LISTED_AFTER_EXPIRY,
        }
    }
}

/// A profile, or a version of one, from a moment on.
#[derive(Clone, Copy)]
struct PlanProfile<'a> {
    profile: &'a SigningProfile,
    version: Option<&'a str>,
    from: From,
}

impl PlanProfile<'_> {
    fn known(&self) -> Option<&ProfileRevocation> {
        match self.version {
            None => self.profile.revocation.as_ref(),
            Some(version) => {
                let mut versions = self.profile.versions.iter();
                let found = versions.find(|one| one.version == version)?;
                found.revocation.as_ref()
            }
        }
    }

    /// Whether the version, if one is meant, is among those that the profile remembers.
    fn is_remembered(&self) -> bool {
        let mut versions = self.profile.versions.iter();
        self.version
            .is_none_or(|version| versions.any(|one| one.version == version))
    }

    fn moves(&self) -> Result<bool, SignerError> {
        let Some(known) = self.known() else {
            return Ok(true);
        };
        let from = self.window().from.unwrap_or(self.profile.created_at);
        let what = described(&self.profile.name, self.version);
        match from > known.from && self.from.position > known.position {
            true => Err(refused(&what, from, ALREADY_EARLIER)),
            false => Ok(from < known.from),
        }
    }

    /// The times in which this version signed, in whole seconds that no other version signed in.
    fn window(&self) -> Window {
        let Some(version) = self.version else {
            let from = self.from.time;
            // The first signature may be of the second in which the profile was made.
            let from = Some(from.unwrap_or(whole_seconds(self.profile.created_at)));
            return Window { from, until: None };
        };
        let versions = &self.profile.versions;
        let index = versions.iter().position(|one| one.version == version);
        let Some(index) = index else {
            // A version of which nothing is remembered: its signatures are named one by one.
            let nothing = Some(OffsetDateTime::UNIX_EPOCH);
            let (from, until) = (nothing, nothing);
            return Window { from, until };
        };
        let begins = match index {
            0 => whole_seconds(versions[0].since),
            _ => whole_seconds(versions[index].since) + Duration::SECOND,
        };
        let next = versions.get(index + 1);
        Window {
            from: Some(self.from.time.map_or(begins, |from| from.max(begins))),
            until: next.map(|next| whole_seconds(next.since)),
        }
    }

    fn revoked_profile(&self, revocation: ProfileRevocation) -> SigningProfile {
        let mut profile = self.profile.clone();
        match self.version {
            None => {
                profile.status = ProfileStatus::Revoked;
                profile.revocation = Some(revocation);
            }
            Some(version) => {
                let mut versions = profile.versions.iter_mut();
                if let Some(found) = versions.find(|one| one.version == version) {
                    found.revocation = Some(revocation);
                }
            }
        }
        profile
    }
}

/// Signatures that a line covers, and those that it covers only because they are named.
struct Covered {
    window: Window,
    count: u64,
    /// Identities of signatures whose time lies outside of the window.
    outside: Vec<String>,
    /// Lines for such signatures whose identity is not known.
    unnamed: Vec<Revoked>,
}

impl Covered {
    fn new(window: Window) -> Self {
        Self {
            window,
            count: 0,
            outside: Vec::new(),
            unnamed: Vec::new(),
        }
    }

    fn add(&mut self, job: &SigningJob) {
        self.count += 1;
        match job.identity() {
            _ if self.window.holds(job.signed_at) => {}
            Some(identity) => self.outside.push(identity),
            None if !job.shares_leaf => self.unnamed.push(certificate_line(job, None)),
            None => {}
        }
    }

    fn plan(self, from: From, (line, rows): (Revoked, Rows), what: Value) -> Plan {
        let named = self.outside.chunks(MAX_SIGNATURES_IN_LINE);
        let named = named.map(|identities| Revoked::Signatures {
            identities: identities.to_vec(),
            job: None,
        });
        let lines = std::iter::once(line)
            .chain(named)
            .chain(self.unnamed.iter().cloned());
        Plan {
            from_position: from.position,
            signatures: self.count,
            rows,
            revoked: lines.collect(),
            retired_leaves: Vec::new(),
            what,
        }
    }
}

fn certificate_line(job: &SigningJob, from: Option<OffsetDateTime>) -> Revoked {
    let serial = job.leaf_serial.clone();
    Revoked::Certificate { serial, from }
}

/// A leaf on the list because its profile is revoked from some moment on. What the leaf signed
/// before stays good for those who know only the list, so the moment is that of its first
/// signature that is covered, if that is earlier.
fn listed_leaf(job: &SigningJob, from: OffsetDateTime, now: OffsetDateTime) -> RevokedLeaf {
    RevokedLeaf {
        serial: job.leaf_serial.clone(),
        issuer: job.issuer,
        revoked_at: now,
        invalid_from: Some(from.min(job.signed_at)),
        listed_until: job.expires + LISTED_AFTER_EXPIRY,
    }
}

const ALREADY_EARLIER: &str =
    "it is revoked from an earlier moment on, and a revocation is never taken back";

/// Returns whether a revocation that is known is moved further back; an error when it would be
/// moved forward. No moment is the earliest.
fn moves(
    what: &str,
    known: Option<OffsetDateTime>,
    from: Option<OffsetDateTime>,
) -> Result<bool, SignerError> {
    match (known, from) {
        (None, None) => Ok(false),
        (Some(_), None) => Ok(true),
        (None, Some(from)) => Err(refused(what, from, ALREADY_EARLIER)),
        (Some(known), Some(from)) if from > known => Err(refused(what, from, ALREADY_EARLIER)),
        (Some(known), Some(from)) => Ok(from < known),
    }
}

fn refused(what: &str, from: OffsetDateTime, reason: &'static str) -> SignerError {
    SignerError::RevocationTime {
        what: what.to_owned(),
        from,
        reason,
    }
}

pub(super) fn described(name: &ProfileName, version: Option<&str>) -> String {
    match version {
        None => format!("profile `{name}`"),
        Some(version) => {
            let version: String = version.chars().take(80).collect();
            format!("version `{version}` of profile `{name}`")
        }
    }
}
