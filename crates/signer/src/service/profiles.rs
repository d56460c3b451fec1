//! Profiles: made, changed, canceled, listed.

use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::journal::{Change, Rows};
use super::{Signer, SignerError, administrators_only};
use crate::log::{Entry, EntryKind};
use crate::principal::Principal;
use crate::profile::{ProfileName, ProfileSpec, ProfileStatus, SigningProfile};

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

impl Signer {
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
        let mut profile = SigningProfile::new(spec.clone(), random_version()?, self.now());
        let change = match existing {
            None => ProfileChange::Created,
            Some(old) if old.revocation.is_some() => {
                return Err(SignerError::ProfileRevoked(spec.name));
            }
            Some(old) if old.is_as(&spec) => return Ok((ProfileChange::Unchanged, old)),
            Some(_) if !replace => return Err(SignerError::ProfileExists(spec.name)),
            Some(old) => {
                profile.created_at = old.created_at;
                ProfileChange::Updated
            }
        };
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
        let old = self.profile_or_not_found(name)?;
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
        found.authorize(principal)?;
        Ok(found)
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
    principal.is_admin || profile.grants.allow(principal)
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
