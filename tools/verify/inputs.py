"""Read files that are named on the command line."""

from pathlib import Path

from tools.verify import strict_json
from tools.verify.errors import MalformedError, UsageError
from tools.verify.strict_json import Json

MAX_FILE_BYTES = 64 * 1024 * 1024


def read_file(path: Path, *, what: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """Read ``path``. Raises UsageError, which calls the file ``what``, if it is unreadable or over ``limit`` bytes."""
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
