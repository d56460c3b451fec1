//! Gate policies: the rules that an image must satisfy.
//!
//! A YAML document for the structure, CEL for conditions on content. The format is fixed in
//! `docs/design/001-first-run.md` §2. Members that we do not know are refused: a rule that is
//! misspelt must not become no rule.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use oci::{Digest, MediaType};
use scan::sbom::SbomFormat;
use serde::{Deserialize, Deserializer};
use trust::{DistinguishedName, Signer};

use crate::expression::Expression;
use crate::span::Span;
use crate::yaml::{self, DocumentError};

mod check;
mod explain;

/// Says what is wrong with a policy: line, column, member and reason.
pub type PolicyError = DocumentError;

/// A gate policy.
#[derive(Clone, Debug)]
pub struct GatePolicy {
    /// The name.
    pub name: String,
    /// The digest of the text that it was parsed from.
    pub digest: Digest,
    /// Who may sign as what.
    pub roles: BTreeMap<String, Role>,
    /// What must be there.
    pub require: Vec<Rule>,
    /// What must not be there.
    pub forbid: Vec<Forbid>,
}

/// Who may sign as what.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// Our signing profiles: the common names of the signers.
    #[serde(default)]
    pub profiles: Vec<String>,
    /// Signers of others, as in a trust policy: `x509.subject: C=US, O=Example`.
    #[serde(default)]
    pub identities: Vec<Identity>,
}

/// A signer by attributes of its subject, as a Notary trust policy names it.
#[derive(Clone, Debug)]
pub struct Identity(DistinguishedName, String);

/// A rule: a name, and what must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawRule")]
pub struct Rule {
    /// The name, unique in its policy.
    pub id: String,
    /// What must hold.
    pub requirement: Demand,
}

/// What must hold.
#[derive(Clone, Debug)]
pub enum Demand {
    /// The image itself is signed.
    Signed(Signed),
    /// An artifact is there, and says what it should.
    Artifact(Box<ArtifactRule>, Vec<Assertion>),
    /// A team has accepted the evidence as it is.
    Acceptance(AcceptanceRule),
    /// A person has approved the image, the evidence and the policy as they are.
    Approval(ApprovalRule),
    /// Enough distinct signers stand for it.
    Threshold(Threshold),
    /// The images that it was built on are signed.
    Base(BaseRule),
    /// The image exists for platforms.
    Platforms(Vec<String>),
}

/// The image itself is signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// The role.
    pub by: String,
}

/// An artifact is there, signed, young enough and complete.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactRule {
    /// Its type.
    #[serde(rename = "type")]
    pub artifact_type: MediaType,
    /// Which of several.
    pub pick: Pick,
    /// The role that must have signed it.
    pub signed_by: String,
    /// How old it and its signature may be.
    #[serde(default)]
    pub max_age: Option<Span>,
    /// How old the advisories behind a CVE report may be.
    #[serde(default)]
    pub advisories_max_age: Option<Span>,
    /// The formats of an SBOM, one of which it must have.
    #[serde(default)]
    pub format: Vec<SbomFormat>,
    /// Whether it must be complete: a CVE report that names this image and leaves nothing out, or
    /// an SBOM that lists packages and leaves nothing out.
    #[serde(default)]
    pub complete: bool,
}

/// Which of several artifacts of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pick {
    /// The newest, by trusted time.
    Latest,
    /// Each of them must satisfy the rule.
    All,
    /// One of them must satisfy the rule.
    Any,
}

/// A condition on the content of an artifact.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assertion {
    /// The code that is given if it does not hold.
    #[serde(default)]
    pub code: AssertionCode,
    /// The condition.
    pub that: Expression,
    /// What to do if it does not hold.
    #[serde(default)]
    pub otherwise: Option<String>,
}

/// The codes that a condition may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssertionCode {
    /// Whatever the policy asks.
    #[default]
    AssertionFailed,
    /// No critical vulnerability with a fix.
    FixableCritical,
}

/// A team has accepted the evidence as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptanceRule {
    /// The role that must have signed the acceptance.
    pub by: String,
    /// How old it may be.
    #[serde(default)]
    pub max_age: Option<Span>,
}

/// A person has approved the image, the evidence and the policy as they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRule {
    /// The accounts of which one must have approved.
    pub by: Vec<String>,
    /// The role that must have signed the approval. Without this, anybody who can sign anything
    /// could write somebody else's name into it.
    pub signed_by: String,
    /// The policy whose verdict was approved; this one, if none is named.
    #[serde(default)]
    pub over: Option<String>,
    /// How old it may be.
    #[serde(default)]
    pub max_age: Option<Span>,
}

/// Enough distinct signers stand for it: people or keys, not signatures.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Threshold {
    /// How many.
    pub need: usize,
    /// The roles that count.
    pub of: Vec<String>,
    /// What they must stand for.
    pub over: Over,
}

/// What the signers of a threshold stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Over {
    /// The image: they signed it.
    Subject,
    /// The evidence as it is: they accepted it.
    GraphRoot,
}

/// The images that it was built on, as its provenance names them, are signed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BaseRule {
    /// The role that must have signed the base images.
    pub signed_by: String,
    /// The role that must have signed the provenance.
    pub provenance_by: String,
}

/// Something that must not be there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forbid {
    /// The name, unique in its policy.
    pub id: String,
    /// The artifact that must not be there.
    pub artifact: ForbiddenArtifact,
}

/// An artifact that must not be there, whoever signed it: that somebody says stop is enough.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForbiddenArtifact {
    /// Its type.
    #[serde(rename = "type")]
    pub artifact_type: MediaType,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawPolicy {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: PolicyKind,
    name: String,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    #[serde(default)]
    require: Vec<Rule>,
    #[serde(default)]
    forbid: Vec<Forbid>,
}

#[derive(Deserialize)]
enum ApiVersion {
    #[serde(rename = "countersign.dev/v1")]
    V1,
}

#[derive(Deserialize)]
enum PolicyKind {
    GatePolicy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRule {
    id: String,
    signed: Option<Signed>,
    artifact: Option<Box<ArtifactRule>>,
    acceptance: Option<AcceptanceRule>,
    approval: Option<ApprovalRule>,
    threshold: Option<Threshold>,
    base: Option<BaseRule>,
    platforms: Option<Vec<String>>,
    #[serde(default)]
    assert: Vec<Assertion>,
}

impl TryFrom<RawRule> for Rule {
    type Error = String;

    fn try_from(raw: RawRule) -> Result<Self, String> {
        let mut assertions = raw.assert;
        let mut demands = Vec::new();
        demands.extend(raw.signed.map(Demand::Signed));
        let artifact = raw.artifact;
        demands.extend(artifact.map(|a| Demand::Artifact(a, std::mem::take(&mut assertions))));
        demands.extend(raw.acceptance.map(Demand::Acceptance));
        demands.extend(raw.approval.map(Demand::Approval));
        demands.extend(raw.threshold.map(Demand::Threshold));
        demands.extend(raw.base.map(Demand::Base));
        demands.extend(raw.platforms.map(Demand::Platforms));
        let id = raw.id;
        if !assertions.is_empty() {
            return Err(format!(
                "rule `{id}` has `assert`, which belongs to `artifact`"
            ));
        }
        match demands.len() {
            1 => Ok(Self {
                id,
                requirement: demands.remove(0),
            }),
            0 => Err(format!(
                "rule `{id}` requires nothing: add one of signed, artifact, acceptance, approval, threshold, base, platforms"
            )),
            _ => Err(format!(
                "rule `{id}` requires more than one thing: write two rules"
            )),
        }
    }
}

impl GatePolicy {
    /// Parses a policy.
    ///
    /// # Errors
    /// If the text is not such a document, has members that we do not know, or names roles that
    /// it does not define. The error says where.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let raw: RawPolicy = yaml::parse(text, check::policy)?;
        Ok(Self {
            name: raw.name,
            digest: Digest::sha256(text.as_bytes()),
            roles: raw.roles,
            require: raw.require,
            forbid: raw.forbid,
        })
    }

    /// Returns the types of the artifacts whose content the policy reads.
    pub fn content_types(&self) -> BTreeSet<MediaType> {
        let mut types = BTreeSet::new();
        for rule in &self.require {
            if let Demand::Artifact(artifact, _) = &rule.requirement {
                types.insert(artifact.artifact_type.clone());
            }
        }
        types
    }

    pub(crate) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }
}

impl Role {
    /// Returns whether `signer` may sign as this.
    pub fn holds(&self, signer: &Signer) -> bool {
        let named = |profile: &String| !profile.is_empty() && *profile == signer.common_name;
        self.profiles.iter().any(named)
            || self
                .identities
                .iter()
                .any(|identity| identity.0.is_subset_of(&signer.subject))
    }
}

impl Role {
    /// Returns whom the role names, in the words of the policy.
    fn names(&self) -> Vec<&str> {
        let profiles = self.profiles.iter().map(String::as_str);
        let identities = self.identities.iter().map(|identity| identity.1.as_str());
        profiles.chain(identities).collect()
    }
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const PREFIX: &str = "x509.subject:";
        let name = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| format!("expected `{PREFIX} …`, such as `{PREFIX} C=US, O=Example`"))?;
        match name.trim().parse() {
            Ok(name) => Ok(Self(name, text.to_owned())),
            Err(error) => Err(format!("{error}")),
        }
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
