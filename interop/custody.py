"""Keys in other hands: a server whose signing keys lie in SoftHSM2, in a KMS, in Vault's transit engine; the stock notation verifies what they sign."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request

from harness import Failed, free_port

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so")
PIN = "4915-2038-77"
# local-kms knows no users: any key will do, and it is in no configuration of anyone's.
ACCESS_KEY = {"AWS_ACCESS_KEY_ID": "AKIAINTEROP", "AWS_SECRET_ACCESS_KEY": "interop-only-secret-of-nobody"}
WAIT_SECONDS = 20


def custody_pairs(world, results):
    def hsm():
        token = Hsm(world)
        server = Server(world, "hsm", token.custody())
        server.signs_and_notation_verifies(world)
        server.holds_none_of(PIN)
        shown = world.run("countersign", "custody", "show", "--server", f"http://{server.address}")
        assert "PKCS#11 token `signing`" in shown, shown
        server.stop()
        # The same keys are found again, by another process.
        server = Server(world, "hsm", token.custody())
        server.signs_and_notation_verifies(world)
        server.stop()

    results.pair("custody: keys in SoftHSM2: notation verifies, nothing in DATA or the log shows the PIN", hsm)

    def unplugged():
        token = Hsm(world, "unplugged")
        server = Server(world, "unplugged", token.custody())
        server.signs_and_notation_verifies(world)
        token.unplug()
        code = server.sign_again(world, expect=None)
        assert code.returncode == 9 and "cannot be reached" in code.stderr, code.stderr
        token.plug()
        server.eventually_signs(world)
        server.stop()

    results.pair("custody: an HSM that goes away makes signing unavailable (exit 9) and is found again", unplugged)

    def kms():
        service = Kms(world)
        world.environment.update(ACCESS_KEY)
        try:
            server = Server(world, "kms", service.custody())
            server.signs_and_notation_verifies(world)
            server.holds_none_of(ACCESS_KEY["AWS_SECRET_ACCESS_KEY"])
            service.stop()
            done = server.sign_again(world, expect=None)
            assert done.returncode == 9 and "cannot be reached" in done.stderr, done.stderr
            service.start()
            server.eventually_signs(world)
            server.stop()
        finally:
            service.stop()
            for name in ACCESS_KEY:
                world.environment.pop(name)

    results.pair("custody: keys in a KMS (local-kms): notation verifies; out of reach is exit 9, and it recovers", kms)

    def unwrapped():
        service = Kms(world)
        world.environment.update(ACCESS_KEY, AWS_REGION=Kms.REGION, AWS_ENDPOINT_URL_KMS=service.url)
        try:
            blob = service.wrap(b"interop only: wrapped by a KMS, known to nobody")
            server = Server(world, "wrapped", "file", unlock=["--unlock-kms", blob])
            server.signs_and_notation_verifies(world)
            server.holds_none_of("wrapped by a KMS")
            server.stop()
            blob.write_bytes(b"damaged" + blob.read_bytes()[7:])
            done = server.refuses(world)
            assert "cannot be unwrapped" in done, done
        finally:
            service.stop()
            for name in (*ACCESS_KEY, "AWS_REGION", "AWS_ENDPOINT_URL_KMS"):
                world.environment.pop(name)

    results.pair("custody: the unlocking secret wrapped by a KMS opens the keys, and a damaged blob does not", unwrapped)

    def checks():
        token = Hsm(world, "checked")
        world.environment["SOFTHSM2_CONF"] = str(token.settings)
        for kind in ("p256", "p384", "rsa-3072"):
            said = world.run("countersign", "custody", "check", token.custody(), "--label", f"check-{kind}", "--algorithm", kind)
            assert kind in said, said
        listed = world.run("pkcs11-tool", "--module", token.module, "--token-label", "checked", "--login", "--pin", PIN, "--list-objects", "--type", "privkey")
        assert listed.count("never extractable") == 3 and listed.count("sensitive") >= 3, listed

    results.pair("custody: `custody check` over SoftHSM2 for each kind of key; pkcs11-tool sees them never extractable", checks)


class Hsm:
    """A token of SoftHSM2 in a folder of its own."""

    def __init__(self, world, label="signing"):
        self.module = next(path for path in MODULES if os.path.exists(path))
        self.label = label
        folder = world.dir / f"hsm-{label}"
        self.tokens = folder / "tokens"
        self.tokens.mkdir(parents=True)
        self.settings = folder / "softhsm2.conf"
        self.settings.write_text(f"directories.tokendir = {self.tokens}\nlog.level = ERROR\n")
        self.pin = folder / "pin"
        self.pin.write_text(f"{PIN}\n")
        self.pin.chmod(0o600)
        environment = dict(world.environment, SOFTHSM2_CONF=str(self.settings))
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "so-12345678", "--pin", PIN]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        # The signer has a user of its own, where this runs as root.
        subprocess.run(["chmod", "-R", "a+rwX", folder], check=True)
        self.pin.chmod(0o600)
        folder.chmod(0o755)

    def custody(self):
        return (
            f"pkcs11:token={self.label}?module-path={self.module}&pin-source=file:{self.pin}"
            f"&x-allow={self.settings.parent}&x-env=SOFTHSM2_CONF%3D{self.settings}"
        )

    def unplug(self):
        self.away = self.tokens.with_name("away")
        self.tokens.rename(self.away)
        self.tokens.mkdir()

    def plug(self):
        shutil.rmtree(self.tokens)
        self.away.rename(self.tokens)


class Kms:
    """local-kms, which keeps its keys in a folder."""

    REGION = "eu-central-1"

    def __init__(self, world):
        self.world = world
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = world.dir / f"kms-{self.port}"
        self.folder.mkdir()
        self.process = None
        self.start()

    def start(self):
        environment = dict(
            self.world.environment, PORT=str(self.port), KMS_REGION=self.REGION, KMS_ACCOUNT_ID="111122223333",
            KMS_DATA_PATH=str(self.folder),
        )
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(["local-kms"], env=environment, stdout=log, stderr=log)
        wait_for(lambda: self.ask("ListKeys", {}))

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.process = None

    def custody(self):
        return f"kms:{self.REGION}?endpoint={self.url}"

    def wrap(self, secret):
        key = self.ask("CreateKey", {})["KeyMetadata"]["KeyId"]
        answer = self.ask("Encrypt", {"KeyId": key, "Plaintext": base64.b64encode(secret).decode()})
        blob = self.folder / "unlock.kms"
        blob.write_bytes(base64.b64decode(answer["CiphertextBlob"]))
        return blob

    def ask(self, operation, body):
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(),
            {"X-Amz-Target": f"TrentService.{operation}", "Content-Type": "application/x-amz-json-1.1",
             "Authorization": f"AWS4-HMAC-SHA256 Credential=x/20260101/{self.REGION}/kms/aws4_request, SignedHeaders=host, Signature=0"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)


class Server:
    """A Countersign server of its own, whose keys lie where `custody` says."""

    def __init__(self, world, name, custody, unlock=None):
        self.data = world.dir / f"data-{name}"
        self.name, self.custody = name, custody
        self.unlock = unlock or ["--unlock-file", world.unlock_file()]
        self.port = getattr(Server, name, None) or free_port()
        # Every signature names the address of the list: a restarted server keeps it.
        setattr(Server, name, self.port)
        self.address = f"127.0.0.1:{self.port}"
        self.log = world.dir / f"server-{name}.log"
        self.process = world.start(f"server-{name}", world.countersign, *self.arguments(), ready=f"http://{self.address}/healthz")
        self.token = (self.data / "admin.token").read_text().strip()
        world.run("countersign", "login", self.address, "--username", "admin", "--password-stdin", stdin=self.token)

    def arguments(self):
        return ["serve", "--data", self.data, "--listen", self.address, "--custody", self.custody, *self.unlock]

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)

    def refuses(self, world):
        done = subprocess.run(
            [str(part) for part in [world.countersign, *self.arguments()]], env=world.environment, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 2, (done.returncode, done.stderr)
        return done.stderr

    def signs_and_notation_verifies(self, world):
        server = f"http://{self.address}"
        shown = world.run("countersign", "profile", "show", self.name, "--server", server, expect=None)
        if shown.returncode:
            world.run("countersign", "profile", "create", self.name, "--validity", "7 days", "--account", "admin", "--server", server)
        home = world.dir / f"notation-{self.name}"
        store = home / "truststore" / "x509" / "signingAuthority" / self.name
        store.mkdir(parents=True, exist_ok=True)
        (store / "root.pem").write_text(world.run("curl", "-sf", f"{server}/pki/root.pem"))
        (home / "config.json").write_text(json.dumps({"insecureRegistries": [self.address]}))
        (home / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
            "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
            "trustStores": [f"signingAuthority:{self.name}"],
            "trustedIdentities": [f"x509.subject: CN={self.name}, O=Countersign, ST=WA, C=US"],
        }]}))
        self.sign_again(world)
        environment = world.environment
        world.environment = dict(environment, NOTATION_CONFIG=str(home), XDG_CONFIG_HOME=str(home / "none"))
        shutil.rmtree(world.dir / "home" / ".cache" / "notation", ignore_errors=True)
        (home / "none").mkdir(exist_ok=True)
        link = home / "none" / "notation"
        if not link.exists():
            link.symlink_to(home)
        try:
            said = world.run("notation", "verify", self.reference)
        finally:
            world.environment = environment
        assert "Successfully verified signature" in said, said

    def sign_again(self, world, expect=0):
        self.reference = f"{self.address}/interop/custody:1"
        (world.dir / "work" / "custody.txt").write_text(f"signed by {self.name}\n")
        world.run("countersign", "push", self.reference, "custody.txt:text/plain")
        return world.run("countersign", "sign", self.reference, "--profile", self.name, "--server", f"http://{self.address}", expect=expect)

    def eventually_signs(self, world):
        wait_for(lambda: self.sign_again(world, expect=None).returncode == 0)

    def holds_none_of(self, secret):
        for path in [self.log, *self.data.rglob("*")]:
            if path.is_file() and secret.encode() in path.read_bytes():
                raise Failed(f"`{path}` holds the secret")


def wait_for(ready):
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.1)
    raise Failed(f"not within {WAIT_SECONDS} s")
