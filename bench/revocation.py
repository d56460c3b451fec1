#!/usr/bin/env python3
"""How long a revocation takes to be refused, and a preview to be shown, with 100,000 signatures on record.

Real processes of the release build. `bench/revocation.py [SIGNATURES [REVOCATIONS]]`; writes target/bench-revocation.json.
"""

import hashlib
import http.client
import json
import os
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "interop"))
os.environ.setdefault("COUNTERSIGN_PROFILE", "release")

import revocation as end_to_end  # noqa: E402  (the path is set above)
from harness import World  # noqa: E402

SEEDED = "seeded"
SEEDERS = 8
# As many different artifacts as a busy year makes.
SEEDED_DIGESTS = 1000
PREVIEWS = 200


class Connection:
    """A connection that is kept, so that what is measured is the answer and not the handshake."""

    def __init__(self, address, token=None):
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def post(self, path, body):
        self.connection.request("POST", path, json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"POST {path}: {answer.status} {data[:300]}")
        return json.loads(data)


def main():
    signatures = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    revocations = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    world = World()
    try:
        bench = end_to_end.Bench(world)
        bench.profile(SEEDED, "--rotating-leaf", "7")
        seed(bench, signatures)
        verifier = bench.verifier(f"http://{world.ours}")
        rows = [refused(bench, verifier, revocations, signatures)]
        rows += previews(bench, signatures)
        rows.append(whole_profile(bench, verifier, signatures))
    finally:
        world.close()
    report(rows)


def seeded_digest(number):
    return f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}"


def seed(bench, count):
    """Signs through the API, as callers do."""
    begun = time.perf_counter()
    numbers = iter(range(count))
    lock = threading.Lock()

    def work():
        connection = Connection(bench.world.ours, bench.token)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            digest = seeded_digest(number % SEEDED_DIGESTS)
            artifact = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 500}
            connection.post("/api/v1/signatures", {"profile": SEEDED, "artifact": artifact})

    threads = [threading.Thread(target=work) for _ in range(SEEDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    print(f"{count} signatures in {took:.0f} s ({count / took:.0f}/s)", flush=True)


def refused(bench, verifier, count, signatures):
    """From the sending of the revocation to the end of the first answer that refuses, for single signatures, digests,
    and versions of a profile in turn."""
    targets = []
    for number in range(count):
        reference = bench.push(f"v{number}")
        kind = ("job", "job", "digest", "digest", "profile")[number % 5]
        profile = SEEDED
        if kind == "profile":
            profile = f"own-{number}"
            bench.profile(profile)
        targets.append((reference, kind, profile, bench.sign(reference, profile)))
    times = [refusal(bench, verifier, target) for target in targets]
    return row(f"revoke to refused, {count} times over {signatures}", times, 250)


def refusal(bench, verifier, target):
    reference, kind, profile, job = target
    what = {"job": {"job": {"id": job}}, "digest": {"digest": reference.split("@")[1]}, "profile": {"profile": {"name": profile}}}[kind]
    asking = Connection(verifier.removeprefix("http://"))
    question = {"reference": reference}
    if not asking.post("/verify", question)["trusted"]:
        raise SystemExit(f"{reference} is not trusted before the revocation")
    revoking = Connection(bench.world.ours, bench.token)
    sent = []

    def revoke():
        sent.append(time.perf_counter())
        revoking.post("/api/v1/revocations", {"target": what, "reason": "measured"})

    thread = threading.Thread(target=revoke)
    thread.start()
    while asking.post("/verify", question)["trusted"]:
        pass
    seen = time.perf_counter()
    thread.join()
    return (seen - sent[0]) * 1000


def previews(bench, signatures):
    connection = Connection(bench.world.ours, bench.token)

    def measured(target):
        begun = time.perf_counter()
        shown = connection.post("/api/v1/revocations/preview", {"target": target})
        return (time.perf_counter() - begun) * 1000, shown["signatures"]

    rows = []
    for name, target in (
        ("preview of a profile", {"profile": {"name": SEEDED}}),
        ("preview of a digest", {"digest": seeded_digest(7)}),
    ):
        times = [measured(target) for _ in range(PREVIEWS)]
        rows.append(row(f"{name}, {times[0][1]} signatures of {signatures}", [one for one, _ in times], 100))
    return rows


def whole_profile(bench, verifier, signatures):
    """Once: the profile under which everything was signed. Its leaf is one, its signatures are many."""
    reference = bench.push("last")
    target = (reference, "profile", SEEDED, bench.sign(reference, SEEDED))
    return row(f"revoke a profile of {signatures} to refused", [refusal(bench, verifier, target)], None)


def row(name, times, goal_ms):
    times = sorted(times)

    def share(part):
        return times[min(len(times) - 1, int(part * len(times)))]

    return {"name": name, "count": len(times), "p50_ms": round(share(0.5), 1), "p99_ms": round(share(0.99), 1),
            "max_ms": round(times[-1], 1), "goal_p99_ms": goal_ms}


def report(rows):
    with open(ROOT / "target" / "bench-revocation.json", "w") as out:
        for entry in rows:
            out.write(json.dumps(entry) + "\n")
    print(f"\n{'name':56} {'count':>5} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}  goal p99")
    for r in rows:
        goal = f"< {r['goal_p99_ms']}" if r["goal_p99_ms"] else "-"
        print(f"{r['name']:56} {r['count']:5} {r['p50_ms']:8.1f} {r['p99_ms']:8.1f} {r['max_ms']:8.1f}  {goal}")


if __name__ == "__main__":
    main()
