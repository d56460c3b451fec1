//! Signing: authorize, check the payload, sign, record, answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use oci::{Digest, MediaType};
use time::{Duration, OffsetDateTime};
use trust::jws::{AwsAttributes, UnsignedEnvelope};
use trust::{EnvelopeRequest, SigningScheme, TargetArtifact};

use super::journal::{Change, Rows};
use super::quotas::{Permit, Permitted, left_no_job};
use super::{Signer, SignerError};
use crate::account::AccountNumber;
use crate::authority::{AuthorityError, LEAF_LIFE, Leaf, LeafSerial, LeafTimes, whole_seconds};
use crate::custody::{CustodyError, KeyAlgorithm};
use crate::job::{IssuedLeaf, JobId, JobKind, JobStatus, SigningJob};
use crate::keys::LeafKey;
use crate::log::Entry;
use crate::payload::{self, Signatory};
use crate::principal::Principal;
use crate::profile::rules::{Artifact, RuleRequest};
use crate::profile::{Dialect, LeafPolicy, ProfileName, SigningProfile};

const AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// A request for a Notary signature.
#[derive(Clone, Debug)]
pub struct SignRequest {
    /// Who asks.
    pub principal: Principal,
    /// Under which profile.
    pub profile: ProfileName,
    /// The account number that the profile must belong to; any when absent.
    pub owner: Option<AccountNumber>,
    /// The Notary payload.
    pub payload: Vec<u8>,
    /// What the front knows of the artifact.
    pub artifact: Artifact,
}

/// A request for a DSSE envelope.
#[derive(Clone, Debug)]
pub struct AttestRequest {
    /// Who asks.
    pub principal: Principal,
    /// Under which profile.
    pub profile: ProfileName,
    /// The type of the payload.
    pub payload_type: String,
    /// The in-toto statement.
    pub payload: Vec<u8>,
    /// What the front knows of the artifact that the statement is about.
    pub artifact: Artifact,
}

/// A signature that is on record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedEnvelope {
    /// The job.
    pub job: JobId,
    /// The position of its entry in the log.
    pub position: u64,
    /// The version of the profile that signed.
    pub profile_version: String,
    /// The envelope.
    #[serde(with = "crate::protocol::base64_bytes")]
    pub envelope: Vec<u8>,
    /// Its media type.
    pub media_type: MediaType,
    /// The SHA-256 fingerprints of the chain, leaf first, in hexadecimal.
    pub certificate_sha256: Vec<String>,
    /// When it was signed.
    #[serde(with = "time::serde::rfc3339")]
    pub signing_time: OffsetDateTime,
    /// Until when it is valid.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
}

/// What is known of a job before it is signed.
struct Draft {
    id: JobId,
    profile: Arc<SigningProfile>,
    permit: Permit,
    caller: Principal,
    target: Digest,
    kind: JobKind,
    signed_at: OffsetDateTime,
    expires: OffsetDateTime,
}

/// An envelope and the leaf that signed it.
struct Sealed {
    envelope: Vec<u8>,
    signed_sha256: String,
    leaf: Arc<Leaf>,
}

impl Signer {
    /// Signs an artifact; the job is on record when this returns.
    pub async fn sign(
        self: &Arc<Self>,
        request: SignRequest,
    ) -> Result<SignedEnvelope, SignerError> {
        let _signing = self.changes.read().await;
        self.check_owner(&request.profile, request.owner)?;
        let asked = (&request.principal, &request.artifact);
        let permitted = self.permitted(&request.profile, asked).await?;
        let permit = permitted.permit.clone();
        let signed = self.sign_permitted(permitted, request).await;
        self.settle(&permit, signed).await
    }

    async fn sign_permitted(
        self: &Arc<Self>,
        permitted: Permitted,
        request: SignRequest,
    ) -> Result<SignedEnvelope, SignerError> {
        let target = payload::notary(&request.payload)?;
        let digest = target.digest.clone();
        let draft = self.draft(permitted, request.principal, (JobKind::Notary, digest))?;
        let signer = self.clone();
        let sealing = move || {
            let leaf = signer.notary_leaf(&draft)?;
            let aws = signer.aws_attributes(&draft);
            let sealed = notary_envelope(&draft, leaf, (target, aws))?;
            Ok((draft, sealed))
        };
        let (draft, sealed) = self.pool.run(sealing).await?;
        self.record(draft, sealed, MediaType::JOSE_JSON).await
    }

    /// Signs a statement; the job is on record when this returns.
    pub async fn attest(
        self: &Arc<Self>,
        request: AttestRequest,
    ) -> Result<SignedEnvelope, SignerError> {
        let _signing = self.changes.read().await;
        let asked = (&request.principal, &request.artifact);
        let permitted = self.permitted(&request.profile, asked).await?;
        let permit = permitted.permit.clone();
        let signed = self.attest_permitted(permitted, request).await;
        self.settle(&permit, signed).await
    }

    async fn attest_permitted(
        self: &Arc<Self>,
        permitted: Permitted,
        request: AttestRequest,
    ) -> Result<SignedEnvelope, SignerError> {
        let AttestRequest {
            principal,
            payload_type,
            payload,
            ..
        } = request;
        let signatory = Signatory {
            principal: &principal,
            profile: &permitted.profile.name,
        };
        let digest = payload::dsse(&payload_type, &payload, &signatory)?;
        let draft = self.draft(permitted, principal, (JobKind::Dsse, digest))?;
        let authority = self.authority.clone();
        let sealing = move || {
            let times = LeafTimes {
                not_before: draft.signed_at,
                not_after: draft.expires,
            };
            let key = LeafKey::generate(KeyAlgorithm::P384).map_err(key_failed)?;
            let key = (key, LeafSerial::Job(draft.id));
            let leaf = authority.issue_leaf(&draft.profile.name, times, key)?;
            let bytes = trust::dsse::pae(&payload_type, &payload);
            let value = leaf.key.sign(&bytes).map_err(key_failed)?;
            let envelope =
                trust::dsse::assemble(&payload_type, &payload, value.as_ref(), &leaf.chain);
            Ok((
                draft,
                Sealed {
                    envelope,
                    signed_sha256: Digest::sha256(&bytes).hex().to_owned(),
                    leaf: Arc::new(leaf),
                },
            ))
        };
        let (draft, sealed) = self.pool.run(sealing).await?;
        self.record(draft, sealed, MediaType::DSSE).await
    }

    async fn permitted(
        &self,
        name: &ProfileName,
        (principal, artifact): (&Principal, &Artifact),
    ) -> Result<Permitted, SignerError> {
        let profile = self.profile_or_not_found(name)?;
        let request = RuleRequest {
            principal,
            artifact,
        };
        let now = self.now();
        let permit = self.permit(&profile, request, now).await?;
        Ok(Permitted {
            profile,
            permit,
            now,
        })
    }

    /// A request that left no job used nothing of its quota. One whose fate is not known did.
    async fn settle(
        &self,
        permit: &Permit,
        signed: Result<SignedEnvelope, SignerError>,
    ) -> Result<SignedEnvelope, SignerError> {
        if signed.as_ref().is_err_and(left_no_job) {
            self.quotas.give_back(permit).await;
        }
        signed
    }

    /// What the dialect adds to the envelope.
    fn aws_attributes(&self, draft: &Draft) -> Option<AwsAttributes> {
        let profile = &draft.profile;
        let owner = self.owner_of(profile);
        let here = &self.installation;
        (profile.dialect == Dialect::Aws).then(|| AwsAttributes {
            profile_version: here.version_arn(owner, &profile.name, &profile.version),
            job: here.job_arn(owner, draft.id),
        })
    }

    fn draft(
        &self,
        permitted: Permitted,
        caller: Principal,
        (kind, target): (JobKind, Digest),
    ) -> Result<Draft, SignerError> {
        let Permitted {
            profile,
            permit,
            now,
        } = permitted;
        let signed_at = whole_seconds(now);
        let expires = profile.validity.end_after(signed_at);
        Ok(Draft {
            id: JobId::new(now),
            expires: expires.ok_or(SignerError::ExpiryOverflow)?,
            profile,
            permit,
            caller,
            target,
            kind,
            signed_at,
        })
    }

    fn notary_leaf(&self, draft: &Draft) -> Result<Arc<Leaf>, SignerError> {
        let issue = |life: Duration, serial| {
            let not_before = draft.signed_at;
            let times = LeafTimes {
                not_before,
                not_after: not_before + life,
            };
            let key = LeafKey::generate(draft.profile.platform.key_algorithm())?;
            let key = (key, serial);
            let leaf = self.authority.issue_leaf(&draft.profile.name, times, key)?;
            Ok::<_, AuthorityError>(Arc::new(leaf))
        };
        let LeafPolicy::Rotating { days } = draft.profile.leaf else {
            return Ok(issue(LEAF_LIFE, LeafSerial::Job(draft.id))?);
        };
        // Issued under the lock: whoever else needs it now would only issue another.
        let mut leaves = self.leaves();
        if let Some(leaf) = leaves.get(&draft.profile.name)
            && leaf.is_fresh_at(draft.signed_at)
        {
            return Ok(leaf.clone());
        }
        let leaf = issue(Duration::days(days.into()), LeafSerial::Random)?;
        leaves.insert(draft.profile.name.clone(), leaf.clone());
        Ok(leaf)
    }

    async fn record(
        &self,
        draft: Draft,
        sealed: Sealed,
        media_type: MediaType,
    ) -> Result<SignedEnvelope, SignerError> {
        let Sealed {
            envelope,
            signed_sha256,
            leaf,
        } = sealed;
        let is_rotating = matches!(draft.profile.leaf, LeafPolicy::Rotating { .. });
        let answer = SignedEnvelope {
            job: draft.id,
            position: 0,
            profile_version: draft.profile.version.clone(),
            envelope,
            media_type,
            certificate_sha256: leaf.fingerprints.clone(),
            signing_time: draft.signed_at,
            expires: draft.expires,
        };
        let job = SigningJob {
            id: draft.id,
            position: 0,
            owner: self.owner_of(&draft.profile).to_string(),
            profile: draft.profile.name.clone(),
            profile_version: draft.profile.version.clone(),
            caller: draft.caller,
            rule: Some(draft.permit.rule),
            quota_key: draft.permit.quota_key,
            target: draft.target,
            kind: draft.kind,
            signed_at: draft.signed_at,
            expires: draft.expires,
            leaf_serial: leaf.serial.clone(),
            leaf_sha256: leaf.fingerprints[0].clone(),
            leaf_tbs_sha384: (draft.profile.dialect == Dialect::Aws).then(|| leaf.tbs_sha384()),
            shares_leaf: is_rotating && draft.kind == JobKind::Notary,
            issuer: leaf.issuer,
            envelope_sha256: Some(Digest::sha256(&answer.envelope).hex().to_owned()),
            signed_sha256: Some(signed_sha256),
            status: JobStatus::Succeeded,
            revocation: None,
        };
        let entry = Entry::of_job(&job)?;
        let rows = Rows {
            issued: leaf.to_record(job.shares_leaf).into_iter().collect(),
            new_job: Some(job),
            ..Rows::default()
        };
        let recorded = self.journal.commit(Change { entry, rows }).await?;
        leaf.is_on_record.store(true, Ordering::Relaxed);
        Ok(SignedEnvelope {
            position: recorded.position,
            ..answer
        })
    }
}

impl Leaf {
    /// Returns the row of a leaf that several jobs share, until it is on record: jobs that are
    /// written at once bring it along each, and one that is known already stays as it is.
    fn to_record(&self, is_shared: bool) -> Option<IssuedLeaf> {
        let is_needed = is_shared && !self.is_on_record.load(Ordering::Relaxed);
        is_needed.then(|| IssuedLeaf {
            serial: self.serial.clone(),
            issuer: self.issuer,
        })
    }

    /// Returns whether a rotating leaf still signs: in the first two thirds of its life.
    fn is_fresh_at(&self, now: OffsetDateTime) -> bool {
        let life = self.times.not_after - self.times.not_before;
        (self.times.not_before..self.times.not_before + life * 2 / 3).contains(&now)
    }
}

fn notary_envelope(
    draft: &Draft,
    leaf: Arc<Leaf>,
    (target, aws): (TargetArtifact, Option<AwsAttributes>),
) -> Result<Sealed, SignerError> {
    let unsigned = UnsignedEnvelope::new(EnvelopeRequest {
        target,
        scheme: SigningScheme::SigningAuthority,
        algorithm: leaf.key.algorithm().of_envelopes(),
        signing_time: draft.signed_at,
        expiry: Some(draft.expires),
        chain: leaf.chain.clone(),
        agent: Some(AGENT.to_owned()),
        aws,
    });
    let unsigned = unsigned.map_err(|error| SignerError::Internal(error.to_string()))?;
    let bytes = unsigned.signing_input();
    let value = leaf.key.sign(bytes).map_err(key_failed)?;
    Ok(Sealed {
        envelope: unsigned.assemble(value.as_ref()),
        signed_sha256: Digest::sha256(bytes).hex().to_owned(),
        leaf,
    })
}

fn key_failed(error: CustodyError) -> SignerError {
    AuthorityError::Custody(error).into()
}
