//! The trust policy: which identities are trusted for which repositories, and how strictly.
//!
//! trust-store-trust-policy.md, Trust Policy, version 1.0 (R058–R069). Unknown members are
//! accepted, as the reference implementation does; members that are there twice, or that differ
//! from a known one only in case, are refused. Where the reference implementation is laxer than
//! the specification we follow the specification: level `skip` is refused for the scope `*`.

mod raw;

use std::collections::BTreeMap;
use std::fmt;

use oci::{Registry, RepositoryName};
use serde::{Serialize, Serializer};

use crate::outcome::VerificationAction;
use crate::tlog::LogPolicy;
use crate::trust_store::StoreKind;
use crate::{DistinguishedName, json};

/// The largest policy, in bytes: a thousand statements of a thousand bytes.
pub const MAX_POLICY_BYTES: usize = 1 << 20;

/// A trust policy document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustPolicy {
    version: &'static str,
    trust_policies: Vec<TrustPolicyStatement>,
}

/// One statement of a trust policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustPolicyStatement {
    /// The name, unique inside the policy.
    pub name: String,
    /// The repositories (`registry/repository`) that this is for, or `*` alone.
    pub registry_scopes: Vec<String>,
    /// How strictly each verification type is taken.
    pub level: VerificationLevel,
    /// When a timestamp is asked for.
    pub verify_timestamp: VerifyTimestamp,
    /// The trust stores whose certificates are anchors.
    pub trust_stores: Vec<TrustStoreName>,
    /// The identities that are trusted.
    pub trusted_identities: TrustedIdentities,
    /// The transparency logs one of which a signature must be in. A member of ours; verifiers that
    /// do not know it pass it over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transparency_log: Option<LogPolicy>,
}

/// The five actions of a verification level (R060, R062).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationLevel {
    /// The name: `strict`, `permissive`, `audit` or `skip`, or `custom` after an override.
    pub name: &'static str,
    /// What to do about failed integrity.
    pub integrity: VerificationAction,
    /// What to do about failed authenticity.
    pub authenticity: VerificationAction,
    /// What to do about a failed authentic timestamp.
    pub authentic_timestamp: VerificationAction,
    /// What to do about an expired signature.
    pub expiry: VerificationAction,
    /// What to do about revoked certificates and unknown revocation.
    pub revocation: VerificationAction,
}

impl VerificationLevel {
    /// Everything is enforced.
    pub const STRICT: Self = Self::of("strict", [VerificationAction::Enforce; 5]);
    /// Integrity and authenticity are enforced; the table of the specification, not its prose,
    /// says that the authentic timestamp is only logged.
    pub const PERMISSIVE: Self = Self::of(
        "permissive",
        [
            VerificationAction::Enforce,
            VerificationAction::Enforce,
            VerificationAction::Log,
            VerificationAction::Log,
            VerificationAction::Log,
        ],
    );
    /// Integrity is enforced, everything else is logged.
    pub const AUDIT: Self = Self::of(
        "audit",
        [
            VerificationAction::Enforce,
            VerificationAction::Log,
            VerificationAction::Log,
            VerificationAction::Log,
            VerificationAction::Log,
        ],
    );
    /// Nothing is verified.
    pub const SKIP: Self = Self::of("skip", [VerificationAction::Skip; 5]);

    const fn of(name: &'static str, actions: [VerificationAction; 5]) -> Self {
        let [
            integrity,
            authenticity,
            authentic_timestamp,
            expiry,
            revocation,
        ] = actions;
        Self {
            name,
            integrity,
            authenticity,
            authentic_timestamp,
            expiry,
            revocation,
        }
    }

    /// Returns whether nothing is verified.
    pub fn is_skip(&self) -> bool {
        self.integrity == VerificationAction::Skip
    }
}

/// When a statement asks for a timestamp (R069).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum VerifyTimestamp {
    /// Always, where the policy has a `tsa` store.
    #[default]
    Always,
    /// Only once a certificate of the chain has expired.
    AfterCertExpiry,
}

/// The name of a trust store, as `kind:name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustStoreName {
    /// The kind.
    pub kind: StoreKind,
    /// The name inside the kind.
    pub name: String,
}

impl fmt::Display for TrustStoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl Serialize for TrustStoreName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The identities that a statement trusts (R065).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TrustedIdentities {
    /// `*`: every signer under an anchor of the statement's trust stores.
    Any,
    /// Those whose leaf subject holds every attribute of one of these names.
    Subjects(Vec<DistinguishedName>),
}

impl TrustedIdentities {
    /// Returns whether the subject of a leaf certificate is trusted.
    pub fn trusts(&self, subject: &DistinguishedName) -> bool {
        match self {
            Self::Any => true,
            Self::Subjects(patterns) => patterns.iter().any(|one| one.is_subset_of(subject)),
        }
    }
}

/// Says why a document is not a trust policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustPolicyError {
    /// The document is larger than [`MAX_POLICY_BYTES`].
    #[error("the trust policy has {0} bytes, more than {MAX_POLICY_BYTES}")]
    TooLarge(usize),
    /// The document is not JSON of the right shape; the source names line and column.
    #[error("the trust policy cannot be read")]
    Shape(#[source] serde_json::Error),
    /// A member differs from a known one only in case.
    #[error("member `{member}` differs from a known one only in case")]
    Case {
        /// The path of the member.
        member: String,
    },
    /// A member has a value that the specification does not allow.
    #[error("trust policy member `{member}`: {problem}")]
    Member {
        /// The path of the member, such as `trustPolicies[0].registryScopes`.
        member: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
}

/// No statement of the policy is for this repository (R064).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no trust policy statement is for `{scope}`")]
pub struct NoStatement {
    /// The repository that was asked for.
    pub scope: String,
}

impl TrustPolicy {
    /// Parses a trust policy document and checks every rule of the specification.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustPolicyError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(TrustPolicyError::TooLarge(bytes.len()));
        }
        json::check(bytes).map_err(TrustPolicyError::Shape)?;
        let document: raw::Document =
            serde_json::from_slice(bytes).map_err(TrustPolicyError::Shape)?;
        document.into_policy()
    }

    /// Returns the statement for a repository, `registry/repository`: the one that lists it, else
    /// the one with the scope `*` (R064). There is no wildcard inside a scope.
    pub fn statement(&self, scope: &str) -> Result<&TrustPolicyStatement, NoStatement> {
        let with = |wanted: &str| {
            let mut statements = self.trust_policies.iter();
            statements.find(|one| one.registry_scopes.iter().any(|scope| scope == wanted))
        };
        with(scope)
            .or_else(|| with("*"))
            .ok_or_else(|| NoStatement {
                scope: scope.to_owned(),
            })
    }

    /// Returns the statement of this name.
    pub fn statement_named(&self, name: &str) -> Option<&TrustPolicyStatement> {
        self.trust_policies.iter().find(|one| one.name == name)
    }

    /// Returns all statements, in the order of the document.
    pub fn statements(&self) -> &[TrustPolicyStatement] {
        &self.trust_policies
    }
}

/// Returns an error about a member.
fn wrong(member: impl Into<String>, problem: impl Into<String>) -> TrustPolicyError {
    TrustPolicyError::Member {
        member: member.into(),
        problem: problem.into(),
    }
}

/// Checks what concerns several statements: names and scopes are unique (R058, R063).
fn check_uniqueness(statements: &[TrustPolicyStatement]) -> Result<(), TrustPolicyError> {
    let mut names = BTreeMap::new();
    let mut scopes = BTreeMap::new();
    for (index, statement) in statements.iter().enumerate() {
        if let Some(other) = names.insert(&statement.name, index) {
            return Err(wrong(
                format!("trustPolicies[{index}].name"),
                format!(
                    "`{}` is already the name of trustPolicies[{other}]",
                    statement.name
                ),
            ));
        }
        for scope in &statement.registry_scopes {
            if let Some(other) = scopes.insert(scope, index) {
                return Err(wrong(
                    format!("trustPolicies[{index}].registryScopes"),
                    format!("`{scope}` is already a scope of trustPolicies[{other}]"),
                ));
            }
        }
    }
    Ok(())
}

/// Checks a scope: `*`, or a whole `registry/repository` (R063).
fn is_scope(scope: &str) -> bool {
    scope == "*"
        || scope.split_once('/').is_some_and(|(registry, repository)| {
            registry.parse::<Registry>().is_ok() && repository.parse::<RepositoryName>().is_ok()
        })
}
