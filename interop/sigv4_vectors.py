"""Writes crates/server/testdata/sigv4/vectors.json: requests signed by botocore's own signer, each for the one thing that it shows."""

import datetime
import json
import sys
from unittest import mock

import botocore
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)
KEY, SECRET = "AKIAVECTORVECTOR0001", "vector/secret+of+nobody/0123456789ABCDEF"
TOKEN = "session/token+of/nobody=="
ARN = "arn%3Aaws%3Asigner%3Aus-east-1%3A111122223333%3A%2Fsigning-profiles%2Fci_build"
JSON = {"Content-Type": "application/json"}
# name, method, path and query, headers, body, session token, service
CASES = [
    ("get-without-query", "GET", "/signing-profiles", {}, "", None, "signer"),
    ("get-root", "GET", "/", {}, "", None, "signer"),
    ("post-with-body", "POST", "/signing-jobs/with-payload", JSON, '{"profileName":"ci_build"}', None, "signer"),
    ("post-utf8-body", "POST", "/signing-jobs", JSON, '{"reason":"größer als €"}', None, "signer"),
    ("path-encoded-once-is-encoded-twice", "GET", f"/tags/{ARN}", {}, "", None, "signer"),
    ("path-with-space-and-slash", "DELETE", "/signing-profiles/a/permissions/s%2F1%20x?revisionId=r", {}, "", None, "signer"),
    ("path-with-dot-segments", "GET", "/a/./b/../signing-profiles", {}, "", None, "signer"),
    ("path-with-double-slash", "GET", "//signing-profiles//x/", {}, "", None, "signer"),
    ("path-with-unreserved", "GET", "/a-b_c.d~e", {}, "", None, "signer"),
    ("query-repeated-and-unsorted", "DELETE", f"/tags/{ARN}?tagKeys=b&tagKeys=a&tagKeys=B", {}, "", None, "signer"),
    ("query-encoded", "GET", "/revocations?jobArn=arn%3Aaws%3Asigner%3A%3A1%3A%2Fsigning-jobs%2F1&certificateHashes=00ff&platformId=Notation-OCI-SHA384-ECDSA", {}, "", None, "signer"),
    ("query-empty-value", "GET", "/signing-jobs?status=&maxResults=5", {}, "", None, "signer"),
    ("query-sorted-by-code-point", "GET", "/x?a-b=1&a=2&A=3&a.b=4&a_b=5&a~b=6", {}, "", None, "signer"),
    ("header-trimmed-and-collapsed", "GET", "/signing-jobs", {"X-Amz-Meta": "  two   spaces\tand a tab  "}, "", None, "signer"),
    ("session-token", "GET", "/signing-jobs", {}, "", TOKEN, "signer"),
    ("json-target", "POST", "/", {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"}, "{}", None, "ecr"),
    ("many-signed-headers", "POST", "/signing-jobs/with-payload", {**JSON, "amz-sdk-invocation-id": "0b1c", "amz-sdk-request": "attempt=1; max=3", "Content-Length": "2"}, "{}", None, "signer"),
]


def signed(case):
    name, method, target, headers, body, token, service = case
    request = AWSRequest(method=method, url="https://signer.example:5443" + target, headers=headers, data=body)
    with mock.patch("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None)):
        SigV4Auth(Credentials(KEY, SECRET, token), service, "local-1").add_auth(request)
    sent = [["Host", "signer.example:5443"]] + [[name, value] for name, value in request.headers.items()]
    return {"name": name, "method": method, "target": target, "headers": sent, "body": body}


if __name__ == "__main__":
    document = {"botocore": botocore.__version__, "secret": SECRET, "now": NOW.isoformat().replace("+00:00", "Z"), "cases": [signed(case) for case in CASES]}
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False)
    print()
