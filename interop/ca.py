"""The certificate authority against OpenSSL and the stock notation: OCSP alone, lists alone, both, and time-stamps."""

import base64
import json
import re
import shutil
import urllib.request
from urllib.parse import quote

from harness import Failed, free_port

PROFILE = "ca-pairs"
# Nothing listens on this port.
NOWHERE = "http://127.0.0.1:9"


class Authority:
    """A server of its own for each way in which verifiers may reach lists and answers."""

    def __init__(self, world, name, *options):
        self.world, self.name, self.port = world, name, free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.data = world.dir / f"data-{name}"
        world.start(
            f"countersign-{name}", world.countersign, "serve", "--data", self.data, "--listen", self.host,
            "--unlock-file", world.unlock_file(), *options, ready=f"{self.url}/healthz",
        )
        self.token = (self.data / "admin.token").read_text().strip()
        world.run("countersign", "login", self.host, "--username", "admin", "--password-stdin", stdin=self.token)
        world.run(
            "countersign", "profile", "create", PROFILE, "--validity", "7 days", "--account", "admin", "--server", self.url
        )
        self.trust()

    def fetch(self, path, to):
        target = self.world.dir / f"{self.name}-{to}"
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            target.write_bytes(answer.read())
        return target

    def trust(self):
        """Makes our root a trust anchor in a notation configuration of its own."""
        world = self.world
        self.notation = world.dir / f"notation-{self.name}" / "notation"
        store = self.notation / "truststore" / "x509" / "signingAuthority" / "ours"
        store.mkdir(parents=True)
        shutil.copy(self.fetch("/pki/root.pem", "root.pem"), store / "root.pem")
        (self.notation / "config.json").write_text(json.dumps({"insecureRegistries": [self.host]}))
        shown = world.run("countersign", "profile", "show", PROFILE, "--output", "json", "--server", self.url)
        (self.notation / "trustpolicy.json").write_text(json.dumps({
            "version": "1.0",
            "trustPolicies": [{
                "name": "ours", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
                "trustStores": ["signingAuthority:ours"], "trustedIdentities": [json.loads(shown)["identity"]],
            }],
        }))

    def notation_run(self, *arguments, expect=0):
        """Runs notation with this configuration, without what it kept of lists."""
        shutil.rmtree(self.world.dir / "home" / ".cache" / "notation", ignore_errors=True)
        command = ("env", f"NOTATION_CONFIG={self.notation}", f"XDG_CONFIG_HOME={self.notation.parent}", "notation", *arguments)
        return self.world.run(*command, "-u", "admin", "-p", self.token, expect=expect)

    def signed(self, text):
        """Pushes a small artifact, signs it, and returns its reference and the job."""
        world = self.world
        (world.dir / "work" / "ca.txt").write_text(f"{text}\n")
        tag = f"{self.host}/ca/{re.sub('[^a-z0-9]+', '-', text)}:1"
        world.run("countersign", "push", tag, "ca.txt:text/plain")
        shown = world.run("countersign", "sign", tag, "--profile", PROFILE, "--server", self.url, "--output", "json")
        return tag, json.loads(shown)["job"]

    def revoke(self, job):
        self.world.run("countersign", "signature", "revoke", job, "--reason", "interop", "--server", self.url)


def pairs(world, results):
    make_stamped_key(world)
    kinds = {
        "OCSP alone": ("--crl-url", f"{NOWHERE}/pki/ca.crl"),
        "the revocation list alone": ("--ocsp-url", f"{NOWHERE}/pki/ocsp"),
        "OCSP and the revocation list": (),
    }
    for number, (name, options) in enumerate(kinds.items()):
        def verify(number=number, name=name, options=options):
            authority = Authority(world, f"ca{number}", *options)
            reference, job = authority.signed(f"with {name}")
            said = authority.notation_run("verify", reference)
            assert "Successfully verified signature" in said, said
            authority.revoke(job)
            done = authority.notation_run("verify", "--debug", reference, expect=None)
            assert done.returncode == 1 and "revoked" in done.stdout + done.stderr, done.stderr[-1500:]
            world.authority = authority

        results.pair(f"notation verifies and then refuses a revoked signature with {name}", verify)

    def neither():
        authority = Authority(world, "ca9", "--crl-url", f"{NOWHERE}/pki/ca.crl", "--ocsp-url", f"{NOWHERE}/pki/ocsp")
        reference, _ = authority.signed("with neither")
        done = authority.notation_run("verify", reference, expect=None)
        assert done.returncode == 1, "verified without knowing of a revocation"

    results.pair("notation refuses what it can ask nobody about", neither)
    results.pair("openssl ocsp: good, revoked, unknown, nonce, SHA-1 and SHA-256, GET", lambda: openssl_ocsp(world))
    results.pair("openssl ts -verify accepts our tokens", lambda: openssl_ts(world))
    results.pair("notation sign --timestamp-url uses us, and notation verify accepts it", lambda: notation_timestamp(world))


def openssl_ocsp(world):
    authority = world.authority
    chain = authority.fetch("/pki/chain.pem", "chain.pem")
    reference, job = authority.signed("openssl")
    serial = job.replace("-", "")

    def ask(serial, *options):
        done = world.run(
            "openssl", "ocsp", "-issuer", chain, *options, "-serial", f"0x{serial}", "-url", f"{authority.url}/pki/ocsp",
            "-CAfile", chain, "-resp_text", expect=None,
        )
        said = done.stdout + done.stderr
        assert "Response verify OK" in said and "WARNING: no nonce" not in said, said[-1500:]
        return re.search(r": (good|revoked|unknown)$", said, re.MULTILINE).group(1)

    for options in ((), ("-sha256",)):
        assert ask(serial, *options) == "good"
    assert ask("4141") == "unknown"
    authority.revoke(job)
    assert ask(serial) == "revoked"
    request, answer = world.dir / "request.der", world.dir / "answer.der"
    world.run("openssl", "ocsp", "-issuer", chain, "-serial", f"0x{serial}", "-no_nonce", "-reqout", request)
    text = base64.b64encode(request.read_bytes()).decode()
    for path in (quote(text, safe=""), text):
        answer.write_bytes(authority.fetch(f"/pki/ocsp/{path}", "answer.der").read_bytes())
        said = world.run("openssl", "ocsp", "-respin", answer, "-issuer", chain, "-serial", f"0x{serial}", "-CAfile", chain, "-no_nonce")
        assert ": revoked" in said, said


def openssl_ts(world):
    authority = world.authority
    root = authority.fetch("/pki/root.pem", "root.pem")
    data = world.dir / "work" / "stamped.txt"
    data.write_text("what is stamped\n")
    query, reply = world.dir / "query.tsq", world.dir / "reply.tsr"
    for hash_name in ("-sha256", "-sha384", "-sha512"):
        world.run("openssl", "ts", "-query", "-data", data, hash_name, "-cert", "-out", query)
        stamp(authority, query, reply)
        said = world.run("openssl", "ts", "-verify", "-in", reply, "-data", data, "-CAfile", root)
        assert "Verification: OK" in said, said
        said = world.run("openssl", "ts", "-verify", "-in", reply, "-queryfile", query, "-CAfile", root)
        assert "Verification: OK" in said, said
    data.write_text("something else\n")
    done = world.run("openssl", "ts", "-verify", "-in", reply, "-data", data, "-CAfile", root, expect=None)
    assert done.returncode != 0, "a token of other data was accepted"
    world.run("openssl", "ts", "-query", "-data", data, "-sha1", "-out", query)
    stamp(authority, query, reply)
    said = world.run("openssl", "ts", "-reply", "-in", reply, "-text", expect=None)
    assert "unrecognized or unsupported algorithm" in said.stdout, said.stdout
    world.run("openssl", "ts", "-query", "-data", data, "-sha256", "-tspolicy", "1.2.3.4", "-out", query)
    stamp(authority, query, reply)
    said = world.run("openssl", "ts", "-reply", "-in", reply, "-text", expect=None)
    assert "policy is not supported" in said.stdout, said.stdout


def stamp(authority, query, reply):
    request = urllib.request.Request(
        f"{authority.url}/pki/tsa", query.read_bytes(), {"Content-Type": "application/timestamp-query"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/timestamp-reply"
        reply.write_bytes(answer.read())


def make_stamped_key(world):
    """A time-stamp covers the second before it, in which the certificate must be valid already: so this is done first."""
    key, certificate = world.dir / "stamped.key", world.dir / "stamped.crt"
    world.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha256", "-nodes", "-days", "30", "-keyout", key,
        "-out", certificate, "-subj", "/C=DE/ST=Berlin/O=Interop/CN=stamped", "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=codeSigning",
    )


def notation_timestamp(world):
    """A key of notation's own, scheme notary.x509, with a time-stamp of ours."""
    authority = world.authority
    root = authority.fetch("/pki/root.pem", "root.pem")
    key, certificate = world.dir / "stamped.key", world.dir / "stamped.crt"
    stores = authority.notation / "truststore" / "x509"
    for kind, file in (("ca", certificate), ("tsa", root)):
        (stores / kind / "stamped").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, stores / kind / "stamped" / file.name)
    (authority.notation / "signingkeys.json").write_text(
        json.dumps({"keys": [{"name": "stamped", "keyPath": str(key), "certPath": str(certificate)}]})
    )
    policy = authority.notation / "trustpolicy.json"
    document = json.loads(policy.read_text())
    document["trustPolicies"][0].update(
        trustStores=["ca:stamped", "tsa:stamped"], trustedIdentities=["x509.subject: C=DE, ST=Berlin, O=Interop, CN=stamped"]
    )
    policy.write_text(json.dumps(document))
    (world.dir / "work" / "ca.txt").write_text("stamped by us\n")
    reference = f"{authority.host}/ca/stamped:1"
    world.run("countersign", "push", reference, "ca.txt:text/plain")
    authority.notation_run(
        "sign", "--key", "stamped", "--timestamp-url", f"{authority.url}/pki/tsa", "--timestamp-root-cert", root, reference
    )
    said = authority.notation_run("verify", reference)
    assert "Successfully verified signature" in said, said
    inspected = json.loads(authority.notation_run("inspect", "--output", "json", reference))
    text = json.dumps(inspected)
    assert "Countersign Time-Stamping" in text, text[:1500]
    # Without our root in the trust store for time-stamps, the same signature is refused.
    shutil.rmtree(stores / "tsa" / "stamped")
    (stores / "tsa" / "stamped").mkdir()
    shutil.copy(certificate, stores / "tsa" / "stamped" / "other.crt")
    done = authority.notation_run("verify", reference, expect=None)
    if done.returncode == 0:
        raise Failed("a time-stamp of an authority that is not trusted was accepted")
