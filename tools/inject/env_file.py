"""Parse the operator's ``.env``, and select the fields to inject."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway.keyring import Injection
from tools.verify.errors import UsageError
from tools.verify.inputs import read_file

MAX_BYTES = 64 * 1024
ALIASES = {
    "ARK_API_KEY": "bytedance_api_key",
    "GATEWAY_RPC_URL": "evm_rpc_url",
    "GATEWAY_UPTO_TRIAL_KEY": "upto_trial_key",
}
FIELDS: Mapping[str, str] = {**{field.upper(): field for field in Injection.__struct_fields__}, **ALIASES}
"""Field of ``POST /v1/keys`` by variable."""
NUMBERS = ("tee_heartbeat_interval", "tee_heartbeat_buffer")

_ASSIGNMENT = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)")
_QUOTED = re.compile(r"(?P<quote>['\"])(?P<value>[^'\"]*)(?P=quote)\s*(?:#.*)?")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_variables(path: Path | None) -> dict[str, str]:
    """Parse ``NAME=value`` lines; None reads standard input. Of a repeated name the last value counts.

    ``export``, blank lines, quoted values and ``#`` comments are supported; nothing is expanded. Raises UsageError,
    which names a line by its number only.
    """
    data = _from_stdin() if path is None else read_file(path, what="environment file", limit=MAX_BYTES)
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        raise UsageError("the environment file is not UTF-8") from None
    variables = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line)
        if match is None:
            raise UsageError(f"line {number} of the environment file is not NAME=value")
        variables[match["name"]] = _value(match["value"], number)
    return variables


def injection(variables: Mapping[str, str]) -> tuple[dict[str, str | int], list[str]]:
    """The fields to inject, and the names of other variables. An empty value counts as absent."""
    fields: dict[str, str | int] = {}
    for name, value in variables.items():
        field = FIELDS.get(name)
        if field is not None and value:
            fields[field] = _number(name, value) if field in NUMBERS else value
    if not any(field.endswith("_api_key") for field in fields):
        raise UsageError("the environment file sets no *_API_KEY")
    return fields, [name for name in variables if name not in FIELDS]


def _from_stdin() -> bytes:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UsageError(f"the environment file is larger than {MAX_BYTES} bytes")
    return data


def _value(text: str, number: int) -> str:
    text = text.strip()
    if text[:1] not in ("'", '"'):
        return _COMMENT.sub("", text).strip()
    match = _QUOTED.fullmatch(text)
    if match is None:
        raise UsageError(f"line {number} of the environment file has unbalanced quotes")
    return match["value"]


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 8):
        raise UsageError(f"{name} is not a whole number of seconds")
    return int(value)
