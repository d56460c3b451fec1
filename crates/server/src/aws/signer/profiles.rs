//! PutSigningProfile, GetSigningProfile, ListSigningProfiles, CancelSigningProfile.

use std::collections::BTreeMap;

use ::signer::validity::MAX_VALIDITY_MONTHS;
use ::signer::{
    AccountNumber, Dialect, Grants, LeafPolicy, ProfileName, ProfileSpec, ProfileStatus,
    SigningProfile, TagChange, Validity, ValidityUnit,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::paging::Paging;
use super::platforms;
use super::{Answer, account_number, seconds};
use crate::api::signing;
use crate::aws::error::AwsError;
use crate::aws::invocations::AwsAnswer;
use crate::aws::request::{AwsRequest, Query};
use crate::two_person;

/// The life of a leaf of a profile that is made here, in days: about what AWS's have.
const LEAF_DAYS: u16 = 3;
/// The signing parameter that chooses the dialect.
const DIALECT: &str = "dialect";
const OPERATION: &str = "ListSigningProfiles";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    platform_id: String,
    signature_validity_period: Option<Period>,
    signing_material: Option<Value>,
    overrides: Option<Value>,
    #[serde(default)]
    signing_parameters: BTreeMap<String, String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Period {
    value: Option<u32>,
    #[serde(rename = "type")]
    unit: Option<String>,
}

/// Makes a profile, or a new version of one.
pub(super) async fn put(request: &AwsRequest, name: ProfileName) -> Answer {
    let input: Input = request.json()?;
    let tags = TagChange {
        set: input.tags.clone(),
        remove: Vec::new(),
    };
    let front = &request.front;
    two_person::guard_profile(front, &name).await?;
    let principal = request.principal().await?;
    let existing = front
        .signer
        .profile(principal.clone(), name.clone())
        .await
        .ok();
    let mut spec = spec(name.clone(), &input, request)?;
    match existing {
        // Who may use it is not this API's to change.
        Some(existing) => {
            spec = ProfileSpec {
                platform: spec.platform,
                validity: spec.validity,
                leaf: spec.leaf,
                dialect: spec.dialect,
                owner: spec.owner,
                ..existing.to_spec()
            }
        }
        None => {
            let accounts = [request.caller.caller.account.clone()].into();
            let grants = Grants {
                accounts,
                ..Grants::default()
            };
            spec.grants = signing::with_accounts(front, name.as_str(), grants).await?;
        }
    }
    let (_, mut profile) = front
        .signer
        .put_profile(principal.clone(), spec, true)
        .await?;
    if !tags.set.is_empty() {
        profile = front.signer.change_tags(principal, name, tags).await?;
    }
    let shown = Shown::of(request, &profile);
    Ok(AwsAnswer::ok(json!({
        "arn": shown.arn(),
        "profileVersion": profile.version,
        "profileVersionArn": shown.version_arn(),
    })))
}

fn spec(name: ProfileName, input: &Input, request: &AwsRequest) -> Result<ProfileSpec, AwsError> {
    let platform = platforms::parse(&input.platform_id)?;
    let refused = [
        ("signingMaterial", &input.signing_material),
        ("overrides", &input.overrides),
    ];
    for (member, value) in refused {
        if value.as_ref().is_some_and(|value| !value.is_null()) {
            return Err(AwsError::validation(format!(
                "`{member}` is not for the platform `{platform}`: leave it out"
            )));
        }
    }
    let dialect = dialect(&input.signing_parameters)?;
    Ok(ProfileSpec {
        name,
        platform,
        validity: validity(input.signature_validity_period.as_ref())?,
        leaf: match dialect {
            Dialect::Aws => LeafPolicy::Rotating { days: LEAF_DAYS },
            Dialect::Plain => LeafPolicy::PerJob,
        },
        dialect,
        owner: Some(request.caller.number),
        grants: Grants::default(),
        rules: ::signer::Rules::default(),
        two_person: false,
    })
}

fn dialect(parameters: &BTreeMap<String, String>) -> Result<Dialect, AwsError> {
    if let Some(name) = parameters.keys().find(|name| *name != DIALECT) {
        let shown: String = name.chars().take(80).collect();
        return Err(AwsError::validation(format!(
            "signing parameter `{shown}` is not known: only `{DIALECT}` is"
        )));
    }
    match parameters.get(DIALECT).map(String::as_str) {
        None | Some("aws") => Ok(Dialect::Aws),
        Some("plain") => Ok(Dialect::Plain),
        Some(_) => Err(AwsError::validation(format!(
            "signing parameter `{DIALECT}` is neither `aws` nor `plain`"
        ))),
    }
}

fn validity(period: Option<&Period>) -> Result<Validity, AwsError> {
    let unit = |name: Option<&str>| match name {
        Some("DAYS") => Ok(ValidityUnit::Days),
        Some("MONTHS") => Ok(ValidityUnit::Months),
        Some("YEARS") => Ok(ValidityUnit::Years),
        _ => Err(AwsError::validation(
            "`signatureValidityPeriod.type` is not `DAYS`, `MONTHS` or `YEARS`",
        )),
    };
    let (value, unit) = match period {
        // The default, and the longest, of AWS.
        None => (MAX_VALIDITY_MONTHS, ValidityUnit::Months),
        Some(period) => {
            let missing = "`signatureValidityPeriod.value` is missing";
            let value = period.value.ok_or_else(|| AwsError::validation(missing))?;
            (value, unit(period.unit.as_deref())?)
        }
    };
    Validity::new(value, unit).map_err(|error| AwsError::validation(error.to_string()))
}

/// Shows a profile.
pub(super) async fn get(request: &AwsRequest, query: &Query, name: ProfileName) -> Answer {
    let owner = match query.get("profileOwner") {
        Some(owner) => account_number(owner)?,
        None => request.caller.number,
    };
    let principal = request.principal().await?;
    let profile = request
        .front
        .signer
        .profile(principal, name.clone())
        .await?;
    let shown = Shown::of(request, &profile);
    if shown.owner != owner {
        return Err(AwsError::not_found(format!(
            "account number {owner} has no signing profile `{name}`"
        )));
    }
    let mut answer = shown.fields();
    answer["revocationRecord"] = profile.revocation.as_ref().map_or(Value::Null, |record| {
        json!({
            "revocationEffectiveFrom": seconds(record.from),
            "revokedAt": seconds(record.at),
            "revokedBy": record.by,
        })
    });
    answer["statusReason"] = profile
        .revocation
        .as_ref()
        .map_or(Value::Null, |record| Value::String(record.reason.clone()));
    Ok(AwsAnswer::ok(without_nulls(answer)))
}

/// Lists the profiles of the caller's account number that the caller may see.
pub(super) async fn list(request: &AwsRequest, query: &Query) -> Answer {
    let paging = Paging::read(query, OPERATION)?;
    let mut statuses: Vec<&str> = query.all("statuses").collect();
    let known = ["Active", "Canceled", "Revoked"];
    if statuses.iter().any(|status| !known.contains(status)) {
        return Err(AwsError::validation(
            "`statuses` holds something else than `Active`, `Canceled` and `Revoked`",
        ));
    }
    if statuses.is_empty() {
        statuses.push("Active");
        if query.get("includeCanceled") == Some("true") {
            statuses.push("Canceled");
        }
    }
    let platform = query.get("platformId");
    let principal = request.principal().await?;
    let all = request.front.signer.profiles(principal).await?;
    let wanted = all.into_iter().filter(|profile| {
        Shown::of(request, profile).owner == request.caller.number
            && statuses.contains(&status(profile.status))
            && platform.is_none_or(|platform| platform == profile.platform.name())
    });
    let name = |profile: &SigningProfile| profile.name.to_string();
    let (page, next) = paging.cut(wanted.collect(), (OPERATION, name));
    let page: Vec<Value> = page
        .iter()
        .map(|profile| without_nulls(Shown::of(request, profile).fields()))
        .collect();
    Ok(AwsAnswer::ok(without_nulls(
        json!({"profiles": page, "nextToken": next}),
    )))
}

/// Lets a profile sign no more.
pub(super) async fn cancel(request: &AwsRequest, name: ProfileName) -> Answer {
    two_person::guard_profile(&request.front, &name).await?;
    let principal = request.principal().await?;
    request.front.signer.cancel_profile(principal, name).await?;
    Ok(AwsAnswer::done())
}

fn status(status: ProfileStatus) -> &'static str {
    match status {
        ProfileStatus::Active => "Active",
        ProfileStatus::Canceled => "Canceled",
        ProfileStatus::Revoked => "Revoked",
    }
}

/// A profile, and what is needed to write it down in AWS's words.
pub(super) struct Shown<'a> {
    request: &'a AwsRequest,
    profile: &'a SigningProfile,
    pub(super) owner: AccountNumber,
}

impl<'a> Shown<'a> {
    pub(super) fn of(request: &'a AwsRequest, profile: &'a SigningProfile) -> Self {
        let default = request.front.aws.installation.number;
        Self {
            request,
            profile,
            owner: profile.owner.unwrap_or(default),
        }
    }

    fn arn(&self) -> String {
        let here = &self.request.front.aws.installation;
        here.profile_arn(self.owner, &self.profile.name)
    }

    fn version_arn(&self) -> String {
        let here = &self.request.front.aws.installation;
        here.version_arn(self.owner, &self.profile.name, &self.profile.version)
    }

    fn fields(&self) -> Value {
        let profile = self.profile;
        let dialect = match profile.dialect {
            Dialect::Aws => "aws",
            Dialect::Plain => "plain",
        };
        json!({
            "profileName": profile.name,
            "profileVersion": profile.version,
            "profileVersionArn": self.version_arn(),
            "platformId": profile.platform.name(),
            "platformDisplayName": platforms::display_name(profile.platform),
            "signatureValidityPeriod": period(profile.validity),
            "signingParameters": {DIALECT: dialect},
            "status": status(profile.status),
            "arn": self.arn(),
            "tags": profile.tags,
        })
    }
}

/// A validity in AWS's units; one in seconds, which AWS has not, is left out.
fn period(validity: Validity) -> Value {
    let unit = match validity.unit() {
        ValidityUnit::Days => "DAYS",
        ValidityUnit::Months => "MONTHS",
        ValidityUnit::Years => "YEARS",
        ValidityUnit::Seconds => return Value::Null,
    };
    json!({"value": validity.value(), "type": unit})
}

/// Leaves out members that are `null`: to the SDKs they are not the same as absent.
pub(super) fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, member| !member.is_null());
    }
    value
}
