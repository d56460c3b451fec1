//! Vectors that botocore signed, and what must not count.

use super::*;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

#[derive(Deserialize)]
struct Vectors {
    secret: String,
    #[serde(with = "time::serde::rfc3339")]
    now: OffsetDateTime,
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn vectors() -> Vectors {
    let text = include_str!("../../../testdata/sigv4/vectors.json");
    serde_json::from_str(text).unwrap()
}

fn case(name: &str) -> Case {
    let all = vectors().cases;
    all.into_iter().find(|case| case.name == name).unwrap()
}

impl Case {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.to_ascii_lowercase().parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn set(&mut self, name: &str, value: &str) {
        let header = self.headers.iter_mut();
        let header = { header }.find(|(one, _)| one.eq_ignore_ascii_case(name));
        header.unwrap().1 = value.to_owned();
    }

    fn verify(&self, secret: &str, now: OffsetDateTime) -> Result<(), SigV4Error> {
        let headers = self.headers();
        let request = SignedRequest {
            method: &self.method.parse().unwrap(),
            uri: &self.target.parse().unwrap(),
            headers: &headers,
            body: self.body.as_bytes(),
        };
        Authorization::parse(&headers)?.verify(&request, secret, now)
    }

    fn outcome(&self, now: OffsetDateTime) -> &'static str {
        match self.verify(&vectors().secret, now) {
            Ok(()) => "good",
            Err(error) => error.name(),
        }
    }
}

#[test]
fn what_botocore_signs_verifies() {
    let vectors = vectors();
    assert_eq!(vectors.cases.len(), 17);
    assert_eq!(vectors.now, NOW);
    for case in &vectors.cases {
        let verified = case.verify(&vectors.secret, NOW);
        assert_eq!(verified, Ok(()), "{}", case.name);
        let other = case.verify("another secret", NOW);
        assert_eq!(other, Err(SigV4Error::Mismatch), "{}", case.name);
    }
}

#[test]
fn the_credential_scope_is_read() {
    let authorization = Authorization::parse(&case("json-target").headers()).unwrap();
    assert_eq!(authorization.access_key_id, "AKIAVECTORVECTOR0001");
    assert_eq!(authorization.service, "ecr");
    assert_eq!(authorization.region, "local-1");
}

#[test]
fn each_signed_part_counts() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 8] = [
        ("method", |case| case.method = "PUT".to_owned()),
        ("path", |case| {
            case.target = "/signing-jobs/with-Payload".to_owned()
        }),
        ("query", |case| case.target.push_str("?a=")),
        ("body", |case| case.body.push(' ')),
        ("host", |case| case.set("host", "signer.example")),
        ("signed header", |case| {
            case.set("amz-sdk-request", "attempt=2; max=3")
        }),
        ("content type", |case| {
            case.set("content-type", "text/plain")
        }),
        ("date", |case| case.set("x-amz-date", "20260301T120001Z")),
    ];
    for (what, change) in changes {
        let mut changed = case("many-signed-headers");
        change(&mut changed);
        assert_eq!(changed.outcome(NOW), "InvalidSignatureException", "{what}");
    }
}

#[test]
fn the_clocks_may_be_five_minutes_apart() {
    let case = case("get-root");
    let second = Duration::SECOND;
    for (now, expected) in [
        (NOW + MAX_SKEW, "good"),
        (NOW - MAX_SKEW, "good"),
        (NOW + MAX_SKEW + second, "InvalidSignatureException"),
        (NOW - MAX_SKEW - second, "InvalidSignatureException"),
    ] {
        assert_eq!(case.outcome(now), expected, "{now}");
    }
    let late = case.verify("", NOW + MAX_SKEW + second).unwrap_err();
    insta::assert_snapshot!(late, @"signature expired: the request is dated 20260301T120000Z and the server's clock says 20260301T120501Z, more than 5 minutes away");
}

#[test]
fn what_gives_the_request_its_meaning_must_be_signed() {
    for header in ["x-amz-target", "x-amz-security-token", "x-amz-anything"] {
        let mut case = case("get-root");
        case.headers.push((header.to_owned(), "x".to_owned()));
        assert_eq!(
            case.outcome(NOW),
            "IncompleteSignatureException",
            "{header}"
        );
    }
    let mut without_host = case("get-root");
    let authorization = without_host.headers.last().unwrap().1.clone();
    without_host.set("authorization", &authorization.replace("host;", ""));
    assert_eq!(without_host.outcome(NOW), "IncompleteSignatureException");
    // Others, such as what a proxy adds, need not be.
    let mut case = case("get-root");
    case.headers
        .push(("x-forwarded-for".to_owned(), "192.0.2.1".to_owned()));
    assert_eq!(case.outcome(NOW), "good");
}

#[test]
fn an_announced_body_hash_must_be_right() {
    let announced = HeaderValue::from_static("UNSIGNED-PAYLOAD");
    let mut headers = HeaderMap::new();
    let request = |headers: &HeaderMap| {
        let request = SignedRequest {
            method: &Method::GET,
            uri: &Uri::from_static("/"),
            headers,
            body: b"",
        };
        body_hash(&request)
    };
    assert!(request(&headers).unwrap().starts_with("e3b0c442"));
    headers.insert(CONTENT_SHA256, announced);
    assert_eq!(request(&headers), Err(SigV4Error::Mismatch));
}

#[test]
fn over_http2_the_authority_is_the_host() {
    let mut case = case("get-without-query");
    case.headers.remove(0);
    assert_eq!(case.outcome(NOW), "IncompleteSignatureException");
    case.target.insert_str(0, "https://signer.example:5443");
    assert_eq!(case.outcome(NOW), "good");
}

#[test]
fn a_header_that_cannot_be_read_is_refused() {
    let zeros = "0".repeat(64);
    let scope = "AKIA/20260301/r/signer/aws4_request";
    let good = format!("{ALGORITHM} Credential={scope}, SignedHeaders=host, Signature={zeros}");
    let parse = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, text.parse().unwrap());
        Authorization::parse(&headers)
    };
    assert!(parse(&good).is_ok());
    assert!(parse(&good.replace(", ", ",")).is_ok(), "no space");
    let long = "r".repeat(65);
    for (from, to) in [
        ("Credential", "credential"),
        ("/r/", "/"),
        ("/r/", "//"),
        ("/r/", &format!("/{long}/")),
        ("aws4_request", "aws5_request"),
        ("SignedHeaders=host", "SignedHeaders="),
        ("SignedHeaders=host", "SignedHeaders=Host"),
        ("SignedHeaders=host", "SignedHeaders=host;host"),
        ("SignedHeaders=host", "SignedHeaders=x;host"),
        ("SignedHeaders=host, ", ""),
        ("Signature=0", "Signature="),
        ("Signature=0", "Signature=z"),
        (
            "SignedHeaders=host",
            "SignedHeaders=host, SignedHeaders=host",
        ),
        (", Signature", ", Other=1, Signature"),
    ] {
        let wrong = parse(&good.replace(from, to)).unwrap_err();
        assert!(matches!(wrong, SigV4Error::Incomplete(_)), "{from} → {to}");
    }
    let many: Vec<String> = (100..200).map(|n| format!("h{n}")).collect();
    assert!(parse(&good.replace("=host", &format!("={}", many.join(";")))).is_err());
    assert_eq!(parse("Bearer x"), Err(SigV4Error::Missing));
    assert_eq!(
        Authorization::parse(&HeaderMap::new()),
        Err(SigV4Error::Missing)
    );
}

#[test]
fn dates_that_do_not_belong_together_are_refused() {
    for date in [
        "20260302T120000Z",
        "20260301T1200Z",
        "now",
        "20260301T120000",
    ] {
        let mut case = case("get-root");
        case.set("x-amz-date", date);
        assert_eq!(case.outcome(NOW), "IncompleteSignatureException", "{date}");
    }
    let mut case = case("get-root");
    case.headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case("x-amz-date"));
    assert_eq!(case.outcome(NOW), "IncompleteSignatureException");
}

#[test]
fn percent_signs_that_encode_nothing_stay() {
    for (text, expected) in [
        ("%2Fa%", "/a%"),
        ("%zz%4", "%zz%4"),
        ("a+b%20", "a+b "),
        ("", ""),
    ] {
        assert_eq!(decode(text), expected.as_bytes(), "{text}");
    }
}
