//! Answering OCSP requests: what is on record of a serial number, signed by its issuer's responder.
//!
//! A leaf of one job has the job's identifier as its serial number; a leaf that several jobs share
//! has a row of its own. Only what we issued is `good`. Answers without a nonce are kept until
//! something is revoked, or half of their time is over.

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use super::{Signer, SignerError};
use crate::authority::ocsp::{
    AnswerTimes, CertificateId, CertificateStatus, OcspFailure, OcspRequest,
};
use crate::authority::whole_seconds;
use crate::job::{JobId, SigningJob};

/// The most answers that are kept: about 4 MiB.
const MAX_ANSWERS: usize = 4096;

/// An answer of the responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspAnswer {
    /// The answer in DER.
    pub der: Arc<[u8]>,
    /// Until when it may be used; absent when it says nothing about a certificate.
    pub next_update: Option<OffsetDateTime>,
}

/// The answers in use.
#[derive(Default)]
pub(super) struct Answers {
    kept: HashMap<Vec<CertificateId>, (OffsetDateTime, OcspAnswer)>,
    /// How often they were forgotten: an answer that was begun before is not kept after.
    forgotten: u64,
}

impl Answers {
    pub(super) fn forget(&mut self) {
        self.kept.clear();
        self.forgotten += 1;
    }

    /// Returns the answer to a request without a nonce, if one was made after `oldest`.
    fn find(&self, request: &OcspRequest, oldest: OffsetDateTime) -> Option<OcspAnswer> {
        let found = self.kept.get(&request.certificates)?;
        let is_usable = request.nonce.is_none() && found.0 > oldest;
        is_usable.then(|| found.1.clone())
    }

    fn keep(
        &mut self,
        question: Vec<CertificateId>,
        made: (OffsetDateTime, OcspAnswer),
        begun: u64,
    ) {
        if begun != self.forgotten {
            return;
        }
        if self.kept.len() >= MAX_ANSWERS {
            self.kept.clear();
        }
        self.kept.insert(question, made);
    }
}

impl Signer {
    /// Returns the answer to a request in DER. There is one to whatever is asked.
    pub async fn ocsp(&self, request: &[u8]) -> OcspAnswer {
        let failed = |failure: OcspFailure| OcspAnswer {
            der: failure.to_der().into(),
            next_update: None,
        };
        let request = match OcspRequest::parse(request) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(%error, "an OCSP request was refused");
                return failed(OcspFailure::MalformedRequest);
            }
        };
        match self.answer(request).await {
            Ok(Some(answer)) => answer,
            Ok(None) => failed(OcspFailure::Unauthorized),
            Err(SignerError::Busy) => failed(OcspFailure::TryLater),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "an OCSP request failed");
                failed(OcspFailure::InternalError)
            }
        }
    }

    /// Returns the answer of the issuer that is asked about; `None` when it is none of ours.
    async fn answer(&self, request: OcspRequest) -> Result<Option<OcspAnswer>, SignerError> {
        let issuers = self.authority.issuers();
        let asked = |index: &usize| {
            let mut ids = request.certificates.iter();
            ids.any(|id| issuers[*index].is_named_by(id))
        };
        let Some(index) = (0..issuers.len()).rev().find(asked) else {
            return Ok(None);
        };
        let now = self.now();
        let (begun, period) = {
            let state = self.list.lock().await;
            let (answers, period) = (&state.answers, state.period());
            if let Some(answer) = answers.find(&request, now - period / 2) {
                return Ok(Some(answer));
            }
            (answers.forgotten, period)
        };
        let statuses = self.statuses(index, &request.certificates).await?;
        // An unknown certificate may be issued in the next moment.
        let is_known = |(_, status): &(_, CertificateStatus)| *status != CertificateStatus::Unknown;
        let is_kept = request.nonce.is_none() && statuses.iter().all(is_known);
        let times = AnswerTimes {
            made_at: now,
            next_update: whole_seconds(now + period),
        };
        let answer = self.sign_answer(index, (statuses, request.nonce), times);
        let answer = answer.await?;
        if is_kept {
            let mut state = self.list.lock().await;
            let made = (now, answer.clone());
            state.answers.keep(request.certificates, made, begun);
        }
        Ok(Some(answer))
    }

    async fn statuses(
        &self,
        index: usize,
        ids: &[CertificateId],
    ) -> Result<Vec<(CertificateId, CertificateStatus)>, SignerError> {
        let mut statuses = Vec::with_capacity(ids.len());
        for id in ids {
            statuses.push((id.clone(), self.status(index, id).await?));
        }
        Ok(statuses)
    }

    async fn sign_answer(
        &self,
        index: usize,
        (statuses, nonce): (Vec<(CertificateId, CertificateStatus)>, Option<Vec<u8>>),
        times: AnswerTimes,
    ) -> Result<OcspAnswer, SignerError> {
        let authority = self.authority.clone();
        let signing = move || {
            let issuer = &authority.issuers()[index];
            Ok(issuer.sign_ocsp(&statuses, nonce.as_deref(), times)?)
        };
        Ok(OcspAnswer {
            der: self.pool.run(signing).await?.into(),
            next_update: Some(times.next_update),
        })
    }

    async fn status(
        &self,
        index: usize,
        id: &CertificateId,
    ) -> Result<CertificateStatus, SignerError> {
        let issuer = &self.authority.issuers()[index];
        if !issuer.is_named_by(id) {
            return Ok(CertificateStatus::Unknown);
        }
        let generation = issuer.generation();
        let serial = hex::encode(&id.serial);
        if let Some(leaf) = self.list.lock().await.find(&serial)
            && leaf.issuer == generation
        {
            return Ok(CertificateStatus::Revoked {
                at: leaf.revoked_at,
                invalid_from: leaf.invalid_from,
            });
        }
        if let Some(job) = JobId::of_serial(&id.serial)
            && let Some(job) = self.records.job(job).await?
        {
            let is_its_leaf = job.leaf_serial == serial && job.issuer == generation;
            return Ok(match is_its_leaf {
                true => self.status_of_job(&job),
                false => CertificateStatus::Unknown,
            });
        }
        let issued = self.records.issued_leaf(&serial).await?;
        Ok(match issued.is_some_and(|leaf| leaf.issuer == generation) {
            true => CertificateStatus::Good,
            false => CertificateStatus::Unknown,
        })
    }

    /// Says of a job's own leaf what its job says, long after it left the revocation list.
    fn status_of_job(&self, job: &SigningJob) -> CertificateStatus {
        if let Some(revocation) = &job.revocation
            && revocation.on_crl
        {
            return CertificateStatus::Revoked {
                at: revocation.at,
                invalid_from: None,
            };
        }
        let profile = self.find_profile(&job.profile);
        let revocation = profile
            .as_ref()
            .and_then(|profile| profile.revocation_at(&job.profile_version, job.position));
        match revocation {
            // Covered by its position in the log, whatever its clock said.
            Some(revocation) => CertificateStatus::Revoked {
                at: revocation.at,
                invalid_from: Some(revocation.from.min(job.signed_at)),
            },
            None => CertificateStatus::Good,
        }
    }
}
