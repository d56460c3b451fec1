#!/usr/bin/env python3
"""Kills the signer, or the whole server, in the middle of a thousand signatures, again and again.

After each kill the database is read from outside, and must agree with itself: entries of the log without a gap and
with times that never go back, a checkpoint over exactly these entries, a job for each signature in the log and none
without one, and every signature that was given out among them. Prints a line a round; exits 1 if any does not hold.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--signatures", type=int, default=1000, help="under way at the same time")
    parser.add_argument("--binary", default=ROOT / "target" / "debug" / "countersign")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, 65536), limit))
    place = Place(args.binary)
    try:
        sys.exit(place.run(args))
    finally:
        place.close()


class Place:
    def __init__(self, binary):
        self.binary = str(binary)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="countersign-crash-"))
        self.dir.chmod(0o711)
        unlock = self.dir / "unlock"
        unlock.write_text("a secret of the crash run only\n")
        unlock.chmod(0o600)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.server = None

    def close(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        log = open(self.dir / "log", "ab")
        command = [self.binary, "serve", "--data", self.dir / "data", "--listen", f"127.0.0.1:{self.port}", "--unlock-file", self.dir / "unlock"]
        self.server = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        for _ in range(600):
            try:
                if asyncio.run(self.ask("GET", "/log/key"))[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"the server does not start; see {self.dir}/log\n" + (self.dir / "log").read_text()[-2000:])

    def kill(self):
        if self.server:
            self.server.kill()
            self.server.wait()
            self.server = None

    async def ask(self, method, path, body=None, token=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            data = json.dumps(body).encode() if body is not None else b""
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n"
            head += f"Authorization: Bearer {token}\r\n" if token else ""
            writer.write(head.encode() + b"\r\n" + data)
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = next((int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length:")), None)
        if length is not None and len(body) != length:
            raise OSError("the answer is cut off")
        return int(head.split()[1]) if head else 0, body

    def run(self, args):
        chance = random.Random(args.seed)
        given, bad = {}, 0
        print("round  killed   given out  in all   entries     jobs  missing  disagreements")
        for number in range(1, args.rounds + 1):
            victim = ("signer", "server")[number % 2]
            self.start()
            new = asyncio.run(self.sign_until_killed(args.signatures, victim, chance))
            self.kill()
            given.update(new)
            entries, jobs, problems = self.check()
            missing = [job for job, position in given.items() if jobs.get(job) != position]
            bad += len(missing) + len(problems)
            print(f"{number:5}  {victim:7} {len(new):10} {len(given):7} {entries:9} {len(jobs):8} {len(missing):8} {len(problems):14}", flush=True)
            for problem in problems:
                print(f"       {problem}")
        print(f"{args.rounds} rounds of {args.signatures} signatures: {len(given)} given out, {bad} missing or in disagreement")
        return 1 if bad else 0

    async def sign_until_killed(self, count, victim, chance):
        token = (self.dir / "data" / "admin.token").read_text().strip()
        profile = {"name": "crash", "validity": "7 days", "leaf": {"rotating": {"days": 3}}, "grants": {"accounts": ["admin"]}}
        status, body = await self.ask("POST", "/api/v1/profiles", profile, token)
        assert status in (200, 201), body
        given, enough, killed = {}, chance.randrange(count * 3 // 4), asyncio.Event()

        async def sign(number):
            artifact = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{chance.randbytes(32).hex()}", "size": 2}
            status, body = await self.ask("POST", "/api/v1/signatures", {"profile": "crash", "artifact": artifact}, token)
            if status == 201:
                signed = json.loads(body)
                given[signed["job"]] = signed["position"]
            if len(given) > enough and not killed.is_set():
                killed.set()
                if victim == "signer":
                    os.kill(int((self.dir / "data" / "signer.pid").read_text()), signal.SIGKILL)
                else:
                    self.server.kill()

        await asyncio.gather(*(sign(number) for number in range(count)), return_exceptions=True)
        return given

    def check(self):
        """Reads a copy: opening the database itself would recover it, which is the signer's to do."""
        copy = self.dir / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for path in (self.dir / "data" / "signer").glob("signer.db*"):
            shutil.copy(path, copy)
        with sqlite3.connect(copy / "signer.db") as database:
            rows = database.execute("SELECT position, at, bytes FROM log_entries ORDER BY position").fetchall()
            jobs = {str(uuid.UUID(bytes=i)): p for i, p in database.execute("SELECT id, position FROM signing_jobs")}
            (note,) = database.execute("SELECT note FROM log_checkpoint").fetchone()
        problems = []
        if [row[0] for row in rows] != list(range(len(rows))):
            problems.append("the log has a gap")
        if any(a[1] > b[1] for a, b in zip(rows, rows[1:])):
            problems.append("a time goes back")
        root = base64.b64encode(tree_hash([hashlib.sha256(b"\0" + row[2]).digest() for row in rows])).decode()
        if note.split("\n")[1:3] != [str(len(rows)), root]:
            problems.append("the checkpoint is over other entries")
        logged = {}
        for position, _, entry in rows:
            entry = json.loads(entry)
            if entry["kind"] == "signature":
                logged[entry["job"]] = position
        problems += [f"job {job} and the log disagree" for job in logged.keys() ^ jobs.keys()]
        problems += [f"job {job} is elsewhere in the log" for job in logged.keys() & jobs.keys() if logged[job] != jobs[job]]
        return len(rows), jobs, problems


def tree_hash(hashes):
    """RFC 6962 section 2.1."""
    while len(hashes) > 1:
        pairs = [hashlib.sha256(b"\1" + hashes[i] + hashes[i + 1]).digest() for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(hashes) - len(hashes) % 2 :]
    return hashes[0] if hashes else hashlib.sha256(b"").digest()


if __name__ == "__main__":
    main()
