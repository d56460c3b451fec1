//! AWS Signer's API: rest-json, 19 operations, over the signer's socket.
//!
//! Request lines, member names, constraints, error names and paging are those of the service model
//! of 2017-08-25. Unknown members of a request are ignored, as AWS does. What differs, and why, is
//! in `docs/compat/aws.md`.

mod jobs;
mod paging;
mod payload;
mod permissions;
mod platforms;
mod profiles;
mod revocation;
mod start;
mod tags;

use ::signer::{AccountNumber, ProfileName};
use http::Method;
use time::OffsetDateTime;

use super::error::AwsError;
use super::invocations::AwsAnswer;
use super::request::{AwsRequest, Query};

type Answer = Result<AwsAnswer, AwsError>;

/// Answers a request whose signature holds.
pub(super) async fn dispatch(request: &AwsRequest) -> Answer {
    let segments = request.segments()?;
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query = request.query()?;
    match (&request.parts.method, &path[..]) {
        (&Method::POST, ["signing-jobs", "with-payload"]) => payload::sign(request).await,
        (&Method::POST, ["signing-jobs"]) => start::start(request).await,
        (&Method::GET, ["signing-jobs"]) => jobs::list(request, &query).await,
        (&Method::GET, ["signing-jobs", id]) => jobs::describe(request, id).await,
        (&Method::PUT, ["signing-jobs", id, "revoke"]) => revocation::job(request, id).await,
        (&Method::GET, ["revocations"]) => revocation::status(request, &query).await,
        (&Method::GET, ["signing-platforms"]) => platforms::list(&query),
        (&Method::GET, ["signing-platforms", id]) => platforms::get(id),
        (&Method::GET, ["signing-profiles"]) => profiles::list(request, &query).await,
        (method, ["signing-profiles", name, rest @ ..]) => {
            of_profile(request, &query, (method, name, rest)).await
        }
        (method, ["tags", arn]) => {
            let answer = tags::dispatch(request, &query, (method, arn)).await;
            answer.map_err(AwsError::of_tags)
        }
        (method, _) => Err(unknown(method, request.parts.uri.path())),
    }
}

async fn of_profile(
    request: &AwsRequest,
    query: &Query,
    (method, name, rest): (&Method, &str, &[&str]),
) -> Answer {
    let profile = profile_name(name)?;
    match (method, rest) {
        (&Method::PUT, []) => profiles::put(request, profile).await,
        (&Method::GET, []) => profiles::get(request, query, profile).await,
        (&Method::DELETE, []) => profiles::cancel(request, profile).await,
        (&Method::PUT, ["revoke"]) => revocation::profile(request, profile).await,
        (&Method::POST, ["permissions"]) => permissions::add(request, profile).await,
        (&Method::GET, ["permissions"]) => permissions::list(request, query, profile).await,
        (&Method::DELETE, ["permissions", id]) => {
            permissions::remove(request, query, (profile, id)).await
        }
        _ => Err(unknown(method, request.parts.uri.path())),
    }
}

fn unknown(method: &Method, path: &str) -> AwsError {
    let path: String = path.chars().take(200).collect();
    AwsError::unknown_operation(format!("there is no operation `{method} {path}`"))
}

fn profile_name(text: &str) -> Result<ProfileName, AwsError> {
    let parsed: Result<ProfileName, _> = text.parse();
    parsed.map_err(|error| AwsError::validation(error.to_string()))
}

fn account_number(text: &str) -> Result<AccountNumber, AwsError> {
    let parsed: Result<AccountNumber, _> = text.parse();
    parsed.map_err(|error| AwsError::validation(error.to_string()))
}

/// Returns a time as rest-json writes it in a document: seconds since 1970.
fn seconds(time: OffsetDateTime) -> serde_json::Value {
    match time.nanosecond() {
        0 => time.unix_timestamp().into(),
        nanos => (time.unix_timestamp() as f64 + f64::from(nanos) / 1e9).into(),
    }
}

/// Reads a time that a document holds: seconds since 1970, perhaps with a fraction.
fn time_of_seconds(seconds: f64) -> Result<OffsetDateTime, AwsError> {
    let wrong = || AwsError::validation("a time is not in seconds since 1970");
    if !seconds.is_finite() || seconds.abs() > 253_402_300_799.0 {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    let nanos = (seconds * 1e9) as i128;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| wrong())
}

/// Reads a time of a query: ISO 8601, as the SDKs write it, or seconds since 1970.
fn time_of_query(text: &str) -> Result<OffsetDateTime, AwsError> {
    let format = &time::format_description::well_known::Iso8601::PARSING;
    if let Ok(time) = OffsetDateTime::parse(text, format) {
        return Ok(time);
    }
    let seconds: Result<f64, _> = text.parse();
    seconds
        .map_err(|_| {
            let shown: String = text.chars().take(80).collect();
            AwsError::validation(format!("`{shown}` is not a time in ISO 8601"))
        })
        .and_then(time_of_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn times_are_read_as_the_sdks_write_them() {
        for (text, expected) in [
            ("2026-03-01T12:00:00Z", datetime!(2026-03-01 12:00 UTC)),
            (
                "2026-03-01T12:00:00.250Z",
                datetime!(2026-03-01 12:00:00.25 UTC),
            ),
            ("2026-03-01T13:00:00+01:00", datetime!(2026-03-01 12:00 UTC)),
            ("1772366400", datetime!(2026-03-01 12:00 UTC)),
        ] {
            assert_eq!(time_of_query(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "now", "2026-03-01", "nan", "inf", "1e30"] {
            assert!(time_of_query(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds(datetime!(2026-03-01 12:00 UTC)), 1_772_366_400);
        assert_eq!(
            seconds(datetime!(2026-03-01 12:00:00.5 UTC)),
            1_772_366_400.5
        );
        let back = time_of_seconds(1_772_366_400.5).unwrap();
        assert_eq!(back, datetime!(2026-03-01 12:00:00.5 UTC));
    }
}
