"""Workload identities: an issuer in Python (PyJWT) on this machine, and every token that must be refused. `python oidc.py` runs these pairs alone."""

import base64
import hashlib
import hmac
import http.server
import json
import sys
import threading
import time
import uuid

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from harness import Results, World

AUDIENCE = "https://countersign.example"
PROFILE = "ci-oidc"
SUBJECT = "repo:shop/web:ref:refs/heads/main"
# How each algorithm's key is called in the issuer's set.
KEYS = {"RS256": "rsa", "PS256": "rsa", "ES256": "p256", "ES384": "p384"}


class Issuer:
    """Serves a discovery document and a key set, and makes tokens."""

    def __init__(self):
        self.keys = {
            "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "p256": ec.generate_private_key(ec.SECP256R1()),
            "p384": ec.generate_private_key(ec.SECP384R1()),
        }
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                documents = {
                    "/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                    "/keys": issuer.key_set(),
                }
                document = documents.get(self.path)
                body = json.dumps(document).encode()
                self.send_response(200 if document else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def key_set(self):
        keys = []
        for kid, key in self.keys.items():
            kind = jwt.algorithms.RSAAlgorithm if kid == "rsa" else jwt.algorithms.ECAlgorithm
            keys.append({**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"})
        return {"keys": keys}

    def claims(self, **changes):
        now = int(time.time())
        claims = {"iss": self.url, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + 300, "jti": str(uuid.uuid4()), "environment": "production"}
        claims.update(changes)
        return claims

    def token(self, algorithm="RS256", issuer=None, **changes):
        kid = KEYS[algorithm]
        key = (issuer or self).keys[kid]
        return jwt.encode(self.claims(**changes), key, algorithm=algorithm, headers={"kid": kid})

    def unsigned(self):
        return jwt.encode(self.claims(), None, algorithm="none", headers={"kid": "rsa"})

    def with_public_key_as_secret(self):
        """PyJWT refuses to make this one, so it is made by hand."""
        pem = self.keys["rsa"].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

        def part(value):
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

        signed = part({"alg": "HS256", "kid": "rsa", "typ": "JWT"}) + b"." + part(self.claims())
        tag = hmac.new(pem, signed, hashlib.sha256).digest()
        return (signed + b"." + base64.urlsafe_b64encode(tag).rstrip(b"=")).decode()


class Workload:
    """A CI job: its own credentials, and nobody else's."""

    def __init__(self, world):
        self.world = world
        self.config = world.dir / "workload-docker"
        self.config.mkdir(exist_ok=True)

    def run(self, *command, **options):
        before = self.world.environment["DOCKER_CONFIG"]
        self.world.environment["DOCKER_CONFIG"] = str(self.config)
        try:
            return self.world.run(*command, **options)
        finally:
            self.world.environment["DOCKER_CONFIG"] = before

    def login(self, token, **options):
        path = self.world.dir / "work" / "token.jwt"
        path.write_text(token + "\n")
        return self.run("countersign", "login", self.world.ours, "--oidc-token-file", path, **options)


def prepare(world, issuer):
    server = ["--server", f"http://{world.ours}"]
    work = world.dir / "work"
    (work / "rules.yaml").write_text(f"""
rules:
  - id: ci
    allow:
      workloads:
        - issuer: {issuer.url}
          subject: repo:shop/*:ref:refs/heads/main
          claims: {{environment: production}}
    repositories: ["oidc/**"]
    artifactTypes: ["note/*"]
    quota: 100 per hour
""")
    world.run("countersign", "profile", "create", PROFILE, "--validity", "7 days", "--rules", work / "rules.yaml", *server)
    world.run(
        "countersign", "oidc", "add", "--issuer", issuer.url, "--audience", AUDIENCE, "--claim", "environment",
        "--subject", "repo:shop/*:ref:refs/heads/main", "--push", "oidc/**", *server,
    )
    (work / "note.txt").write_text("signed by a workload\n")
    for repository in ("oidc/app", "other/app"):
        world.run("countersign", "push", "--artifact-type", "note/example", f"{world.ours}/{repository}:1", "note.txt:text/plain")


def oidc_pairs(world, results):
    issuer, stranger = Issuer(), Issuer()
    prepare(world, issuer)
    workload = Workload(world)
    sign = ["countersign", "sign", f"{world.ours}/oidc/app:1", "--profile", PROFILE, "--output", "json"]

    for algorithm in KEYS:
        def signs(algorithm=algorithm):
            said = workload.login(issuer.token(algorithm))
            assert SUBJECT in said, said
            job = json.loads(workload.run(*sign))["job"]
            shown = json.loads(world.run("countersign", "signature", "show", job, "--output", "json", "--server", f"http://{world.ours}"))
            assert shown["caller"]["workload"] == {"issuer": issuer.url, "subject": SUBJECT, "claims": {"environment": "production"}}, shown
            assert shown["rule"] == "ci", shown

        results.pair(f"oidc: a token of a Python issuer with {algorithm} signs by its rule", signs)

    def not_this_branch():
        workload.login(issuer.token(sub="repo:shop/web:ref:refs/heads/dev"))
        workload.run(*sign, expect=4)
        workload.login(issuer.token(environment="staging"))
        done = workload.run(*sign, "--server", f"http://{world.ours}", expect=None)
        assert done.returncode == 4 and "no rule of profile" in done.stderr, done.stderr

    results.pair("oidc: another branch and another environment are named by no rule", not_this_branch)

    def not_this_repository():
        workload.login(issuer.token())
        done = workload.run("countersign", "sign", f"{world.ours}/other/app:1", "--profile", PROFILE, expect=None)
        assert done.returncode == 4, done.stderr

    results.pair("oidc: a workload reads no repository that it was not given", not_this_repository)

    now = int(time.time())
    refused = {
        "a wrong audience": (lambda: issuer.token(aud="https://other.example"), "not for audience"),
        "an expired token": (lambda: issuer.token(iat=now - 1000, exp=now - 500), "expired at"),
        "a token from the future": (lambda: issuer.token(nbf=now + 600), "not valid before"),
        "a token that lives for weeks": (lambda: issuer.token(exp=now + 1_000_000), "longer than a day"),
        "alg none": (issuer.unsigned, "algorithm `none` is not accepted"),
        "HS256 with the public key": (issuer.with_public_key_as_secret, "algorithm `HS256` is not accepted"),
        "another issuer's key": (lambda: issuer.token(issuer=stranger), "signature does not verify"),
        "another issuer": (stranger.token, "not one that this server trusts"),
        "a changed claim": (lambda: forged(issuer.token(sub="repo:evil/web")), "signature does not verify"),
    }
    for name, (make, reason) in refused.items():
        def refuses(make=make, reason=reason):
            token = make()
            done = workload.login(token, expect=None)
            assert done.returncode == 4 and reason in done.stderr, done.stderr
            assert token not in done.stderr + done.stdout, "the token is in the message"

        results.pair(f"oidc: {name} is refused with its reason", refuses)

    def replayed():
        token = issuer.token()
        workload.login(token)
        done = workload.login(token, expect=None)
        assert done.returncode == 4 and "was used already" in done.stderr, done.stderr

    results.pair("oidc: a replay is refused with its reason", replayed)


def forged(token):
    """Puts the good subject into somebody else's token."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["sub"] = SUBJECT
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{payload}.{signature}"


def main():
    world = World()
    results = Results(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        world.start_servers()
        oidc_pairs(world, results)
    finally:
        world.close()
    results.finish()


if __name__ == "__main__":
    main()
