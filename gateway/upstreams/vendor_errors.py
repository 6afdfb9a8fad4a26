"""Vendors' error responses, parsed, and what of them may be passed on (facts/providers.md 2.6, 6.5, 7.3, 8)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gateway.http_client.retry_after import read_retry_after


@dataclass(frozen=True, slots=True)
class VendorError:
    """The fields of an error response. ``retry_after`` is in seconds."""

    status: int
    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    retry_after: float | None = None


def parse(status: int, headers: Mapping[str, str], body: bytes) -> VendorError:
    """Parse an error body.

    That is OpenAI's envelope, xAI's ``{code, error: "text"}``, ModelArk's, Nous's flat ``{status, message, code}``, or
    anything else.
    """
    retry_after = read_retry_after(headers)
    try:
        decoded = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        text = body[:4096].decode("utf-8", "replace").strip()
        return VendorError(status, "" if text.startswith("<") else text, retry_after=retry_after)
    return parse_decoded(status, decoded, retry_after)


def parse_decoded(status: int, decoded: Any, retry_after: float | None = None) -> VendorError:
    """``parse`` for decoded JSON; Anthropic's code, if any, is in ``details``."""
    if not isinstance(decoded, dict):
        return VendorError(status, retry_after=retry_after)
    error = decoded.get("error")
    if not isinstance(error, dict):
        error = {
            "message": error or decoded.get("message"),
            "code": decoded.get("code"),
            "type": decoded.get("type"),
        }
    param, details = error.get("param"), error.get("details")
    code = error.get("code") or (details.get("error_code") if isinstance(details, dict) else None)
    return VendorError(
        status=status,
        message=str(error.get("message") or ""),
        code=str(code or ""),
        type=str(error.get("type") or ""),
        param=param if isinstance(param, str) and param else None,
        retry_after=retry_after,
    )


def parse_embedded(decoded: Any) -> VendorError:
    """``parse_decoded`` for an error inside a response with status 200.

    The real status is inferred from the words of its code and type, or is the code itself where that is a status.
    """
    error = parse_decoded(200, decoded)
    words = f"{error.code} {error.type}"
    stated = int(error.code) if _is_error_status(error.code) else 200
    status = next((status for status, pattern in _STATUS_BY_WORDS if re.search(pattern, words, re.IGNORECASE)), stated)
    return replace(error, status=status)


_is_error_status = re.compile(r"[45]\d\d").fullmatch


_STATUS_BY_WORDS = (
    (429, r"rate_?limit|TooManyRequests|exhausted|insufficient_quota|(Quota|SetLimit)Exceeded"),
    (503, r"slow_down|overloaded|unavailable"),
    (500, r"server_?error|internal"),
    (401, r"unauthenticated|unauthorized|authentication|invalid_api_key"),
    (403, r"permission|forbidden|AccessDenied"),
    (404, r"not[_ ]?found|NotOpen"),
    (400, r"sensitive|RiskDetection|content_(filter|policy)|bad_?request|invalid|MissingParameter|OutofContext"),
)


_ACCOUNT = re.compile(
    r"\s?(?:\b(?:in|for|on)\s)?\b(?:organization|project|team)\s{1,8}\S*[\d_-][\w-]*"
    r"|\b(?:org|proj|acct|sk|xai)[-_][\w*-]{12,256}",
    re.IGNORECASE,
)
"""Ids of accounts and pieces of keys. Vendors repeat what the caller wrote, so the search must take linear time in any
text, and must not match plain words."""


def public_message(message: str) -> str:
    """A vendor's message about the request, without ids of accounts and pieces of keys."""
    return _ACCOUNT.sub("", message)[:2000] or "The upstream rejected the request"


def public_code(code: str) -> str | None:
    """A vendor's code: one word that neither repeats a status nor names an account; None for anything else."""
    known = _is_code(code) and not _is_error_status(code) and not _ACCOUNT.search(code)
    return code if known else None


_is_code = re.compile(r"[\w.-]{1,64}", re.ASCII).fullmatch
