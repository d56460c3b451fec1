//! AddProfilePermission, ListProfilePermissions, RemoveProfilePermission.

use ::signer::{PermissionChange, ProfileName, ProfilePermission};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::paging::Paging;
use super::profiles::{Shown, without_nulls};
use crate::aws::error::AwsError;
use crate::aws::invocations::AwsAnswer;
use crate::aws::request::{AwsRequest, Query};
use crate::two_person;

const OPERATION: &str = "ListProfilePermissions";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    action: String,
    principal: String,
    statement_id: String,
    profile_version: Option<String>,
    revision_id: Option<String>,
}

/// Adds a permission.
pub(super) async fn add(request: &AwsRequest, profile: ProfileName) -> Answer {
    let input: Input = request.json()?;
    let action = input.action.parse();
    let permission = ProfilePermission {
        statement_id: input.statement_id,
        action: action
            .map_err(|error: ::signer::PermissionError| AwsError::validation(error.to_string()))?,
        principal: input.principal,
        profile_version: input.profile_version,
    };
    let change = PermissionChange::Add(permission);
    self::change(request, profile, (change, input.revision_id)).await
}

/// Removes a permission, if the permissions are still at the given revision.
pub(super) async fn remove(
    request: &AwsRequest,
    query: &Query,
    (profile, statement): (ProfileName, &str),
) -> Answer {
    let revision = query.required("revisionId")?.to_owned();
    let change = PermissionChange::Remove(statement.to_owned());
    self::change(request, profile, (change, Some(revision))).await
}

async fn change(
    request: &AwsRequest,
    profile: ProfileName,
    change: (PermissionChange, Option<String>),
) -> Answer {
    two_person::guard_profile(&request.front, &profile).await?;
    let principal = request.principal().await?;
    let signer = &request.front.signer;
    let changed = signer
        .change_permissions(principal, profile, change)
        .await?;
    Ok(AwsAnswer::ok(json!({"revisionId": changed.revision_id})))
}

/// Lists the permissions of a profile of the caller's account number.
pub(super) async fn list(request: &AwsRequest, query: &Query, name: ProfileName) -> Answer {
    let paging = Paging::read(query, OPERATION)?;
    let principal = request.principal().await?;
    let profile = request
        .front
        .signer
        .profile(principal, name.clone())
        .await?;
    if Shown::of(request, &profile).owner != request.caller.number {
        let number = request.caller.number;
        return Err(AwsError::not_found(format!(
            "account number {number} has no signing profile `{name}`"
        )));
    }
    if profile.revision_id.is_empty() {
        return Err(AwsError::not_found(format!(
            "signing profile `{name}` has no permissions: none was ever added"
        )));
    }
    let size = serde_json::to_vec(&profile.permissions).map_or(0, |json| json.len());
    let mut all = profile.permissions;
    all.sort_by(|one, other| one.statement_id.cmp(&other.statement_id));
    let id = |one: &ProfilePermission| one.statement_id.clone();
    let (page, next) = paging.cut(all, (OPERATION, id));
    let page: Vec<Value> = page.iter().map(|one| json!(one)).collect();
    Ok(AwsAnswer::ok(without_nulls(json!({
        "revisionId": profile.revision_id,
        "policySizeBytes": size,
        "permissions": page,
        "nextToken": next,
    }))))
}
