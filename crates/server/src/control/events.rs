//! What the front reports to the transparency log.
//!
//! What a person does (an approval, a policy, a grant) is in the log before it is done: if the log
//! cannot be written, it is not done. What happens by itself (a scan that fails, a hold, a
//! deployment) is reported as it happens.

use oci::{Digest, Manifest, MediaType, RepositoryName};
use pipeline::project::Name;
use serde_json::{Value, json};
use signer::Principal;
use signer::log::EntryKind;
use store::runs::RunRow;

use super::judge::{Question, Verdict};
use super::projects::{self, Stored};
use crate::auth::Grants;
use crate::error::{ApiError, chain};
use crate::state::{Front, FrontState};

/// Longer grants are in the log by their hash: an entry is bounded.
const MAX_GRANTS_BYTES: usize = 8 * 1024;

/// A person's answer to a run that waits.
pub(crate) struct Answered<'a> {
    pub(crate) run: &'a RunRow,
    pub(crate) action: &'a Name,
    pub(crate) account: &'a Name,
    /// `approved` or `rejected`.
    pub(crate) decision: &'a str,
    pub(crate) comment: &'a str,
    /// The evidence that the person saw.
    pub(crate) graph_root: &'a Digest,
    /// The signed approval, if there is one.
    pub(crate) artifact: Option<&'a Digest>,
}

/// Reports an approval, or the refusal of one.
pub(crate) async fn answered(front: &Front, answered: Answered<'_>) -> Result<(), ApiError> {
    let body = json!({
        "project": answered.run.project,
        "pipeline": answered.run.pipeline,
        "run": answered.run.id.to_string(),
        "action": answered.action,
        "decision": answered.decision,
        "by": answered.account,
        "comment": answered.comment,
        "graphRoot": answered.graph_root,
        "approval": answered.artifact,
    });
    front.record_event(EntryKind::Approval, body).await
}

/// Reports that a project is applied: its file, its gate policies and its trust policy, by hash.
pub(crate) async fn project_applied(
    front: &Front,
    stored: &Stored,
    by: &Principal,
) -> Result<(), ApiError> {
    let hash = |text: &str| Digest::sha256(text.as_bytes());
    let body = json!({
        "project": stored.project.name,
        "change": "applied",
        "by": by,
        "file": hash(&stored.text),
        "gatePolicies": stored.policy_digests(),
        "trustPolicy": stored.trust_policy().map(hash),
    });
    front.record_event(EntryKind::Policy, body).await
}

/// Reports that a project is removed.
pub(crate) async fn project_removed(
    front: &Front,
    project: &str,
    by: &Principal,
) -> Result<(), ApiError> {
    let body = json!({"project": project, "change": "removed", "by": by});
    front.record_event(EntryKind::Policy, body).await
}

/// Reports what an account may do from now on; nothing when it is removed.
pub(crate) async fn account_changed(
    front: &FrontState,
    (account, by): (&str, &Principal),
    grants: Option<&Grants>,
) -> Result<(), ApiError> {
    let granted = grants.map(|grants| serde_json::to_value(grants).unwrap_or(Value::Null));
    let text = granted.as_ref().map_or_else(String::new, Value::to_string);
    let mut body = json!({
        "account": account,
        "change": if grants.is_some() { "put" } else { "removed" },
        "by": by,
    });
    match granted {
        Some(granted) if text.len() <= MAX_GRANTS_BYTES => body["grants"] = granted,
        Some(_) => body["grantsSha256"] = json!(Digest::sha256(text.as_bytes()).hex()),
        None => {}
    }
    front.record_event(EntryKind::Permission, body).await
}

/// Reports that a gate said no.
pub(crate) async fn gate_denied(
    front: &Front,
    (run, question): (&RunRow, &Question<'_>),
    verdict: &Verdict,
) {
    let body = json!({
        "project": question.project,
        "run": run.id.to_string(),
        "policy": question.policy,
        "repository": question.repository,
        "digest": question.digest,
        "code": verdict.code,
        "graphRoot": verdict.graph_root,
    });
    happened(front, (EntryKind::ScanFailed, body)).await;
}

/// Reports that something serves an environment now.
pub(crate) async fn deployed(
    front: &Front,
    (run, environment): (&RunRow, &Name),
    image: Option<(&RepositoryName, &Digest)>,
) {
    let body = json!({
        "project": run.project,
        "run": run.id.to_string(),
        "environment": environment,
        "repository": image.map(|(repository, _)| repository),
        "digest": image.map(|(_, digest)| digest),
    });
    happened(front, (EntryKind::Deployment, body)).await;
}

/// Reports a pushed manifest, if a gate policy of some project forbids what it is: then it is
/// evidence against its subject.
pub(crate) async fn pushed(
    front: &Front,
    (repository, account): (&RepositoryName, &str),
    (manifest, digest): (&Manifest, &Digest),
) {
    let (Some(subject), Some(kind)) = (manifest.subject(), manifest.artifact_type()) else {
        return;
    };
    match is_forbidden(front, kind).await {
        Ok(false) => {}
        Ok(true) => {
            let body = json!({
                "repository": repository,
                "subject": subject.digest,
                "evidence": digest,
                "artifactType": kind,
                "by": account,
            });
            happened(front, (EntryKind::Hold, body)).await;
        }
        Err(error) => tracing::error!(error = chain(&error), "projects cannot be read"),
    }
}

async fn is_forbidden(front: &Front, kind: &MediaType) -> Result<bool, store::StoreError> {
    for stored in projects::all(front).await? {
        let texts = stored
            .project
            .policy_names()
            .filter_map(|name| stored.policy(name));
        let policies = texts.filter_map(|text| gate::GatePolicy::parse(text).ok());
        let mut forbidden = policies.flat_map(|policy| policy.forbid);
        if forbidden.any(|forbid| forbid.artifact.artifact_type == *kind) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What has happened cannot be refused any more: if it cannot be reported, that is said.
async fn happened(front: &Front, (kind, body): (EntryKind, Value)) {
    if let Err(error) = front.record_event(kind, body).await {
        tracing::error!(
            error = error.message(),
            ?kind,
            "an event is missing in the log"
        );
    }
}
