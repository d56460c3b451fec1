"""The transparency log against an independent checker, `tlog_check.py`, that was written from the specifications."""

import base64
import json
import shutil
import sys
from pathlib import Path

from harness import Failed

CHECKER = Path(__file__).with_name("tlog_check.py")


def log_pairs(world, results):
    server = f"http://{world.ours}"
    token = world.token
    key = world.run("curl", "-sf", f"{server}/log/key").strip()
    exported = world.dir / "log"

    def check(*args, expect=0):
        # The venv's interpreter: it has `cryptography`.
        return json.loads(world.run("python", CHECKER, "--key", key, *args, expect=expect))

    def over_http():
        # More than one tile: the higher levels are checked as well.
        sign_many(world, 300)
        found = check("--url", f"{server}/log", "--token", token)
        if not found["verified"] or found["size"] < 300:
            raise Failed(f"expected 300 entries: {found}")

    def export():
        world.run("countersign", "log", "export", exported, "--key", key, "--server", server)
        ours = json.loads(world.run("countersign", "log", "verify", "--dir", exported, "--key", key, "--output", "json"))
        theirs = check("--dir", exported)
        if (ours["size"], ours["root"]) != (theirs["size"], theirs["root"]):
            raise Failed(f"{ours} is not {theirs}")

    def proof():
        position = check("--dir", exported)["size"] - 1
        text = world.run("countersign", "log", "prove", str(position), "--server", server)
        (world.dir / "entry.tlog-proof").write_text(text)
        if check("--dir", exported, "--proof", world.dir / "entry.tlog-proof")["proven"] != [position]:
            raise Failed("the proof was not checked")
        damaged = damage_hash(text)
        (world.dir / "damaged.tlog-proof").write_text(damaged)
        refused(check("--dir", exported, "--proof", world.dir / "damaged.tlog-proof", expect=1))

    def tampered(change):
        def run():
            copy = world.dir / "tampered"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(exported, copy)
            change(copy)
            refused(check("--dir", copy, expect=1))
            world.run("countersign", "log", "verify", "--dir", copy, "--key", key, expect=5)

        return run

    def another_key():
        name, _, data = key.split("+", 2)
        foreign = json.loads(world.run("countersign", "witness", "key", "--dir", world.dir / "w", "--name", name, "--output", "json"))
        args = ("--dir", exported, "--witness", foreign["key"])
        refused(check(*args, expect=1))
        world.run("countersign", "log", "verify", "--dir", exported, "--key", key, "--witness", foreign["key"], expect=5)

    results.pair("tlog_check ← log over HTTP", over_http)
    results.pair("tlog_check ← exported log", export)
    results.pair("tlog_check ← proof of an entry", proof)
    results.pair("tlog_check ← a changed entry is caught", tampered(change_entry))
    results.pair("tlog_check ← a changed tile is caught", tampered(change_tile))
    results.pair("tlog_check ← a changed checkpoint is caught", tampered(change_checkpoint))
    results.pair("tlog_check ← an entry taken out is caught", tampered(take_out))
    results.pair("tlog_check ← a missing cosignature is noticed", another_key)


def refused(found):
    if found["verified"]:
        raise Failed(f"not caught: {found}")


def sign_many(world, count):
    """Signatures over digests that nobody has, which the server does not mind."""
    url, token = f"http://{world.ours}/api/v1/signatures", world.token
    config = []
    for number in range(count):
        digest = f"sha256:{number:064x}"
        artifact = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 2}
        body = json.dumps({"profile": "ci-build", "artifact": artifact}).replace('"', '\\"')
        config.append(f'url = "{url}"\nheader = "Authorization: Bearer {token}"\ndata = "{body}"\noutput = /dev/null\nfail')
    world.run("curl", "-s", "--parallel", "--config", "-", stdin="\nnext\n".join(config))


def damage_hash(text):
    lines = text.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("index ")) + 1
    raw = bytearray(base64.b64decode(lines[at]))
    raw[0] ^= 1
    lines[at] = base64.b64encode(raw).decode()
    return "\n".join(lines)


def change_entry(folder):
    bundle = folder / "tile" / "entries" / "000"
    data = bytearray(bundle.read_bytes())
    data[40] ^= 1
    bundle.write_bytes(data)


def change_tile(folder):
    tile = next(path for path in (folder / "tile" / "1").rglob("*") if path.is_file())
    data = bytearray(tile.read_bytes())
    data[0] ^= 1
    tile.write_bytes(data)


def change_checkpoint(folder):
    checkpoint = folder / "checkpoint"
    lines = checkpoint.read_text().split("\n")
    lines[1] = str(int(lines[1]) - 1)
    checkpoint.write_text("\n".join(lines))


def take_out(folder):
    """The last entry goes, from bundle and tile; whoever does this cannot sign the checkpoint anew."""
    for kind in ("entries", "0"):
        partial = next(path for path in (folder / "tile" / kind).rglob("*.p/*") if path.is_file())
        data = partial.read_bytes()
        if kind == "0":
            data = data[:-32]
        else:
            at, cuts = 0, []
            while at < len(data):
                cuts.append(at)
                at += 2 + int.from_bytes(data[at : at + 2], "big")
            data = data[: cuts[-1]]
        partial.write_bytes(data)


if __name__ == "__main__":
    sys.exit("run it with `interop/run.sh`")
