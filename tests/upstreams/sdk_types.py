"""The request types of the vendors' SDKs.

Most are TypedDicts: a value that pydantic validates and dumps unchanged has no unknown key and no wrong type.
"""

from functools import cache
from typing import Any

from pydantic import TypeAdapter


def check_type(form: Any, value: dict[str, Any]) -> None:
    adapter = _adapter(form)
    assert adapter.dump_python(adapter.validate_python(value), mode="json", warnings="error") == value


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)
