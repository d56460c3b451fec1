"""Countersign against foreign clients, each pair over a real socket. `run.sh NAME` runs the pairs whose name contains NAME."""

import json
import re
import shutil
import sys

import ca
from custody import custody_pairs
from harness import Failed, Results, World
from log import log_pairs
from oidc import oidc_pairs

PROFILE = "ci-build"
OUR_STORE = "countersign"
KEYS = {
    "rsa-2048": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa-3072": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
    "ec-256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ec-384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
}
HASH = {"rsa-2048": "-sha256", "rsa-3072": "-sha384", "ec-256": "-sha256", "ec-384": "-sha384"}


def main():
    world = World()
    results = Results(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        world.start_servers()
        print_versions(world)
        prepare(world)
        for check in (notation_verifies_ours, we_verify_notation, oras_pairs, container_tools, python_oras, documents, custody_pairs, log_pairs, oidc_pairs, ca.pairs):
            check(world, results)
    finally:
        world.close()
    results.finish()


def print_versions(world):
    def first(pattern, *command):
        done = world.run(*command, expect=None)
        found = re.search(pattern, done.stdout + done.stderr)
        return found.group(1) if found else "?"

    pip = world.run("python", "-m", "pip", "list", "--format=json")
    packages = {entry["name"]: entry["version"] for entry in json.loads(pip)}
    print(
        "countersign", first(r"(\d[\w.+-]*)", "countersign", "version"),
        "| notation", first(r"Version:\s+v?(\S+)", "notation", "version"),
        "| oras", first(r"Version:\s+(\S+)", "oras", "version"),
        "| skopeo", first(r"version (\S+)", "skopeo", "--version"),
        "| buildah", first(r"version (\S+)", "buildah", "--version"),
        "| podman", first(r"version (\S+)", "podman", "--version"),
        "| docker-registry", first(r"v?(\d+\.\d+\.\d+\S*)", "docker-registry", "--version"),
        "| python oras", packages["oras"], "| spdx-tools", packages["spdx-tools"],
        "| cyclonedx-python-lib", packages["cyclonedx-python-lib"], flush=True,
    )


def prepare(world):
    """A small image in both registries, a profile, and our trust anchor in notation's configuration."""
    world.storage = ["--root", world.dir / "storage", "--runroot", world.dir / "run", "--storage-driver", "vfs"]
    container = world.run("buildah", *world.storage, "from", "scratch").strip()
    world.run("buildah", *world.storage, "copy", container, "/bin/busybox", "/bin/busybox")
    world.run("buildah", *world.storage, "config", "--cmd", "/bin/busybox", container)
    world.run("buildah", *world.storage, "commit", "--rm", container, "localhost/hello:1")
    world.run("countersign", "profile", "create", PROFILE, "--validity", "7 days", "--account", "admin", "--server", f"http://{world.ours}")
    # notation speaks plain HTTP to the registries that it is told of.
    (world.notation / "config.json").write_text(json.dumps({"insecureRegistries": [world.ours, world.theirs]}))
    root = world.run("curl", "-sf", f"http://{world.ours}/pki/root.pem")
    store = world.notation / "truststore" / "x509" / "signingAuthority" / OUR_STORE
    store.mkdir(parents=True)
    (store / "root.pem").write_text(root)
    (world.dir / "root.pem").write_text(root)
    world.run("countersign", "trust", "store", "add", "--type", "signingAuthority", "--name", OUR_STORE, world.dir / "root.pem")
    subject = profile_subject(world)
    policy = trust_policy(f"signingAuthority:{OUR_STORE}", f"x509.subject: {subject}")
    (world.dir / "policy.json").write_text(json.dumps(policy))
    world.run("notation", "policy", "import", "--force", world.dir / "policy.json")
    world.run("countersign", "trust", "policy", "import", "--force", world.dir / "policy.json")


def profile_subject(world):
    shown = world.run("countersign", "profile", "show", PROFILE, "--output", "json", "--server", f"http://{world.ours}")
    return json.loads(shown)["identity"].removeprefix("x509.subject:").strip()


def trust_policy(store, identity):
    return {
        "version": "1.0",
        "trustPolicies": [{
            "name": "interop",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [store],
            "trustedIdentities": [identity],
        }],
    }


def push_image(world, registry, repository):
    """Pushes the image with buildah and returns `registry/repository@digest`."""
    digest_file = world.dir / "digest"
    credentials = ["--creds", f"admin:{world.token}"] if registry == world.ours else []
    world.run(
        "buildah", *world.storage, "push", "--tls-verify=false", *credentials, "--digestfile", digest_file,
        "localhost/hello:1", f"docker://{registry}/{repository}:1",
    )
    return f"{registry}/{repository}@{digest_file.read_text().strip()}"


def sign(world, reference, *more):
    shown = world.run(
        "countersign", "sign", reference, "--profile", PROFILE, "--server", f"http://{world.ours}", "--output", "json", *more
    )
    return json.loads(shown)


def registries(world):
    return {"our registry": world.ours, "docker-registry": world.theirs}


def notation_verifies_ours(world, results):
    for name, registry in registries(world).items():
        def verify(registry=registry):
            reference = push_image(world, registry, "interop/ours")
            sign(world, reference)
            said = world.run("notation", "verify", reference)
            assert "Successfully verified signature" in said, said
            world.run("countersign", "verify", reference)

        results.pair(f"notation verifies what we sign, in {name}", verify)

        def refuse_unsigned(registry=registry):
            config = world.dir / "work" / "other.txt"
            config.write_text(f"unsigned in {registry}\n")
            world.run("countersign", "push", f"{registry}/interop/unsigned:1", "other.txt:text/plain")
            done = world.run("notation", "verify", f"{registry}/interop/unsigned:1", expect=None)
            assert done.returncode == 1 and "no signature" in done.stderr, done.stderr
            world.run("countersign", "verify", f"{registry}/interop/unsigned:1", expect=7)

        results.pair(f"notation and we find nothing on an unsigned artifact, in {name}", refuse_unsigned)

    def revoked():
        reference = push_image(world, world.ours, "interop/withdrawn")
        job = sign(world, reference)["job"]
        world.run("countersign", "verify", reference)
        world.run("notation", "verify", reference)
        world.run("countersign", "signature", "revoke", job, "--reason", "interop", "--server", f"http://{world.ours}")
        # notation keeps a revocation list until its next update is due; a verifier that has none fetches it.
        shutil.rmtree(world.dir / "home" / ".cache" / "notation", ignore_errors=True)
        done = world.run("notation", "verify", "--debug", reference, expect=None)
        assert done.returncode == 1 and "revoked" in done.stdout + done.stderr, done.stderr
        world.run("countersign", "verify", reference, expect=5)

    results.pair("notation refuses a signature that we revoked, by our revocation list", revoked)

    def metadata():
        reference = push_image(world, world.ours, "interop/metadata")
        sign(world, reference, "--user-metadata", "build=42")
        assert "42" in world.run("notation", "verify", "-m", "build=42", reference)
        assert world.run("notation", "verify", "-m", "build=43", reference, expect=None).returncode == 1

    results.pair("notation sees the user metadata that we sign", metadata)


def we_verify_notation(world, results):
    for kind, options in KEYS.items():
        make_notation_key(world, kind, options)
        for name, registry in registries(world).items():
            def verify(kind=kind, registry=registry):
                reference = push_image(world, registry, f"interop/notation-{kind}")
                world.run("notation", "sign", "--key", kind, *registry_login(world, registry), reference)
                policy = trust_policy(f"ca:{kind}", f"x509.subject: C=DE, ST=Berlin, O=Interop, CN={kind}")
                (world.dir / "theirs.json").write_text(json.dumps(policy))
                shown = world.run(
                    "countersign", "verify", reference, "--trust-policy", world.dir / "theirs.json", "--output", "json"
                )
                assert json.loads(shown)["trusted"] is True, shown
                # The same signature under a policy that trusts another key is refused.
                world.run("countersign", "verify", reference, expect=5)

            results.pair(f"we verify what notation signs with {kind}, in {name}", verify)


def registry_login(world, registry):
    return ["-u", "admin", "-p", world.token] if registry == world.ours else []


def make_notation_key(world, kind, options):
    """A self-signed code signing certificate, as `notation` keys are made outside of a vault."""
    keys = world.notation / "localkeys"
    keys.mkdir(exist_ok=True)
    key, certificate = keys / f"{kind}.key", keys / f"{kind}.crt"
    world.run("openssl", "genpkey", *options, "-out", key)
    world.run(
        "openssl", "req", "-x509", "-new", "-key", key, "-out", certificate, "-days", "30", HASH[kind],
        "-subj", f"/C=DE/ST=Berlin/O=Interop/CN={kind}", "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=codeSigning",
    )
    path = world.notation / "signingkeys.json"
    known = json.loads(path.read_text()) if path.exists() else {"keys": []}
    known["keys"].append({"name": kind, "keyPath": str(key), "certPath": str(certificate)})
    path.write_text(json.dumps(known))
    world.run("countersign", "trust", "store", "add", "--type", "ca", "--name", kind, certificate)


def oras_pairs(world, results):
    login = ["--plain-http", "--username", "admin", "--password", world.token]

    def push_and_pull():
        (world.dir / "work" / "note.txt").write_text("hello from oras\n")
        world.run("oras", "push", *login, "--artifact-type", "note/example", f"{world.ours}/interop/oras:1", "note.txt:text/plain")
        pulled = world.dir / "pulled-by-us"
        world.run("countersign", "pull", f"{world.ours}/interop/oras:1", "--directory", pulled)
        assert (pulled / "note.txt").read_text() == "hello from oras\n"
        (world.dir / "work" / "ours.txt").write_text("hello from us\n")
        world.run("countersign", "push", "--artifact-type", "note/example", f"{world.ours}/interop/oras:2", "ours.txt:text/plain")
        pulled = world.dir / "pulled-by-oras"
        world.run("oras", "pull", *login, "-o", pulled, f"{world.ours}/interop/oras:2")
        assert (pulled / "ours.txt").read_text() == "hello from us\n"

    results.pair("oras pulls what we push, and we pull what oras pushes", push_and_pull)

    def attach_and_discover():
        reference = push_image(world, world.ours, "interop/graph")
        (world.dir / "work" / "cve.json").write_text("{}")
        (world.dir / "work" / "sbom.json").write_text("{}")
        world.run("oras", "attach", *login, "--artifact-type", "cve/example", reference, "cve.json:application/json")
        world.run("countersign", "attach", "--artifact-type", "sbom/example", reference, "sbom.json:application/json")
        sign(world, reference)
        theirs = json.loads(world.run("oras", "discover", *login, "--format", "json", reference))
        types = sorted(entry["artifactType"] for entry in theirs["referrers"])
        assert types == ["application/vnd.cncf.notary.signature", "cve/example", "sbom/example"], types
        tree = world.run("countersign", "discover", reference)
        assert all(kind in tree for kind in types), tree
        filtered = json.loads(world.run(
            "oras", "discover", *login, "--artifact-type", "cve/example", "--format", "json", reference))
        assert [entry["artifactType"] for entry in filtered["referrers"]] == ["cve/example"], filtered

    results.pair("oras attaches and discovers the same graph as we do", attach_and_discover)

    def copy():
        reference = push_image(world, world.ours, "interop/copy")
        sign(world, reference)
        digest = reference.split("@")[1]
        world.run(
            "oras", "cp", "-r", "--from-plain-http", "--from-username", "admin", "--from-password", world.token, "--to-plain-http",
            reference, f"{world.theirs}/interop/copied-by-oras:1",
        )
        world.run("notation", "verify", f"{world.theirs}/interop/copied-by-oras@{digest}")
        world.run("countersign", "copy", "--recursive", reference, f"{world.theirs}/interop/copied-by-us:1")
        world.run("notation", "verify", f"{world.theirs}/interop/copied-by-us@{digest}")

    results.pair("a signed image copied by oras and by us still verifies with notation", copy)


def container_tools(world, results):
    def skopeo():
        reference = push_image(world, world.ours, "interop/skopeo")
        credentials = f"admin:{world.token}"
        inspected = json.loads(world.run("skopeo", "inspect", "--tls-verify=false", "--creds", credentials, f"docker://{reference}"))
        assert inspected["Digest"] == reference.split("@")[1], inspected
        world.run(
            "skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--src-creds", credentials, "--dest-creds", credentials,
            "--preserve-digests", f"docker://{reference}", f"docker://{world.ours}/interop/skopeo-copy:1",
        )
        listed = json.loads(world.run(
            "skopeo", "list-tags", "--tls-verify=false", "--creds", credentials, f"docker://{world.ours}/interop/skopeo-copy"))
        assert listed["Tags"] == ["1"], listed
        world.run("skopeo", "copy", "--src-tls-verify=false", "--src-creds", credentials, f"docker://{reference}", f"oci:{world.dir}/layout:1")
        world.run("skopeo", "delete", "--tls-verify=false", "--creds", credentials, f"docker://{world.ours}/interop/skopeo-copy:1")

    results.pair("skopeo inspects, copies, lists and deletes", skopeo)

    for tool in ("buildah", "podman"):
        def push_and_pull(tool=tool):
            image = f"{world.ours}/interop/{tool}:1"
            credentials = ["--tls-verify=false", "--creds", f"admin:{world.token}"]
            world.run(tool, *world.storage, "push", *credentials, "localhost/hello:1", f"docker://{image}")
            world.run(tool, *world.storage, "pull", *credentials, f"docker://{image}")
            always = ["--policy", "always"] if tool == "buildah" else []
            denied = world.run(tool, *world.storage, "pull", *always, "--tls-verify=false", "--creds", "admin:wrong", f"docker://{image}", expect=None)
            assert denied.returncode != 0, "a wrong token was accepted"

        results.pair(f"{tool} pushes and pulls, and a wrong token is refused", push_and_pull)


def python_oras(world, results):
    script = """
import sys, oras.client
host, token = sys.argv[1:]
client = oras.client.OrasClient(insecure=True, hostname=host, auth_backend="basic")
client.login(username="admin", password=token, hostname=host)
open("python.txt", "w").write("hello from python\\n")
client.push(target=f"{host}/interop/python:1", files=["python.txt"])
pulled = client.pull(target=f"{host}/interop/python:1", outdir="python-pulled")
assert open(pulled[0]).read() == "hello from python\\n", pulled
"""

    def push_and_pull():
        world.run("python", "-c", script, world.ours, world.token)
        pulled = world.dir / "python-pulled-by-us"
        world.run("countersign", "pull", f"{world.ours}/interop/python:1", "--directory", pulled)
        assert (pulled / "python.txt").read_text() == "hello from python\n"

    results.pair("the Python oras client pushes and pulls, and we pull what it pushed", push_and_pull)


def documents(world, results):
    def image_with_packages():
        """This machine's own package database, as the one layer of an image."""
        if not hasattr(world, "debian"):
            container = world.run("buildah", *world.storage, "from", "scratch").strip()
            world.run("buildah", *world.storage, "copy", container, "/etc/os-release", "/etc/os-release")
            world.run("buildah", *world.storage, "copy", container, "/var/lib/dpkg/status", "/var/lib/dpkg/status")
            world.run("buildah", *world.storage, "commit", "--rm", container, "localhost/debian:1")
            world.run(
                "buildah", *world.storage, "push", "--tls-verify=false", "--creds", f"admin:{world.token}",
                "localhost/debian:1", f"docker://{world.ours}/interop/debian:1",
            )
            world.debian = f"{world.ours}/interop/debian:1"
        return world.debian

    def spdx():
        path = world.dir / "work" / "sbom.spdx.json"
        path.write_text(world.run("countersign", "sbom", image_with_packages(), "-o", "spdx-json"))
        world.run("pyspdxtools", "-i", path)
        count = sum(1 for line in open("/var/lib/dpkg/status") if line.startswith("Package: "))
        packages = json.loads(path.read_text())["packages"]
        assert len(packages) > count / 2, f"{len(packages)} packages, where dpkg knows {count}"

    results.pair("spdx-tools accepts our SPDX document of a Debian image", spdx)

    def cyclonedx():
        path = world.dir / "work" / "sbom.cdx.json"
        path.write_text(world.run("countersign", "sbom", image_with_packages(), "-o", "cyclonedx-json"))
        script = (
            "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n"
            "error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\nsys.exit(str(error) if error else 0)\n"
        )
        world.run("python", "-c", script, path)

    results.pair("cyclonedx-python-lib accepts our CycloneDX document of a Debian image", cyclonedx)


if __name__ == "__main__":
    main()
