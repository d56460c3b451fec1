//! AWS Signature Version 4, the verifying side: pure over the parts of a request.
//!
//! Follows *AWS Signature Version 4 for API requests* (IAM user guide) as the SDKs implement it for
//! every service but S3: the path is percent-encoded twice, the query is encoded once more and
//! sorted, and the list of signed headers is whatever the client says. What protects the meaning of
//! a request must be among them: `host`, and every `x-amz-…` header that is there. A request may be
//! replayed inside [`MAX_SKEW`] and not after it; who must not act twice looks at the request's own
//! identifiers. Signatures in the query string, chunked bodies and unsigned bodies, which S3 alone
//! has, are refused. Where secrets come from is left to [`super::accounts`].

use aws_lc_rs::hmac;
use http::{HeaderMap, Method, Uri, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

/// What an `Authorization` header of this kind begins with.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the client's clock may be from ours: what AWS allows.
pub const MAX_SKEW: Duration = Duration::minutes(5);
/// The most signed headers; the SDKs sign about ten.
const MAX_SIGNED_HEADERS: usize = 64;
/// The longest region or service name, in bytes.
const MAX_SCOPE_BYTES: usize = 64;
const DATE: &str = "x-amz-date";
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Says why a request's signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigV4Error {
    /// The request is not signed.
    #[error("the request is not signed: send an `Authorization` header of {ALGORITHM}")]
    Missing,
    /// The header, or the date, cannot be read.
    #[error("the signature is incomplete: {0}")]
    Incomplete(String),
    /// Something that must be signed is not.
    #[error("`{0}` is sent but not signed: add it to `SignedHeaders`")]
    Unsigned(String),
    /// Nobody has this access key.
    #[error("the security token included in the request is invalid")]
    UnknownKey,
    /// The session is over.
    #[error("the security token included in the request is expired")]
    Expired,
    /// The credential was made for a service that is not served here.
    #[error("credential should be scoped to correct service: `signer` or `ecr`, not `{0}`")]
    Service(String),
    /// The clocks are too far apart.
    #[error(
        "signature {what}: the request is dated {date} and the server's clock says {now}, more than 5 minutes away"
    )]
    Skew {
        /// `expired`, or `not yet current`.
        what: &'static str,
        /// The date of the request.
        date: String,
        /// The server's time.
        now: String,
    },
    /// The signature is not that of this request under this secret.
    #[error(
        "the request signature we calculated does not match the signature you provided: check \
         your secret access key and signing method"
    )]
    Mismatch,
}

impl SigV4Error {
    /// Returns the name that AWS gives this error.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) | Self::Unsigned(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Expired => "ExpiredTokenException",
            Self::Service(_) | Self::Skew { .. } | Self::Mismatch => "InvalidSignatureException",
        }
    }
}

/// What the `Authorization` header of a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Whose secret signed.
    pub access_key_id: String,
    /// The region that the client believes to be in.
    pub region: String,
    /// The service that the request is for, such as `signer`.
    pub service: String,
    /// The day, `YYYYMMDD`.
    day: String,
    signed_headers: Vec<String>,
    signature: String,
}

/// The parts of a request that a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, exactly as they were sent.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

impl Authorization {
    /// Parses the header of a request.
    ///
    /// # Errors
    /// [`SigV4Error::Missing`] when there is none of this kind, [`SigV4Error::Incomplete`] when it
    /// lacks a part.
    pub fn parse(headers: &HeaderMap) -> Result<Self, SigV4Error> {
        let value = headers.get(header::AUTHORIZATION);
        let value = value.ok_or(SigV4Error::Missing)?;
        let text = value.to_str().map_err(|_| incomplete("it is not text"))?;
        let parameters = text.strip_prefix(ALGORITHM).ok_or(SigV4Error::Missing)?;
        let [mut credential, mut signed, mut signature] = [None; 3];
        for parameter in parameters.split(',') {
            let pair = parameter.trim().split_once('=');
            let (name, value) = pair.ok_or_else(|| incomplete("a parameter has no value"))?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return Err(incomplete("it has a parameter that is not known")),
            };
            if place.replace(value).is_some() {
                return Err(incomplete("it has a parameter twice"));
            }
        }
        Self::of_parts(
            credential.ok_or_else(|| incomplete("`Credential` is missing"))?,
            signed.ok_or_else(|| incomplete("`SignedHeaders` is missing"))?,
            signature.ok_or_else(|| incomplete("`Signature` is missing"))?,
        )
    }

    fn of_parts(credential: &str, signed: &str, signature: &str) -> Result<Self, SigV4Error> {
        // An access key id of somebody else's may hold slashes; the scope never does.
        let mut parts = credential.rsplitn(5, '/');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let scope = [next(), next(), next(), next(), next()];
        let [
            Some("aws4_request"),
            Some(service),
            Some(region),
            Some(day),
            Some(key),
        ] = scope
        else {
            return Err(incomplete(
                "`Credential` is not `KEY/YYYYMMDD/REGION/SERVICE/aws4_request`",
            ));
        };
        if service.len() > MAX_SCOPE_BYTES || region.len() > MAX_SCOPE_BYTES {
            return Err(incomplete("the region or service is too long"));
        }
        if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(incomplete("`Signature` is not 64 hexadecimal digits"));
        }
        Ok(Self {
            access_key_id: key.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            day: day.to_owned(),
            signed_headers: signed_headers(signed)?,
            signature: signature.to_ascii_lowercase(),
        })
    }

    /// Verifies the signature over `request` under `secret`, at the time `now`.
    ///
    /// # Errors
    /// [`SigV4Error`]; a wrong secret and a changed request cannot be told apart.
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        secret: &str,
        now: OffsetDateTime,
    ) -> Result<(), SigV4Error> {
        let date = self.date(request.headers, now)?;
        self.check_coverage(request.headers)?;
        let canonical = self.canonical_request(request)?;
        let expected = hmac::sign(
            &self.signing_key(secret),
            self.string_to_sign(&date, &canonical).as_bytes(),
        );
        let expected = hex::encode(expected);
        match bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes())) {
            true => Ok(()),
            false => Err(SigV4Error::Mismatch),
        }
    }

    /// Returns the request's date, which is near `now` and of the credential's day.
    fn date(&self, headers: &HeaderMap, now: OffsetDateTime) -> Result<String, SigV4Error> {
        let sent = headers
            .get(DATE)
            .ok_or_else(|| incomplete("`X-Amz-Date` is missing"))?;
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let wrong = || incomplete("`X-Amz-Date` is not `YYYYMMDDTHHMMSSZ`");
        let text = sent.to_str().map_err(|_| wrong())?;
        let date = PrimitiveDateTime::parse(text, format).map_err(|_| wrong())?;
        if !text.starts_with(&self.day) || self.day.len() != 8 {
            return Err(incomplete(
                "the credential's day is not that of `X-Amz-Date`",
            ));
        }
        let away = now - date.assume_utc();
        let what = match () {
            () if away > MAX_SKEW => "expired",
            () if away < -MAX_SKEW => "not yet current",
            () => return Ok(text.to_owned()),
        };
        Err(SigV4Error::Skew {
            what,
            date: text.to_owned(),
            now: now.format(format).unwrap_or_default(),
        })
    }

    /// Everything that says what the request means is signed.
    fn check_coverage(&self, headers: &HeaderMap) -> Result<(), SigV4Error> {
        let sent = headers.keys().map(http::HeaderName::as_str);
        let needed = sent
            .filter(|name| name.starts_with("x-amz-"))
            .chain(["host"]);
        let unsigned = |name: &&str| !self.signed_headers.iter().any(|signed| signed == name);
        match { needed }.find(unsigned) {
            Some(name) => Err(SigV4Error::Unsigned(name.to_owned())),
            None => Ok(()),
        }
    }

    fn canonical_request(&self, request: &SignedRequest<'_>) -> Result<String, SigV4Error> {
        let mut text = format!(
            "{}\n{}\n{}\n",
            request.method,
            canonical_path(request.uri.path()),
            canonical_query(request.uri.query().unwrap_or_default()),
        );
        for name in &self.signed_headers {
            let value = canonical_header(request, name)
                .ok_or_else(|| incomplete(&format!("the signed header `{name}` was not sent")))?;
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push('\n');
        text.push_str(&self.signed_headers.join(";"));
        text.push('\n');
        text.push_str(&body_hash(request)?);
        Ok(text)
    }

    fn string_to_sign(&self, date: &str, canonical: &str) -> String {
        let hash = hex::encode(Sha256::digest(canonical.as_bytes()));
        let Self {
            day,
            region,
            service,
            ..
        } = self;
        format!("{ALGORITHM}\n{date}\n{day}/{region}/{service}/aws4_request\n{hash}")
    }

    fn signing_key(&self, secret: &str) -> hmac::Key {
        let first = format!("AWS4{secret}");
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [&self.day, &self.region, &self.service, "aws4_request"] {
            let next = hmac::sign(&key, part.as_bytes());
            key = hmac::Key::new(hmac::HMAC_SHA256, next.as_ref());
        }
        key
    }
}

fn signed_headers(list: &str) -> Result<Vec<String>, SigV4Error> {
    let names: Vec<String> = list.split(';').map(str::to_owned).collect();
    let wrong = names.len() > MAX_SIGNED_HEADERS
        || names.iter().any(String::is_empty)
        || names.iter().any(|name| name.bytes().any(|b| b.is_ascii_uppercase()))
        // Sorted, and so each there once.
        || !names.is_sorted_by(|one, next| one < next);
    match wrong {
        true => Err(incomplete(
            "`SignedHeaders` is not a sorted list of names in lower case",
        )),
        false => Ok(names),
    }
}

/// Returns the values of a header, trimmed, with single spaces, joined by commas.
fn canonical_header(request: &SignedRequest<'_>, name: &str) -> Option<String> {
    let values = request.headers.get_all(name).iter();
    let values: Vec<String> = values
        .map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect();
    match (values.is_empty(), name) {
        (false, _) => Some(values.join(",")),
        // HTTP/2 has no such header: what it would say is the authority of the request.
        (true, "host") => request.uri.authority().map(|host| host.as_str().to_owned()),
        (true, _) => None,
    }
}

/// Returns the hash of the body, which a header may announce and must then be right about.
fn body_hash(request: &SignedRequest<'_>) -> Result<String, SigV4Error> {
    let hash = hex::encode(Sha256::digest(request.body));
    match request.headers.get(CONTENT_SHA256) {
        Some(announced) if announced.as_bytes() != hash.as_bytes() => Err(SigV4Error::Mismatch),
        _ => Ok(hash),
    }
}

/// Returns the path without dot segments and empty ones (RFC 3986 §5.2.4), encoded once more than
/// it was sent.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let mut text = String::from("/");
    text.push_str(&encode(segments.join("/").as_bytes(), b"/"));
    if path.ends_with('/') && !segments.is_empty() {
        text.push('/');
    }
    text
}

/// Returns the pairs of the query, each encoded in the one way that SigV4 knows, sorted.
fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encode(&decode(name), b""), encode(&decode(value), b""))
        })
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join("&")
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 §2.3 and `kept`.
fn encode(bytes: &[u8], kept: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.contains(byte);
        match plain {
            true => text.push(char::from(*byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Decodes percent-encoding. What only looks like it stays as it is; a plus is a plus.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let pair = tail.get(..2).filter(|_| *first == b'%');
        let byte = pair.and_then(|pair| hex::decode(pair).ok());
        decoded.push(byte.as_deref().map_or(*first, |byte| byte[0]));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

fn incomplete(problem: &str) -> SigV4Error {
    SigV4Error::Incomplete(problem.to_owned())
}

#[cfg(test)]
mod tests;
