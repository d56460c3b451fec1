//! Profiles: made, changed, canceled, listed.

use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::journal::{Change, Rows};
use super::{Signer, SignerError, administrators_only};
use crate::log::{Entry, EntryKind};
use crate::principal::Principal;
use crate::profile::rules::{self, Artifact, RuleId, RuleRequest, Rules};
use crate::profile::{PermittedAction, ProfileName, ProfileSpec, ProfileStatus, SigningProfile};

/// What putting a profile did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileChange {
    /// It is new.
    Created,
    /// It has a new version.
    Updated,
    /// It already was as asked.
    Unchanged,
}

/// A request that nobody made: what would the rules say?
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleTest {
    /// The profile.
    pub profile: ProfileName,
    /// Who would ask.
    pub principal: Principal,
    /// What would be signed.
    #[serde(default)]
    pub artifact: Artifact,
    /// Rules in place of the profile's own, to try before they are put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Rules>,
}

/// What the rules would say.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleTestResult {
    /// Whether it would be signed.
    pub allowed: bool,
    /// The rule that decides, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// Why, in a sentence.
    pub reason: String,
    /// How each rule stands to the request, in their order.
    pub steps: Vec<RuleStep>,
}

/// How one rule stands to a request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleStep {
    /// The rule.
    pub rule: RuleId,
    /// Whether it denies what it matches.
    pub denies: bool,
    /// Whether it matches.
    pub matches: bool,
    /// The conditions that are not met, in words.
    pub misses: Vec<String>,
    /// How many signatures were used of its quota in the current window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
}

impl Signer {
    /// Returns what the rules of a profile say to a request that nobody made. For administrators,
    /// who may ask about anybody, and for everybody about themselves.
    pub async fn test_rules(
        &self,
        asker: &Principal,
        test: RuleTest,
    ) -> Result<RuleTestResult, SignerError> {
        if asker.identity() != test.principal.identity() || test.rules.is_some() {
            administrators_only(asker, "ask what the rules say to others")?;
        }
        let mut profile = SigningProfile::clone(&*self.profile_or_not_found(&test.profile)?);
        if let Some(rules) = test.rules {
            profile.rules = rules;
        }
        let request = RuleRequest {
            principal: &test.principal,
            artifact: &test.artifact,
        };
        self.explain(&profile, request).await
    }

    async fn explain(
        &self,
        profile: &SigningProfile,
        request: RuleRequest<'_>,
    ) -> Result<RuleTestResult, SignerError> {
        let in_force = profile.rules_in_force();
        let mut steps = Vec::new();
        let mut deciding_used = None;
        for (rule, step) in in_force.iter().zip(rules::explain(&in_force, request)) {
            let mut used = None;
            if let Some(quota) = rule.quota.filter(|_| step.matches) {
                let count = self
                    .quota_used(&profile.name, (rule, quota), request.principal)
                    .await?;
                deciding_used.get_or_insert(count);
                used = Some(format!("{count} of {quota}"));
            }
            steps.push(RuleStep {
                rule: step.rule,
                denies: step.denies,
                matches: step.matches,
                misses: step.misses.iter().map(ToString::to_string).collect(),
                used,
            });
        }
        let decided = profile.authorize(request, |_| deciding_used.unwrap_or(0));
        let first = steps
            .iter()
            .find(|step| step.matches)
            .map(|step| step.rule.clone());
        let (allowed, reason) = match decided {
            Ok(rule) => (true, format!("rule `{rule}` allows it")),
            Err(denial) => (false, denial.to_string()),
        };
        Ok(RuleTestResult {
            allowed,
            rule: first,
            reason,
            steps,
        })
    }

    /// Makes a profile. One that exists is left alone when it is as asked, given a new version
    /// when `replace` is set, and is a conflict otherwise. A revoked one never comes back.
    pub async fn put_profile(
        &self,
        principal: &Principal,
        spec: ProfileSpec,
        replace: bool,
    ) -> Result<(ProfileChange, Arc<SigningProfile>), SignerError> {
        administrators_only(principal, "make signing profiles")?;
        spec.check()?;
        let _changing = self.changes.write().await;
        let existing = self.find_profile(&spec.name);
        self.check_name_is_free(existing.as_deref(), spec.owner)?;
        let mut profile = SigningProfile::new(spec.clone(), random_version()?, self.now());
        let change = match existing {
            None => ProfileChange::Created,
            Some(old) if old.revocation.is_some() => {
                return Err(SignerError::ProfileRevoked(spec.name));
            }
            Some(old) if old.is_as(&spec) && !old.current_version_is_revoked() => {
                return Ok((ProfileChange::Unchanged, old));
            }
            Some(_) if !replace => return Err(SignerError::ProfileExists(spec.name)),
            Some(old) => {
                profile.created_at = old.created_at;
                profile.versions.clone_from(&old.versions);
                profile.owner = old.owner;
                profile.permissions = old.permissions.clone();
                profile.revision_id = old.revision_id.clone();
                profile.tags = old.tags.clone();
                ProfileChange::Updated
            }
        };
        // Nothing is signed while a profile changes, so no signature of it lies before this.
        let since = self.journal.head().size;
        if !profile.remember_version(since, self.now()) {
            return Err(SignerError::TooManyVersions(spec.name));
        }
        let what = match change {
            ProfileChange::Created => "created",
            _ => "updated",
        };
        self.keep_profile(&profile, (principal, what)).await?;
        Ok((change, self.remember(profile)))
    }

    /// Lets a profile sign no more. Its signatures stay valid.
    pub async fn cancel_profile(
        &self,
        principal: &Principal,
        name: &ProfileName,
    ) -> Result<Arc<SigningProfile>, SignerError> {
        administrators_only(principal, "cancel signing profiles")?;
        let _changing = self.changes.write().await;
        let old = self.own_profile(principal, name)?;
        if old.status != ProfileStatus::Active {
            return Ok(old);
        }
        let mut profile = SigningProfile::clone(&old);
        profile.status = ProfileStatus::Canceled;
        self.keep_profile(&profile, (principal, "canceled")).await?;
        Ok(self.remember(profile))
    }

    /// Returns a profile that the caller was granted; administrators see all.
    pub fn profile(
        &self,
        principal: &Principal,
        name: &ProfileName,
    ) -> Result<Arc<SigningProfile>, SignerError> {
        let found = self.profile_or_not_found(name)?;
        if visible(&found, principal) {
            return Ok(found);
        }
        Err(found.not_for(principal).into())
    }

    /// Returns the profiles that the caller was granted, by name, at most `limit` of those after
    /// `after`; administrators see all.
    pub fn profiles(
        &self,
        principal: &Principal,
        after: Option<&ProfileName>,
        limit: usize,
    ) -> Vec<Arc<SigningProfile>> {
        let profiles = self.profiles.read().unwrap_or_else(PoisonError::into_inner);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = profiles.range::<ProfileName, _>((start, Bound::Unbounded));
        let seen = rest
            .map(|(_, profile)| profile)
            .filter(|p| visible(p, principal));
        seen.take(limit).cloned().collect()
    }

    /// Makes a profile durable, and says so in the log. The settings may be longer than an entry;
    /// their hash stands for them.
    async fn keep_profile(
        &self,
        profile: &SigningProfile,
        (principal, change): (&Principal, &str),
    ) -> Result<(), SignerError> {
        let settings = serde_json::to_vec(profile)
            .map_err(|error| SignerError::Internal(error.to_string()))?;
        let entry = Entry::new(
            EntryKind::Profile,
            json!({
                "profile": profile.name,
                "version": profile.version,
                "change": change,
                "by": principal,
                "status": profile.status,
                "platform": profile.platform,
                "validity": profile.validity,
                "leaf": profile.leaf,
                "settingsSha256": oci::Digest::sha256(&settings).hex(),
            }),
        )?;
        let rows = Rows {
            profiles: vec![profile.clone()],
            ..Rows::default()
        };
        self.journal.commit(Change { entry, rows }).await?;
        Ok(())
    }

    /// Keeps a profile that is durable in memory, where signing finds it.
    pub(super) fn remember(&self, profile: SigningProfile) -> Arc<SigningProfile> {
        let profile = Arc::new(profile);
        self.leaves().remove(&profile.name);
        let mut profiles = self
            .profiles
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        profiles.insert(profile.name.clone(), profile.clone());
        profile
    }
}

fn visible(profile: &SigningProfile, principal: &Principal) -> bool {
    let permits = |action| profile.permits(action, principal, &profile.version);
    principal.administers()
        || profile.is_for(principal)
        || permits(PermittedAction::GetSigningProfile)
        || permits(PermittedAction::SignPayload)
}

/// Returns ten random letters and digits.
fn random_version() -> Result<String, SignerError> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut bytes = [0u8; 10];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| SignerError::Internal("no randomness".to_owned()))?;
    Ok(bytes
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .iter()
        .collect())
}
