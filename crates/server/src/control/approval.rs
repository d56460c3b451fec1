//! Approvals: what a person signs after having seen a verdict.

use client::{ArtifactSource, TagOrDigest};
use gate::statement::{ApprovalDecision, ApprovedPolicy};
use oci::{Digest, MediaType};
use pipeline::project::{Approval, Name, Work};
use pipeline::run::{Event, ProducedVerdict, RunState};
use signer::Principal;
use store::runs::RunId;

use super::events::{self, Answered};
use super::judge::current_graph_root;
use super::runs::{Loaded, apply, load};
use super::sign::{NewStatement, SignError, Signatory};
use super::{log, work};
use crate::api::signing::pipeline_principal;
use crate::auth::{Action, Caller};
use crate::clock;
use crate::error::{ApiError, ErrorKind, chain};
use crate::source::StoreSource;
use crate::state::Front;

/// The longest comment, in characters: the statement around it must stay below 4096 bytes.
pub(crate) const MAX_COMMENT_CHARACTERS: usize = 500;
/// How long an approval counts, unless a policy says less: as long as people usually mean it.
const APPROVAL_LIFE: time::Duration = time::Duration::days(7);

/// What a person says about a run that waits.
pub(crate) struct Answer {
    /// Why.
    pub(crate) comment: String,
    /// The graph root that the person saw; a different one now is refused.
    pub(crate) graph_root: Option<Digest>,
}

/// The approval that a run waits for, and what it is about.
struct Awaited {
    stage: Name,
    action: Name,
    approval: Approval,
    verdict: ProducedVerdict,
}

/// Approves what a run waits for: signs and attaches the approval, and lets the run go on.
pub(crate) async fn approve(
    front: &Front,
    caller: &Caller,
    id: &RunId,
    answer: Answer,
) -> Result<RunState, ApiError> {
    let loaded = load(front, id).await?;
    let (awaited, account) = check(caller, &loaded, &answer)?;
    let image = work::run_image(&loaded.state)
        .ok_or_else(|| ApiError::conflict("the run has no image to approve"))?;
    let source = StoreSource::new(front, &image.repository, account.as_str());
    require_same_evidence(&source, &image.digest, &awaited, &answer).await?;
    let artifact = sign_approval(front, (&loaded, &awaited), (&account, &answer)).await?;
    let answered = Answered {
        run: &loaded.row,
        action: &awaited.action,
        account: &account,
        decision: "approved",
        comment: &answer.comment,
        graph_root: &awaited.verdict.graph_root,
        artifact: Some(&artifact),
    };
    events::answered(front, answered).await?;
    let event = Event::Approved {
        action: awaited.action.clone(),
        account: account.clone(),
        approval: artifact,
    };
    let state = apply(front, id, event.into()).await?;
    let text = format!("approved by {account}: {}", answer.comment);
    log::write(front, id, awaited.action.as_str(), &text).await;
    Ok(state)
}

/// Refuses what a run waits for, and ends the run.
pub(crate) async fn reject(
    front: &Front,
    caller: &Caller,
    id: &RunId,
    answer: Answer,
) -> Result<RunState, ApiError> {
    let loaded = load(front, id).await?;
    let (awaited, account) = check(caller, &loaded, &answer)?;
    let answered = Answered {
        run: &loaded.row,
        action: &awaited.action,
        account: &account,
        decision: "rejected",
        comment: &answer.comment,
        graph_root: &awaited.verdict.graph_root,
        artifact: None,
    };
    events::answered(front, answered).await?;
    let text = format!("rejected by {account}: {}", answer.comment);
    let event = Event::Rejected {
        action: awaited.action.clone(),
        account,
        comment: answer.comment,
    };
    log::write(front, id, awaited.action.as_str(), &text).await;
    Ok(apply(front, id, event.into()).await?)
}

fn check(caller: &Caller, loaded: &Loaded, answer: &Answer) -> Result<(Awaited, Name), ApiError> {
    caller.require_account()?;
    caller.require(Action::Approve, &loaded.row.pipeline)?;
    if answer.comment.chars().count() > MAX_COMMENT_CHARACTERS {
        let text = format!("a comment has at most {MAX_COMMENT_CHARACTERS} characters");
        return Err(ApiError::usage(text));
    }
    let account: Name = caller
        .account
        .parse()
        .map_err(|_| ApiError::denied(format!("account `{}` cannot approve", caller.account)))?;
    Ok((awaited(&loaded.state)?, account))
}

fn awaited(state: &RunState) -> Result<Awaited, ApiError> {
    let nothing = || {
        let text = format!(
            "the run waits for no approval: it is {}",
            state.status().as_str()
        );
        ApiError::conflict(text)
    };
    let (action, _) = state.awaited_approval().ok_or_else(nothing)?;
    let found = state.action(action).ok_or_else(nothing)?;
    let Work::Approval(approval) = &found.action.work else {
        return Err(nothing());
    };
    let verdict = state.verdict_before(action).ok_or_else(|| {
        ApiError::conflict("there is no verdict to approve: the pipeline has no gate before")
    })?;
    Ok(Awaited {
        stage: state.stage_of(action).ok_or_else(nothing)?.clone(),
        action: action.clone(),
        approval: approval.clone(),
        verdict: verdict.clone(),
    })
}

/// An approval is over exactly the evidence that the verdict was given over.
async fn require_same_evidence(
    source: &StoreSource,
    image: &Digest,
    awaited: &Awaited,
    answer: &Answer,
) -> Result<(), ApiError> {
    let now = current_graph_root(source, image).await?;
    let seen = answer.graph_root.as_ref();
    if now == awaited.verdict.graph_root && seen.is_none_or(|seen| *seen == now) {
        return Ok(());
    }
    let text = format!(
        "the evidence has changed since the verdict: it was given over `{}`, and now there is `{now}`",
        awaited.verdict.graph_root
    );
    Err(
        ApiError::new(ErrorKind::Conflict, "approval-outdated", text)
            .hint("reject this run; a new one judges what is there now"),
    )
}

async fn sign_approval(
    front: &Front,
    (loaded, awaited): (&Loaded, &Awaited),
    (account, answer): (&Name, &Answer),
) -> Result<Digest, ApiError> {
    let image = work::run_image(&loaded.state)
        .ok_or_else(|| ApiError::conflict("the run has no image to approve"))?;
    let source = StoreSource::new(front, &image.repository, account.as_str());
    let subject = source
        .resolve(&TagOrDigest::Digest(image.digest.clone()))
        .await
        .map_err(|error| ApiError::internal(chain(&error)))?;
    let now = clock::now();
    let statement = gate::statement::Approval {
        graph_root: awaited.verdict.graph_root.clone(),
        policy: ApprovedPolicy {
            name: awaited.verdict.policy.to_string(),
            digest: awaited.verdict.policy_digest.clone(),
        },
        decision: ApprovalDecision::Approve,
        run: loaded.row.id.to_string(),
        stage: awaited.stage.to_string(),
        account: account.to_string(),
        comment: answer.comment.clone(),
        at: now,
        expires: now + APPROVAL_LIFE,
    };
    let payload = statement
        .to_payload(image.repository.as_str(), &image.digest)
        .map_err(|error| ApiError::usage(error.to_string()))?;
    let attest = async |principal: Principal| {
        let signatory = Signatory {
            front,
            source: &source,
            principal,
            profile: &awaited.approval.profile,
        };
        let new = NewStatement {
            subject: &subject,
            artifact_type: MediaType::APPROVAL,
            payload: payload.clone(),
        };
        signatory.attest(new).await
    };
    // The profile may be granted to the people who approve, or to the pipeline that asks them.
    let signed = match attest(Principal::account(account.as_str())).await {
        Err(error) if error.is_denied() => {
            attest(pipeline_principal(&loaded.row, account.as_str())).await
        }
        other => other,
    };
    signed
        .map(|descriptor| descriptor.digest)
        .map_err(not_signed)
}

pub(crate) fn not_signed(error: SignError) -> ApiError {
    match error {
        SignError::Signer { source, .. } => source.into(),
        SignError::Profile(_) => ApiError::conflict(error.to_string()),
        SignError::Artifact(..) | SignError::Store(_) => ApiError::internal(chain(&error)),
    }
}
