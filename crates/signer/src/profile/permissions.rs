//! What other account numbers may do with a profile, and its tags: AWS Signer's resource policy.
//!
//! A permission names one action, one principal (an account number, or one account or role of it),
//! and perhaps one version of the profile. It adds to what the profile's own rules allow and takes
//! nothing away. Changes are made against a revision, so that two administrators do not undo each
//! other's.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ProfileName, SigningProfile};
use crate::account::AccountNumber;
use crate::principal::Principal;

/// The most permissions of one profile; the whole profile must fit into one frame.
pub const MAX_PERMISSIONS: usize = 64;
/// The most tags of one profile (AWS Signer).
pub const MAX_TAGS: usize = 50;
/// The longest name of a tag, in characters.
const MAX_TAG_KEY_CHARS: usize = 128;
/// The longest value of a tag, in characters.
const MAX_TAG_VALUE_CHARS: usize = 256;
/// The longest name of a statement, in bytes.
const MAX_STATEMENT_ID_BYTES: usize = 64;
/// The longest account or role in a principal, in bytes.
const MAX_IDENTITY_BYTES: usize = 128;
/// What the names of AWS's own tags begin with.
const RESERVED_TAG_PREFIX: &str = "aws:";

/// What another account number may do with a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PermittedAction {
    /// Sign a payload.
    #[serde(rename = "signer:SignPayload")]
    SignPayload,
    /// See the profile.
    #[serde(rename = "signer:GetSigningProfile")]
    GetSigningProfile,
    /// Revoke signatures of the profile.
    #[serde(rename = "signer:RevokeSignature")]
    RevokeSignature,
}

impl PermittedAction {
    const ALL: [(&str, Self); 3] = [
        ("signer:SignPayload", Self::SignPayload),
        ("signer:GetSigningProfile", Self::GetSigningProfile),
        ("signer:RevokeSignature", Self::RevokeSignature),
    ];
}

impl fmt::Display for PermittedAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(_, action)| action == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

impl FromStr for PermittedAction {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let named = Self::ALL.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, action)| *action)
            .ok_or_else(|| PermissionError::Action(shown(text)))
    }
}

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfilePermission {
    /// Its name, unique in the profile.
    pub statement_id: String,
    /// What may be done.
    pub action: PermittedAction,
    /// Who may: an account number, or an ARN `arn:aws:iam::NUMBER:user/ACCOUNT` (or `role/…`).
    pub principal: String,
    /// The only version of the profile that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_version: Option<String>,
}

/// Says why permissions or tags cannot be as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionError {
    /// The action is none that can be permitted.
    #[error(
        "`{0}` cannot be permitted: use `signer:SignPayload`, which is what signing in place asks \
         for too, `signer:GetSigningProfile` or `signer:RevokeSignature`"
    )]
    Action(String),
    /// The principal is neither a number nor an ARN of an account.
    #[error(
        "`{0}` is not a principal: use an account number of 12 digits, or \
         `arn:aws:iam::NUMBER:user/ACCOUNT`"
    )]
    Principal(String),
    /// The name of a statement cannot be used.
    #[error("`{0}` is not a statement id: use 1 to 64 letters, digits, `-` and `_`")]
    StatementId(String),
    /// The version is not one.
    #[error("`{0}` is not a version of a profile: use 10 letters and digits")]
    Version(String),
    /// There are too many permissions.
    #[error("profile `{0}` has {MAX_PERMISSIONS} permissions already: remove one that is not used")]
    TooMany(ProfileName),
    /// A statement of this name exists.
    #[error("profile `{0}` has a permission `{1}` already: choose another statement id")]
    Exists(ProfileName, String),
    /// There is no statement of this name.
    #[error("profile `{0}` has no permission `{1}`")]
    Missing(ProfileName, String),
    /// Somebody else changed the permissions in between.
    #[error(
        "the permissions of profile `{profile}` are at revision `{current}`, not `{asked}`: list \
         them again and repeat the change"
    )]
    Revision {
        /// The profile.
        profile: ProfileName,
        /// The revision now.
        current: String,
        /// The revision that the change was made against.
        asked: String,
    },
    /// The name or value of a tag cannot be used.
    #[error(
        "tag `{0}` cannot be used: a name has 1 to {MAX_TAG_KEY_CHARS} characters and does not \
         begin with `{RESERVED_TAG_PREFIX}`, a value has at most {MAX_TAG_VALUE_CHARS}"
    )]
    Tag(String),
    /// There are too many tags.
    #[error("profile `{0}` would have more than {MAX_TAGS} tags")]
    TooManyTags(ProfileName),
}

/// A change of a profile's permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PermissionChange {
    /// One more.
    Add(ProfilePermission),
    /// One less, by its statement id.
    Remove(String),
}

/// A change of a profile's tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagChange {
    /// Tags that are set.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Names of tags that are removed; one that is not there is fine.
    #[serde(default)]
    pub remove: Vec<String>,
}

impl ProfilePermission {
    /// Checks everything that the types do not.
    pub fn check(&self) -> Result<(), PermissionError> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let id = &self.statement_id;
        if !(1..=MAX_STATEMENT_ID_BYTES).contains(&id.len()) || !id.bytes().all(is_word) {
            return Err(PermissionError::StatementId(shown(id)));
        }
        let is_version =
            |text: &str| text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if let Some(version) = &self.profile_version
            && !is_version(version)
        {
            return Err(PermissionError::Version(shown(version)));
        }
        match parse_principal(&self.principal) {
            Some(_) => Ok(()),
            None => Err(PermissionError::Principal(shown(&self.principal))),
        }
    }

    fn covers(&self, principal: &Principal) -> bool {
        let Some((number, account)) = parse_principal(&self.principal) else {
            return false;
        };
        // A run is not its account, and a principal without a number is of no tenant.
        principal.number == Some(number)
            && principal.pipeline.is_none()
            && account.is_none_or(|account| account == principal.account)
    }
}

impl SigningProfile {
    /// Returns whether a permission lets `principal` do this with this version of the profile.
    pub fn permits(&self, action: PermittedAction, principal: &Principal, version: &str) -> bool {
        self.permissions.iter().any(|one| {
            let for_version = one.profile_version.as_deref();
            one.action == action
                && for_version.is_none_or(|only| only == version)
                && one.covers(principal)
        })
    }

    /// Returns whether a permission lets `principal` sign with the profile as it is now.
    pub(super) fn lets_sign(&self, principal: &Principal) -> bool {
        self.permits(PermittedAction::SignPayload, principal, &self.version)
    }

    /// Changes the permissions, if they are still at `revision`. The new revision is for the
    /// caller to set.
    ///
    /// # Errors
    /// [`PermissionError`]; then nothing changed.
    pub fn change_permissions(
        &mut self,
        change: PermissionChange,
        revision: Option<&str>,
    ) -> Result<(), PermissionError> {
        if let Some(asked) = revision
            && asked != self.revision_id
        {
            return Err(PermissionError::Revision {
                profile: self.name.clone(),
                current: self.revision_id.clone(),
                asked: shown(asked),
            });
        }
        let place = |id: &str| {
            let mut all = self.permissions.iter();
            all.position(|one| one.statement_id == id)
        };
        match change {
            PermissionChange::Add(permission) => {
                permission.check()?;
                if place(&permission.statement_id).is_some() {
                    let id = permission.statement_id;
                    return Err(PermissionError::Exists(self.name.clone(), id));
                }
                if self.permissions.len() >= MAX_PERMISSIONS {
                    return Err(PermissionError::TooMany(self.name.clone()));
                }
                self.permissions.push(permission);
            }
            PermissionChange::Remove(id) => {
                let missing = || PermissionError::Missing(self.name.clone(), shown(&id));
                let index = place(&id).ok_or_else(missing)?;
                self.permissions.remove(index);
            }
        }
        Ok(())
    }

    /// Changes the tags.
    ///
    /// # Errors
    /// [`PermissionError`]; then nothing changed.
    pub fn change_tags(&mut self, change: TagChange) -> Result<(), PermissionError> {
        for (name, value) in &change.set {
            let chars = name.chars().count();
            let good = (1..=MAX_TAG_KEY_CHARS).contains(&chars)
                && !name.starts_with(RESERVED_TAG_PREFIX)
                && value.chars().count() <= MAX_TAG_VALUE_CHARS
                && !name.chars().chain(value.chars()).any(char::is_control);
            if !good {
                return Err(PermissionError::Tag(shown(name)));
            }
        }
        let mut tags = self.tags.clone();
        tags.retain(|name, _| !change.remove.contains(name));
        tags.extend(change.set);
        if tags.len() > MAX_TAGS {
            return Err(PermissionError::TooManyTags(self.name.clone()));
        }
        self.tags = tags;
        Ok(())
    }
}

/// Returns the account number that a principal names, and the account, if it is about one only.
fn parse_principal(text: &str) -> Option<(AccountNumber, Option<&str>)> {
    if let Ok(number) = text.parse() {
        return Some((number, None));
    }
    let rest = text.strip_prefix("arn:aws:iam::")?;
    let (number, identity) = rest.split_once(':')?;
    let number = number.parse().ok()?;
    if identity == "root" {
        return Some((number, None));
    }
    let (kind, path) = identity.split_once('/')?;
    let name = path.rsplit('/').next()?;
    let good = matches!(kind, "user" | "role")
        && (1..=MAX_IDENTITY_BYTES).contains(&name.len())
        && text.len() <= 2048
        && !name.contains('*')
        && !name.chars().any(char::is_control);
    good.then_some((number, Some(name)))
}

/// Cuts a text of somebody else's to a length that a message can hold.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "111122223333";

    fn profile() -> SigningProfile {
        let text = r#"{"name":"ci_build","validity":"7 days"}"#;
        let spec = serde_json::from_str(text).unwrap();
        let made = time::macros::datetime!(2026-03-01 12:00 UTC);
        SigningProfile::new(spec, "ABCDEFGHJK".to_owned(), made)
    }

    fn permission(id: &str, principal: &str) -> ProfilePermission {
        ProfilePermission {
            statement_id: id.to_owned(),
            action: PermittedAction::SignPayload,
            principal: principal.to_owned(),
            profile_version: None,
        }
    }

    fn caller(number: &str, account: &str) -> Principal {
        Principal {
            number: Some(number.parse().unwrap()),
            ..Principal::account(account)
        }
    }

    fn with(permission: ProfilePermission) -> SigningProfile {
        let mut profile = profile();
        let added = profile.change_permissions(PermissionChange::Add(permission), None);
        assert_eq!(added, Ok(()));
        profile
    }

    #[test]
    fn a_permission_is_for_whom_it_names() {
        let arn = |identity: &str| format!("arn:aws:iam::{NUMBER}:{identity}");
        let run = Principal {
            pipeline: Some("shop/build".to_owned()),
            ..caller(NUMBER, "dev")
        };
        let nobody = Principal::account("dev");
        for (principal, caller, expected) in [
            (NUMBER.to_owned(), caller(NUMBER, "dev"), true),
            (arn("root"), caller(NUMBER, "dev"), true),
            (arn("user/dev"), caller(NUMBER, "dev"), true),
            (arn("role/path/dev"), caller(NUMBER, "dev"), true),
            (arn("user/ops"), caller(NUMBER, "dev"), false),
            (NUMBER.to_owned(), caller("444455556666", "dev"), false),
            (arn("user/dev"), caller("444455556666", "dev"), false),
            (NUMBER.to_owned(), run, false),
            (NUMBER.to_owned(), nobody, false),
        ] {
            let profile = with(permission("one", &principal));
            let permits = |action| profile.permits(action, &caller, "ABCDEFGHJK");
            assert_eq!(
                permits(PermittedAction::SignPayload),
                expected,
                "{principal}"
            );
            assert!(!permits(PermittedAction::RevokeSignature), "{principal}");
        }
    }

    #[test]
    fn a_permission_may_be_for_one_version() {
        let profile = with(ProfilePermission {
            profile_version: Some("ABCDEFGHJK".to_owned()),
            ..permission("one", NUMBER)
        });
        let permits = |version| {
            profile.permits(
                PermittedAction::SignPayload,
                &caller(NUMBER, "dev"),
                version,
            )
        };
        assert!(permits("ABCDEFGHJK"));
        assert!(!permits("ABCDEFGHJL"));
    }

    #[test]
    fn what_cannot_be_permitted_is_refused() {
        let long = "x".repeat(65);
        let mut errors = vec!["signer:*".parse::<PermittedAction>().unwrap_err()];
        for (id, principal, version) in [
            ("", NUMBER, None),
            ("a b", NUMBER, None),
            (long.as_str(), NUMBER, None),
            ("one", "*", None),
            ("one", "11112222333", None),
            ("one", "arn:aws:iam::111122223333:user/*", None),
            ("one", "arn:aws:iam::111122223333:group/dev", None),
            ("one", NUMBER, Some("1")),
        ] {
            let mut wrong = permission(id, principal);
            wrong.profile_version = version.map(str::to_owned);
            errors.push(wrong.check().unwrap_err());
        }
        let kinds = |error: &PermissionError| match error {
            PermissionError::Action(_) => "action",
            PermissionError::StatementId(_) => "id",
            PermissionError::Principal(_) => "principal",
            PermissionError::Version(_) => "version",
            _ => "other",
        };
        let kinds: Vec<_> = errors.iter().map(kinds).collect();
        assert_eq!(
            kinds.join(" "),
            "action id id id principal principal principal principal version"
        );
    }

    #[test]
    fn changes_are_made_against_a_revision() {
        let mut profile = with(permission("one", NUMBER));
        profile.revision_id = "r1".to_owned();
        let add = |id: &str| PermissionChange::Add(permission(id, NUMBER));
        let stale = profile.change_permissions(add("two"), Some("r0"));
        assert!(matches!(stale, Err(PermissionError::Revision { .. })));
        let again = profile.change_permissions(add("one"), Some("r1"));
        assert!(matches!(again, Err(PermissionError::Exists(..))));
        let missing = PermissionChange::Remove("two".to_owned());
        let missing = profile.change_permissions(missing, None);
        assert!(matches!(missing, Err(PermissionError::Missing(..))));
        assert_eq!(profile.permissions.len(), 1);
        let remove = PermissionChange::Remove("one".to_owned());
        assert_eq!(profile.change_permissions(remove, Some("r1")), Ok(()));
        for number in 0..MAX_PERMISSIONS {
            profile
                .change_permissions(add(&number.to_string()), None)
                .unwrap();
        }
        let full = profile.change_permissions(add("more"), None);
        assert!(matches!(full, Err(PermissionError::TooMany(_))));
    }

    #[test]
    fn tags_are_bounded() {
        let mut profile = profile();
        let set = |name: &str, value: &str| TagChange {
            set: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            remove: Vec::new(),
        };
        profile.change_tags(set("team", "shop")).unwrap();
        profile.change_tags(set("team", "ops")).unwrap();
        assert_eq!(profile.tags["team"], "ops");
        let long = "x".repeat(257);
        for (name, value) in [
            ("", ""),
            ("aws:x", ""),
            (&long[..129], ""),
            ("x", &long),
            ("a\n", ""),
        ] {
            let wrong = profile.change_tags(set(name, value));
            assert!(matches!(wrong, Err(PermissionError::Tag(_))), "{name}");
        }
        let many = |count: usize| TagChange {
            set: (0..count).map(|n| (n.to_string(), String::new())).collect(),
            remove: vec!["team".to_owned()],
        };
        let too_many = profile.change_tags(many(MAX_TAGS + 1));
        assert!(matches!(too_many, Err(PermissionError::TooManyTags(_))));
        assert_eq!(profile.tags.len(), 1);
        profile.change_tags(many(MAX_TAGS)).unwrap();
        assert_eq!(profile.tags.len(), MAX_TAGS);
    }
}
