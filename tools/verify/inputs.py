"""Read files that are named on the command line. Every function raises UsageError for a file that cannot be used."""

from pathlib import Path

from cryptography import x509

from tools.verify import strict_json
from tools.verify.attestation.measurements import Measurements, load_measurements
from tools.verify.attestation.root import load_certificate
from tools.verify.errors import MalformedError, UsageError
from tools.verify.signing_key import SigningKey, load_signing_key
from tools.verify.strict_json import Json

MAX_FILE_BYTES = 64 * 1024 * 1024


def read_file(path: Path, *, what: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """The content of a file of at most ``limit`` bytes, which errors call ``what``."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from None
    if len(data) > limit:
        raise UsageError(f"the {what} {path} is larger than {limit} bytes")
    return data


def read_json_object(path: Path, *, what: str) -> dict[str, Json]:
    try:
        return strict_json.loads_object(read_file(path, what=what))
    except MalformedError as error:
        raise UsageError(f"the {what} {path} is {error}") from None


def read_certificate(path: Path, *, what: str) -> x509.Certificate:
    try:
        return load_certificate(read_file(path, what=what))
    except MalformedError as error:
        raise UsageError(f"the {what} {path} is {error}") from None


def read_key(path: Path) -> SigningKey:
    try:
        return load_signing_key(read_file(path, what="key"))
    except MalformedError as error:
        raise UsageError(f"the key {path} is {error}") from None


def read_measurements(path: Path) -> Measurements:
    try:
        return load_measurements(read_file(path, what="measurements"))
    except MalformedError as error:
        raise UsageError(f"the measurements {path} are {error}") from None
