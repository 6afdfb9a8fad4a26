"""The verifier's input files: a signing key, measurements, a root; parsed or refused."""

import base64
import json
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tools.fuzz.mutations import json_value, mutate_bytes, mutate_tree
from tools.fuzz.target import BrokenPropertyError, Target
from tools.verify.attestation.measurements import load_measurements
from tools.verify.attestation.root import aws_root, load_certificate
from tools.verify.errors import MalformedError, UsageError
from tools.verify.signing_key import load_signing_key

_MEASUREMENTS = {
    "Measurements": {"HashAlgorithm": "SHA384", **{f"PCR{index}": f"{index + 1}a" * 48 for index in range(3)}}
}
_ODD_MEASUREMENTS = ("00" * 48, "1a" * 47, "zz" * 48, "1A" * 48, " " * 96, "\u0661" * 96, "SHA-384 {}", "SHA256", None)


@dataclass(frozen=True)
class File:
    """``kind`` is key, measurements or root; ``honest``: the file is valid."""

    kind: str
    data: bytes
    honest: bool


@cache
def _key() -> bytes:
    """The DER of a public key."""
    modulus = Random(1).getrandbits(2048) | 1 << 2047 | 1
    public = RSAPublicNumbers(65537, modulus).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _make(random: Random) -> File:
    kind = random.choice(("key", "measurements", "root"))
    changes = random.choice((0, 1, 1, 2))
    if kind == "measurements":
        data = json.dumps(mutate_tree(random, _MEASUREMENTS, changes, _measurement)).encode()
        honest = changes == 0
    else:
        der = _key() if kind == "key" else aws_root().public_bytes(Encoding.DER)
        changed = mutate_bytes(random, der, changes)
        data, honest = _written(random, kind, changed), changed == der
    if random.random() < 0.2:
        return File(kind, mutate_bytes(random, data, random.randint(1, 2)), honest=False)
    return File(kind, data, honest)


def _measurement(random: Random) -> Any:
    return random.choice(_ODD_MEASUREMENTS) if random.random() < 0.6 else json_value(random, 2)


def _written(random: Random, kind: str, der: bytes) -> bytes:
    label = b"PUBLIC KEY" if kind == "key" else b"CERTIFICATE"
    pem = b"-----BEGIN " + label + b"-----\n" + base64.encodebytes(der) + b"-----END " + label + b"-----\n"
    if random.random() < 0.5:
        return pem
    return der if kind == "root" else json.dumps({"public_key": pem.decode(), "tee_id": "0x1"}).encode()


def _check(file: File) -> None:
    try:
        _read(file)
    except (MalformedError, UsageError) as error:
        if file.honest:
            raise BrokenPropertyError(f"an honest {file.kind} was refused") from error
        if not str(error) or "\n" in str(error):
            raise BrokenPropertyError("refused in more or less than one line") from error


def _read(file: File) -> None:
    if file.kind == "key":
        key = load_signing_key(file.data)
        if key.public_key.key_size < 2048 or len(key.tee_id) != 66:
            raise BrokenPropertyError("a key that is too short")
    elif file.kind == "measurements":
        pcrs = load_measurements(file.data).pcrs
        if [len(pcr) for pcr in pcrs] != [48, 48, 48] or not all(map(any, pcrs)):
            raise BrokenPropertyError("measurements that nothing is held to")
    else:
        load_certificate(file.data)


VERIFIER_FILES = Target("verifier-files", _make, _check)
