"""ECR's control plane with boto3, the AWS command line, skopeo, oras and the stock notation. Run by `aws.sh`."""

import base64
import json
import shutil
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from harness import Failed

NUMBER = "111122223333"
REGION = "us-east-1"
REPOSITORY = "ecr/app"
PROFILE = "ecr_push"
WAIT_SECONDS = 30
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def ecr_pairs(world, results):
    """`world` is that of aws.py: a server with TLS under a name of its own."""
    ecr = client(world)
    login(world)

    def logins():
        password = world.run("aws", "ecr", "get-login-password", "--endpoint-url", world.endpoint).strip()
        assert password and ":" not in password
        said = world.run("skopeo", "login", "--username", "AWS", "--password-stdin", world.registry, stdin=password)
        assert "Login Succeeded" in said, said
        said = world.run("oras", "login", "--username", "AWS", "--password-stdin", world.registry, stdin=password)
        assert "Login Succeeded" in said, said
        data = ecr.get_authorization_token()["authorizationData"][0]
        assert data["proxyEndpoint"] == world.endpoint, data
        user, secret = base64.b64decode(data["authorizationToken"]).decode().split(":")
        assert user == "AWS" and secret
        hours = (data["expiresAt"].timestamp() - time.time()) / 3600
        assert 11.9 < hours < 12.1, hours

    results.pair("ecr: `aws ecr get-login-password` piped into `skopeo login` and `oras login`", logins)

    def repositories():
        made = ecr.create_repository(repositoryName=REPOSITORY, tags=[{"Key": "team", "Value": "web"}])["repository"]
        assert made["repositoryUri"] == f"{world.registry}/{REPOSITORY}", made
        for number in range(5):
            ecr.create_repository(repositoryName=f"ecr/page-{number}")
        pages = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 2})
        names = [one["repositoryName"] for page in pages for one in page["repositories"]]
        assert {f"ecr/page-{number}" for number in range(5)} <= set(names) and len(names) == len(set(names)), names
        refuses("RepositoryAlreadyExistsException", ecr.create_repository, repositoryName=REPOSITORY)
        refuses("RepositoryNotFoundException", ecr.describe_images, repositoryName="ecr/none")
        assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "team", "Value": "web"}]
        ecr.untag_resource(resourceArn=made["repositoryArn"], tagKeys=["team"])
        ecr.tag_resource(resourceArn=made["repositoryArn"], tags=[{"Key": "stage", "Value": "prod"}])
        assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "stage", "Value": "prod"}]
        for number in range(5):
            ecr.delete_repository(repositoryName=f"ecr/page-{number}")

    results.pair("ecr: boto3 makes, pages through, tags and deletes repositories; errors have ECR's names", repositories)

    def images():
        push(world, f"{REPOSITORY}:v1", "one")
        push(world, f"{REPOSITORY}:v2", "two")
        listed = [one for page in ecr.get_paginator("list_images").paginate(repositoryName=REPOSITORY, PaginationConfig={"PageSize": 1}) for one in page["imageIds"]]
        assert {one["imageTag"] for one in listed} == {"v1", "v2"}, listed
        shown = [one for page in ecr.get_paginator("describe_images").paginate(repositoryName=REPOSITORY) for one in page["imageDetails"]]
        assert len(shown) == 2 and all(one["imageSizeInBytes"] > 0 for one in shown), shown
        got = ecr.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "v1"}, {"imageTag": "v9"}])
        assert got["failures"][0]["failureCode"] == "ImageNotFound", got
        manifest = got["images"][0]["imageManifest"]
        ecr.put_image(repositoryName=REPOSITORY, imageManifest=manifest, imageTag="prod")
        refuses("ImageAlreadyExistsException", ecr.put_image, repositoryName=REPOSITORY, imageManifest=manifest, imageTag="prod")
        gone = ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "v2"}])
        assert not gone["failures"], gone

    results.pair("ecr: boto3 lists, reads, promotes and deletes what skopeo pushed", images)

    def immutable():
        name = "ecr/immutable"
        ecr.create_repository(
            repositoryName=name, imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "latest"}],
        )
        push(world, f"{name}:v1", "one")
        push(world, f"{name}:latest", "one")
        push(world, f"{name}:latest", "two")
        done = push(world, f"{name}:v1", "two", expect=None)
        assert done.returncode != 0 and "immutable" in done.stderr, done.stderr
        ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
        push(world, f"{name}:v1", "two")

    results.pair("ecr: an immutable tag is not moved by skopeo, an excluded one is", immutable)

    def lifecycle():
        name = "ecr/lifecycle"
        ecr.create_repository(repositoryName=name)
        for tag in ("a", "b", "c"):
            push(world, f"{name}:{tag}", tag)
        policy = json.dumps({"rules": [{
            "rulePriority": 1, "description": "keep the newest image and let all the others of it expire",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"},
        }]})
        refuses("LifecyclePolicyNotFoundException", ecr.get_lifecycle_policy, repositoryName=name)
        refuses("InvalidParameterException", ecr.put_lifecycle_policy, repositoryName=name, lifecyclePolicyText="{}" + " " * 100)
        ecr.start_lifecycle_policy_preview(repositoryName=name, lifecyclePolicyText=policy)
        ecr.get_waiter("lifecycle_policy_preview_complete").wait(repositoryName=name)
        pages = ecr.get_paginator("get_lifecycle_policy_preview").paginate(repositoryName=name)
        tags = {one["imageTags"][0] for page in pages for one in page["previewResults"]}
        assert tags == {"a", "b"}, tags
        ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=policy)
        assert ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"] == policy
        ecr.delete_lifecycle_policy(repositoryName=name)

    results.pair("ecr: a lifecycle policy is validated and previewed (waiter LifecyclePolicyPreviewComplete)", lifecycle)

    def findings():
        push(world, "ecr/scanned:v1", "scanned")
        image = {"repositoryName": "ecr/scanned", "imageId": {"imageTag": "v1"}}
        refuses("ScanNotFoundException", ecr.describe_image_scan_findings, **image)
        (world.dir / "work" / "report.json").write_text(json.dumps({
            "matches": [{
                "vulnerability": {"id": "CVE-2026-1", "severity": "High", "fix": {"versions": ["2"], "state": "fixed"}},
                "artifact": {"name": "libx", "version": "1", "type": "deb"},
            }],
            "source": {"type": "image", "target": {}},
            "descriptor": {"name": "grype", "version": "0.116.0", "timestamp": "2026-01-01T00:00:00Z"},
        }))
        world.run("oras", "attach", "--artifact-type", "cve/example", f"{world.registry}/ecr/scanned:v1", "report.json:application/json")
        ecr.start_image_scan(**image)
        ecr.get_waiter("image_scan_complete").wait(**image)
        pages = ecr.get_paginator("describe_image_scan_findings").paginate(**image)
        found = [one["name"] for page in pages for one in page["imageScanFindings"]["findings"]]
        assert found == ["CVE-2026-1"], found

    results.pair("ecr: findings of a report that oras attached (waiter ImageScanComplete)", findings)

    def signed_on_push():
        signer = world.client()
        made = signer.put_signing_profile(
            profileName=PROFILE, platformId="Notation-OCI-SHA384-ECDSA", signatureValidityPeriod={"value": 7, "type": "DAYS"},
        )
        rule = {"signingProfileArn": made["arn"], "repositoryFilters": [{"filter": "ecr/signed*", "filterType": "WILDCARD_MATCH"}]}
        ecr.put_signing_configuration(signingConfiguration={"rules": [rule]})
        assert ecr.get_signing_configuration()["signingConfiguration"]["rules"][0]["signingProfileArn"] == made["arn"]
        digest = push(world, "ecr/signed:v1", "signed")
        image = {"repositoryName": "ecr/signed", "imageId": {"imageDigest": digest}}
        status = wait_for(lambda: settled(ecr.describe_image_signing_status(**image)["signingStatuses"]))
        assert status["status"] == "COMPLETE", status
        referrers = ecr.list_image_referrers(repositoryName="ecr/signed", subjectId={"imageDigest": digest})["referrers"]
        assert [one["artifactType"] for one in referrers] == ["application/vnd.cncf.notary.signature"], referrers
        listed = world.run("notation", "ls", f"{world.registry}/ecr/signed@{digest}")
        assert referrers[0]["digest"] in listed, listed
        ecr.delete_signing_configuration()
        refuses("SigningConfigurationNotFoundException", ecr.get_signing_configuration)

    results.pair("ecr: what skopeo pushes is signed by the profile whose filter matches; notation lists the signature", signed_on_push)

    def verified():
        world.api("POST", "profiles", {"name": "ecr_plain", "validity": "7 days", "grants": {"accounts": ["admin"]}})
        arn = f"arn:aws:signer:{REGION}:{NUMBER}:/signing-profiles/ecr_plain"
        ecr.put_signing_configuration(signingConfiguration={"rules": [{"signingProfileArn": arn}]})
        digest = push(world, "ecr/plain:v1", "plain")
        image = {"repositoryName": "ecr/plain", "imageId": {"imageDigest": digest}}
        status = wait_for(lambda: settled(ecr.describe_image_signing_status(**image)["signingStatuses"]))
        assert status["status"] == "COMPLETE", status
        ecr.delete_signing_configuration()
        home = world.dir / "notation-ecr"
        store = home / "truststore" / "x509" / "signingAuthority" / "ecr"
        store.mkdir(parents=True)
        (store / "root.pem").write_text(world.run("curl", "-sf", "--cacert", world.ca, f"{world.endpoint}/pki/root.pem"))
        # The list of revoked certificates is named with plain HTTP, which this server does not speak: revocation is not asked.
        verification = {"level": "strict", "override": {"revocation": "skip"}}
        (home / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
            "name": "all", "registryScopes": ["*"], "signatureVerification": verification,
            "trustStores": ["signingAuthority:ecr"], "trustedIdentities": ["x509.subject: CN=ecr_plain, O=Countersign, ST=WA, C=US"],
        }]}))
        link = world.dir / "notation-ecr-config"
        shutil.rmtree(link, ignore_errors=True)
        link.mkdir()
        (link / "notation").symlink_to(home)
        environment = world.environment
        world.environment = dict(environment, NOTATION_CONFIG=str(home), XDG_CONFIG_HOME=str(link))
        try:
            said = world.run("notation", "verify", f"{world.registry}/ecr/plain@{digest}")
        finally:
            world.environment = environment
        assert "Successfully verified signature" in said, said

    results.pair("ecr: the stock notation verifies what managed signing signed", verified)

    def not_granted():
        world.api("POST", "profiles", {"name": "ecr_others", "validity": "7 days", "grants": {"accounts": ["nobody"]}})
        arn = f"arn:aws:signer:{REGION}:{NUMBER}:/signing-profiles/ecr_others"
        ecr.put_signing_configuration(signingConfiguration={"rules": [{"signingProfileArn": arn}]})
        digest = push(world, "ecr/denied:v1", "denied")
        image = {"repositoryName": "ecr/denied", "imageId": {"imageDigest": digest}}
        status = wait_for(lambda: settled(ecr.describe_image_signing_status(**image)["signingStatuses"]))
        assert status["status"] == "FAILED" and "ecr_others" in status["failureReason"], status
        ecr.delete_signing_configuration()

    results.pair("ecr: a push by whom the profile is not granted ends as FAILED, with the reason", not_granted)


def client(world):
    config = Config(retries={"max_attempts": 1, "mode": "standard"}, region_name=REGION)
    return boto3.client(
        "ecr", endpoint_url=world.endpoint, verify=str(world.ca), config=config,
        aws_access_key_id=world.key["accessKeyId"], aws_secret_access_key=world.key["secretAccessKey"],
    )


def login(world):
    password = world.run("aws", "ecr", "get-login-password", "--endpoint-url", world.endpoint).strip()
    world.run("skopeo", "login", "--username", "AWS", "--password-stdin", world.registry, stdin=password)


def push(world, name, text, expect=0):
    """Pushes an image whose only layer holds `text`, with skopeo, and returns its digest."""
    layout = world.dir / "work" / f"layout-{text}"
    if not layout.exists():
        (world.dir / "work" / f"{text}.txt").write_text(text)
        world.run("oras", "push", "--oci-layout", f"{layout}:image", "--config", f"{config(world)}:application/vnd.oci.image.config.v1+json",
                  f"{text}.txt:application/vnd.oci.image.layer.v1.tar")
    done = world.run("skopeo", "copy", "--quiet", "--insecure-policy", f"oci:{layout}:image", f"docker://{world.registry}/{name}", expect=expect)
    if expect is None:
        return done
    return json.loads(world.run("skopeo", "inspect", f"docker://{world.registry}/{name}"))["Digest"]


def config(world):
    path = world.dir / "work" / "ecr-config.json"
    path.write_text(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}))
    return path.name


def settled(statuses):
    return statuses[0] if statuses and statuses[0]["status"] != "IN_PROGRESS" else None


def wait_for(found):
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise Failed(f"not within {WAIT_SECONDS} s")


def refuses(code, operation, **arguments):
    try:
        operation(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise Failed(f"expected {code}")
