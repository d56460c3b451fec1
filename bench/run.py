"""Countersign beside its peers, in one run on one machine. Absolute figures drift on shared machines; the ratios are what counts."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "interop"))
os.environ.setdefault("COUNTERSIGN_PROFILE", "release")

import run as interop  # noqa: E402  (the path is set above)
import signing  # noqa: E402
from harness import World, free_port  # noqa: E402

VERIFY_ROUNDS = 15
LOAD_SECONDS = 4
LOAD_CONNECTIONS = 8


def main():
    world = World()
    rows = []
    try:
        world.start_servers()
        interop.print_versions(world)
        interop.prepare(world)
        rows += cold_verify(world)
        rows += manifest_get(world)
        rows += signing.rows(world, row, free_port, cargo_version("aws-lc-rs"))
    finally:
        world.close()
    report(rows)


def row(name, ours, peer, peer_value, peer_version, unit, goal):
    return {
        "name": name, "ours": round(ours, 4), "peer": peer, "peer_value": round(peer_value, 4), "peer_version": peer_version,
        "unit": unit, "ratio": round(ours / peer_value, 3), "goal": goal,
    }


def report(rows):
    with open(ROOT / "target" / "bench.json", "w") as out:
        for entry in rows:
            out.write(json.dumps(entry) + "\n")
    print(f"\n{'name':44} {'ours':>10} {'peer':>10}  {'unit':12} {'ratio':>7}  {'goal':8} peer")
    for r in rows:
        print(f"{r['name']:44} {r['ours']:10.3f} {r['peer_value']:10.3f}  {r['unit']:12} {r['ratio']:7.3f}  {r['goal']:8} {r['peer']} {r['peer_version']}")


def version(world, pattern, *command):
    done = world.run(*command, expect=None)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "?"


def cold_verify(world):
    """A new process each time, ours and notation's in turn; no cache of theirs or ours is kept between two."""
    reference = interop.push_image(world, world.ours, "bench/verify")
    interop.sign(world, reference)
    ours, theirs = [], []
    for _ in range(VERIFY_ROUNDS):
        ours.append(timed(world, "countersign", "verify", reference))
        theirs.append(timed(world, "notation", "verify", reference))
    peer_version = version(world, r"Version:\s+v?(\S+)", "notation", "version")
    return [row("cold verify of one signed image", statistics.median(ours) * 1000, "notation verify",
                statistics.median(theirs) * 1000, peer_version, "ms", "<=0.25")]


def timed(world, *command):
    begun = time.perf_counter()
    world.run(*command)
    return time.perf_counter() - begun


def wrk(world, url, token=None, script=None, connections=LOAD_CONNECTIONS):
    """Returns answers a second, none of them an error."""
    accept = "Accept: application/vnd.oci.image.manifest.v1+json"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{LOAD_SECONDS}s", "-H", accept]
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
    if script:
        command += ["-s", script]
    shown = world.run(*command, url)
    if "Non-2xx" in shown or "Socket errors" in shown:
        raise SystemExit(f"wrk saw errors\n{shown}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", shown).group(1))


def manifest_get(world):
    ours = interop.push_image(world, world.ours, "bench/get")
    theirs = interop.push_image(world, world.theirs, "bench/get")
    digest = ours.split("@")[1]
    rows = []
    peer_version = version(world, r"v?(\d+\.\d+\.\d+\S*)", "docker-registry", "--version")
    for name, what in (("digest", digest), ("tag", "1")):
        ours = wrk(world, f"http://{world.ours}/v2/bench/get/manifests/{what}", world.token)
        peer = wrk(world, f"http://{world.theirs}/v2/bench/get/manifests/{what}")
        rows.append(row(f"manifest GET by {name}", ours, "docker-registry", peer, peer_version, "requests/s", ">=2"))
    return rows


def cargo_version(name):
    lock = (ROOT / "Cargo.lock").read_text()
    return re.search(rf'name = "{name}"\nversion = "([^"]+)"', lock).group(1)


if __name__ == "__main__":
    main()
