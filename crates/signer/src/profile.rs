//! Signing profiles: named settings under which signatures are made, and who may use them.
//!
//! A request names a profile, never a key. The words are those of AWS Signer: a profile has a
//! platform, a signature validity, a status and a version of ten letters and digits. Unlike there,
//! a canceled profile can be put again (its signatures never stopped being valid); a revoked one
//! never comes back.

mod permissions;
pub mod rules;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use crate::account::AccountNumber;
use crate::custody::KeyAlgorithm;
use crate::principal::{Denial, Principal};
use crate::validity::Validity;
use rules::{Decision, Rule, RuleDenial, RuleId, RuleRequest, Rules};

pub use permissions::{
    MAX_PERMISSIONS, MAX_TAGS, PermissionChange, PermissionError, PermittedAction,
    ProfilePermission, TagChange,
};

/// The longest list of accounts or of pipelines in one profile's grants. The whole profile must
/// fit into one frame of the protocol.
pub const MAX_GRANTS: usize = 128;
/// The longest name of an account or pipeline in a grant, in bytes.
pub const MAX_GRANTEE_BYTES: usize = 128;
/// The longest life of a rotating leaf, in days.
pub const MAX_ROTATING_LEAF_DAYS: u16 = 30;

/// The name of a signing profile: `^[a-zA-Z0-9_-]{2,64}$`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileName(Box<str>);

/// Says why a text is not a profile name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a profile name: use 2 to 64 letters, digits, `_` and `-`")]
pub struct ProfileNameError(String);

impl ProfileName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(text: &str) -> Result<Self, ProfileNameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (2..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(ProfileNameError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ProfileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ProfileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a profile signs for: one algorithm and one format.
///
/// AWS Signer has the first for OCI artifacts; the others are ours, named in its manner. Statements
/// (DSSE) are signed with P-384 whatever the platform: their leaf is made for the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningPlatform {
    /// Notary Project signatures of OCI artifacts with ECDSA over P-384 and SHA-384.
    #[default]
    #[serde(rename = "Notation-OCI-SHA384-ECDSA")]
    NotationOciSha384Ecdsa,
    /// The same with ECDSA over P-256 and SHA-256: about six times as many a second.
    #[serde(rename = "Notation-OCI-SHA256-ECDSA")]
    NotationOciSha256Ecdsa,
    /// The same with RSASSA-PSS of 3072 bits and SHA-384, where a verifier knows no other.
    #[serde(rename = "Notation-OCI-SHA384-RSA")]
    NotationOciSha384Rsa,
}

/// Says that a text names no signing platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a signing platform: use `Notation-OCI-SHA384-ECDSA`, `Notation-OCI-SHA256-ECDSA` \
     or `Notation-OCI-SHA384-RSA`"
)]
pub struct SigningPlatformError(String);

impl SigningPlatform {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::NotationOciSha384Ecdsa,
        Self::NotationOciSha256Ecdsa,
        Self::NotationOciSha384Rsa,
    ];

    /// Returns the name that requests and answers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotationOciSha384Ecdsa => "Notation-OCI-SHA384-ECDSA",
            Self::NotationOciSha256Ecdsa => "Notation-OCI-SHA256-ECDSA",
            Self::NotationOciSha384Rsa => "Notation-OCI-SHA384-RSA",
        }
    }

    /// Returns the kind of the keys that sign its envelopes.
    pub fn key_algorithm(self) -> KeyAlgorithm {
        match self {
            Self::NotationOciSha384Ecdsa => KeyAlgorithm::P384,
            Self::NotationOciSha256Ecdsa => KeyAlgorithm::P256,
            Self::NotationOciSha384Rsa => KeyAlgorithm::Rsa3072,
        }
    }
}

impl fmt::Display for SigningPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SigningPlatform {
    type Err = SigningPlatformError;

    fn from_str(text: &str) -> Result<Self, SigningPlatformError> {
        let found = Self::ALL.into_iter().find(|known| known.name() == text);
        found.ok_or_else(|| SigningPlatformError(text.chars().take(80).collect()))
    }
}

/// Which leaf certificate signs a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeafPolicy {
    /// A key and certificate of its own for each job: one signature can be revoked by CRL.
    #[default]
    PerJob,
    /// One key and certificate for all jobs of some days, which is about three times faster. A
    /// single signature can then be revoked in the records only, not in the CRL.
    Rotating {
        /// The life of a leaf, in days; it is replaced after two thirds of it.
        days: u16,
    },
}

/// What an envelope carries beside what the specification asks for, and so whose verifiers can
/// learn of a revocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Nothing: every verifier of the Notary Project reads it.
    #[default]
    Plain,
    /// The plugin and the two critical attributes of AWS Signer: its Notation plugin verifies it
    /// against our endpoint.
    Aws,
}

/// Who may use a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grants {
    /// Accounts that may sign with it.
    #[serde(default)]
    pub accounts: BTreeSet<String>,
    /// Pipelines whose runs may sign with it.
    #[serde(default)]
    pub pipelines: BTreeSet<String>,
}

/// Whether a profile still signs, and whether its signatures still count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProfileStatus {
    /// It signs.
    Active,
    /// It no longer signs; signatures made with it stay valid.
    Canceled,
    /// It no longer signs; signatures made from some moment on are revoked.
    Revoked,
}

/// The most versions of a profile that are remembered with their times. Older ones that were not
/// revoked are forgotten; their signatures are found all the same.
pub const MAX_VERSIONS: usize = 32;

/// One version of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileVersion {
    /// The version.
    pub version: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The first position of the log that a signature of it can have.
    pub since_position: u64,
    /// Present when this version is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<ProfileRevocation>,
}

/// From when on the signatures of a profile are revoked, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileRevocation {
    /// Signatures made at this moment or later are revoked.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The position in the log that this moment was resolved to: what lies there or after it is
    /// revoked, whatever time it claims.
    #[serde(default)]
    pub position: u64,
    /// When it was decided.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who decided it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What is asked of a new profile, or of a new version of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileSpec {
    /// The profile's name, which becomes the common name of its certificates.
    pub name: ProfileName,
    /// What it signs for.
    #[serde(default)]
    pub platform: SigningPlatform,
    /// How long its signatures stay valid.
    pub validity: Validity,
    /// Which leaf signs.
    #[serde(default)]
    pub leaf: LeafPolicy,
    /// What its envelopes carry.
    #[serde(default)]
    pub dialect: Dialect,
    /// The account number that it belongs to; that of the installation, or its present owner, when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<AccountNumber>,
    /// Who may use it.
    #[serde(default)]
    pub grants: Grants,
    /// Who may sign what with it; then there are no grants.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
    /// Whether changing, canceling and revoking it takes two administrators.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub two_person: bool,
}

/// Says why a profile cannot be as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileSpecError {
    /// The life of a rotating leaf is out of range.
    #[error("a rotating leaf of {0} days is out of range: use 1 to {MAX_ROTATING_LEAF_DAYS} days")]
    LeafDays(u16),
    /// Making an RSA key takes a tenth of a second or more: too long for each job.
    #[error(
        "profile `{0}` signs with RSA, whose keys take too long to make: give it a rotating leaf"
    )]
    RsaLeaf(ProfileName),
    /// The dialect of AWS Signer asks for a rotating leaf.
    #[error(
        "profile `{0}` is of the dialect `aws`, whose signatures are revoked by job and not by \
         certificate: give it a rotating leaf"
    )]
    DialectLeaf(ProfileName),
    /// The dialect of AWS Signer asks for one of its names.
    #[error(
        "profile `{0}` is of the dialect `aws`: its name may hold letters, digits and `_` only"
    )]
    DialectName(ProfileName),
    /// There are too many grants.
    #[error("profile `{0}` is granted to more than {MAX_GRANTS} {1}")]
    TooManyGrants(ProfileName, &'static str),
    /// It has both rules and grants.
    #[error("profile `{0}` has both rules and grants: grants are the short form of a rule")]
    RulesAndGrants(ProfileName),
    /// The name of an account or pipeline is empty, too long, or holds a control character.
    #[error("`{0}` cannot be the name of an account or pipeline")]
    Grantee(String),
}

impl ProfileSpec {
    /// Checks everything that the types do not.
    pub fn check(&self) -> Result<(), ProfileSpecError> {
        if let LeafPolicy::Rotating { days } = self.leaf
            && !(1..=MAX_ROTATING_LEAF_DAYS).contains(&days)
        {
            return Err(ProfileSpecError::LeafDays(days));
        }
        let is_rsa = !self.platform.key_algorithm().is_ecdsa();
        if is_rsa && self.leaf == LeafPolicy::PerJob {
            return Err(ProfileSpecError::RsaLeaf(self.name.clone()));
        }
        if !self.rules.is_empty() && self.grants != Grants::default() {
            return Err(ProfileSpecError::RulesAndGrants(self.name.clone()));
        }
        if self.dialect == Dialect::Aws {
            if self.leaf == LeafPolicy::PerJob {
                return Err(ProfileSpecError::DialectLeaf(self.name.clone()));
            }
            if self.name.as_str().contains('-') {
                return Err(ProfileSpecError::DialectName(self.name.clone()));
            }
        }
        let lists = [
            ("accounts", &self.grants.accounts),
            ("pipelines", &self.grants.pipelines),
        ];
        for (kind, names) in lists {
            if names.len() > MAX_GRANTS {
                return Err(ProfileSpecError::TooManyGrants(self.name.clone(), kind));
            }
            if let Some(bad) = names.iter().find(|name| !is_grantee(name)) {
                let shown = bad.chars().take(80).collect();
                return Err(ProfileSpecError::Grantee(shown));
            }
        }
        Ok(())
    }
}

pub(crate) fn is_grantee(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_GRANTEE_BYTES && !name.chars().any(char::is_control)
}

/// A signing profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningProfile {
    /// The name, which is also the common name of its certificates.
    pub name: ProfileName,
    /// Ten letters and digits that change with the settings.
    pub version: String,
    /// What it signs for.
    pub platform: SigningPlatform,
    /// How long its signatures stay valid.
    pub validity: Validity,
    /// Which leaf signs.
    pub leaf: LeafPolicy,
    /// What its envelopes carry.
    #[serde(default)]
    pub dialect: Dialect,
    /// The account number that it belongs to; that of the installation when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<AccountNumber>,
    /// Who may use it.
    pub grants: Grants,
    /// Who may sign what with it; then there are no grants.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
    /// Whether changing, canceling and revoking it takes two administrators.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub two_person: bool,
    /// What other account numbers may do with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<ProfilePermission>,
    /// Changes with the permissions; empty while there never were any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision_id: String,
    /// Names and values that people gave it; they change no version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Whether it signs.
    pub status: ProfileStatus,
    /// When its first version was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Its versions, the oldest first; none for a profile of a time before they were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<ProfileVersion>,
    /// Present when the profile is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<ProfileRevocation>,
}

impl SigningProfile {
    /// Adds the version that the profile has now to its versions. Returns false, and does nothing,
    /// when there are [`MAX_VERSIONS`], all of them revoked.
    #[must_use]
    pub fn remember_version(&mut self, since_position: u64, now: OffsetDateTime) -> bool {
        if self.versions.len() >= MAX_VERSIONS {
            let mut versions = self.versions.iter();
            match versions.position(|one| one.revocation.is_none()) {
                Some(forgotten) => drop(self.versions.remove(forgotten)),
                None => return false,
            }
        }
        self.versions.push(ProfileVersion {
            version: self.version.clone(),
            since: now,
            since_position,
            revocation: None,
        });
        true
    }

    /// Returns what revokes the signature of a version at a position of the log, if anything does.
    pub fn revocation_at(&self, version: &str, position: u64) -> Option<&ProfileRevocation> {
        let of_version = self.versions.iter().filter(|one| one.version == version);
        let of_version = of_version.filter_map(|one| one.revocation.as_ref());
        let mut revocations = self.revocation.iter().chain(of_version);
        revocations.find(|revocation| revocation.position <= position)
    }

    /// Returns the first version of the profile that `spec` asks for.
    pub fn new(spec: ProfileSpec, version: String, now: OffsetDateTime) -> Self {
        Self {
            name: spec.name,
            version,
            platform: spec.platform,
            validity: spec.validity,
            leaf: spec.leaf,
            dialect: spec.dialect,
            owner: spec.owner,
            grants: spec.grants,
            rules: spec.rules,
            two_person: spec.two_person,
            permissions: Vec::new(),
            revision_id: String::new(),
            tags: BTreeMap::new(),
            status: ProfileStatus::Active,
            created_at: now,
            versions: Vec::new(),
            revocation: None,
        }
    }

    /// Returns what has to be asked for to get this profile again.
    pub fn to_spec(&self) -> ProfileSpec {
        ProfileSpec {
            name: self.name.clone(),
            platform: self.platform,
            validity: self.validity,
            leaf: self.leaf,
            grants: self.grants.clone(),
            rules: self.rules.clone(),
            two_person: self.two_person,
            dialect: self.dialect,
            owner: self.owner,
        }
    }

    /// Returns whether the profile already is what `spec` asks for.
    pub fn is_as(&self, spec: &ProfileSpec) -> bool {
        self.status == ProfileStatus::Active
            && self.platform == spec.platform
            && self.validity == spec.validity
            && self.leaf == spec.leaf
            && self.dialect == spec.dialect
            && spec.owner.is_none_or(|owner| self.owner == Some(owner))
            && self.grants == spec.grants
            && self.rules == spec.rules
            && self.two_person == spec.two_person
    }

    /// Returns whether the version that it has now is revoked: then it signs again only as another.
    pub fn current_version_is_revoked(&self) -> bool {
        let mut versions = self.versions.iter();
        versions.any(|one| one.version == self.version && one.revocation.is_some())
    }

    /// Returns the rules in force: those of the profile, or what its grants mean.
    pub fn rules_in_force(&self) -> Cow<'_, [Rule]> {
        match self.rules.is_empty() {
            false => Cow::Borrowed(self.rules.as_slice()),
            true => Cow::Owned(Rules::of_grants(&self.grants).into()),
        }
    }

    /// Returns whether some rule lets `principal` sign something.
    pub fn is_for(&self, principal: &Principal) -> bool {
        let allows = |rule: &Rule| matches!(&rule.effect, rules::Effect::Allow(who) if who.include(principal));
        self.rules_in_force().iter().any(allows)
    }

    /// Returns the rule that lets the request be signed with this profile now, and what forbids
    /// it otherwise. `used` is that of [`rules::decide`].
    pub fn authorize(
        &self,
        request: RuleRequest<'_>,
        used: impl FnOnce(&Rule) -> u64,
    ) -> Result<RuleId, Denial> {
        let decision = rules::decide(&self.rules_in_force(), request, used);
        match decision {
            Decision::Allowed(rule) => self.signs().map(|()| rule),
            // A permission adds to the rules, and cannot help against one that denies.
            Decision::Denied(RuleDenial::NoMatch(_)) if self.lets_sign(request.principal) => {
                self.signs().map(|()| RuleId::permission())
            }
            Decision::Denied(denial) => Err(self.denial(denial, request.principal.clone())),
        }
    }

    /// Returns the denial of a caller whom no rule names.
    pub fn not_for(&self, principal: &Principal) -> Denial {
        self.denial(RuleDenial::NoMatch(Vec::new()), principal.clone())
    }

    fn denial(&self, denial: RuleDenial, principal: Principal) -> Denial {
        let (profile, principal) = (self.name.clone(), Box::new(principal));
        match denial {
            RuleDenial::NoMatch(_) if self.rules.is_empty() => {
                Denial::NotGranted { profile, principal }
            }
            RuleDenial::NoMatch(near) => Denial::NoRule {
                profile,
                principal,
                near,
            },
            RuleDenial::ByRule { rule, uncertain } => Denial::ByRule {
                profile,
                principal,
                rule,
                uncertain,
            },
            RuleDenial::Quota { rule, quota } => Denial::Quota {
                profile,
                principal,
                rule,
                quota,
            },
        }
    }

    /// Returns nothing when the profile makes signatures at all.
    pub fn signs(&self) -> Result<(), Denial> {
        match (self.status, &self.revocation) {
            (ProfileStatus::Active, None) if self.current_version_is_revoked() => Err(
                Denial::VersionRevoked(self.name.clone(), self.version.clone()),
            ),
            (ProfileStatus::Active, None) => Ok(()),
            (ProfileStatus::Canceled, None) => Err(Denial::Canceled(self.name.clone())),
            _ => Err(Denial::Revoked(self.name.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn profile(accounts: &[&str], pipelines: &[&str]) -> SigningProfile {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let spec = ProfileSpec {
            name: "ci-build".parse().unwrap(),
            platform: SigningPlatform::default(),
            validity: "7 days".parse().unwrap(),
            leaf: LeafPolicy::PerJob,
            dialect: Dialect::default(),
            owner: None,
            grants: Grants {
                accounts: owned(accounts),
                pipelines: owned(pipelines),
            },
            rules: Rules::default(),
            two_person: false,
        };
        SigningProfile::new(
            spec,
            "AAAAAAAAAA".to_owned(),
            datetime!(2026-01-01 0:00 UTC),
        )
    }

    fn principal(account: &str, pipeline: Option<&str>, is_admin: bool) -> Principal {
        Principal {
            pipeline: pipeline.map(str::to_owned),
            run: pipeline.map(|_| "run-1".to_owned()),
            is_admin,
            ..Principal::account(account)
        }
    }

    fn authorize(profile: &SigningProfile, principal: &Principal) -> Result<RuleId, Denial> {
        let artifact = &rules::Artifact::default();
        profile.authorize(
            RuleRequest {
                principal,
                artifact,
            },
            |_| 0,
        )
    }

    #[test]
    fn names_follow_their_pattern() {
        let longest = "a".repeat(64);
        for good in ["ci", "ci-build", "A_9", &longest] {
            assert!(good.parse::<ProfileName>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(65);
        for bad in ["", "a", "a b", "a/b", "a,O=x", "é1", "a\n", &too_long] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn grants_decide_who_signs() {
        let table = [
            ("named account", principal("dev", None, false), true),
            ("other account", principal("eve", None, false), false),
            (
                "administrator without a grant",
                principal("root", None, true),
                false,
            ),
            (
                "run of a named pipeline",
                principal("eve", Some("build"), false),
                true,
            ),
            (
                "run of another pipeline",
                principal("eve", Some("other"), false),
                false,
            ),
            (
                "run of another pipeline, started by a named account",
                principal("dev", Some("other"), false),
                false,
            ),
            (
                "account named like the pipeline",
                principal("build", None, false),
                false,
            ),
            (
                "pipeline named like the account",
                principal("eve", Some("dev"), false),
                false,
            ),
        ];
        let profile = profile(&["dev"], &["build"]);
        for (case, principal, allowed) in table {
            assert_eq!(authorize(&profile, &principal).is_ok(), allowed, "{case}");
        }
    }

    #[test]
    fn a_denial_names_the_rule() {
        let mut profile = profile(&["dev"], &[]);
        let text = |profile: &SigningProfile, principal: &Principal| {
            authorize(profile, principal).unwrap_err().to_string()
        };
        let dev = principal("dev", None, false);
        insta::assert_snapshot!(text(&profile, &principal("eve", None, false)), @"profile `ci-build` is not granted to account `eve`: only the accounts and pipelines that a profile names may sign with it");
        insta::assert_snapshot!(text(&profile, &principal("root", None, true)), @"profile `ci-build` is not granted to account `root`: only the accounts and pipelines that a profile names may sign with it, and being an administrator is not a grant");
        insta::assert_snapshot!(text(&profile, &principal("dev", Some("nightly"), false)), @"profile `ci-build` is not granted to pipeline `nightly`: only the accounts and pipelines that a profile names may sign with it, and a run signs as its pipeline");
        profile.status = ProfileStatus::Canceled;
        insta::assert_snapshot!(text(&profile, &dev), @"profile `ci-build` is canceled: it makes no new signatures");
        profile.status = ProfileStatus::Revoked;
        insta::assert_snapshot!(text(&profile, &dev), @"profile `ci-build` is revoked: it makes no new signatures");
    }

    fn specification() -> ProfileSpec {
        ProfileSpec {
            name: "ci".parse().unwrap(),
            platform: SigningPlatform::default(),
            validity: "1 day".parse().unwrap(),
            leaf: LeafPolicy::PerJob,
            dialect: Dialect::default(),
            owner: None,
            grants: Grants::default(),
            rules: Default::default(),
            two_person: false,
        }
    }

    #[test]
    fn a_specification_is_checked() {
        let base = specification();
        assert_eq!(base.check(), Ok(()));
        for days in [0, 31] {
            let leaf = LeafPolicy::Rotating { days };
            let spec = ProfileSpec {
                leaf,
                dialect: Dialect::default(),
                owner: None,
                ..base.clone()
            };
            assert_eq!(spec.check(), Err(ProfileSpecError::LeafDays(days)));
        }
        let too_long = "x".repeat(MAX_GRANTEE_BYTES + 1);
        for name in ["", "a\nb", &too_long] {
            let mut spec = base.clone();
            spec.grants.pipelines.insert(name.to_owned());
            assert!(
                matches!(spec.check(), Err(ProfileSpecError::Grantee(_))),
                "{name}"
            );
        }
        let mut crowded = base;
        crowded.grants.accounts = (0..=MAX_GRANTS).map(|n| n.to_string()).collect();
        let refused = crowded.check();
        assert!(matches!(
            refused,
            Err(ProfileSpecError::TooManyGrants(_, "accounts"))
        ));
    }

    #[test]
    fn platforms_have_one_name() {
        for platform in SigningPlatform::ALL {
            assert_eq!(platform.name().parse(), Ok(platform));
            let json = serde_json::to_value(platform).unwrap();
            assert_eq!(json, platform.name());
        }
        assert!(
            "notation-oci-sha384-ecdsa"
                .parse::<SigningPlatform>()
                .is_err()
        );
    }

    #[test]
    fn rsa_keys_are_not_made_for_each_job() {
        let mut spec = ProfileSpec {
            platform: SigningPlatform::NotationOciSha384Rsa,
            ..specification()
        };
        let refused = ProfileSpecError::RsaLeaf(spec.name.clone());
        assert_eq!(spec.check(), Err(refused));
        spec.leaf = LeafPolicy::Rotating { days: 3 };
        assert_eq!(spec.check(), Ok(()));
    }

    #[test]
    fn an_unknown_platform_is_refused() {
        let text = r#"{"name":"ci","platform":"AWSLambda-SHA384-ECDSA","validity":"1 day"}"#;
        assert!(serde_json::from_str::<ProfileSpec>(text).is_err());
        let text = r#"{"name":"ci","validity":"1 day"}"#;
        assert!(serde_json::from_str::<ProfileSpec>(text).is_ok());
    }
}
