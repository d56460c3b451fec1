//! Account numbers and the names of things in AWS's form.
//!
//! An account number is a tenant: twelve digits, as AWS has them, because its clients check that.
//! The installation has one, and an account may be given another. Names are ARNs of the partition
//! `aws` with a slash after the last colon, which is how AWS Signer writes them and what ECR's
//! rules and the Notation plugin parse.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::job::JobId;
use crate::profile::ProfileName;

/// The region of an installation that was given none. Clients may sign for any region.
pub const DEFAULT_REGION: &str = "us-east-1";
/// The longest name of a region, in bytes.
pub const MAX_REGION_BYTES: usize = 32;

/// Twelve digits that name a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountNumber([u8; 12]);

/// Says why a text is not an account number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an account number: use 12 digits")]
pub struct AccountNumberError(String);

impl AccountNumber {
    /// The number of an installation that was given none, as in tests.
    pub const UNSET: Self = Self([b'0'; 12]);

    /// Returns the number that `random` makes, which does not begin with a zero: spreadsheets and
    /// shells take such ones for shorter numbers.
    pub fn from_random(random: [u8; 12]) -> Self {
        let mut digits = random.map(|byte| b'0' + byte % 10);
        digits[0] = digits[0].max(b'1');
        Self(digits)
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        // ASCII digits by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for AccountNumber {
    type Err = AccountNumberError;

    fn from_str(text: &str) -> Result<Self, AccountNumberError> {
        match <[u8; 12]>::try_from(text.as_bytes()) {
            Ok(digits) if digits.iter().all(u8::is_ascii_digit) => Ok(Self(digits)),
            _ => Err(AccountNumberError(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for AccountNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AccountNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Who this installation is, in AWS's words: its own account number and its region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installation {
    /// The account number of every account that was given no other.
    pub number: AccountNumber,
    /// The region that stands in all ARNs.
    pub region: String,
}

impl Default for Installation {
    fn default() -> Self {
        Self {
            number: AccountNumber::UNSET,
            region: DEFAULT_REGION.to_owned(),
        }
    }
}

impl Installation {
    fn arn(&self, owner: AccountNumber, resource: &str) -> String {
        format!("arn:aws:signer:{}:{owner}:{resource}", self.region)
    }

    /// Returns the ARN of a signing profile, whatever its version.
    pub fn profile_arn(&self, owner: AccountNumber, name: &ProfileName) -> String {
        self.arn(owner, &format!("/signing-profiles/{name}"))
    }

    /// Returns the ARN of one version of a signing profile.
    pub fn version_arn(&self, owner: AccountNumber, name: &ProfileName, version: &str) -> String {
        self.arn(owner, &format!("/signing-profiles/{name}/{version}"))
    }

    /// Returns the ARN of a signing job.
    pub fn job_arn(&self, owner: AccountNumber, id: JobId) -> String {
        self.arn(owner, &format!("/signing-jobs/{id}"))
    }

    /// Parses an ARN of ours; `None` for whatever is not of this region, or not of AWS Signer.
    pub fn parse_arn(&self, text: &str) -> Option<Arn> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", "aws", "signer", region, owner, resource] = parts[..] else {
            return None;
        };
        let owner = owner.parse().ok()?;
        let parts: Vec<&str> = resource.split('/').collect();
        let kind = match parts[..] {
            ["", "signing-profiles", name] => ArnKind::Profile(name.parse().ok()?),
            ["", "signing-profiles", name, version] => {
                let is_version =
                    version.len() == 10 && version.bytes().all(|b| b.is_ascii_alphanumeric());
                let name = name.parse().ok()?;
                is_version.then(|| ArnKind::Version(name, version.to_owned()))?
            }
            ["", "signing-jobs", id] => ArnKind::Job(id.parse().ok()?),
            _ => return None,
        };
        (region == self.region).then_some(Arn { owner, kind })
    }
}

/// What an ARN of AWS Signer names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn {
    /// Whose it is.
    pub owner: AccountNumber,
    /// What it is.
    pub kind: ArnKind,
}

/// The kinds of things that have an ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArnKind {
    /// A signing profile.
    Profile(ProfileName),
    /// One version of it.
    Version(ProfileName, String),
    /// A signing job.
    Job(JobId),
}

/// Parses the name of a region: letters, digits and hyphens.
///
/// # Errors
/// A sentence that says what is allowed.
pub fn parse_region(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match (1..=MAX_REGION_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "expected a region such as `{DEFAULT_REGION}`: up to {MAX_REGION_BYTES} lower-case \
             letters, digits and hyphens"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_twelve_digits() {
        let number: AccountNumber = "111122223333".parse().unwrap();
        assert_eq!(number.to_string(), "111122223333");
        for bad in [
            "",
            "11112222333",
            "1111222233334",
            "11112222333a",
            "１１１１",
        ] {
            assert!(bad.parse::<AccountNumber>().is_err(), "{bad}");
        }
        let made = AccountNumber::from_random([250; 12]);
        assert_eq!(made.as_str(), "100000000000");
        assert!(made.as_str().parse::<AccountNumber>().is_ok());
    }

    #[test]
    fn arns_are_read_as_they_are_written() {
        let here = Installation::default();
        let owner: AccountNumber = "111122223333".parse().unwrap();
        let name: ProfileName = "ci_build".parse().unwrap();
        let id: JobId = "0199c2a0-0000-7000-8000-000000000000".parse().unwrap();
        let version = "ABCDEFGHJK".to_owned();
        for (arn, kind) in [
            (
                here.profile_arn(owner, &name),
                ArnKind::Profile(name.clone()),
            ),
            (
                here.version_arn(owner, &name, &version),
                ArnKind::Version(name.clone(), version),
            ),
            (here.job_arn(owner, id), ArnKind::Job(id)),
        ] {
            let expected = Some(Arn { owner, kind });
            assert_eq!(here.parse_arn(&arn), expected, "{arn}");
            let other = arn.replace("us-east-1", "eu-west-1");
            assert_eq!(here.parse_arn(&other), None, "{other}");
        }
    }

    #[test]
    fn other_arns_are_not_ours() {
        let here = Installation::default();
        for arn in [
            "",
            "arn:aws:signer:us-east-1:111122223333:signing-profiles/ci",
            "arn:aws:signer:us-east-1:1:/signing-profiles/ci",
            "arn:aws:signer:us-east-1:111122223333:/signing-profiles/ci/short",
            "arn:aws:signer:us-east-1:111122223333:/signing-profiles/ci/ABCDEFGHJK/x",
            "arn:aws:signer:us-east-1:111122223333:/signing-profiles/",
            "arn:aws:signer:us-east-1:111122223333:/signing-jobs/x",
            "arn:aws-cn:signer:us-east-1:111122223333:/signing-profiles/ci",
            "arn:aws:ecr:us-east-1:111122223333:/signing-profiles/ci",
        ] {
            assert_eq!(here.parse_arn(arn), None, "{arn}");
        }
    }
}
