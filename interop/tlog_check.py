#!/usr/bin/env python3
"""Checks a transparency log from the specifications alone, sharing no code with Countersign.

Reads a log over HTTP or from a folder in the layout of C2SP tlog-tiles, and checks
  - the signed note of the checkpoint (C2SP signed-note, tlog-checkpoint),
  - cosignatures of named witnesses (C2SP tlog-cosignature, Ed25519),
  - every entry against its level 0 hash, every tile of the higher levels, and the root (RFC 6962 section 2.1),
  - optionally a proof file (C2SP tlog-proof), and an earlier checkpoint that must be the beginning of the log.

Ed25519 comes from `cryptography`; everything else is written here. Prints one JSON object; exit code 0 when
all of it holds, 1 when something does not.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import struct
import sys
import urllib.request

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NOTE, COSIGNATURE = 1, 4  # signature types of signed-note
WIDTH = 256  # hashes in a full tile


class Bad(Exception):
    """Something does not hold."""


# --- signed notes ---------------------------------------------------------------------------------------------------


class Key:
    """A verifier key: NAME+ID+BASE64(type || public key)."""

    def __init__(self, text):
        name, key_id, data = text.strip().split("+", 2)
        data = base64.b64decode(data, validate=True)
        self.name, self.type, self.public = name, data[0], data[1:]
        self.id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if self.type not in (NOTE, COSIGNATURE) or len(self.public) != 32:
            raise Bad(f"key of {name} is not an Ed25519 key")
        if self.id.hex() != key_id:
            raise Bad(f"key of {name} has identifier {self.id.hex()}, and says {key_id}")

    def verify(self, message, signature):
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            raise Bad(f"a signature of {self.name} does not verify") from None


class Note:
    def __init__(self, data):
        text = data.decode("utf-8")
        if any(ord(c) < 0x20 and c != "\n" for c in text):
            raise Bad("the note holds a control character")
        cut = text.rindex("\n\n")
        self.text = text[: cut + 1]
        self.signatures = []
        body = text[cut + 2 :]
        if not body.endswith("\n"):
            raise Bad("the note does not end in a line break")
        for line in body[:-1].split("\n"):
            dash, name, blob = line.split(" ")
            if dash != "\u2014":
                raise Bad("a signature line does not begin with a dash")
            blob = base64.b64decode(blob, validate=True)
            self.signatures.append((name, blob[:4], blob[4:]))

    def of(self, key):
        return [s for name, key_id, s in self.signatures if (name, key_id) == (key.name, key.id)]

    def verify(self, key):
        found = self.of(key)
        if not found:
            raise Bad(f"{key.name} did not sign the note")
        for signature in found:
            key.verify(self.text.encode(), signature)

    def cosigned(self, witness):
        """Whether the witness cosigned; a line of its key that does not verify is an error."""
        for signature in self.of(witness):
            time = struct.unpack(">Q", signature[:8])[0]
            message = f"cosignature/v1\ntime {time}\n{self.text}".encode()
            witness.verify(message, signature[8:])
        return bool(self.of(witness))


def checkpoint(note):
    lines = note.text.split("\n")
    if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:
        raise Bad("not a checkpoint")
    size = int(lines[1])
    if str(size) != lines[1]:
        raise Bad("the size is not written as a decimal number")
    root = base64.b64decode(lines[2], validate=True)
    if len(root) != 32:
        raise Bad("the root is not 32 bytes")
    return lines[0], size, root


# --- the tree of RFC 6962 -------------------------------------------------------------------------------------------


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes):
    """MTH of a list of leaf hashes, as section 2.1 defines it."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    while len(hashes) > 1:
        # Pairing from the left, with an odd one carried up, gives the same tree as splitting at powers of two.
        pairs = [node_hash(*hashes[i : i + 2]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(hashes) - len(hashes) % 2 :]
    return hashes[0]


def check_inclusion(index, size, leaf, proof, root):
    """Walks the audit path of section 2.1.1 from the leaf up."""
    if index >= size:
        raise Bad(f"position {index} is not in a tree of {size}")
    proof = list(proof)

    def climb(index, size):
        if size == 1:
            return leaf
        half = 1 << (size - 1).bit_length() - 1
        if not proof:
            raise Bad("the proof is too short")
        sibling = proof.pop()
        if index < half:
            return node_hash(climb(index, half), sibling)
        return node_hash(sibling, climb(index - half, size - half))

    found = climb(index, size)
    if proof or found != root:
        raise Bad("the inclusion proof does not lead to the root")


# --- tiles ----------------------------------------------------------------------------------------------------------


def tile_path(level, number, width):
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{path}" + ("" if width == WIDTH else f".p/{width}")


def tiles(count):
    """Numbers and widths of the tiles that hold so many hashes."""
    for number in range(-(-count // WIDTH)):
        yield number, min(WIDTH, count - number * WIDTH)


def entries_of(bundle):
    entries, at = [], 0
    while at < len(bundle):
        (length,) = struct.unpack(">H", bundle[at : at + 2])
        entries.append(bundle[at + 2 : at + 2 + length])
        if len(entries[-1]) != length:
            raise Bad("an entry is cut off")
        at += 2 + length
    return entries


class Folder:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def read(self, path):
        try:
            return (self.path / path).read_bytes()
        except OSError as error:
            raise Bad(f"cannot read {path}: {error.strerror}") from None


class Server:
    def __init__(self, url, token):
        self.url, self.token = url.rstrip("/"), token

    def read(self, path):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(f"{self.url}/{path}", headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return answer.read()


def check_tree(source, size, root):
    """Returns all entries and their hashes, having compared every tile with them."""
    entries, leaves = [], []
    for number, width in tiles(size):
        bundle = entries_of(source.read(tile_path("entries", number, width)))
        tile = source.read(tile_path(0, number, width))
        hashes = [leaf_hash(entry) for entry in bundle]
        if len(bundle) != width:
            raise Bad(f"bundle {number} holds {len(bundle)} entries, not {width}")
        if b"".join(hashes) != tile:
            raise Bad(f"tile {number} of level 0 does not hold the hashes of its entries")
        entries += bundle
        leaves += hashes
    if tree_hash(leaves) != root:
        raise Bad("the entries do not make the root of the checkpoint")
    level, below = 1, leaves
    while len(below) >= WIDTH:
        hashes = [tree_hash(below[i : i + WIDTH]) for i in range(0, len(below) - WIDTH + 1, WIDTH)]
        for number, width in tiles(len(hashes)):
            if source.read(tile_path(level, number, width)) != b"".join(hashes[number * WIDTH : number * WIDTH + width]):
                raise Bad(f"tile {number} of level {level} does not hold the hashes of the tiles below")
        level, below = level + 1, hashes
    return entries, leaves


def check_entries(entries):
    """What Countersign promises of its entries: JSON objects whose times never go back."""
    last, kinds = "", {}
    for position, entry in enumerate(entries):
        parsed = json.loads(entry)
        kinds[parsed["kind"]] = kinds.get(parsed["kind"], 0) + 1
        # RFC 3339 in UTC: without the zone and padded, texts sort as times do.
        whole, _, fraction = parsed["at"].removesuffix("Z").partition(".")
        at = f"{whole}.{fraction:0<9}"
        if at < last:
            raise Bad(f"the time of entry {position} lies before that of the one before it")
        last = at
    return kinds


def check_proof(data, key, witnesses, threshold, leaves):
    """Checks a proof file, by itself and against the log that was read."""
    head, _, note = data.decode().partition("\n\n")
    lines = head.split("\n")
    if lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Bad("not a proof file")
    extra = base64.b64decode(lines.pop(0)[6:]) if lines[0].startswith("extra ") else None
    index = int(lines.pop(0).removeprefix("index "))
    hashes = [base64.b64decode(line, validate=True) for line in lines]
    note = Note(note.encode())
    note.verify(key)
    origin, size, root = checkpoint(note)
    if origin != key.name:
        raise Bad(f"the proof is for log {origin}")
    if sum(note.cosigned(witness) for witness in witnesses) < threshold:
        raise Bad("too few witnesses cosigned the checkpoint of the proof")
    if extra is not None and leaf_hash(extra) != leaves[index]:
        raise Bad("the proof carries another entry than the log has there")
    check_inclusion(index, size, leaves[index], hashes, root)
    return index


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="the prefix of the log")
    where.add_argument("--dir", help="a folder that holds the same paths")
    parser.add_argument("--token", help="sent as a bearer token")
    parser.add_argument("--key", required=True, help="the log's verifier key")
    parser.add_argument("--witness", action="append", default=[], help="a witness's verifier key")
    parser.add_argument("--threshold", type=int, help="how many witnesses must have cosigned; all by default")
    parser.add_argument("--before", help="a file with an earlier checkpoint")
    parser.add_argument("--proof", action="append", default=[], help="a tlog-proof file")
    args = parser.parse_args()
    try:
        print(json.dumps(check(args)))
    except (Bad, ValueError, KeyError, struct.error, OSError) as error:
        print(json.dumps({"verified": False, "reason": str(error) or type(error).__name__}))
        sys.exit(1)


def check(args):
    source = Folder(args.dir) if args.dir else Server(args.url, args.token)
    key, witnesses = Key(args.key), [Key(text) for text in args.witness]
    note = Note(source.read("checkpoint"))
    note.verify(key)
    origin, size, root = checkpoint(note)
    if origin != key.name:
        raise Bad(f"the checkpoint is of log {origin}, and the key of {key.name}")
    threshold = len(witnesses) if args.threshold is None else args.threshold
    cosigned = sum(note.cosigned(witness) for witness in witnesses)
    if cosigned < threshold:
        raise Bad(f"{cosigned} witnesses cosigned, and {threshold} are needed")
    entries, leaves = check_tree(source, size, root)
    if args.before:
        check_before(pathlib.Path(args.before).read_bytes(), key, leaves)
    proven = [check_proof(pathlib.Path(path).read_bytes(), key, witnesses, threshold, leaves) for path in args.proof]
    return {
        "verified": True,
        "origin": origin,
        "size": size,
        "root": base64.b64encode(root).decode(),
        "witnesses": cosigned,
        "kinds": check_entries(entries),
        "proven": proven,
    }


def check_before(data, key, leaves):
    before = Note(data)
    before.verify(key)
    _, size, root = checkpoint(before)
    if size > len(leaves) or tree_hash(leaves[:size]) != root:
        raise Bad(f"the log does not begin with the {size} entries of the earlier checkpoint")


if __name__ == "__main__":
    main()
