//! The issuers whose tokens are accepted, as administrators set them.

use std::collections::BTreeMap;

use oci::{Digest, Pattern};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use signer::Workload;
use signer::profile::rules::{Glob, WorkloadPattern};
use store::StoreError;
use store::documents::{DocumentKey, DocumentRow};
use trust::jwt::KeySet;

use crate::auth::Grants;
use crate::clock;
use crate::error::{ApiError, chain};
use crate::state::Front;

/// The kind of the documents that hold issuers.
const ISSUER: &str = "oidc-issuer";
/// The most issuers.
const MAX_ISSUERS: usize = 64;
/// The most claims that are kept of a token.
const MAX_KEPT_CLAIMS: usize = 16;
/// The most lines of access of one issuer.
const MAX_ACCESS: usize = 64;

/// An issuer that is to be trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewIssuer {
    /// Its address, exactly as its tokens say it.
    pub issuer: String,
    /// The audience that its tokens must be for.
    pub audience: String,
    /// The claims that are kept of a token, for rules that ask for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// Its keys, when they are not to be fetched from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// What its workloads may do in the registry, beside signing by rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<Access>,
}

/// What some workloads of an issuer may do in the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// What their subject looks like.
    pub subject: Glob,
    /// What other claims look like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Glob>,
    /// The repositories that they may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pull: Vec<Pattern>,
    /// The repositories that they may write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub push: Vec<Pattern>,
}

/// An issuer that is trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// By which it is named in paths.
    pub id: String,
    /// Its settings.
    #[serde(flatten)]
    settings: NewIssuer,
    /// The project whose file made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

impl std::ops::Deref for Issuer {
    type Target = NewIssuer;

    fn deref(&self) -> &NewIssuer {
        &self.settings
    }
}

impl Issuer {
    /// Returns what a workload may do in the registry.
    pub(super) fn grants_of(&self, workload: &Workload) -> Grants {
        let mut grants = Grants::default();
        for access in &self.access {
            let pattern = WorkloadPattern {
                issuer: self.issuer.clone(),
                subject: access.subject.clone(),
                claims: access.claims.clone(),
            };
            if pattern.matches(workload) {
                grants.pull.extend_from_slice(&access.pull);
                grants.push.extend_from_slice(&access.push);
            }
        }
        grants
    }
}

impl NewIssuer {
    /// Checks everything that the types do not.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), ApiError> {
        client::oidc::check_issuer(&self.issuer).map_err(|error| ApiError::usage(chain(&error)))?;
        let fits =
            |text: &str| (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
        if !fits(&self.audience) {
            return Err(ApiError::usage(
                "an audience has 1 to 256 bytes without control characters",
            ));
        }
        if self.claims.len() > MAX_KEPT_CLAIMS || !self.claims.iter().all(|name| fits(name)) {
            return Err(ApiError::usage(format!(
                "at most {MAX_KEPT_CLAIMS} claims are kept, each with a name"
            )));
        }
        if self.access.len() > MAX_ACCESS {
            return Err(ApiError::usage(format!(
                "an issuer has at most {MAX_ACCESS} lines of access"
            )));
        }
        let asked = self.access.iter().flat_map(|access| access.claims.keys());
        if let Some(missing) = asked.into_iter().find(|name| !self.claims.contains(name)) {
            return Err(ApiError::usage(format!(
                "claim `{missing}` is asked for and not kept: add it to `claims`"
            )));
        }
        self.static_keys().map(|_| ())
    }

    /// Returns the keys that were given with the settings.
    pub(super) fn static_keys(&self) -> Result<Option<KeySet>, ApiError> {
        let Some(document) = &self.jwks else {
            return Ok(None);
        };
        let keys = KeySet::parse(document.to_string().as_bytes());
        keys.map(Some)
            .map_err(|error| ApiError::usage(error.to_string()))
    }
}

fn id(issuer: &str) -> String {
    Digest::sha256(issuer.as_bytes()).hex()[..16].to_owned()
}

fn key(id: &str) -> DocumentKey {
    DocumentKey::new(ISSUER, id)
}

fn parse(row: &DocumentRow) -> Result<Issuer, StoreError> {
    serde_json::from_slice(&row.bytes).map_err(|error| StoreError::Corrupt {
        what: "OIDC issuer".to_owned(),
        reason: error.to_string(),
    })
}

/// Returns all issuers.
pub(crate) async fn list(front: &Front) -> Result<Vec<Issuer>, StoreError> {
    let rows = front.store.documents.list(ISSUER, "").await?;
    rows.iter().map(parse).collect()
}

/// Returns the issuer with this address.
pub(crate) async fn find(front: &Front, issuer: &str) -> Result<Option<Issuer>, StoreError> {
    let row = front.store.documents.get(&key(&id(issuer))).await?;
    let found = row.as_ref().map(parse).transpose()?;
    Ok(found.filter(|found| found.issuer == issuer))
}

/// Trusts an issuer from now on, with these settings. One that a project or an administrator made
/// is changed by the same alone.
pub(crate) async fn put(
    front: &Front,
    (settings, project): (NewIssuer, Option<String>),
) -> Result<Issuer, ApiError> {
    settings.check()?;
    let all = list(front).await?;
    let known = all.iter().find(|known| known.issuer == settings.issuer);
    if known.is_some_and(|known| known.project != project) {
        let message = format!(
            "issuer `{}` is set by somebody else: a project or an administrator",
            settings.issuer
        );
        return Err(ApiError::conflict(message));
    }
    if known.is_none() && all.len() >= MAX_ISSUERS {
        return Err(ApiError::conflict(format!(
            "there are {MAX_ISSUERS} issuers already"
        )));
    }
    let issuer = Issuer {
        id: id(&settings.issuer),
        settings,
        project,
    };
    let bytes = serde_json::to_vec(&issuer).map_err(ApiError::internal)?;
    front
        .store
        .documents
        .put(&key(&issuer.id), &bytes, clock::now())
        .await?;
    front.issuer_keys.forget(&issuer.issuer).await;
    Ok(issuer)
}

/// Trusts an issuer no more. Tokens of ours that were made for its workloads live out their
/// minutes.
pub(crate) async fn remove(front: &Front, id: &str) -> Result<(), ApiError> {
    match front.store.documents.delete(&key(id)).await? {
        true => Ok(()),
        false => Err(ApiError::not_found("there is no such issuer")),
    }
}
