//! Signature Version 4, the signing side: what an AWS service wants beside a request.
//!
//! "Signing AWS API requests" of the IAM guide: a canonical request, a string to sign, and a key
//! that is derived for one day, region and service. Only what our clients send is covered: a
//! `POST` to `/` without a query, the body hashed whole. The verifying side is the server's.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use time::OffsetDateTime;
use time::macros::format_description;
use zeroize::Zeroizing;

/// An access key. Its secret is wiped when it is dropped, and never shown.
#[derive(Clone)]
pub struct AccessKey {
    /// The key's identifier.
    pub id: String,
    /// The secret.
    pub secret: Zeroizing<String>,
    /// The token of a temporary key.
    pub session_token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessKey({}, …)", self.id)
    }
}

/// Whom a signature is for: it is worth nothing elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The region.
    pub region: &'a str,
    /// The service's signing name.
    pub service: &'a str,
}

/// Returns the headers to add to a `POST /` with the given headers and body: `x-amz-date`,
/// `x-amz-security-token` for a temporary key, and `authorization`.
///
/// `headers` are those that are signed, in lower case: at least `host`, as it is sent.
pub fn sign_post(
    key: &AccessKey,
    scope: Scope<'_>,
    now: OffsetDateTime,
    (headers, body): (&[(&str, &str)], &[u8]),
) -> Vec<(&'static str, String)> {
    let time = amz_date(now);
    let mut signed: Vec<(&str, &str)> = headers.to_vec();
    signed.push(("x-amz-date", &time));
    if let Some(token) = &key.session_token {
        signed.push(("x-amz-security-token", token));
    }
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = signed
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let request = format!("POST\n/\n\n{lines}\n{names}\n{}", hex_sha256(body));
    let Scope { region, service } = scope;
    let day = &time[..8];
    let credential = format!("{day}/{region}/{service}/aws4_request");
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{credential}\n{}",
        hex_sha256(request.as_bytes())
    );
    let derived = derived_key(key, day, scope);
    let signature = hex::encode(hmac(&derived, text.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{credential}, SignedHeaders={names}, Signature={signature}",
        key.id
    );
    let mut added = vec![("x-amz-date", time), ("authorization", authorization)];
    if let Some(token) = &key.session_token {
        added.push(("x-amz-security-token", token.to_string()));
    }
    added
}

fn derived_key(key: &AccessKey, day: &str, scope: Scope<'_>) -> hmac::Tag {
    let first = Zeroizing::new(format!("AWS4{}", key.secret.as_str()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
    let mut tag = hmac::sign(&key, day.as_bytes());
    for part in [scope.region, scope.service, "aws4_request"] {
        tag = hmac(&tag, part.as_bytes());
    }
    tag
}

fn hmac(key: &hmac::Tag, message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), message)
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

fn amz_date(now: OffsetDateTime) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    // The format asks for nothing that a time does not have.
    now.to_offset(time::UtcOffset::UTC)
        .format(format)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn key(session_token: Option<&str>) -> AccessKey {
        AccessKey {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned().into(),
            session_token: session_token.map(|token| token.to_owned().into()),
        }
    }

    /// Key, headers, body, and the signature of the published suite.
    type Vector<'a> = (&'a AccessKey, &'a [(&'a str, &'a str)], &'a [u8], &'a str);

    fn authorization(key: &AccessKey, headers: &[(&str, &str)], body: &[u8]) -> String {
        let scope = Scope {
            region: "us-east-1",
            service: "service",
        };
        let now = datetime!(2015-08-30 12:36:00 UTC);
        let added = sign_post(key, scope, now, (headers, body));
        let found = added.into_iter().find(|(name, _)| *name == "authorization");
        found.unwrap().1
    }

    /// The test suite of Signature Version 4: `post-vanilla`, `post-x-www-form-urlencoded`,
    /// `post-sts-header-before`.
    #[test]
    fn the_published_vectors() {
        let host = ("host", "example.amazonaws.com");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let table: [Vector<'_>; 3] = [
            (
                &key(None),
                &[host],
                b"",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                &key(None),
                &[form, host],
                b"Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                &key(Some(token)),
                &[host],
                b"",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ];
        for (key, headers, body, expected) in table {
            let line = authorization(key, headers, body);
            assert!(line.ends_with(&format!("Signature={expected}")), "{line}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", key(Some("token")));
        assert_eq!(shown, "AccessKey(AKIDEXAMPLE, …)");
    }
}
