//! Projects as they are kept, and what applying or removing one does.
//!
//! The declarative file is written down first and applied afterwards, each step of which is
//! harmless when it is done twice: after a crash, applying the same file again finishes the work.

use std::collections::{BTreeMap, BTreeSet};

use oci::Digest;
use pipeline::project::{Account, Name, OidcIssuer, Pipeline, Profile, Project};
use serde::{Deserialize, Serialize};
use signer::{Grants as ProfileGrants, Principal, ProfileSpec, Rules};
use store::StoreError;
use store::accounts::AccountRow;
use store::documents::DocumentKey;
use store::queue::{JobId, NewJob};

use super::perform::gate_profile;
use super::runs::RETIRE_JOB;
use super::work::JobPayload;
use crate::api::accounts::IssuedToken;
use crate::api::signing::qualified_pipeline;
use crate::auth::{GitGrants, Grants, NewTokenRequest, Pattern};
use crate::clock;
use crate::error::{ApiError, chain};
use crate::oidc::NewIssuer;
use crate::state::Front;

/// The kind of the documents that hold projects.
const PROJECT: &str = "project";
/// How long verdicts of our own gates stay valid, in words of a profile.
const GATE_VALIDITY: &str = "90 days";

/// A project as it is kept: the file, and the files that it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored {
    pub(crate) text: String,
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) project: Project,
}

impl Stored {
    /// Returns the text of a gate policy.
    pub(crate) fn policy(&self, name: &str) -> Option<&str> {
        let mut paths = self.project.gate_policies.iter();
        let path = paths.find(|path| path.stem() == name)?;
        self.files.get(path.as_str()).map(String::as_str)
    }

    /// Returns the digests of the gate policies by name.
    pub(crate) fn policy_digests(&self) -> BTreeMap<String, Digest> {
        let digest = |name: &str| {
            let text = self.policy(name)?;
            Some((name.to_owned(), Digest::sha256(text.as_bytes())))
        };
        self.project.policy_names().filter_map(digest).collect()
    }

    /// Returns the text of the trust policy.
    pub(crate) fn trust_policy(&self) -> Option<&str> {
        let path = self.project.trust_policy.as_ref()?;
        self.files.get(path.as_str()).map(String::as_str)
    }

    fn claims(&self) -> BTreeSet<(&'static str, &str)> {
        let project = &self.project;
        let accounts = project.accounts.iter().map(|one| ("account", &one.name));
        let profiles = project.profiles.iter().map(|one| ("profile", &one.name));
        let git = project.git_repositories.iter();
        let git = git.map(|one| ("git repository", &one.name));
        let environments = project.environments.iter();
        let environments = environments.map(|one| ("environment", &one.name));
        let pipelines = project.pipelines.iter().map(|one| ("pipeline", &one.name));
        accounts
            .chain(profiles)
            .chain(git)
            .chain(environments)
            .chain(pipelines)
            .map(|(kind, name)| (kind, name.as_str()))
            .collect()
    }
}

fn key(name: &str) -> DocumentKey {
    DocumentKey::new(PROJECT, name)
}

fn parse(bytes: &[u8]) -> Result<Stored, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Corrupt {
        what: "project".to_owned(),
        reason: error.to_string(),
    })
}

/// Reads a project.
pub(crate) async fn load(front: &Front, name: &str) -> Result<Option<Stored>, StoreError> {
    let row = front.store.documents.get(&key(name)).await?;
    row.map(|row| parse(&row.bytes)).transpose()
}

/// Reads all projects by name.
pub(crate) async fn all(front: &Front) -> Result<Vec<Stored>, StoreError> {
    let rows = front.store.documents.list(PROJECT, "").await?;
    rows.iter().map(|row| parse(&row.bytes)).collect()
}

/// Finds a pipeline by name among all projects, or in one.
pub(crate) async fn find_pipeline(
    front: &Front,
    project: Option<&str>,
    pipeline: &str,
) -> Result<(Stored, Pipeline), ApiError> {
    for stored in all(front).await? {
        let wanted = project.is_none_or(|name| name == stored.project.name.as_str());
        let mut pipelines = stored.project.pipelines.iter();
        let found = pipelines.find(|one| one.name.as_str() == pipeline).cloned();
        if let (true, Some(found)) = (wanted, found) {
            return Ok((stored, found));
        }
    }
    Err(ApiError::not_found(format!(
        "there is no pipeline `{pipeline}`"
    )))
}

/// Applies a project: makes what it describes, changes what differs, removes what it no longer
/// describes. Returns the tokens of the accounts that are new.
///
/// The log says so first: a policy that nobody can trace is not applied.
pub(crate) async fn apply(
    front: &Front,
    stored: &Stored,
    by: &Principal,
) -> Result<Vec<IssuedToken>, ApiError> {
    let name = stored.project.name.as_str();
    let before = load(front, name).await?;
    refuse_what_others_have(front, stored).await?;
    super::events::project_applied(front, stored, by).await?;
    let bytes = serde_json::to_vec(stored).map_err(ApiError::internal)?;
    let documents = &front.store.documents;
    documents.put(&key(name), &bytes, clock::now()).await?;
    if let Some(before) = &before {
        remove_what_is_gone(front, before, stored).await?;
    }
    let tokens = put_accounts(front, stored).await?;
    put_profiles(front, stored).await?;
    for issuer in issuers(stored)? {
        crate::oidc::put(front, (issuer, Some(name.to_owned()))).await?;
    }
    for repository in &stored.project.git_repositories {
        crate::git::create(front, &repository.name).await?;
    }
    front.auth.forget();
    front.control.routes_changed();
    front.control.wake();
    Ok(tokens)
}

/// Names are shared by all projects: a grant names an account's profiles and pipelines, a URL an
/// environment. Taking over what another project or an administrator made is refused.
async fn refuse_what_others_have(front: &Front, stored: &Stored) -> Result<(), ApiError> {
    let name = &stored.project.name;
    let mine = stored.claims();
    for other in all(front).await? {
        let is_other = other.project.name != *name;
        if is_other && let Some((kind, taken)) = other.claims().intersection(&mine).next() {
            let owner = &other.project.name;
            let text = format!("{kind} `{taken}` belongs to project `{owner}`");
            return Err(ApiError::conflict(text));
        }
    }
    for account in &stored.project.accounts {
        let row = front.store.accounts.account(account.name.as_str()).await?;
        let is_foreign = row.is_some_and(|row| row.project.as_deref() != Some(name.as_str()));
        if is_foreign {
            let text = format!(
                "account `{}` exists already, outside of this project",
                account.name
            );
            return Err(ApiError::conflict(text).hint("choose another name"));
        }
    }
    Ok(())
}

async fn put_accounts(front: &Front, stored: &Stored) -> Result<Vec<IssuedToken>, ApiError> {
    let mut tokens = Vec::new();
    for account in &stored.project.accounts {
        let name = account.name.as_str();
        let is_new = front.store.accounts.account(name).await?.is_none();
        let row = AccountRow {
            project: Some(stored.project.name.to_string()),
            is_robot: account.robot,
            groups: account.groups.iter().map(Name::to_string).collect(),
            ..AccountRow::new(name, clock::now())
        };
        front.store.accounts.put_account(&row).await?;
        let rows = grants(account).to_rows();
        front.store.accounts.set_grants(name, &rows).await?;
        if is_new {
            let issued = front.auth.issue(name, NewTokenRequest::default()).await;
            let token = issued.map_err(|error| ApiError::internal(chain(&error)))?;
            tokens.push(IssuedToken {
                account: name.to_owned(),
                id: token.id().to_owned(),
                token: token.text().to_owned(),
                expires_at: None,
            });
        }
    }
    Ok(tokens)
}

/// Returns the grants that a line of the file means.
fn grants(account: &Account) -> Grants {
    let pattern = |text: &str| text.parse::<Pattern>().ok();
    let names = |names: &[Name]| names.iter().map(Name::to_string).collect::<Vec<_>>();
    let git = |names: &[Name]| {
        names
            .iter()
            .filter_map(|name| pattern(name.as_str()))
            .collect()
    };
    let repositories = |list: &[pipeline::project::RepositoryPattern]| {
        list.iter()
            .filter_map(|one| pattern(one.as_str()))
            .collect()
    };
    Grants {
        pull: repositories(&account.pull),
        push: repositories(&account.push),
        profiles: names(&account.profiles),
        git: GitGrants {
            pull: git(&account.git.pull),
            push: git(&account.git.push),
        },
        approve: names(&account.approve),
        ..Grants::default()
    }
}

fn administrator() -> Principal {
    Principal::account("@front").as_admin()
}

async fn put_profiles(front: &Front, stored: &Stored) -> Result<(), ApiError> {
    let project = &stored.project;
    let specs = project
        .profiles
        .iter()
        .map(|one| profile_spec(project, one));
    // All are read before the first is put.
    for spec in specs.collect::<Result<Vec<_>, _>>()? {
        front
            .signer
            .put_profile(administrator(), spec, true)
            .await?;
    }
    if let Some(name) = gate_profile(project.name.as_str()) {
        let all = project.pipelines.iter().map(|pipeline| &pipeline.name);
        let spec = ProfileSpec {
            name: parsed(&name)?,
            platform: Default::default(),
            validity: GATE_VALIDITY.parse().map_err(ApiError::internal)?,
            leaf: Default::default(),
            dialect: signer::Dialect::default(),
            owner: None,
            grants: ProfileGrants {
                accounts: BTreeSet::new(),
                pipelines: qualified(project, all),
            },
            rules: Rules::default(),
            two_person: false,
        };
        front
            .signer
            .put_profile(administrator(), spec, true)
            .await?;
    }
    Ok(())
}

/// Reads what only the server can read of a project: the rules of its profiles, and its issuers.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn check(stored: &Stored) -> Result<(), ApiError> {
    for profile in &stored.project.profiles {
        let spec = profile_spec(&stored.project, profile)?;
        let mistaken =
            |error: signer::profile::ProfileSpecError| ApiError::usage(error.to_string());
        spec.check().map_err(mistaken)?;
    }
    issuers(stored)?.iter().try_for_each(NewIssuer::check)
}

fn issuers(stored: &Stored) -> Result<Vec<NewIssuer>, ApiError> {
    let issuer = |one: &OidcIssuer| {
        let mistaken =
            |why: serde_json::Error| ApiError::usage(format!("issuer `{}`: {why}", one.issuer));
        let keys = one
            .jwks
            .as_ref()
            .and_then(|path| stored.files.get(path.as_str()));
        Ok(NewIssuer {
            issuer: one.issuer.clone(),
            audience: one.audience.clone(),
            claims: one.claims.clone(),
            jwks: keys
                .map(|text| serde_json::from_str(text))
                .transpose()
                .map_err(mistaken)?,
            access: serde_json::from_value(one.access.clone().into()).map_err(mistaken)?,
        })
    };
    stored.project.oidc_issuers.iter().map(issuer).collect()
}

async fn forget_issuers(
    front: &Front,
    project: &str,
    stays: &[OidcIssuer],
) -> Result<(), ApiError> {
    for issuer in crate::oidc::list(front).await? {
        let is_ours = issuer.project.as_deref() == Some(project);
        if is_ours && !stays.iter().any(|stays| stays.issuer == issuer.issuer) {
            crate::oidc::remove(front, &issuer.id).await?;
        }
    }
    Ok(())
}

fn profile_spec(project: &Project, profile: &Profile) -> Result<ProfileSpec, ApiError> {
    let mistaken = |why: String| ApiError::usage(format!("profile `{}`: {why}", profile.name));
    let accounts = project.accounts.iter();
    let accounts = accounts.filter(|account| account.profiles.contains(&profile.name));
    let validity = profile.validity.to_string();
    let rules = serde_json::Value::Array(profile.rules.clone());
    Ok(ProfileSpec {
        name: parsed(&profile.name)?,
        platform: Default::default(),
        validity: validity
            .parse()
            .map_err(|error: signer::validity::ValidityError| mistaken(error.to_string()))?,
        leaf: Default::default(),
        dialect: signer::Dialect::default(),
        owner: None,
        grants: ProfileGrants {
            accounts: accounts.map(|account| account.name.to_string()).collect(),
            pipelines: qualified(project, profile.pipelines.iter()),
        },
        rules: serde_json::from_value(rules).map_err(|error| mistaken(error.to_string()))?,
        two_person: profile.two_person,
    })
}

fn qualified<'a>(project: &Project, names: impl Iterator<Item = &'a Name>) -> BTreeSet<String> {
    let project = project.name.as_str();
    names
        .map(|name| qualified_pipeline(project, name.as_str()))
        .collect()
}

fn parsed(name: &Name) -> Result<signer::ProfileName, ApiError> {
    let parsed = name.as_str().parse::<signer::ProfileName>();
    parsed.map_err(|error| ApiError::usage(error.to_string()))
}

async fn remove_what_is_gone(
    front: &Front,
    before: &Stored,
    after: &Stored,
) -> Result<(), ApiError> {
    let name = after.project.name.as_str();
    forget_issuers(front, name, &after.project.oidc_issuers).await?;
    let stays = after.claims();
    let gone = |kind: &'static str, name: &Name| !stays.contains(&(kind, name.as_str()));
    for account in &before.project.accounts {
        if gone("account", &account.name) {
            front
                .store
                .accounts
                .delete_account(account.name.as_str())
                .await?;
        }
    }
    for profile in &before.project.profiles {
        if gone("profile", &profile.name) {
            cancel_profile(front, &profile.name).await?;
        }
    }
    for environment in &before.project.environments {
        if gone("environment", &environment.name) {
            retire(front, before, environment).await?;
        }
    }
    Ok(())
}

/// Removes everything that a project made, and returns the jobs that take its containers away.
/// What it pushed, signed and recorded stays.
pub(crate) async fn remove(
    front: &Front,
    name: &str,
    by: &Principal,
) -> Result<Vec<JobId>, ApiError> {
    let stored = load(front, name).await?;
    let stored =
        stored.ok_or_else(|| ApiError::not_found(format!("there is no project `{name}`")))?;
    super::events::project_removed(front, name, by).await?;
    super::triggers::stop_runs(front, name).await?;
    let mut jobs = Vec::new();
    for environment in &stored.project.environments {
        jobs.push(retire(front, &stored, environment).await?);
    }
    for account in &stored.project.accounts {
        front
            .store
            .accounts
            .delete_account(account.name.as_str())
            .await?;
    }
    forget_issuers(front, name, &[]).await?;
    let gate = gate_profile(name);
    let profiles = stored.project.profiles.iter().map(|profile| &profile.name);
    for profile in profiles.chain(&gate) {
        cancel_profile(front, profile).await?;
    }
    for repository in &stored.project.git_repositories {
        crate::git::remove(front, &repository.name).await?;
    }
    front.store.documents.delete(&key(name)).await?;
    front.auth.forget();
    front.control.routes_changed();
    Ok(jobs)
}

async fn cancel_profile(front: &Front, name: &Name) -> Result<(), ApiError> {
    let canceled = front
        .signer
        .cancel_profile(administrator(), parsed(name)?)
        .await;
    match canceled {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            // A revoked profile signs no more either, and one that never was signs nothing.
            signer::protocol::FailureKind::NotFound | signer::protocol::FailureKind::Conflict => {
                Ok(())
            }
            _ => Err(error.into()),
        },
    }
}

async fn retire(
    front: &Front,
    stored: &Stored,
    environment: &pipeline::project::Environment,
) -> Result<JobId, ApiError> {
    let name = environment.name.as_str();
    front.store.deployments.remove(name).await?;
    let payload = JobPayload::Retire {
        project: stored.project.name.clone(),
        environment: Box::new(environment.clone()),
        everything: true,
    };
    let job = NewJob::new(RETIRE_JOB, payload.to_json(), clock::now());
    let job = job.once(format!("retire/{name}/all"));
    let id = front.store.queue.enqueue(&job).await?;
    front.control.changed();
    Ok(id)
}
