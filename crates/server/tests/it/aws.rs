//! AWS's way of asking: access keys, signatures of requests, Signer's operations and their errors,
//! with a signer behind its socket.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::macros::format_description;
use time::{Duration, OffsetDateTime};

use crate::harness::{Answer, MANIFEST, TestServer, send};

const PAYLOAD_FORMAT: &str = "application/vnd.cncf.notary.payload.v1+json";

struct Fixture {
    server: TestServer,
    admin: Keys,
}

/// An access key, and how its requests are signed.
#[derive(Clone)]
struct Keys {
    id: String,
    secret: String,
    token: Option<String>,
    service: &'static str,
    skew: Duration,
    invocation: Option<&'static str>,
}

impl Keys {
    fn of(issued: &Value) -> Self {
        let text = |name: &str| issued[name].as_str().map(str::to_owned);
        Self {
            id: text("accessKeyId").unwrap(),
            secret: text("secretAccessKey").unwrap(),
            token: text("sessionToken"),
            service: "signer",
            skew: Duration::ZERO,
            invocation: None,
        }
    }

    fn signed_headers(&self, method: &str, url: &reqwest::Url, body: &[u8]) -> HeaderMap {
        let now = server::clock::now() + self.skew;
        let date = stamp(now);
        let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let mut headers = vec![("host", host), ("x-amz-date", date.clone())];
        if let Some(token) = &self.token {
            headers.push(("x-amz-security-token", token.clone()));
        }
        if let Some(id) = self.invocation {
            headers.push(("amz-sdk-invocation-id", id.to_owned()));
        }
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let mut query: Vec<&str> = url.query().unwrap_or_default().split('&').collect();
        query.sort_unstable();
        let canonical = format!(
            "{method}\n{}\n{}\n{lines}\n{names}\n{}",
            url.path().replace('%', "%25"),
            query.join("&"),
            hex::encode(Sha256::digest(body)),
        );
        let scope = format!("{}/local-1/{}/aws4_request", &date[..8], self.service);
        let hash = hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in scope.split('/').chain([to_sign.as_str()]) {
            let mac = hmac::Key::new(hmac::HMAC_SHA256, &key);
            key = hmac::sign(&mac, part.as_bytes()).as_ref().to_vec();
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.id,
            hex::encode(key)
        );
        headers.push(("authorization", authorization));
        let headers = headers.iter().filter(|(name, _)| *name != "host");
        headers
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }
}

fn stamp(time: OffsetDateTime) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    time.format(format).unwrap()
}

impl Fixture {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let admin = keys(&server, "admin", json!({})).await;
        let fixture = Self { server, admin };
        let made = fixture.put_profile("ci_build").await;
        assert_eq!(made.status, 200, "{made:?}");
        fixture
    }

    async fn put_profile(&self, name: &str) -> Answer {
        let body = json!({
            "platformId": "Notation-OCI-SHA384-ECDSA",
            "signatureValidityPeriod": {"value": 7, "type": "DAYS"},
        });
        self.ask(
            &self.admin,
            "PUT",
            (&format!("/signing-profiles/{name}"), body),
        )
        .await
    }

    async fn ask(&self, keys: &Keys, method: &str, (path, body): (&str, Value)) -> Answer {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let url = format!("{}{path}", self.server.url).parse().unwrap();
        let headers = keys.signed_headers(method, &url, &body);
        send(
            self.server
                .anonymous(method, path)
                .headers(headers)
                .body(body),
        )
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&self.admin, "GET", (path, Value::Null)).await
    }

    async fn sign(&self, keys: &Keys, payload: &[u8]) -> Answer {
        let body = json!({
            "profileName": "ci_build",
            "payload": BASE64_STANDARD.encode(payload),
            "payloadFormat": PAYLOAD_FORMAT,
        });
        self.ask(keys, "POST", ("/signing-jobs/with-payload", body))
            .await
    }

    async fn jobs(&self) -> usize {
        self.get("/signing-jobs").await.json()["jobs"]
            .as_array()
            .unwrap()
            .len()
    }
}

async fn keys(server: &TestServer, account: &str, body: Value) -> Keys {
    let path = format!("/api/v1/accounts/{account}/access-keys");
    let made = send(server.request("POST", &path).json(&body)).await;
    assert_eq!(made.status, 201, "{made:?}");
    Keys::of(&made.json())
}

fn payload() -> Vec<u8> {
    let digest = oci::Digest::sha256(b"x");
    json!({"targetArtifact": {"mediaType": MANIFEST, "digest": digest, "size": 1}})
        .to_string()
        .into_bytes()
}

/// Status, name and message of an error, in both places where clients look for the name.
fn error(answer: &Answer) -> String {
    let body = answer.json();
    let name = answer.header("x-amzn-errortype");
    assert_eq!(body["__type"], name);
    assert_ne!(answer.header("x-amzn-requestid"), "");
    format!(
        "{} {name}: {}",
        answer.status.as_u16(),
        body["message"].as_str().unwrap()
    )
}

#[tokio::test]
async fn a_payload_is_signed_described_and_revoked() {
    let fixture = Fixture::start().await;
    let signed = fixture.sign(&fixture.admin, &payload()).await;
    assert_eq!(signed.status, 200, "{signed:?}");
    let signed = signed.json();
    let envelope = BASE64_STANDARD
        .decode(signed["signature"].as_str().unwrap())
        .unwrap();
    let envelope = trust::jws::ParsedEnvelope::parse(&envelope)
        .unwrap()
        .verify()
        .unwrap();
    assert_eq!(envelope.aws().unwrap().profile(), Some("ci_build"));
    assert_eq!(signed["jobOwner"], "000000000000");

    let path = format!("/signing-jobs/{}", signed["jobId"].as_str().unwrap());
    let job = fixture.get(&path).await.json();
    assert_eq!(job["status"], "Succeeded");
    assert_eq!(job["requestedBy"], "arn:aws:iam::000000000000:user/admin");
    assert!(job["createdAt"].is_number() && job.get("revocationRecord").is_none());
    let revoke = (format!("{path}/revoke"), json!({"reason": "by mistake"}));
    let revoked = fixture
        .ask(&fixture.admin, "PUT", (&revoke.0, revoke.1))
        .await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let job = fixture.get(&path).await.json();
    assert_eq!(job["revocationRecord"]["reason"], "by mistake");
}

#[tokio::test]
async fn only_a_signature_of_the_key_and_of_now_counts() {
    let fixture = Fixture::start().await;
    let admin = &fixture.admin;
    let get = async |keys: Keys| {
        let answer = fixture
            .ask(&keys, "GET", ("/signing-profiles", Value::Null))
            .await;
        match answer.status.as_u16() {
            200 => "good".to_owned(),
            _ => error(&answer).split(':').next().unwrap().to_owned(),
        }
    };
    assert_eq!(get(admin.clone()).await, "good");
    let wrong = Keys {
        secret: "wrong".to_owned(),
        ..admin.clone()
    };
    assert_eq!(get(wrong).await, "403 InvalidSignatureException");
    let unknown = Keys {
        id: "AKIAUNKNOWN".to_owned(),
        ..admin.clone()
    };
    assert_eq!(get(unknown).await, "403 UnrecognizedClientException");
    for skew in [Duration::minutes(6), Duration::minutes(-6)] {
        let late = Keys {
            skew,
            ..admin.clone()
        };
        assert_eq!(get(late).await, "403 InvalidSignatureException");
    }
    let service = Keys {
        service: "s3",
        ..admin.clone()
    };
    assert_eq!(get(service).await, "403 InvalidSignatureException");
    let unsigned = send(fixture.server.anonymous("GET", "/signing-profiles")).await;
    assert!(error(&unsigned).starts_with("403 MissingAuthenticationTokenException"));
    let token = send(fixture.server.request("GET", "/signing-profiles")).await;
    assert!(error(&token).starts_with("403 MissingAuthenticationTokenException"));
}

#[tokio::test]
async fn a_session_needs_its_token_and_a_deleted_key_is_worthless_at_once() {
    let fixture = Fixture::start().await;
    let session = keys(&fixture.server, "admin", json!({"expiresInSecs": 60})).await;
    let get = async |keys: &Keys| {
        fixture
            .ask(keys, "GET", ("/signing-jobs", Value::Null))
            .await
    };
    assert_eq!(get(&session).await.status, 200);
    let bare = Keys {
        token: None,
        ..session.clone()
    };
    assert!(error(&get(&bare).await).starts_with("403 UnrecognizedClientException"));
    let forged = Keys {
        token: Some("forged".to_owned()),
        ..session
    };
    assert!(error(&get(&forged).await).starts_with("403 UnrecognizedClientException"));

    let listed = fixture
        .server
        .ask("GET", "/api/v1/accounts/@self/access-keys")
        .await
        .json();
    let listed = listed["accessKeys"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].get("secretAccessKey").is_none());
    let path = format!("/api/v1/accounts/admin/access-keys/{}", fixture.admin.id);
    assert_eq!(fixture.server.ask("DELETE", &path).await.status, 204);
    assert!(error(&get(&fixture.admin).await).starts_with("403 UnrecognizedClientException"));
    assert_eq!(fixture.server.ask("DELETE", &path).await.status, 404);
}

#[tokio::test]
async fn a_key_made_with_a_limited_token_is_limited() {
    let fixture = Fixture::start().await;
    let limits: server::auth::Grants = serde_json::from_value(json!({"pull": ["**"]})).unwrap();
    let request = server::auth::NewTokenRequest {
        limits: Some(limits),
        ..Default::default()
    };
    let token = fixture.server.token("admin", request).await;
    let path = "/api/v1/accounts/@self/access-keys";
    let made = fixture
        .server
        .anonymous("POST", path)
        .bearer_auth(&token)
        .json(&json!({}));
    let limited = Keys::of(&send(made).await.json());
    let refused = error(&fixture.sign(&limited, &payload()).await);
    assert_eq!(
        refused,
        "403 AccessDeniedException: this token of account `admin` is limited: it has no `profiles` over `ci_build`"
    );
    let others = "/api/v1/accounts/other/access-keys";
    let others = fixture
        .server
        .anonymous("POST", others)
        .bearer_auth(&token)
        .json(&json!({}));
    assert_eq!(send(others).await.status, 403);
}

#[tokio::test]
async fn an_sdk_that_asks_again_is_given_the_same_job() {
    let fixture = Fixture::start().await;
    let again = Keys {
        invocation: Some("one"),
        ..fixture.admin.clone()
    };
    let first = fixture.sign(&again, &payload()).await.json();
    let second = fixture.sign(&again, &payload()).await.json();
    assert_eq!(first, second);
    assert_eq!(fixture.jobs().await, 1);
    let other = Keys {
        invocation: Some("two"),
        ..again.clone()
    };
    assert_ne!(
        fixture.sign(&other, &payload()).await.json()["jobId"],
        first["jobId"]
    );
    assert_eq!(fixture.jobs().await, 2);
    // Another request under the same id is another request.
    let changed = [payload(), b" ".to_vec()].concat();
    assert_ne!(
        fixture.sign(&again, &changed).await.json()["jobId"],
        first["jobId"]
    );
}

#[tokio::test]
async fn errors_have_the_names_that_clients_know() {
    let fixture = Fixture::start().await;
    let long = vec![b'x'; 4097];
    let version = fixture.get("/signing-profiles/ci_build").await.json();
    let version = version["profileVersion"].as_str().unwrap().to_owned();
    let now = server::clock::now().unix_timestamp();
    let revoke = |version: &str, time: i64| json!({"profileVersion": version, "reason": "lost", "effectiveTime": time});
    let arn = "/tags/arn%3Aaws%3Asigner%3Aus-east-1%3A000000000000%3A%2Fsigning-profiles%2F";
    let permission = json!({
        "action": "signer:SignPayload", "principal": "111122223333", "statementId": "one",
    });
    let add = "/signing-profiles/ci_build/permissions";
    let mut lines = vec![
        error(&fixture.sign(&fixture.admin, &long).await),
        error(&fixture.sign(&fixture.admin, b"{}").await),
    ];
    for (method, path, body) in [
        ("GET", "/signing-profiles/unknown".to_owned(), Value::Null),
        (
            "GET",
            "/signing-profiles/ci_build?profileOwner=111122223333".to_owned(),
            Value::Null,
        ),
        (
            "GET",
            "/signing-profiles?maxResults=26".to_owned(),
            Value::Null,
        ),
        (
            "GET",
            "/signing-profiles?nextToken=x".to_owned(),
            Value::Null,
        ),
        ("GET", "/signing-jobs/unknown".to_owned(), Value::Null),
        ("GET", "/signing-platforms/unknown".to_owned(), Value::Null),
        (
            "PUT",
            "/signing-profiles/ci_build/revoke".to_owned(),
            revoke(&version, now + 60),
        ),
        (
            "PUT",
            "/signing-profiles/ci_build/revoke".to_owned(),
            revoke("AAAAAAAAAA", now),
        ),
        (
            "PUT",
            "/signing-profiles/ci-build".to_owned(),
            json!({"platformId": "Notation-OCI-SHA384-ECDSA"}),
        ),
        (
            "PUT",
            "/signing-profiles/other".to_owned(),
            json!({"platformId": "AWSLambda-SHA384-ECDSA"}),
        ),
        ("GET", format!("{arn}unknown"), Value::Null),
        ("GET", "/tags/nothing".to_owned(), Value::Null),
        (
            "POST",
            format!("{arn}ci_build"),
            json!({"tags": {"aws:x": "y"}}),
        ),
        ("GET", "/revocations?platformId=x".to_owned(), Value::Null),
        ("GET", add.to_owned(), Value::Null),
        ("POST", add.to_owned(), permission.clone()),
        ("POST", add.to_owned(), permission),
        ("DELETE", format!("{add}/one?revisionId=stale"), Value::Null),
        ("DELETE", format!("{add}/one"), Value::Null),
        ("PATCH", "/signing-profiles".to_owned(), Value::Null),
        ("POST", "/signing-jobs".to_owned(), json!({})),
    ] {
        let answer = fixture.ask(&fixture.admin, method, (&path, body)).await;
        lines.push(match answer.status.as_u16() {
            200 => "200".to_owned(),
            _ => error(&answer),
        });
    }
    let revision = fixture.get(add).await.json();
    let revision = revision["revisionId"].as_str().unwrap();
    let text = lines.join("\n").replace(&version, "VERSION");
    let text = text.replace(revision, "REVISION");
    insta::assert_snapshot!(text, @r"
    400 ValidationException: `payload` has 4097 bytes: use 1 to 4096
    400 ValidationException: the payload is not a Notary payload: missing field `targetArtifact`
    404 ResourceNotFoundException: there is no signing profile `unknown`: list the profiles with `countersign profile list`
    404 ResourceNotFoundException: account number 111122223333 has no signing profile `ci_build`
    400 ValidationException: `maxResults` is not 1 to 25
    400 ValidationException: `nextToken` is not one that this operation gave out
    404 ResourceNotFoundException: `unknown` is not a signing job: expected a UUID
    404 ResourceNotFoundException: there is no signing platform `unknown`: there are `Notation-OCI-SHA384-ECDSA`, `Notation-OCI-SHA256-ECDSA`, `Notation-OCI-SHA384-RSA`
    400 ValidationException: `effectiveTime` is in the future: signatures are revoked from a moment in the past on
    404 ResourceNotFoundException: signing profile `ci_build` is at version `VERSION`, not `AAAAAAAAAA`
    400 ValidationException: profile `ci-build` is of the dialect `aws`: its name may hold letters, digits and `_` only
    404 ResourceNotFoundException: there is no signing platform `AWSLambda-SHA384-ECDSA`: there are `Notation-OCI-SHA384-ECDSA`, `Notation-OCI-SHA256-ECDSA`, `Notation-OCI-SHA384-RSA`
    404 NotFoundException: there is no signing profile `unknown`: list the profiles with `countersign profile list`
    400 BadRequestException: `nothing` is not the ARN of a signing profile in region `us-east-1`
    400 BadRequestException: tag `aws:x` cannot be used: a name has 1 to 128 characters and does not begin with `aws:`, a value has at most 256
    400 ValidationException: there is no signing platform `x`: there are `Notation-OCI-SHA384-ECDSA`, `Notation-OCI-SHA256-ECDSA`, `Notation-OCI-SHA384-RSA`
    404 ResourceNotFoundException: signing profile `ci_build` has no permissions: none was ever added
    200
    409 ConflictException: profile `ci_build` has a permission `one` already: choose another statement id
    409 ConflictException: the permissions of profile `ci_build` are at revision `REVISION`, not `stale`: list them again and repeat the change
    400 ValidationException: `revisionId` is missing
    404 UnknownOperationException: there is no operation `PATCH /signing-profiles`
    400 ValidationException: the request's body: missing field `source` at line 1 column 2
    ");
}

#[tokio::test]
async fn another_account_number_needs_the_profiles_owner_and_a_permission() {
    let fixture = Fixture::start().await;
    fixture.server.account("tenant", json!({})).await;
    let number = json!({"accountNumber": "111122223333"});
    let set = send(
        fixture
            .server
            .request("PUT", "/api/v1/accounts/tenant/number")
            .json(&number),
    );
    assert_eq!(set.await.status, 204);
    let tenant = keys(&fixture.server, "tenant", json!({})).await;
    let sign = async |owner: Option<&str>| {
        let mut body = json!({
            "profileName": "ci_build",
            "payload": BASE64_STANDARD.encode(payload()),
            "payloadFormat": PAYLOAD_FORMAT,
        });
        body["profileOwner"] = json!(owner);
        let answer = fixture
            .ask(&tenant, "POST", ("/signing-jobs/with-payload", body))
            .await;
        match answer.status.as_u16() {
            200 => "good".to_owned(),
            _ => error(&answer).split(':').next().unwrap().to_owned(),
        }
    };
    let owner = Some("000000000000");
    assert_eq!(sign(owner).await, "403 AccessDeniedException");
    let permission = json!({
        "action": "signer:SignPayload", "principal": "111122223333", "statementId": "one",
    });
    let add = ("/signing-profiles/ci_build/permissions", permission);
    assert_eq!(fixture.ask(&fixture.admin, "POST", add).await.status, 200);
    assert_eq!(sign(owner).await, "good");
    assert_eq!(sign(None).await, "404 ResourceNotFoundException");
    let jobs = fixture
        .get("/signing-jobs?jobInvoker=111122223333")
        .await
        .json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
    let put = json!({"platformId": "Notation-OCI-SHA384-ECDSA"});
    let denied = fixture
        .ask(&tenant, "PUT", ("/signing-profiles/own", put))
        .await;
    assert!(error(&denied).starts_with("403 AccessDeniedException"));
}

#[tokio::test]
async fn a_manifest_of_our_registry_is_signed_where_it_lies() {
    let fixture = Fixture::start().await;
    let image = fixture.server.push_image("apps/shop", "1", "hello").await;
    let digest = oci::Digest::sha256(&image);
    let body = |version: &str, token: &str| {
        json!({
            "source": {"s3": {"bucketName": "apps/shop", "key": "1", "version": version}},
            "destination": {"s3": {"bucketName": "apps/shop"}},
            "profileName": "ci_build",
            "clientRequestToken": token,
        })
    };
    let start = async |body: Value| {
        fixture
            .ask(&fixture.admin, "POST", ("/signing-jobs", body))
            .await
    };
    let started = start(body(&digest.to_string(), "one")).await;
    assert_eq!(started.status, 200, "{started:?}");
    let again = start(body(&digest.to_string(), "one")).await;
    assert_eq!(started.json(), again.json());
    assert_eq!(fixture.jobs().await, 1);
    let reused = start(body("null", "one")).await;
    assert!(error(&reused).starts_with("400 ValidationException"));
    let stale = oci::Digest::sha256(b"other").to_string();
    let stale = start(body(&stale, "two")).await;
    assert!(
        error(&stale).starts_with("400 ValidationException"),
        "{stale:?}"
    );
    // A failed job did not use the token up.
    assert_eq!(start(body("null", "two")).await.status, 200);

    let path = format!(
        "/signing-jobs/{}",
        started.json()["jobId"].as_str().unwrap()
    );
    let job = fixture.get(&path).await.json();
    assert_eq!(job["source"]["s3"]["version"], json!(digest));
    let signature = job["signedObject"]["s3"]["key"].as_str().unwrap();
    let path = format!("/v2/apps/shop/referrers/{digest}");
    let referrers = fixture.server.ask("GET", &path).await.json();
    let digests: Vec<_> = referrers["manifests"].as_array().unwrap().iter().collect();
    assert_eq!(digests.len(), 2);
    assert!(digests.iter().any(|one| one["digest"] == signature));
}
