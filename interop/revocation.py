#!/usr/bin/env python3
"""Revocation end to end, with real processes: pushed to a verifier, the channel cut, the signer paused, a bundle carried.

Needs no peers. Takes about a minute, because silence takes ten seconds to be noticed.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from harness import Failed, World, free_port

PROFILE = "ci-build"
# Silence is noticed after ten seconds; a heartbeat may have come just before, and a check takes a moment.
SILENCE_SECONDS = 10
NOTICED_SECONDS = SILENCE_SECONDS + 1.5


class Proxy:
    """Forwards a port, until it is told to stop forwarding; connections stay open then."""

    def __init__(self, target):
        self.target, self.open = target, threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.open.wait()
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Bench:
    """A server, an authority that is trusted, and calls of both APIs."""

    def __init__(self, world):
        self.world = world
        world.port = free_port()
        world.ours = f"127.0.0.1:{world.port}"
        world.start(
            "countersign", world.countersign, "serve", "--data", world.dir / "data", "--listen", world.ours,
            "--unlock-file", world.unlock_file(), ready=f"http://{world.ours}/healthz",
        )
        self.token = (world.dir / "data" / "admin.token").read_text().strip()
        world.environment.update(COUNTERSIGN_SERVER=f"http://{world.ours}", COUNTERSIGN_TOKEN=self.token)
        world.run("countersign", "login", world.ours, "--username", "admin", "--password-stdin", stdin=self.token)
        self.trust()

    def trust(self):
        world = self.world
        (world.dir / "root.pem").write_text(get(f"http://{world.ours}/pki/root.pem"))
        world.run("countersign", "trust", "store", "add", "--type", "signingAuthority", "--name", "countersign", world.dir / "root.pem")
        (world.dir / "policy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
            "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
            "trustStores": ["signingAuthority:countersign"], "trustedIdentities": ["*"],
        }]}))
        world.run("countersign", "trust", "policy", "import", "--force", world.dir / "policy.json")

    def profile(self, name, *more):
        self.world.run("countersign", "profile", "create", name, "--validity", "7 days", "--account", "admin", *more)

    def push(self, name):
        """Pushes an artifact of its own and returns its reference by digest."""
        file = self.world.dir / "work" / "content.txt"
        file.write_text(name)
        shown = self.world.run(
            "countersign", "push", f"{self.world.ours}/apps/shop:{name}", "content.txt:text/plain",
            "--artifact-type", "application/vnd.example.text", "--output", "json",
        )
        return json.loads(shown)["reference"]

    def sign(self, reference, profile=PROFILE):
        shown = self.world.run("countersign", "sign", reference, "--profile", profile, "--output", "json")
        return json.loads(shown)["job"]

    def api(self, method, path, body=None):
        return call(method, f"http://{self.world.ours}/{path}", body, self.token)

    def verifier(self, server):
        port = free_port()
        token = self.world.dir / "verifier.token"
        token.write_text(self.token)
        self.world.start(
            "verifier", self.world.countersign, "verifier", "serve", "--server", server, "--listen", f"127.0.0.1:{port}",
            "--token-file", token, ready=f"http://127.0.0.1:{port}/healthz",
        )
        return f"http://127.0.0.1:{port}"


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def call(method, url, body=None, token=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise Failed(f"{method} {url}: {error.code} {error.read().decode()[:300]}") from None


def codes(verifier, reference):
    """The codes of everything that fails; empty when the artifact is trusted."""
    report = call("POST", f"{verifier}/verify", {"reference": reference})
    found = {failure["code"] for artifact in report["artifacts"] for one in artifact["signatures"] for failure in one["failures"]}
    if report["trusted"] != (not found):
        raise Failed(f"trusted is {report['trusted']} with {found}")
    return found


def until(verifier, reference, wanted, limit):
    """Asks until the codes are those; returns how long that took."""
    begun = time.monotonic()
    while (found := codes(verifier, reference)) != wanted:
        if time.monotonic() - begun > limit:
            raise Failed(f"after {limit} s the codes are {found}, not {wanted}")
        time.sleep(0.05)
    return time.monotonic() - begun


def expect(name, found, expected):
    if found != expected:
        raise Failed(f"{name}: {found}, expected {expected}")
    print(f"ok  {name}", flush=True)


def signer_pid(world):
    """The process of the signer, below the supervisor that we started."""
    supervisor = world.processes[0].pid
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for child in children:
        if b"--role\0signer" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise Failed("the signer's process is not found")


def main():
    world = World()
    try:
        bench = Bench(world)
        bench.profile(PROFILE, "--rotating-leaf", "7")
        pushed_at_once(bench)
        cut_channel(bench)
        paused_signer(bench)
        bundles(bench)
        forecasts(bench)
        print("all held")
    finally:
        world.close()


def pushed_at_once(bench):
    one, other = bench.push("one"), bench.push("other")
    job = bench.sign(one)
    bench.sign(other)
    verifier = bench.verifier(f"http://{bench.world.ours}")
    expect("both are trusted", (codes(verifier, one), codes(verifier, other)), (set(), set()))
    preview = bench.world.run("countersign", "signature", "revoke", job, "--preview", "--output", "json")
    expect("a preview counts one signature", json.loads(preview)["signatures"], 1)
    expect("a preview revokes nothing", codes(verifier, one), set())
    bench.world.run("countersign", "signature", "revoke", job, "--reason", "leaked")
    took = until(verifier, one, {"signature-revoked"}, 2)
    print(f"ok  one signature of a shared leaf is refused ({took * 1000:.0f} ms after the command)")
    expect("the other of that leaf is trusted", codes(verifier, other), set())
    bench.world.run("countersign", "sign", one, "--profile", PROFILE)
    bench.world.run("countersign", "signature", "revoke", "--digest", one.split("@")[1], "--reason", "bad build")
    until(verifier, one, {"signature-revoked"}, 2)
    print("ok  all signatures over a digest are refused")
    shown = json.loads(get(f"{verifier}/healthz"))
    expect("the verifier says that its feed is fresh", shown["feed"], "fresh")
    bench.world.processes.pop().terminate()


def cut_channel(bench):
    reference = bench.push("cut")
    bench.sign(reference)
    proxy = Proxy(bench.world.port)
    verifier = bench.verifier(f"http://127.0.0.1:{proxy.port}")
    expect("it is trusted through the proxy", codes(verifier, reference), set())
    proxy.open.clear()
    took = until(verifier, reference, {"revocation-unknown"}, NOTICED_SECONDS)
    print(f"ok  a cut channel turns the answer to unknown after {took:.1f} s")
    proxy.open.set()
    took = until(verifier, reference, set(), 10)
    print(f"ok  it is trusted again {took:.1f} s after the channel came back")
    bench.world.processes.pop().terminate()


def paused_signer(bench):
    reference = bench.push("paused")
    bench.sign(reference)
    verifier = bench.verifier(f"http://{bench.world.ours}")
    expect("it is trusted", codes(verifier, reference), set())
    signer = signer_pid(bench.world)
    os.kill(signer, signal.SIGSTOP)
    try:
        took = until(verifier, reference, {"revocation-unknown"}, NOTICED_SECONDS)
        print(f"ok  a paused signer turns the answer to unknown after {took:.1f} s")
    finally:
        os.kill(signer, signal.SIGCONT)
    took = until(verifier, reference, set(), 10)
    print(f"ok  it is trusted again {took:.1f} s after the signer went on")
    bench.world.processes.pop().terminate()


def bundles(bench):
    world = bench.world
    good, bad = bench.push("good"), bench.push("bad")
    bench.sign(good)
    world.run("countersign", "signature", "revoke", bench.sign(bad), "--reason", "leaked")
    key = get(f"http://{world.ours}/log/key").strip()
    bundle, changed, short = (world.dir / name for name in ("bundle", "changed", "short"))
    bundle.write_text(world.run("countersign", "revocation", "export", "--valid-for", "24h"))
    changed.write_text(bundle.read_text().replace("leaked", "forget"))
    short.write_text(world.run("countersign", "revocation", "export", "--valid-for", "1s"))
    time.sleep(1.1)

    def verify(reference, file, key=key):
        done = world.run("countersign", "verify", reference, "--revocation-bundle", file, "--revocation-key", key, expect=None)
        return done.returncode, done.stdout + done.stderr

    def said(name, found, code, text):
        if found[0] != code or text not in found[1]:
            raise Failed(f"{name}: exit code {found[0]}\n{found[1]}")
        print(f"ok  {name}", flush=True)

    said("a bundle lets good pass", verify(good, bundle), 0, "trusted")
    said("a bundle knows what is revoked", verify(bad, bundle), 5, "signature-revoked")
    said("an expired bundle knows nothing good", verify(good, short), 5, "the revocation bundle expired at")
    said("a changed bundle is refused", verify(good, changed), 2, "it was changed")
    other = "other/log+7fdf0ef4+AbfS2kIkGGGNRx8fOEVJFYsH7iTs0ufOWPw9CmRhpZ0k"
    found = verify(good, bundle, other)
    said("a bundle of another key is refused", found, 2, "")
    said("a bundle is shown", (0, world.run("countersign", "revocation", "show", bundle, "--revocation-key", key)), 0, "leaked")


def forecasts(bench):
    shown = json.loads(bench.world.run("countersign", "forecast", "--within", "30d", "--output", "json"))
    names = {name for one in shown["artifacts"] for name in one["names"]}
    expect("the forecast names what expires", "apps/shop:good" in names, True)
    expect("the forecast leaves out what is revoked", "apps/shop:bad" in names, False)
    shown = json.loads(bench.world.run("countersign", "forecast", "--within", "6d", "--output", "json"))
    expect("nothing expires before its time", shown["artifacts"], [])


if __name__ == "__main__":
    main()
