"""What every pair needs: processes, free ports, two registries, one image, and the list of results."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "target" / "interop"
# Where a command's whole output would bury the point, this much of its end is shown.
SHOWN_CHARACTERS = 2000


class Failed(Exception):
    """A pair did not hold."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url, context):
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return answer.status == 200
    except OSError:
        return False


class World:
    """A temporary folder with a Countersign server, Debian's docker-registry, and everyone's configuration."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="countersign-interop-"))
        # The server's roles run as users of their own, who must be able to pass through.
        self.dir.chmod(0o711)
        # Both where notation looks by itself and where it is told to look.
        self.notation = self.dir / "home" / "config" / "notation"
        self.processes = []
        self.environment = dict(os.environ)
        self.environment.update(
            PATH=f"{PEERS / 'bin'}:{PEERS / 'venv' / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
            HOME=str(self.dir / "home"),
            XDG_CONFIG_HOME=str(self.dir / "home" / "config"),
            DOCKER_CONFIG=str(self.dir / "docker"),
            NOTATION_CONFIG=str(self.notation),
            COUNTERSIGN_CONFIG=str(self.dir / "countersign"),
        )
        self.environment.pop("COUNTERSIGN_TOKEN", None)
        for folder in ("docker", "home/config/notation", "countersign", "work"):
            (self.dir / folder).mkdir(parents=True)
        self.countersign = str(ROOT / "target" / os.environ.get("COUNTERSIGN_PROFILE", "debug") / "countersign")

    def run(self, *command, stdin=None, cwd=None, expect=0, timeout=120):
        """Runs a command and returns its standard output; `expect` is its exit code, or None for any."""
        command = [str(part) for part in command]
        if command[0] == "countersign":
            command[0] = self.countersign
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout,
            env=self.environment, cwd=cwd or self.dir / "work",
        )
        if expect is not None and done.returncode != expect:
            shown = (done.stdout + done.stderr)[-SHOWN_CHARACTERS:]
            raise Failed(f"$ {' '.join(command)}\nexit code {done.returncode}, expected {expect}\n{shown}")
        return done.stdout if expect is not None else done

    def start(self, name, *command, ready, context=None):
        """Starts a server and waits until `ready`, a function or an address, says that it is; `context` is whom to trust where that is TLS."""
        log = open(self.dir / f"{name}.log", "wb")
        process = subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=log, env=self.environment, start_new_session=True
        )
        self.processes.append(process)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if ready() if callable(ready) else answers(ready, context):
                return process
            time.sleep(0.05)
        text = (self.dir / f"{name}.log").read_text(errors="replace")[-SHOWN_CHARACTERS:]
        raise SystemExit(f"{name} did not become ready\n{text}")

    def start_servers(self):
        self.port, self.other_port = free_port(), free_port()
        self.ours, self.theirs = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.other_port}"
        self.start(
            "countersign", self.countersign, "serve", "--data", self.dir / "data", "--listen", self.ours,
            "--unlock-file", self.unlock_file(), ready=f"http://{self.ours}/healthz",
        )
        config = self.dir / "docker-registry.yml"
        config.write_text(
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {self.dir / 'docker-registry'}}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.theirs}'}}\n"
        )
        self.start("docker-registry", "docker-registry", "serve", config, ready=f"http://{self.theirs}/v2/")
        self.token = (self.dir / "data" / "admin.token").read_text().strip()
        self.run("countersign", "login", self.ours, "--username", "admin", "--password-stdin", stdin=self.token)

    def unlock_file(self):
        path = self.dir / "unlock"
        path.write_text("interop only: not a secret of anyone\n")
        path.chmod(0o600)
        return path

    def close(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Results:
    """Counts, and prints a line for each pair."""

    def __init__(self, only):
        self.only = only
        self.passed = self.failed = self.skipped = 0

    def pair(self, name, check):
        if self.only and self.only not in name:
            return
        started = time.monotonic()
        try:
            check()
        except (Failed, subprocess.TimeoutExpired, AssertionError, KeyError, ValueError, OSError) as error:
            self.failed += 1
            print(f"FAILED  {name}\n        {str(error).replace(chr(10), chr(10) + '        ')}", flush=True)
        else:
            self.passed += 1
            print(f"ok      {name}  ({time.monotonic() - started:.1f} s)", flush=True)

    def skip(self, name, reason):
        if not self.only or self.only in name:
            self.skipped += 1
            print(f"skipped {name}: {reason}", flush=True)

    def finish(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"\n{self.passed} passed, {self.failed} failed{skipped}")
        sys.exit(1 if self.failed or not self.passed else 0)
