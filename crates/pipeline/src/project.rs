//! The declarative file `countersign.yaml`: one file describes a project.
//!
//! [`Project::parse`] reads the text, refuses members that it does not know, and checks that
//! everything that is named exists and that every action gets what it needs. `server` applies the
//! result; `run` executes its pipelines. The format is fixed in `docs/design/001-first-run.md` §3,
//! its schema is published as `docs/reference/countersign.schema.json`.

use std::net::SocketAddr;

use gate::span::Span;
use gate::yaml::{self, DocumentError, Mistake};
use oci::RepositoryName;
use serde::{Deserialize, Serialize};

mod action;
mod check;
mod environment;
mod names;
mod schema;

pub use action::{
    Action, Approval, Attach, AttachedFile, BaseImage, BuildImage, Deploy, Gate, Hook,
    HookArtifact, RunBuildspec, Sbom, SbomFormat, Scan, Sign, SignWhat, Test, TestReport, Work,
};
pub use environment::{Container, Engine, Environment, Health, Memory, Target, Tls, User};
pub use names::{
    ImageName, Name, NameError, RelativePath, RepositoryPattern, Validity, ValidityUnit,
};
pub use schema::schema;

/// Says what is wrong with a declarative file: file, line, column, member and reason.
pub type ProjectError = DocumentError;

/// The only version of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// `countersign.dev/v1`.
    #[default]
    #[serde(rename = "countersign.dev/v1")]
    V1,
}

/// The kind of document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProjectKind {
    /// A project.
    #[default]
    Project,
}

/// A project: who may do what, what is built, and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// The version of the format.
    pub api_version: ApiVersion,
    /// The kind of document.
    pub kind: ProjectKind,
    /// The name of the project.
    pub name: Name,
    /// The people and robots.
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// The signing profiles.
    #[serde(default)]
    pub profiles: Vec<Profile>,
    /// The issuers of workload identities whose tokens are accepted.
    #[serde(default)]
    pub oidc_issuers: Vec<OidcIssuer>,
    /// The git repositories that the server hosts.
    #[serde(default)]
    pub git_repositories: Vec<GitRepository>,
    /// The Notary trust policy, as a path next to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_policy: Option<RelativePath>,
    /// The gate policies, as paths next to this file. A policy is named as its file is, without
    /// the ending.
    #[serde(default)]
    pub gate_policies: Vec<RelativePath>,
    /// The places that images are deployed to.
    #[serde(default)]
    pub environments: Vec<Environment>,
    /// The pipelines.
    #[serde(default)]
    pub pipelines: Vec<Pipeline>,
}

/// A person or a robot, and what it may do. Nothing is granted that is not written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Account {
    /// The name.
    pub name: Name,
    /// The git repositories that it may push to and pull from.
    #[serde(default)]
    pub git: GitGrants,
    /// The repositories that it may pull from.
    #[serde(default)]
    pub pull: Vec<RepositoryPattern>,
    /// The repositories that it may push to.
    #[serde(default)]
    pub push: Vec<RepositoryPattern>,
    /// The signing profiles that it may use.
    #[serde(default)]
    pub profiles: Vec<Name>,
    /// The pipelines whose approvals it may give.
    #[serde(default)]
    pub approve: Vec<Name>,
    /// The groups that it is in, which rules of signing profiles may name.
    #[serde(default)]
    pub groups: Vec<Name>,
    /// Whether it is an automation and not a person.
    #[serde(default)]
    pub robot: bool,
}

/// What an account may do with git repositories.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitGrants {
    /// The git repositories that it may push to, and pull from.
    #[serde(default)]
    pub push: Vec<Name>,
    /// The git repositories that it may pull from.
    #[serde(default)]
    pub pull: Vec<Name>,
}

/// A signing profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// The name, which is the common name of its certificates.
    pub name: Name,
    /// How long a signature is valid.
    pub validity: Validity,
    /// The pipelines whose runs may use it.
    #[serde(default)]
    pub pipelines: Vec<Name>,
    /// Who may sign what with it, in place of `pipelines` and of the accounts that name it. The
    /// signer's own words: it reads them when the file is applied.
    #[serde(default)]
    pub rules: Vec<serde_json::Value>,
    /// Whether changing, canceling and revoking it takes two administrators.
    #[serde(default)]
    pub two_person: bool,
}

/// An issuer of workload identities: a CI system whose jobs sign without a secret of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcIssuer {
    /// Its address, exactly as its tokens say it.
    pub issuer: String,
    /// The audience that its tokens must be for.
    pub audience: String,
    /// The claims that are kept of a token, for rules that ask for them.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Its keys, as a path next to this file, when they are not to be fetched from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<RelativePath>,
    /// What its workloads may do in the registry, beside signing by rules: `subject`, `claims`,
    /// `pull` and `push`. The server reads it when the file is applied.
    #[serde(default)]
    pub access: Vec<serde_json::Value>,
}

/// A git repository that the server hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitRepository {
    /// The name: it is served as `/git/NAME.git`.
    pub name: Name,
}

/// A pipeline: what starts it, and its stages in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pipeline {
    /// The name.
    pub name: Name,
    /// What starts a run. Without one, only a person does, with a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The stages, which run one after the other.
    pub stages: Vec<Stage>,
}

/// What starts a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Trigger {
    /// A push to a branch of a git repository.
    Push(PushTrigger),
    /// An image in a repository for which a gate policy passes for the first time.
    Evidence(EvidenceTrigger),
}

/// A push to a branch of a git repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PushTrigger {
    /// The git repository.
    pub repository: Name,
    /// The branch, without `refs/heads/`.
    pub branch: String,
}

/// An image whose evidence is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceTrigger {
    /// The repository of the images.
    pub repository: RepositoryName,
    /// The gate policy that says when the evidence is complete.
    pub policy: Name,
}

/// A stage: actions that run one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// The name, unique in its pipeline.
    pub name: Name,
    /// The actions.
    pub actions: Vec<Action>,
}

impl Project {
    /// Parses a declarative file and checks that it fits together.
    ///
    /// # Errors
    /// If the text is not such a document, has members that we do not know, or names what it does
    /// not define. The error says where.
    pub fn parse(text: &str) -> Result<Self, ProjectError> {
        yaml::parse(text, Self::mistakes)
    }

    /// Returns what does not fit together.
    pub fn mistakes(&self) -> Vec<Mistake> {
        check::project(self)
    }

    /// Checks the gate policies, given in the order of the file: each must be named as its file is,
    /// and a policy whose verdict is approved must be one of them.
    ///
    /// # Errors
    /// If one does not fit. The error names the policy's file.
    pub fn check_policies(&self, policies: &[gate::GatePolicy]) -> Result<(), ProjectError> {
        for (path, policy) in self.gate_policies.iter().zip(policies) {
            if let Some(mistake) = check::policy(self, path, policy) {
                return Err(DocumentError {
                    file: Some(path.to_string()),
                    position: None,
                    member: mistake.member,
                    reason: mistake.reason,
                });
            }
        }
        Ok(())
    }

    /// Returns the files that this one names: whoever applies it sends them along.
    pub fn files(&self) -> impl Iterator<Item = &RelativePath> {
        let keys = self
            .oidc_issuers
            .iter()
            .filter_map(|issuer| issuer.jwks.as_ref());
        self.gate_policies
            .iter()
            .chain(&self.trust_policy)
            .chain(keys)
    }

    /// Returns the names of the gate policies, which are those of their files.
    pub fn policy_names(&self) -> impl Iterator<Item = &str> {
        self.gate_policies.iter().map(RelativePath::stem)
    }

    /// Returns the pipeline with this name.
    pub fn pipeline(&self, name: &Name) -> Option<&Pipeline> {
        self.pipelines.iter().find(|p| p.name == *name)
    }

    /// Returns the environment with this name.
    pub fn environment(&self, name: &Name) -> Option<&Environment> {
        self.environments.iter().find(|e| e.name == *name)
    }

    /// Returns the account with this name.
    pub fn account(&self, name: &Name) -> Option<&Account> {
        self.accounts.iter().find(|a| a.name == *name)
    }
}

impl Pipeline {
    /// Returns all actions, in the order in which they run.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.stages.iter().flat_map(|stage| &stage.actions)
    }

    /// Returns the gate policy whose verdict is shown to those who approve `action`: that of the
    /// last gate before it.
    pub fn verdict_policy(&self, action: &Name) -> Option<&Name> {
        let mut last = None;
        for candidate in self.actions() {
            if candidate.name == *action {
                return last;
            }
            if let Work::Gate(gate) = &candidate.work {
                last = Some(&gate.policy);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
