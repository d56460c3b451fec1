"""The clients of AWS against Countersign, each pair over TLS. `aws.sh NAME` runs the pairs whose name contains NAME."""

import base64
import concurrent.futures
import datetime
import hashlib
import json
import os
import shutil
import ssl
import sys
import time
import urllib.request
import uuid
from unittest import mock

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from ecr import ecr_pairs
from harness import PEERS, Failed, Results, World, free_port

HOST = "signer.countersign.test"
NUMBER = "111122223333"
TENANT = "444455556666"
REGION = "us-east-1"
PLATFORM = "Notation-OCI-SHA384-ECDSA"
PAYLOAD_FORMAT = "application/vnd.cncf.notary.payload.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PROFILE = "ci_build"
PLUGIN = "com.amazonaws.signer.notation.plugin"
HOSTS = "/etc/hosts"
MARK = f"# countersign interop {os.getpid()}"


class AwsWorld(World):
    """A server with a certificate of its own for the three host names that the clients use."""

    def start_server(self, name, *options, scheme="https"):
        port, data = free_port(), self.dir / name
        address = f"127.0.0.1:{port}"
        command = [self.countersign, "serve", "--data", data, "--listen", address, "--account-number", NUMBER,
                   "--unlock-file", self.unlock_file(), *options]
        ca = data / "tls" / HOST / "ca.pem"
        self.start(name, *command, ready=lambda: is_ready(f"{scheme}://{address}/healthz", ca if scheme == "https" else None))
        return port, data, ca

    def open(self):
        self.port, self.data, self.ca = self.start_server("data", "--tls-self-signed", HOST)
        self.endpoint = f"https://{HOST}:{self.port}"
        self.registry = f"{HOST}:{self.port}"
        self.token = (self.data / "admin.token").read_text().strip()
        auth = base64.b64encode(f"admin:{self.token}".encode()).decode()
        (self.dir / "docker" / "config.json").write_text(json.dumps({"auths": {self.registry: {"auth": auth}}}))
        self.key = self.access_key("admin")
        self.environment.update(
            AWS_ACCESS_KEY_ID=self.key["accessKeyId"], AWS_SECRET_ACCESS_KEY=self.key["secretAccessKey"],
            AWS_REGION=REGION, AWS_DEFAULT_REGION=REGION, AWS_CA_BUNDLE=str(self.ca), SSL_CERT_FILE=str(self.ca),
            AWS_ENDPOINT_URL_SIGNER=self.endpoint, AWS_EC2_METADATA_DISABLED="true", AWS_PAGER="",
        )
        self.signer = self.client()

    def api(self, method, path, body=None, token=None):
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}/api/v1/{path}", method=method,
            data=None if body is None else json.dumps(body).encode(), headers={"Authorization": f"Bearer {token or self.token}"},
        )
        with urllib.request.urlopen(request, timeout=20, context=ssl.create_default_context(cafile=self.ca)) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def access_key(self, account, **more):
        return self.api("POST", f"accounts/{account}/access-keys", more)

    def client(self, key=None, endpoint=None, **more):
        key = key or self.key
        config = Config(retries={"max_attempts": more.pop("attempts", 1), "mode": "standard"}, region_name=REGION)
        return boto3.client(
            "signer", endpoint_url=endpoint or self.endpoint, verify=str(self.ca), config=config,
            aws_access_key_id=more.get("id", key["accessKeyId"]), aws_secret_access_key=more.get("secret", key["secretAccessKey"]),
            aws_session_token=key.get("sessionToken"),
        )


def is_ready(url, ca):
    try:
        context = ssl.create_default_context(cafile=ca) if ca else None
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return answer.status == 200
    except OSError:
        return False


def add_names():
    with open(HOSTS, "a") as hosts:
        hosts.write(f"127.0.0.1 {HOST} data-{HOST} verification.{HOST} {MARK}\n")


def remove_names():
    with open(HOSTS) as hosts:
        lines = [line for line in hosts if MARK not in line]
    # In place: in a container the file is mounted and cannot be replaced.
    with open(HOSTS, "w") as hosts:
        hosts.writelines(lines)


def main():
    if os.geteuid() != 0:
        sys.exit(f"the clients ask for three host names: run this as root, or add them to {HOSTS} and change `main`")
    world = AwsWorld()
    results = Results(sys.argv[1] if len(sys.argv) > 1 else "")
    add_names()
    try:
        world.open()
        print_versions(world)
        world.signer.put_signing_profile(profileName=PROFILE, platformId=PLATFORM, signatureValidityPeriod={"value": 7, "type": "DAYS"})
        for checks in (platforms, profiles, payloads, jobs, revocations, permissions, tags, refused, in_place, command_line, plugin, ecr_pairs):
            checks(world, results)
    finally:
        remove_names()
        world.close()
    results.finish()


def print_versions(world):
    import botocore

    def first(*command):
        done = world.run(*command, expect=None)
        return (done.stdout + done.stderr).split("\n", 1)[0]

    print("boto3", boto3.__version__, "| botocore", botocore.__version__, "|", first("aws", "--version"), flush=True)


def expect(condition, *shown):
    if not condition:
        raise Failed(" ".join(str(one) for one in shown) or "it does not hold")


def expect_error(code, status, call, **arguments):
    try:
        answer = call(**arguments)
    except ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        expect(found == (code, status), f"expected {code} {status}, got {found}: {error}")
        expect(error.response["Error"]["Message"], "the error has no message")
        expect(error.response["ResponseMetadata"].get("RequestId"), "the error has no request id")
        return error.response["Error"]["Message"]
    raise Failed(f"expected {code}, got {answer}")


def payload(text=b"manifest"):
    digest = "sha256:" + hashlib.sha256(text).hexdigest()
    return json.dumps({"targetArtifact": {"mediaType": MANIFEST, "digest": digest, "size": len(text)}}).encode()


def sign(client, profile=PROFILE, body=None, **more):
    return client.sign_payload(profileName=profile, payload=body or payload(), payloadFormat=PAYLOAD_FORMAT, **more)


def platforms(world, results):
    def both():
        pages = list(world.signer.get_paginator("list_signing_platforms").paginate(PaginationConfig={"PageSize": 1}))
        found = [one["platformId"] for page in pages for one in page["platforms"]]
        expect(len(pages) == len(found) >= 3 and PLATFORM in found, pages)
        shown = world.signer.get_signing_platform(platformId=PLATFORM)
        expect(shown["signingConfiguration"]["hashAlgorithmOptions"]["defaultValue"] == "SHA384", shown)
        expect_error("ResourceNotFoundException", 404, world.signer.get_signing_platform, platformId="unknown")

    results.pair("boto3 ListSigningPlatforms, GetSigningPlatform", both)


def profiles(world, results):
    signer = world.signer

    def made():
        put = signer.put_signing_profile(profileName="made_here", platformId=PLATFORM, tags={"team": "shop"})
        expect(put["arn"] == f"arn:aws:signer:{REGION}:{NUMBER}:/signing-profiles/made_here", put)
        expect(put["profileVersionArn"] == f"{put['arn']}/{put['profileVersion']}" and len(put["profileVersion"]) == 10, put)
        same = signer.put_signing_profile(profileName="made_here", platformId=PLATFORM)
        expect(same["profileVersion"] == put["profileVersion"], "the same settings made another version")
        other = signer.put_signing_profile(profileName="made_here", platformId=PLATFORM, signatureValidityPeriod={"value": 3, "type": "YEARS"})
        expect(other["profileVersion"] != put["profileVersion"], "other settings made no other version")
        shown = signer.get_signing_profile(profileName="made_here", profileOwner=NUMBER)
        expect(shown["status"] == "Active" and shown["tags"] == {"team": "shop"}, shown)
        expect(shown["signatureValidityPeriod"] == {"value": 3, "type": "YEARS"}, shown)

    def canceled():
        signer.put_signing_profile(profileName="to_cancel", platformId=PLATFORM)
        signer.cancel_signing_profile(profileName="to_cancel")
        listed = lambda **more: [one["profileName"] for one in signer.list_signing_profiles(**more)["profiles"]]
        expect("to_cancel" not in listed() and "to_cancel" in listed(includeCanceled=True) and listed(statuses=["Canceled"]) == ["to_cancel"])
        expect_error("AccessDeniedException", 403, sign, client=signer, profile="to_cancel")

    def paged():
        for number in range(30):
            signer.put_signing_profile(profileName=f"page_{number:02}", platformId=PLATFORM)
        pages = list(signer.get_paginator("list_signing_profiles").paginate(PaginationConfig={"PageSize": 10}))
        names = [one["profileName"] for page in pages for one in page["profiles"]]
        expect(len(pages) >= 4 and len(names) == len(set(names)) and sum(name.startswith("page_") for name in names) == 30, names)

    results.pair("boto3 PutSigningProfile, GetSigningProfile", made)
    results.pair("boto3 CancelSigningProfile", canceled)
    results.pair("boto3 ListSigningProfiles, its paginator", paged)


def envelope_of(signed):
    envelope = json.loads(signed["signature"])
    pad = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return json.loads(pad(envelope["protected"])), [base64.b64decode(one) for one in envelope["header"]["x5c"]]


def payloads(world, results):
    def signed():
        answer = sign(world.signer)
        protected, chain = envelope_of(answer)
        expect(answer["jobOwner"] == NUMBER and len(chain) == 3, answer)
        expect(protected["com.amazonaws.signer.signingJob"].endswith(answer["jobId"]), protected)
        expect(protected["io.cncf.notary.verificationPlugin"] == PLUGIN, protected)
        ours = {name for name in protected["crit"] if not name.startswith("io.cncf.notary.")}
        expect(ours == {"com.amazonaws.signer.signingJob", "com.amazonaws.signer.signingProfileVersion"}, ours)

    def plain():
        world.signer.put_signing_profile(profileName="plain_one", platformId=PLATFORM, signingParameters={"dialect": "plain"})
        protected, _ = envelope_of(sign(world.signer, profile="plain_one"))
        expect(all(name.startswith("io.cncf.notary.") for name in protected["crit"]), protected)
        expect("io.cncf.notary.verificationPlugin" not in protected, protected)

    def session():
        key = world.access_key("admin", expiresInSecs=900)
        expect(key["accessKeyId"].startswith("ASIA"), key["accessKeyId"])
        sign(world.client(key))
        bare = {name: value for name, value in key.items() if name != "sessionToken"}
        expect_error("UnrecognizedClientException", 403, sign, client=world.client(bare))

    def limits():
        expect_error("ValidationException", 400, sign, client=world.signer, body=b"{}")
        # botocore checks the length itself; the server must too.
        unchecked = boto3.client(
            "signer", endpoint_url=world.endpoint, verify=str(world.ca), region_name=REGION, config=Config(parameter_validation=False),
            aws_access_key_id=world.key["accessKeyId"], aws_secret_access_key=world.key["secretAccessKey"],
        )
        expect_error("ValidationException", 400, sign, client=unchecked, body=payload() + b" " * 4096)
        expect_error("ResourceNotFoundException", 404, sign, client=world.signer, profile="unknown")
        expect_error("ValidationException", 400, world.signer.sign_payload, profileName=PROFILE, payload=payload(), payloadFormat="text/plain")

    results.pair("boto3 SignPayload: two critical attributes and no other", signed)
    results.pair("boto3 SignPayload in the plain dialect", plain)
    results.pair("boto3 with a session token", session)
    results.pair("boto3 SignPayload: what is not a payload, too long, of an unknown profile", limits)


def jobs(world, results):
    signer = world.signer

    def described():
        job = signer.describe_signing_job(jobId=sign(signer)["jobId"])
        expect(job["status"] == "Succeeded" and job["profileName"] == PROFILE and job["platformId"] == PLATFORM, job)
        expect(job["requestedBy"] == f"arn:aws:iam::{NUMBER}:user/admin" and "revocationRecord" not in job, job)
        life = job["signatureExpiresAt"] - job["createdAt"]
        expect(life == datetime.timedelta(days=7), life)
        expect_error("ResourceNotFoundException", 404, signer.describe_signing_job, jobId=str(uuid.uuid4()))

    def listed():
        made = [sign(signer)["jobId"] for _ in range(5)]
        pages = list(signer.get_paginator("list_signing_jobs").paginate(PaginationConfig={"PageSize": 2}))
        found = [one["jobId"] for page in pages for one in page["jobs"]]
        expect(found[:5] == made[::-1] and len(found) == len(set(found)), found[:6])
        signer.revoke_signature(jobId=made[0], reason="listed as revoked")
        revoked = [one["jobId"] for one in signer.list_signing_jobs(isRevoked=True)["jobs"]]
        expect(made[0] in revoked and made[1] not in revoked, revoked)
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=6)
        expect(signer.list_signing_jobs(signatureExpiresBefore=soon)["jobs"] == [])
        expect(len(signer.list_signing_jobs(signatureExpiresAfter=soon, requestedBy=f"arn:aws:iam::{NUMBER}:user/admin")["jobs"]) >= 5)
        expect(signer.list_signing_jobs(status="Failed")["jobs"] == [])

    def waited():
        waiter = signer.get_waiter("successful_signing_job")
        waiter.wait(jobId=sign(signer)["jobId"])
        try:
            waiter.wait(jobId=str(uuid.uuid4()))
        except WaiterError as error:
            expect("terminal failure" in str(error), error)
        else:
            raise Failed("the waiter waited for a job that is not there")

    results.pair("boto3 DescribeSigningJob", described)
    results.pair("boto3 ListSigningJobs, its paginator and filters", listed)
    results.pair("boto3 waiter SuccessfulSigningJob", waited)


def hashes_of(world, chain):
    """SHA-384 of each to-be-signed part and of its issuer's, by openssl."""
    single = []
    for number, der in enumerate(chain):
        path, part = world.dir / "work" / f"{number}.der", world.dir / "work" / f"{number}.tbs"
        path.write_bytes(der)
        world.run("openssl", "asn1parse", "-inform", "DER", "-in", path, "-strparse", "4", "-noout", "-out", part)
        single.append(hashlib.sha384(part.read_bytes()).hexdigest())
    return [one + issuer for one, issuer in zip(single, single[1:] + single[-1:])]


def status_of(world, signed, **more):
    protected, chain = envelope_of(signed)
    question = dict(
        signatureTimestamp=protected["io.cncf.notary.authenticSigningTime"], platformId=PLATFORM,
        profileVersionArn=protected["com.amazonaws.signer.signingProfileVersion"],
        jobArn=protected["com.amazonaws.signer.signingJob"], certificateHashes=hashes_of(world, chain),
    )
    question.update(more)
    return world.signer.get_revocation_status(**question)["revokedEntities"]


def revocations(world, results):
    signer = world.signer

    def of_job():
        signed = sign(signer)
        expect(status_of(world, signed) == [], "a fresh signature is revoked")
        signer.revoke_signature(jobId=signed["jobId"], reason="by mistake", jobOwner=NUMBER)
        revoked = status_of(world, signed)
        expect(revoked == [f"arn:aws:signer:{REGION}:{NUMBER}:/signing-jobs/{signed['jobId']}"], revoked)
        record = signer.describe_signing_job(jobId=signed["jobId"])["revocationRecord"]
        expect(record["reason"] == "by mistake", record)
        expect_error("ResourceNotFoundException", 404, signer.revoke_signature, jobId=signed["jobId"], reason="x", jobOwner=TENANT)
        expect_error("ResourceNotFoundException", 404, signer.revoke_signature, jobId=str(uuid.uuid4()), reason="x")

    def refused_questions():
        signed, other = sign(signer), sign(signer)
        arn = f"arn:aws:signer:{REGION}:{NUMBER}:/signing-profiles/unknown/AAAAAAAAAA"
        for wrong in (
            {"profileVersionArn": arn}, {"jobArn": "arn:aws:signer:eu-west-1:111122223333:/signing-jobs/x"}, {"platformId": "AWSLambda-SHA384-ECDSA"},
            {"certificateHashes": ["00" * 96]}, {"certificateHashes": ["xx"]}, {"signatureTimestamp": datetime.datetime(2026, 1, 1), "jobArn": arn},
        ):
            expect_error("ValidationException", 400, status_of, world=world, signed=signed, **wrong)
        expect(status_of(world, other) == [])

    def of_profile():
        version = signer.put_signing_profile(profileName="to_revoke", platformId=PLATFORM)["profileVersion"]
        before = sign(signer, profile="to_revoke")
        time.sleep(1.1)  # The effective time and the signing times are whole seconds.
        between = datetime.datetime.now(datetime.timezone.utc)
        after = sign(signer, profile="to_revoke")
        future = between + datetime.timedelta(hours=1)
        arguments = dict(profileName="to_revoke", profileVersion=version, reason="key lost")
        expect_error("ValidationException", 400, signer.revoke_signing_profile, effectiveTime=future, **arguments)
        expect_error("ResourceNotFoundException", 404, signer.revoke_signing_profile, effectiveTime=between, **{**arguments, "profileVersion": "AAAAAAAAAA"})
        signer.revoke_signing_profile(effectiveTime=between, **arguments)
        expect(status_of(world, before) == [], "what was signed before is revoked")
        version_arn = f"arn:aws:signer:{REGION}:{NUMBER}:/signing-profiles/to_revoke/{version}"
        expect(version_arn in status_of(world, after), status_of(world, after))
        time.sleep(1.1)
        expect_error("ValidationException", 400, signer.revoke_signing_profile, effectiveTime=datetime.datetime.now(datetime.timezone.utc), **arguments)
        signer.revoke_signing_profile(effectiveTime=between - datetime.timedelta(minutes=5), **arguments)
        expect(version_arn in status_of(world, before), "an earlier time did not reach further back")
        shown = signer.get_signing_profile(profileName="to_revoke")
        expect(shown["status"] == "Revoked" and shown["revocationRecord"]["revokedBy"], shown)
        expect_error("AccessDeniedException", 403, sign, client=signer, profile="to_revoke")
        expect_error("ValidationException", 400, signer.put_signing_profile, profileName="to_revoke", platformId=PLATFORM)

    results.pair("boto3 RevokeSignature, GetRevocationStatus on the data- host", of_job)
    results.pair("boto3 GetRevocationStatus: what is not ours or does not belong together", refused_questions)
    results.pair("boto3 RevokeSigningProfile from a time on", of_profile)


def permissions(world, results):
    signer = world.signer
    world.api("POST", "accounts", {"name": "tenant", "grants": {}})
    world.api("PUT", "accounts/tenant/number", {"accountNumber": TENANT})
    tenant = world.client(world.access_key("tenant"))

    def managed():
        expect_error("ResourceNotFoundException", 404, signer.list_profile_permissions, profileName=PROFILE)
        first = signer.add_profile_permission(profileName=PROFILE, action="signer:GetSigningProfile", principal=TENANT, statementId="see")["revisionId"]
        arguments = dict(profileName=PROFILE, action="signer:GetSigningProfile", principal=TENANT)
        expect_error("ConflictException", 409, signer.add_profile_permission, statementId="more", revisionId="stale", **arguments)
        expect_error("ConflictException", 409, signer.add_profile_permission, statementId="see", **arguments)
        second = signer.add_profile_permission(statementId="more", revisionId=first, **arguments)["revisionId"]
        listed = signer.list_profile_permissions(profileName=PROFILE)
        expect(listed["revisionId"] == second and [one["statementId"] for one in listed["permissions"]] == ["more", "see"], listed)
        expect_error("ConflictException", 409, signer.remove_profile_permission, profileName=PROFILE, statementId="more", revisionId=first)
        signer.remove_profile_permission(profileName=PROFILE, statementId="more", revisionId=second)
        expect_error("ValidationException", 400, signer.add_profile_permission, statementId="x", **{**arguments, "principal": "*"})
        expect_error("ValidationException", 400, signer.add_profile_permission, statementId="x", **{**arguments, "action": "signer:*"})

    def used():
        expect_error("AccessDeniedException", 403, sign, client=tenant, profileOwner=NUMBER)
        signer.add_profile_permission(profileName=PROFILE, action="signer:SignPayload", principal=f"arn:aws:iam::{TENANT}:user/tenant", statementId="sign")
        signed = sign(tenant, profileOwner=NUMBER)
        expect(signed["jobOwner"] == NUMBER, signed)
        expect(signer.describe_signing_job(jobId=signed["jobId"])["jobInvoker"] == TENANT)
        expect_error("ResourceNotFoundException", 404, sign, client=tenant)
        expect(tenant.get_signing_profile(profileName=PROFILE, profileOwner=NUMBER)["profileName"] == PROFILE)
        expect_error("AccessDeniedException", 403, tenant.revoke_signature, jobId=sign(signer)["jobId"], reason="x", jobOwner=NUMBER)
        expect_error("AccessDeniedException", 403, tenant.put_signing_profile, profileName="tenants_own", platformId=PLATFORM)
        expect(tenant.list_signing_profiles()["profiles"] == [])

    results.pair("boto3 AddProfilePermission, ListProfilePermissions, RemoveProfilePermission", managed)
    results.pair("boto3 across two account numbers", used)


def tags(world, results):
    arn = f"arn:aws:signer:{REGION}:{NUMBER}:/signing-profiles/{PROFILE}"

    def all_three():
        world.signer.tag_resource(resourceArn=arn, tags={"team": "shop", "stage/a b": "ä"})
        expect(world.signer.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "shop", "stage/a b": "ä"})
        world.signer.untag_resource(resourceArn=arn, tagKeys=["stage/a b", "not there"])
        expect(world.signer.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "shop"})
        expect_error("NotFoundException", 404, world.signer.list_tags_for_resource, resourceArn=arn.replace(PROFILE, "unknown"))
        expect_error("BadRequestException", 400, world.signer.tag_resource, resourceArn=arn, tags={"aws:x": "y"})
        expect_error("BadRequestException", 400, world.signer.tag_resource, resourceArn=arn.replace(PROFILE, "to_cancel"), tags={"x": "y"})

    results.pair("boto3 TagResource, UntagResource, ListTagsForResource", all_three)


def refused(world, results):
    def wrong_signature():
        expect_error("InvalidSignatureException", 403, world.client(secret="wrong").list_signing_profiles)
        expect_error("UnrecognizedClientException", 403, world.client(id="AKIAUNKNOWN").list_signing_profiles)

    def skewed():
        for minutes in (-6, 6):
            moved = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
            with mock.patch("botocore.auth.get_current_datetime", lambda: moved.replace(tzinfo=None)):
                message = expect_error("InvalidSignatureException", 403, world.client().list_signing_profiles)
            expect("5 minutes" in message, message)

    def deleted_key():
        key = world.access_key("admin")
        client = world.client(key)
        client.list_signing_profiles()
        world.api("DELETE", f"accounts/admin/access-keys/{key['accessKeyId']}")
        expect_error("UnrecognizedClientException", 403, client.list_signing_profiles)

    def throttled():
        port, data, _ = world.start_server("slow", "--aws-requests-per-second", "1", scheme="http")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/accounts/admin/access-keys", method="POST", data=b"{}",
            headers={"Authorization": f"Bearer {(data / 'admin.token').read_text().strip()}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            key = json.load(answer)
        client = world.client(key, endpoint=f"http://127.0.0.1:{port}")

        def ask(_):
            try:
                return client.list_signing_profiles()["ResponseMetadata"]["HTTPStatusCode"]
            except ClientError as error:
                return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]

        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(ask, range(20)))
        expect(set(answers) == {200, ("ThrottlingException", 429)}, answers)

    results.pair("boto3 with a wrong secret, an unknown key", wrong_signature)
    results.pair("boto3 with a clock six minutes off", skewed)
    results.pair("boto3 with a deleted key", deleted_key)
    results.pair("boto3 above the rate of its account number", throttled)


def push(world, repository):
    path = world.dir / "work" / "hello.txt"
    path.write_text(f"hello {uuid.uuid4()}\n")
    pushed = world.run("oras", "push", f"{world.registry}/{repository}:1", "hello.txt", "--format", "json", "--ca-file", world.ca)
    return json.loads(pushed)["digest"]


def in_place(world, results):
    def started():
        digest = push(world, "apps/in-place")
        arguments = dict(
            source={"s3": {"bucketName": "apps/in-place", "key": "1", "version": digest}}, destination={"s3": {"bucketName": "apps/in-place"}},
            profileName=PROFILE, clientRequestToken="one",
        )
        job = world.signer.start_signing_job(**arguments)
        expect(world.signer.start_signing_job(**arguments)["jobId"] == job["jobId"], "a token made two jobs")
        world.signer.get_waiter("successful_signing_job").wait(jobId=job["jobId"])
        shown = world.signer.describe_signing_job(jobId=job["jobId"])
        listed = world.run("oras", "discover", f"{world.registry}/apps/in-place@{digest}", "--format", "json", "--ca-file", world.ca)
        expect(shown["signedObject"]["s3"]["key"] in listed, shown, listed)
        for wrong in ({"destination": {"s3": {"prefix": "x"}}}, {"clientRequestToken": "one", "profileName": "made_here"}):
            expect_error("ValidationException", 400, world.signer.start_signing_job, **{**arguments, "clientRequestToken": "two", **wrong})
        missing = {"s3": {"bucketName": "apps/in-place", "key": "unknown", "version": "null"}}
        expect_error("ResourceNotFoundException", 404, world.signer.start_signing_job, **{**arguments, "clientRequestToken": "three", "source": missing})

    results.pair("boto3 StartSigningJob over our registry", started)


def command_line(world, results):
    def operations():
        (world.dir / "work" / "payload.json").write_bytes(payload())
        aws = lambda *command: json.loads(world.run("aws", "signer", *command, "--output", "json") or "null")
        shown = aws("get-signing-profile", "--profile-name", PROFILE)
        expect(shown["profileName"] == PROFILE, shown)
        signed = aws("sign-payload", "--profile-name", PROFILE, "--payload-format", PAYLOAD_FORMAT, "--payload", "fileb://payload.json")
        expect(json.loads(base64.b64decode(signed["signature"]))["payload"], signed)
        aws("revoke-signature", "--job-id", signed["jobId"], "--reason", "by mistake")
        job = aws("describe-signing-job", "--job-id", signed["jobId"])
        expect(job["revocationRecord"]["reason"] == "by mistake", job)
        names = [one["profileName"] for one in aws("list-signing-profiles")["profiles"]]
        expect(PROFILE in names and len(names) > 25, names)
        world.run("aws", "signer", "wait", "successful-signing-job", "--job-id", signed["jobId"])

    def error():
        done = world.run("aws", "signer", "get-signing-profile", "--profile-name", "unknown", expect=None)
        expect(done.returncode in (254, 255) and "(ResourceNotFoundException)" in done.stderr, done.returncode, done.stderr)

    results.pair("aws signer …", operations)
    results.pair("aws signer: an error", error)


def plugin(world, results):
    binary = PEERS / "bin" / f"notation-{PLUGIN}"
    if not binary.exists():
        results.skip("the AWS Signer plugin under notation", "the plugin cannot be had here (see interop/aws_peers.sh)")
        return
    folder = world.notation / "plugins" / PLUGIN
    folder.mkdir(parents=True)
    shutil.copy(binary, folder / binary.name)
    store = world.notation / "truststore" / "x509" / "signingAuthority" / "aws-signer-ts"
    store.mkdir(parents=True)
    with urllib.request.urlopen(f"https://127.0.0.1:{world.port}/pki/root.pem", context=ssl.create_default_context(cafile=world.ca)) as answer:
        (store / "root.pem").write_bytes(answer.read())
    shutil.copy(store / "root.pem", world.dir / "root.pem")
    arn = f"arn:aws:signer:{REGION}:{NUMBER}:/signing-profiles/{PROFILE}"
    trust(world, [arn])
    settings = ["--plugin-config", f"aws-signer-endpoint-url={world.endpoint}", "--plugin-config", f"aws-region={REGION}"]
    state = {}

    def reference():
        return f"{world.registry}/apps/plugin@{state['digest']}"

    def signs():
        state["digest"] = push(world, "apps/plugin")
        world.run("notation", "key", "add", "aws", "--plugin", PLUGIN, "--id", arn, *settings)
        world.run("notation", "sign", "--key", "aws", reference())
        inspected = world.run("notation", "inspect", reference())
        expect(f"io.cncf.notary.verificationPlugin: {PLUGIN}" in inspected, inspected)
        expect("com.amazonaws.signer.signingJob: arn:aws:signer:" in inspected, inspected)

    def verifies():
        verified = world.run("notation", "verify", reference(), *settings)
        expect("Successfully verified signature" in verified, verified)

    def refuses_another_identity():
        trust(world, [arn.replace(PROFILE, "made_here")])
        done = world.run("notation", "verify", "--verbose", reference(), *settings, expect=None)
        trust(world, [arn])
        shown = done.stdout + done.stderr
        expect(done.returncode == 1 and "doesn't match any trusted identities" in shown, done.returncode, shown)

    def ours_verifies():
        identity = world.api("GET", f"profiles/{PROFILE}")["identity"]
        world.run("countersign", "trust", "store", "add", "--type", "signingAuthority", "--name", "aws-signer-ts", world.dir / "root.pem")
        policy = trust_policy([identity], {"level": "strict", "override": {"revocation": "skip"}})
        (world.dir / "ours.json").write_text(json.dumps(policy))
        world.run("countersign", "trust", "policy", "import", "--force", world.dir / "ours.json")
        world.run("countersign", "verify", reference())

    def refuses_the_revoked():
        job = world.signer.list_signing_jobs(maxResults=1)["jobs"][0]["jobId"]
        world.signer.revoke_signature(jobId=job, reason="by mistake")
        done = world.run("notation", "verify", "--verbose", reference(), *settings, expect=None)
        expect(done.returncode == 1 and "have been revoked" in done.stdout + done.stderr, done.returncode, done.stdout, done.stderr)

    def says_why_not():
        key = arn.replace(PROFILE, "to_cancel")
        world.run("notation", "key", "add", "canceled", "--plugin", PLUGIN, "--id", key, *settings)
        done = world.run("notation", "sign", "--key", "canceled", reference(), expect=None)
        expect(done.returncode == 1 and "profile `to_cancel` is canceled" in done.stderr, done.returncode, done.stderr)

    results.pair("notation sign, inspect with the AWS Signer plugin", signs)
    results.pair("notation verify with the AWS Signer plugin", verifies)
    results.pair("notation verify with the plugin refuses another profile", refuses_another_identity)
    results.pair("countersign verify of the same signature, without the plugin", ours_verifies)
    results.pair("notation verify with the plugin refuses what was revoked", refuses_the_revoked)
    results.pair("notation sign with the plugin says why not", says_why_not)


def trust(world, identities):
    (world.dir / "policy.json").write_text(json.dumps(trust_policy(identities, {"level": "strict"})))
    world.run("notation", "policy", "import", "--force", world.dir / "policy.json")


def trust_policy(identities, verification):
    return {
        "version": "1.0",
        "trustPolicies": [{
            "name": "interop", "registryScopes": ["*"], "signatureVerification": verification,
            "trustStores": ["signingAuthority:aws-signer-ts"], "trustedIdentities": identities,
        }],
    }


if __name__ == "__main__":
    main()
