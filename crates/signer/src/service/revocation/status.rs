//! Is this revoked? For callers that ask one by one, as AWS Signer's `GetRevocationStatus` does.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::super::{Signer, SignerError};
use crate::job::JobId;
use crate::profile::ProfileName;

/// What is asked. Each part is answered by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationQuestion {
    /// A profile, and the version of it that signed.
    pub profile: Option<(ProfileName, String)>,
    /// A job.
    pub job: Option<JobId>,
    /// The serial numbers of leaves, in hexadecimal.
    pub serials: Vec<String>,
    /// When the signature was made, where the job is not known.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub signed_at: Option<OffsetDateTime>,
}

/// What is revoked of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationAnswer {
    /// Whether there is such a job.
    pub job_exists: bool,
    /// Whether the job was revoked by itself.
    pub job: bool,
    /// Whether the version of the profile is revoked for this signature.
    pub profile_version: bool,
    /// The leaves that are revoked for this signature.
    pub serials: Vec<String>,
}

impl Signer {
    /// Says what is revoked. A signature is judged by the position of its job in the log; where
    /// the job is not ours, or not given, by the time that is claimed for it.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn revocation_status(
        &self,
        question: &RevocationQuestion,
    ) -> Result<RevocationAnswer, SignerError> {
        let job = match question.job {
            Some(id) => self.records.job(id).await?,
            None => None,
        };
        let mut answer = RevocationAnswer {
            job_exists: job.is_some(),
            job: job.as_ref().is_some_and(|job| job.revocation.is_some()),
            ..RevocationAnswer::default()
        };
        let signed_at = job.as_ref().map(|job| job.signed_at).or(question.signed_at);
        if let Some((name, version)) = &question.profile
            && let Some(profile) = self.find_profile(name)
        {
            let of_version = profile
                .versions
                .iter()
                .filter(|one| one.version == *version);
            let of_version = of_version.filter_map(|one| one.revocation.as_ref());
            let mut all = profile.revocation.iter().chain(of_version);
            answer.profile_version = all.any(|revocation| match &job {
                Some(job) => job.position >= revocation.position,
                None => signed_at.is_none_or(|at| at >= revocation.from),
            });
        }
        let list = self.list.lock().await;
        let is_revoked = |serial: &&String| {
            let leaf = list.find(serial);
            leaf.is_some_and(|leaf| match (leaf.invalid_from, signed_at) {
                (Some(from), Some(at)) => at >= from,
                _ => true,
            })
        };
        answer.serials = question
            .serials
            .iter()
            .filter(is_revoked)
            .cloned()
            .collect();
        Ok(answer)
    }
}
