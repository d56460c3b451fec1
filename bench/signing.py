"""Durable signed envelopes over HTTPS: how many a second, and how long one waits when they come at a fixed rate.

The load generators run on the same processors as the server. A figure's peer is the bare primitive on all of them, in the same minute."""

import json
import os
import re
import ssl
import subprocess
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOAD_SECONDS = 6
CONNECTIONS = 32
OPEN_RATE = 500
OPEN_SECONDS = 20
# name, body of the profile beyond its name, key of the bare rate
CLOSED = [
    ("P-384, rotating leaf", {"leaf": {"rotating": {"days": 7}}}, "p384"),
    ("P-384, a leaf per job", {}, "per-job"),
    ("P-256, rotating leaf", {"platform": "Notation-OCI-SHA256-ECDSA", "leaf": {"rotating": {"days": 7}}}, "p256"),
    ("RSA-3072, rotating leaf", {"platform": "Notation-OCI-SHA384-RSA", "leaf": {"rotating": {"days": 7}}}, "rsa-3072"),
]


class Server:
    """A server of its own behind TLS, and what load generators need to reach it."""

    def __init__(self, world, port, name="signing", *options):
        self.world, self.dir = world, world.dir / name
        self.dir.mkdir()
        self.dir.chmod(0o711)
        self.url = f"https://localhost:{port}"
        self.certificate = self.dir / "tls.pem"
        key = self.dir / "tls.key"
        world.run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key,
            "-out", self.certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        )
        self.context = ssl.create_default_context(cafile=self.certificate)
        unlock = self.dir / "unlock"
        unlock.write_text("bench only: not a secret of anyone\n")
        unlock.chmod(0o600)
        world.start(
            name, world.countersign, "serve", "--data", self.dir / "data", "--listen", f"127.0.0.1:{port}", "--tls-cert", self.certificate,
            "--tls-key", key, "--public-url", self.url, "--unlock-file", unlock, *options, ready=f"{self.url}/healthz", context=self.context,
        )
        self.token = (self.dir / "data" / "admin.token").read_text().strip()

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.url}{path}", method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def profile(self, name, settings):
        self.call("POST", "/api/v1/profiles", {"name": name, "validity": "7 days", "grants": {"accounts": ["admin"]}, **settings})
        return {
            "profile": name,
            "artifact": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "a" * 64, "size": 500},
        }

    def closed_loop(self, name, body):
        """As many as `CONNECTIONS` callers get when each asks again at once; none of the answers is an error."""
        script = self.dir / f"{name}.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = [==[{json.dumps(body)}]==]\nwrk.headers["Content-Type"] = "application/json"\n')
        shown = self.world.run(
            "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{LOAD_SECONDS}s", "-H", f"Authorization: Bearer {self.token}", "-s", script,
            f"{self.url}/api/v1/signatures",
        )
        if "Non-2xx" in shown or "Socket errors" in shown:
            raise SystemExit(f"wrk saw errors\n{shown}")
        return float(re.search(r"Requests/sec:\s+([\d.]+)", shown).group(1))

    def open_loop(self, body, rate=OPEN_RATE, seconds=OPEN_SECONDS):
        """The times that requests took which were sent at a fixed rate, whether or not earlier ones were answered, in milliseconds."""
        request = self.dir / "body.json"
        request.write_text(json.dumps(body))
        targets = f"POST {self.url}/api/v1/signatures\nAuthorization: Bearer {self.token}\nContent-Type: application/json\n@{request}\n"
        attack = subprocess.run(
            ["vegeta", "attack", f"-rate={rate}/s", f"-duration={seconds}s", "-root-certs", str(self.certificate)],
            input=targets.encode(), capture_output=True, check=True, env=self.world.environment, timeout=seconds + 60,
        )
        report = subprocess.run(
            ["vegeta", "report", "-type=json"], input=attack.stdout, capture_output=True, check=True, env=self.world.environment, timeout=60,
        )
        report = json.loads(report.stdout)
        if report["success"] != 1:
            raise SystemExit(f"vegeta saw errors: {report['status_codes']} {report['errors'][:3]}")
        return {name: value / 1e6 for name, value in report["latencies"].items()}


def bare_rates():
    """What the primitives do alone on all processors, a second."""
    program = ROOT / "target" / "release" / "examples" / "rate"
    shown = subprocess.run([program], capture_output=True, text=True, check=True, timeout=300).stdout
    return json.loads(shown.strip().splitlines()[-1])["bare"]


def rows(world, row, free_port, library_version):
    server = Server(world, free_port())
    found = []
    for number, (name, settings, bare) in enumerate(CLOSED):
        body = server.profile(f"bench-{number}", settings)
        before = bare_rates()[bare]
        ours = server.closed_loop(f"bench-{number}", body)
        found.append(row(f"signed over HTTPS: {name}", ours, f"bare, {os.cpu_count()} processors", before, library_version, "signatures/s", ">=0.5"))
    body = server.profile("bench-open", {"leaf": {"rotating": {"days": 7}}})
    server.closed_loop("bench-open", body)  # the first second of a server is not what is asked for
    times = server.open_loop(body)
    print("open loop:", {name: round(value, 2) for name, value in times.items() if name in ("50th", "95th", "99th", "max")}, "ms", flush=True)
    found.append(row(f"p99 of signing at {OPEN_RATE}/s", times["99th"], "the goal", 20.0, "-", "ms", "<=1"))
    return found
