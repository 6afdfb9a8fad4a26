"""Converts decoded JSON to typed requests, with OpenAI's errors for what does not fit.

Errors name the JSON path of the offending value in ``param``.
"""

import re
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from gateway.openai_api.errors import GatewayError, invalid_request

Json = Any

T = TypeVar("T", bound=msgspec.Struct)


def convert(body: dict[str, Json], type_: type[T]) -> T:
    """Convert ``body`` to ``type_``; raises 400 naming the path of an unknown key, wrong type or value out of range."""
    known = _known_keys(type_)
    if not body.keys() <= known:
        key = next(key for key in body if key not in known)
        raise invalid_request(f"Unrecognized request argument supplied: {key}", key, "unknown_parameter")
    try:
        return msgspec.convert(body, type_)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), body, type_) from None


@cache
def _known_keys(type_: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(type_.__struct_fields__)


_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_ANY_KEY = "[...]"
"""Stands for any key of ``metadata`` or ``logit_bias`` in msgspec's paths."""
_CODES = (
    (", got `", "invalid_type"),
    ("`array` of length >= 1", "empty_array"),
    ("`int` >=", "integer_below_min_value"),
    ("`int` <=", "integer_above_max_value"),
    ("`float` >=", "decimal_below_min_value"),
    ("`float` <=", "decimal_above_max_value"),
)
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")


def _invalid(message: str, body: dict[str, Json], type_: type[msgspec.Struct]) -> GatewayError:
    """Translate a msgspec validation message to OpenAI's error for it."""
    match = _PATH.search(message)
    what, path = (message[: match.start()], match["path"]) if match else (message, "")
    if path.endswith(_ANY_KEY):
        path = _path_of_invalid_value(path.removesuffix(_ANY_KEY), body, type_)
    if missing := _MISSING.match(what):
        param = f"{path}.{missing['field']}" if path else missing["field"]
        return invalid_request(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    code = next((code for sign, code in _CODES if sign in what), "invalid_value")
    reason = what[0].lower() + what[1:].replace("`", "'")
    return invalid_request(f"Invalid '{path}': {reason}.", path or None, code)


def _path_of_invalid_value(name: str, body: dict[str, Json], type_: type[msgspec.Struct]) -> str:
    """The path of the first value of ``body``'s object ``name`` that is not as ``type_`` requires."""
    field = next(field for field in msgspec.structs.fields(type_) if field.name == name)
    [mapping] = [kind for kind in get_args(field.type) if get_origin(kind) is dict]
    try:
        msgspec.convert([*body[name].values()], list[get_args(mapping)[1]])  # type: ignore[misc] # known at run time
    except msgspec.ValidationError as error:
        if match := _PATH.search(str(error)):
            return f"{name}.{[*body[name]][int(match['path'].strip('[]'))]}"
    return name
