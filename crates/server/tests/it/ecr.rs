//! ECR's control plane over the registry: repositories, images, immutable tags, lifecycle, findings,
//! and what is pushed being signed.

use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};
use server::aws::ecr::{self, Call, EcrError};
use tokio::sync::watch;

use crate::harness::{MANIFEST, TestServer, image, send};

const NUMBER: &str = "111122223333";
const REGION: &str = "local-1";
const PROFILE: &str = "arn:aws:signer:local-1:111122223333:/signing-profiles/ci_build";

async fn ask(server: &TestServer, token: &str, request: (&str, Value)) -> Result<Value, EcrError> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    headers.insert(header::AUTHORIZATION, value);
    let caller = server.front.auth.authenticate(&headers).await.unwrap();
    let call = Call {
        front: &server.front,
        caller: &caller,
        number: NUMBER,
        region: REGION,
        body: &request.1,
    };
    ecr::perform(&call, request.0).await
}

async fn admin(server: &TestServer, operation: &str, body: Value) -> Value {
    let answer = ask(server, &server.admin, (operation, body)).await;
    answer.unwrap_or_else(|error| panic!("{operation}: {error:?}"))
}

async fn refused(server: &TestServer, operation: &str, body: Value) -> &'static str {
    let answer = ask(server, &server.admin, (operation, body)).await;
    answer.unwrap_err().name
}

fn app() -> Value {
    json!({ "repositoryName": "app" })
}

#[tokio::test]
async fn a_repository_is_made_shown_tagged_and_deleted() {
    let server = TestServer::start().await;
    let tags = json!([{ "Key": "team", "Value": "web" }]);
    let new = json!({ "repositoryName": "app", "tags": tags });
    let made = admin(&server, "CreateRepository", new.clone()).await;
    let arn = "arn:aws:ecr:local-1:111122223333:repository/app";
    assert_eq!(made["repository"]["repositoryArn"], arn);
    assert_eq!(made["repository"]["imageTagMutability"], "MUTABLE");
    let again = refused(&server, "CreateRepository", new).await;
    assert_eq!(again, "RepositoryAlreadyExistsException");
    // One that a push made is a repository as well.
    server.push_image("pushed", "v1", "layer").await;
    let page = json!({ "maxResults": 1 });
    let first = admin(&server, "DescribeRepositories", page).await;
    assert_eq!(first["repositories"][0]["repositoryName"], "app");
    let page = json!({ "maxResults": 1, "nextToken": first["nextToken"] });
    let second = admin(&server, "DescribeRepositories", page).await;
    assert_eq!(second["repositories"][0]["repositoryName"], "pushed");
    assert!(second["nextToken"].is_null());

    let named = json!({ "resourceArn": arn });
    let shown = admin(&server, "ListTagsForResource", named.clone()).await;
    assert_eq!(shown["tags"], tags);
    let untag = json!({ "resourceArn": arn, "tagKeys": ["team"] });
    admin(&server, "UntagResource", untag).await;
    let shown = admin(&server, "ListTagsForResource", named).await;
    assert_eq!(shown["tags"], json!([]));

    let pushed = json!({ "repositoryName": "pushed" });
    let full = refused(&server, "DeleteRepository", pushed).await;
    assert_eq!(full, "RepositoryNotEmptyException");
    let force = json!({ "repositoryName": "pushed", "force": true });
    admin(&server, "DeleteRepository", force.clone()).await;
    let gone = refused(&server, "DeleteRepository", force).await;
    assert_eq!(gone, "RepositoryNotFoundException");
    let names = json!({ "repositoryNames": ["nothing"] });
    let missing = refused(&server, "DescribeRepositories", names).await;
    assert_eq!(missing, "RepositoryNotFoundException");
}

#[tokio::test]
async fn who_has_no_grant_is_denied_and_the_rule_is_named() {
    let server = TestServer::start().await;
    let eve = server.account("eve", json!({})).await;
    let denied = ask(&server, &eve, ("CreateRepository", app()))
        .await
        .unwrap_err();
    assert_eq!(denied.name, "AccessDeniedException");
    assert!(
        denied.message.contains("has no grant `push`"),
        "{}",
        denied.message
    );
    let configuration = json!({ "signingConfiguration": { "rules": [] } });
    let denied = ask(&server, &eve, ("PutSigningConfiguration", configuration)).await;
    assert!(denied.unwrap_err().message.contains("`admin`"));
    let elsewhere = json!({ "repositoryName": "app", "registryId": "999999999999" });
    let wrong = refused(&server, "ListImages", elsewhere).await;
    assert_eq!(wrong, "InvalidParameterException");
}

#[tokio::test]
async fn the_password_opens_the_registry_as_the_caller() {
    let server = TestServer::start().await;
    use base64::Engine as _;
    let dev = server.account("dev", json!({ "push": ["app"] })).await;
    let answer = ask(&server, &dev, ("GetAuthorizationToken", json!({})))
        .await
        .unwrap();
    let data = &answer["authorizationData"][0];
    assert_eq!(data["proxyEndpoint"], server.url);
    let text = data["authorizationToken"].as_str().unwrap();
    let text = base64::prelude::BASE64_STANDARD.decode(text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let [user, password] = text.split(':').collect::<Vec<_>>()[..] else {
        panic!("exactly one colon");
    };
    let asked = server
        .anonymous("GET", "/v2/")
        .basic_auth(user, Some(password));
    assert_eq!(send(asked).await.status, 200);
    let elsewhere = server.anonymous("GET", "/v2/other/tags/list");
    let elsewhere = send(elsewhere.basic_auth(user, Some(password))).await;
    assert_eq!(elsewhere.status, 403);
}

#[tokio::test]
async fn images_are_listed_read_put_and_deleted() {
    let server = TestServer::start().await;
    let bytes = server.push_image("app", "v1", "layer").await;
    let digest = oci::Digest::sha256(&bytes).to_string();
    let listed = admin(&server, "ListImages", app()).await;
    assert_eq!(
        listed["imageIds"],
        json!([{ "imageDigest": digest, "imageTag": "v1" }])
    );

    // Promoted by its manifest.
    let manifest = String::from_utf8(bytes.clone()).unwrap();
    let promote = json!({ "repositoryName": "app", "imageManifest": manifest, "imageTag": "prod" });
    let put = admin(&server, "PutImage", promote.clone()).await;
    assert_eq!(put["image"]["imageId"]["imageTag"], "prod");
    let again = refused(&server, "PutImage", promote).await;
    assert_eq!(again, "ImageAlreadyExistsException");
    let other =
        json!({ "repositoryName": "app", "imageManifest": manifest, "imageDigest": "sha256:00" });
    assert_eq!(
        refused(&server, "PutImage", other).await,
        "ImageDigestDoesNotMatchException"
    );
    let stranger = String::from_utf8(image("not pushed", None)).unwrap();
    let stranger = json!({ "repositoryName": "app", "imageManifest": stranger, "imageTag": "x" });
    assert_eq!(
        refused(&server, "PutImage", stranger).await,
        "LayersNotFoundException"
    );

    let subject = oci::Descriptor::of(MANIFEST.parse().unwrap(), &bytes);
    let evidence = image("evidence", Some(&subject));
    server.push_blob("app", b"evidence").await;
    let evidence_digest = oci::Digest::sha256(&evidence).to_string();
    let pushed = server
        .push_manifest("app", &evidence_digest, (MANIFEST, evidence))
        .await;
    assert_eq!(pushed.status, 201);
    let asked = json!({ "repositoryName": "app", "subjectId": { "imageDigest": digest } });
    let referrers = admin(&server, "ListImageReferrers", asked).await;
    assert_eq!(referrers["referrers"][0]["digest"], evidence_digest);

    let described = admin(&server, "DescribeImages", app()).await;
    let details = described["imageDetails"].as_array().unwrap();
    assert_eq!(details.len(), 2);
    let of = |wanted: &str| {
        details
            .iter()
            .find(|one| one["imageDigest"] == wanted)
            .unwrap()
    };
    assert_eq!(of(&digest)["imageTags"], json!(["prod", "v1"]));
    assert_eq!(of(&digest)["imageSizeInBytes"], 5);
    assert_eq!(of(&evidence_digest)["subjectManifestDigest"], digest);

    let ids = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }, { "imageTag": "v9" }] });
    let read = admin(&server, "BatchGetImage", ids).await;
    assert_eq!(read["images"][0]["imageManifest"], manifest);
    assert_eq!(read["failures"][0]["failureCode"], "ImageNotFound");

    // The last tag takes the image and its referrers along.
    let tag = |tag: &str| json!({ "repositoryName": "app", "imageIds": [{ "imageTag": tag }] });
    admin(&server, "BatchDeleteImage", tag("v1")).await;
    let left = admin(&server, "ListImages", app()).await;
    assert_eq!(left["imageIds"].as_array().unwrap().len(), 2);
    admin(&server, "BatchDeleteImage", tag("prod")).await;
    let left = admin(&server, "ListImages", app()).await;
    assert_eq!(left["imageIds"], json!([]));
}

#[tokio::test]
async fn an_immutable_tag_is_not_moved_by_any_client() {
    let server = TestServer::start().await;
    let new = json!({
        "repositoryName": "app",
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{ "filterType": "WILDCARD", "filter": "dev-*" }],
    });
    admin(&server, "CreateRepository", new).await;
    server.push_image("app", "v1", "one").await;
    server.push_image("app", "dev-1", "one").await;
    // The same again changes nothing, and is no error.
    server.push_image("app", "v1", "one").await;
    server.push_blob("app", b"two").await;
    let two = image("two", None);
    let moved = server
        .push_manifest("app", "v1", (MANIFEST, two.clone()))
        .await;
    assert_eq!(moved.status, 400);
    assert_eq!(moved.json()["errors"][0]["code"], "TAG_INVALID");
    let excluded = server
        .push_manifest("app", "dev-1", (MANIFEST, two.clone()))
        .await;
    assert_eq!(excluded.status, 201);
    let manifest = String::from_utf8(two.clone()).unwrap();
    let put = json!({ "repositoryName": "app", "imageManifest": manifest, "imageTag": "v1" });
    assert_eq!(
        refused(&server, "PutImage", put).await,
        "ImageTagAlreadyExistsException"
    );
    let mutable = json!({ "repositoryName": "app", "imageTagMutability": "MUTABLE" });
    admin(&server, "PutImageTagMutability", mutable).await;
    let moved = server.push_manifest("app", "v1", (MANIFEST, two)).await;
    assert_eq!(moved.status, 201);
}

#[tokio::test]
async fn a_lifecycle_policy_is_previewed_and_applied_with_the_referrers() {
    let server = TestServer::start().await;
    let mut digests = Vec::new();
    for text in ["one", "two", "three"] {
        let bytes = server.push_image("app", text, text).await;
        digests.push((oci::Digest::sha256(&bytes).to_string(), bytes));
    }
    let subject = oci::Descriptor::of(MANIFEST.parse().unwrap(), &digests[0].1);
    server.push_blob("app", b"evidence").await;
    let evidence = image("evidence", Some(&subject));
    let evidence_digest = oci::Digest::sha256(&evidence).to_string();
    server
        .push_manifest("app", &evidence_digest, (MANIFEST, evidence))
        .await;
    let policy = json!({ "rules": [{
        "rulePriority": 1, "description": "keep the newest two images and let the others go",
        "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 2 },
        "action": { "type": "expire" },
    }] });
    let text = policy.to_string();
    let put = json!({ "repositoryName": "app", "lifecyclePolicyText": text });
    let missing = refused(&server, "GetLifecyclePolicy", app()).await;
    assert_eq!(missing, "LifecyclePolicyNotFoundException");
    let short = json!({ "repositoryName": "app", "lifecyclePolicyText": "{}" });
    assert_eq!(
        refused(&server, "PutLifecyclePolicy", short).await,
        "InvalidParameterException"
    );
    let none = refused(&server, "GetLifecyclePolicyPreview", app()).await;
    assert_eq!(none, "LifecyclePolicyPreviewNotFoundException");
    admin(&server, "StartLifecyclePolicyPreview", put.clone()).await;
    let preview = admin(&server, "GetLifecyclePolicyPreview", app()).await;
    assert_eq!(preview["summary"]["expiringImageTotalCount"], 1);
    assert_eq!(preview["previewResults"][0]["imageDigest"], digests[0].0);
    // A preview changes nothing.
    ecr::apply_lifecycle(&server.front).await.unwrap();
    let all = admin(&server, "ListImages", app()).await;
    assert_eq!(all["imageIds"].as_array().unwrap().len(), 4);

    admin(&server, "PutLifecyclePolicy", put).await;
    ecr::apply_lifecycle(&server.front).await.unwrap();
    let left = admin(&server, "ListImages", app()).await;
    let left: Vec<&Value> = left["imageIds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| &id["imageTag"])
        .collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&&json!("two")) && left.contains(&&json!("three")));
}

#[tokio::test]
async fn findings_come_from_the_newest_report_that_is_attached() {
    let server = TestServer::start().await;
    let bytes = server.push_image("app", "v1", "layer").await;
    let tagged = json!({ "repositoryName": "app", "imageId": { "imageTag": "v1" } });
    let none = refused(&server, "DescribeImageScanFindings", tagged.clone()).await;
    assert_eq!(none, "ScanNotFoundException");
    let none = refused(&server, "StartImageScan", tagged.clone()).await;
    assert_eq!(none, "UnsupportedImageTypeException");
    for (time, id, severity) in [
        ("2026-02-01T00:00:00Z", "CVE-2026-1", "High"),
        ("2026-01-01T00:00:00Z", "CVE-2025-1", "Critical"),
    ] {
        let report = report(time, (id, severity)).to_string();
        server.push_blob("app", report.as_bytes()).await;
        let subject = oci::Descriptor::of(MANIFEST.parse().unwrap(), &bytes);
        let manifest = image(&report, Some(&subject));
        let digest = oci::Digest::sha256(&manifest).to_string();
        let pushed = server
            .push_manifest("app", &digest, (MANIFEST, manifest))
            .await;
        assert_eq!(pushed.status, 201);
    }
    let found = admin(&server, "DescribeImageScanFindings", tagged.clone()).await;
    assert_eq!(found["imageScanStatus"]["status"], "COMPLETE");
    let findings = &found["imageScanFindings"];
    assert_eq!(findings["findingSeverityCounts"], json!({ "HIGH": 1 }));
    assert_eq!(findings["findings"][0]["name"], "CVE-2026-1");
    let started = admin(&server, "StartImageScan", tagged).await;
    assert_eq!(started["imageScanStatus"]["status"], "COMPLETE");
}

/// A report as grype writes it.
fn report(time: &str, (id, severity): (&str, &str)) -> Value {
    json!({
        "matches": [{
            "vulnerability": { "id": id, "severity": severity, "fix": { "versions": ["2"], "state": "fixed" } },
            "artifact": { "name": "libx", "version": "1", "type": "deb" },
        }],
        "source": { "type": "image", "target": { "manifestDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000000" } },
        "descriptor": { "name": "grype", "version": "0.116.0", "timestamp": time },
    })
}

async fn status(server: &TestServer) -> Value {
    let tagged = json!({ "repositoryName": "app", "imageId": { "imageTag": "v1" } });
    let answer = admin(server, "DescribeImageSigningStatus", tagged).await;
    answer["signingStatuses"][0].clone()
}

async fn configure(server: &TestServer, filter: &str) {
    let filters = json!([{ "filter": filter, "filterType": "WILDCARD_MATCH" }]);
    let rule = json!({ "signingProfileArn": PROFILE, "repositoryFilters": filters });
    let body = json!({ "signingConfiguration": { "rules": [rule] } });
    admin(server, "PutSigningConfiguration", body).await;
}

async fn make_profile(server: &TestServer, account: &str) {
    let new =
        json!({ "name": "ci_build", "validity": "7 days", "grants": { "accounts": [account] } });
    let made = send(server.request("POST", "/api/v1/profiles").json(&new)).await;
    assert!(made.status.is_success(), "{made:?}");
}

/// Runs the queue until the image's signing is no longer in progress.
async fn settled(server: &TestServer) -> Value {
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(ecr::run_signing(server.front.clone(), stopped));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let status = loop {
        let status = status(server).await;
        if status["status"] != "IN_PROGRESS" {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "{status}");
        tokio::task::yield_now().await;
    };
    stop.send_replace(true);
    running.await.unwrap();
    status
}

#[tokio::test]
async fn what_is_pushed_is_signed_by_whoever_pushed() {
    let server = TestServer::start().await;
    make_profile(&server, "admin").await;
    configure(&server, "ap*").await;
    let bytes = server.push_image("app", "v1", "layer").await;
    server.push_image("other", "v1", "layer").await;
    assert_eq!(status(&server).await["status"], "IN_PROGRESS");
    let status = settled(&server).await;
    assert_eq!(status["status"], "COMPLETE", "{status}");
    assert_eq!(status["signingProfileArn"], PROFILE);
    let digest = oci::Digest::sha256(&bytes).to_string();
    let referrers = |repository: &str| {
        let subject = json!({ "imageDigest": digest });
        let body = json!({ "repositoryName": repository, "subjectId": subject });
        let server = &server;
        async move { admin(server, "ListImageReferrers", body).await["referrers"].clone() }
    };
    let signatures = referrers("app").await;
    assert_eq!(signatures.as_array().unwrap().len(), 1);
    assert_eq!(
        signatures[0]["artifactType"],
        "application/vnd.cncf.notary.signature"
    );
    assert_eq!(referrers("other").await, json!([]));
    // The same push again makes no second signature.
    server.push_image("app", "v1", "layer").await;
    settled(&server).await;
    assert_eq!(referrers("app").await.as_array().unwrap().len(), 1);

    admin(&server, "DeleteSigningConfiguration", json!({})).await;
    let gone = refused(&server, "GetSigningConfiguration", json!({})).await;
    assert_eq!(gone, "SigningConfigurationNotFoundException");
}

#[tokio::test]
async fn who_was_not_granted_the_profile_is_told_in_the_status() {
    let server = TestServer::start().await;
    make_profile(&server, "somebody-else").await;
    configure(&server, "*").await;
    server.push_image("app", "v1", "layer").await;
    let status = settled(&server).await;
    assert_eq!(status["status"], "FAILED");
    assert_eq!(status["failureCode"], "AccessDenied");
    let reason = status["failureReason"].as_str().unwrap();
    assert!(reason.contains("`ci_build` is not granted"), "{reason}");
}

#[tokio::test]
async fn signing_survives_a_restart_of_the_front() {
    let server = TestServer::start().await;
    make_profile(&server, "admin").await;
    configure(&server, "*").await;
    server.push_image("app", "v1", "layer").await;
    // Nobody has worked on the queue; another process opens the store.
    let socket = server.front.signer_socket.clone();
    let store = store::Store::open(&server.front.folder).unwrap();
    let front = server::state::FrontState::new(server::state::FrontParts {
        store,
        public_url: server.url.clone(),
        folder: server.front.folder.clone(),
        signer_socket: socket,
        worker_token_hash: None,
        aws: crate::harness::aws_settings(),
    });
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(ecr::run_signing(front, stopped));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while status(&server).await["status"] == "IN_PROGRESS" {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(status(&server).await["status"], "COMPLETE");
}
