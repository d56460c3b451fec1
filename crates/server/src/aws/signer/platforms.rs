//! GetSigningPlatform, ListSigningPlatforms.

use ::signer::SigningPlatform;
use serde_json::{Value, json};

use super::Answer;
use super::paging::Paging;
use crate::aws::error::AwsError;
use crate::aws::invocations::AwsAnswer;
use crate::aws::request::Query;

const OPERATION: &str = "ListSigningPlatforms";

/// Lists the platforms.
pub(super) fn list(query: &Query) -> Answer {
    let paging = Paging::read(query, OPERATION)?;
    let wanted = |platform: &Value| {
        let matches = |name: &str| {
            query
                .get(name)
                .is_none_or(|wanted| platform[name] == wanted)
        };
        ["category", "partner", "target"].into_iter().all(matches)
    };
    let mut all: Vec<Value> = SigningPlatform::ALL.map(shown).into();
    all.sort_by_key(id);
    all.retain(wanted);
    let (page, next) = paging.cut(all, (OPERATION, id));
    Ok(AwsAnswer::ok(super::profiles::without_nulls(
        json!({"platforms": page, "nextToken": next}),
    )))
}

/// Shows a platform.
pub(super) fn get(id: &str) -> Answer {
    parse(id).map(|platform| AwsAnswer::ok(shown(platform)))
}

/// Returns the platform of this name.
pub(super) fn parse(id: &str) -> Result<SigningPlatform, AwsError> {
    let parsed: Result<SigningPlatform, _> = id.parse();
    parsed.map_err(|_| {
        let asked: String = id.chars().take(80).collect();
        let known = SigningPlatform::ALL.map(|one| format!("`{}`", one.name()));
        let known = known.join(", ");
        AwsError::not_found(format!(
            "there is no signing platform `{asked}`: there are {known}"
        ))
    })
}

/// What people call a platform.
pub(super) fn display_name(platform: SigningPlatform) -> &'static str {
    match platform {
        SigningPlatform::NotationOciSha384Ecdsa => "Notation for container registries",
        SigningPlatform::NotationOciSha256Ecdsa => "Notation for container registries, P-256",
        SigningPlatform::NotationOciSha384Rsa => "Notation for container registries, RSA-3072",
    }
}

fn id(platform: &Value) -> String {
    platform["platformId"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn shown(platform: SigningPlatform) -> Value {
    let (algorithm, hash) = match platform {
        SigningPlatform::NotationOciSha384Ecdsa => ("ECDSA", "SHA384"),
        SigningPlatform::NotationOciSha256Ecdsa => ("ECDSA", "SHA256"),
        SigningPlatform::NotationOciSha384Rsa => ("RSA", "SHA384"),
    };
    let options = |only: &str| json!({"allowedValues": [only], "defaultValue": only});
    json!({
        "platformId": platform.name(),
        "displayName": display_name(platform),
        "partner": "NotaryProject",
        "target": "OCI",
        "category": "AWS",
        "signingConfiguration": {
            "encryptionAlgorithmOptions": options(algorithm),
            "hashAlgorithmOptions": options(hash),
        },
        "signingImageFormat": {
            "supportedFormats": ["JSONDetached"],
            "defaultFormat": "JSONDetached",
        },
        // The payload has 4 KiB at most; the artifact itself is never sent.
        "maxSizeInMB": 1,
        "revocationSupported": true,
    })
}
