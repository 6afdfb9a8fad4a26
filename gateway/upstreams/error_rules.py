"""Maps error responses of OpenAI-shaped upstreams to the caller's errors (facts/providers.md 2.6, 6.5, 7.3, 8, 12.7).

A refused key or an empty account is the gateway's problem with its vendor, so it is a 502, never the caller's 401;
vendors' messages about keys, accounts and organisations are not passed on.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gateway.http_client.retry_after import read_retry_after
from gateway.openai_api import errors
from gateway.openai_api.errors import GatewayError


@dataclass(frozen=True, slots=True)
class VendorError:
    """The fields of an error response. ``retry_after`` is in seconds."""

    status: int
    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """Matches when all given conditions do; ``code`` and ``message`` are regexes, searched ignoring case."""

    make_error: Callable[[VendorError], GatewayError]
    status: tuple[int, ...] = ()
    code: str = ""
    message: str = ""

    def matches(self, error: VendorError) -> bool:
        return (
            (not self.status or error.status in self.status)
            and (not self.code or bool(re.search(self.code, f"{error.code} {error.type}", re.IGNORECASE)))
            and (not self.message or bool(re.search(self.message, error.message, re.IGNORECASE)))
        )


def map_error(rules: tuple[ErrorRule, ...], error: VendorError) -> GatewayError:
    """The error of the first matching rule; upstream_bad_response when none matches.

    Status 200 is that of an error inside an answer, whose meaning is not known.
    """
    for rule in rules:
        if rule.matches(error):
            return rule.make_error(error)
    reported = "reported an error" if error.status == 200 else f"returned status {error.status}"
    return errors.upstream_error("upstream_bad_response", f"The upstream {reported}")


def parse(status: int, headers: Mapping[str, str], body: bytes) -> VendorError:
    """Parse an error body: OpenAI's envelope, xAI's ``{code, error: "text"}``, ModelArk's, Nous's flat
    ``{status, message, code}``, or anything else."""
    retry_after = read_retry_after(headers)
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
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


# Vendors repeat what the caller wrote, so this must stay linear in any text.
_ACCOUNT = re.compile(
    r"\s?(?:\b(?:in|for|on)\s)?\b(?:organization|project|team)\s{1,8}\S*[\w-]"
    r"|\b(?:org|proj|acct|sk|xai)[-_][\w*-]{12,256}",
    re.IGNORECASE,
)


def public_message(message: str) -> str:
    """A vendor's message about the request, without names and ids of accounts and pieces of keys."""
    return _ACCOUNT.sub("", message)[:2000] or "The upstream rejected the request"


# A code as OpenAI and ModelArk write them: one word.
_is_code = re.compile(r"[\w.-]{1,64}", re.ASCII).fullmatch


def _invalid_with_code(error: VendorError) -> GatewayError:
    """With the vendor's code, unless that only repeats the status, is no code or names an account."""
    known = _is_code(error.code) and not _is_error_status(error.code) and not _ACCOUNT.search(error.code)
    return errors.invalid_request(public_message(error.message), error.param, error.code if known else None)


def _invalid(error: VendorError) -> GatewayError:
    return errors.invalid_request(public_message(error.message), error.param)


def _context_length(error: VendorError) -> GatewayError:
    return errors.context_length_exceeded(public_message(error.message))


def _content_policy(error: VendorError) -> GatewayError:
    return errors.content_policy_violation(public_message(error.message))


def _guidelines(error: VendorError) -> GatewayError:
    """xAI's message about a refused prompt is withheld: it may name the team and its key."""
    return errors.content_policy_violation("The upstream rejected the content of the request")


def _model_not_found(error: VendorError) -> GatewayError:
    return errors.model_not_found("The upstream does not serve this model")


def _too_large(error: VendorError) -> GatewayError:
    return GatewayError("The upstream rejected the request as too large", status=413, code="request_too_large")


def _auth(error: VendorError) -> GatewayError:
    return errors.upstream_error("upstream_auth_failed", "The upstream rejected the gateway's credentials")


def _billing(error: VendorError) -> GatewayError:
    return errors.upstream_error("upstream_billing", "The gateway's account with the upstream cannot be charged")


def _rate_limit(error: VendorError) -> GatewayError:
    return errors.rate_limited(error.retry_after)


def _single_prompt_too_large(error: VendorError) -> GatewayError:
    refusal = errors.rate_limited(None, public_message(error.message))
    refusal.retryable, refusal.should_retry = False, False
    return refusal


def _overloaded(error: VendorError) -> GatewayError:
    return errors.upstream_overloaded(error.retry_after)


def _timeout(error: VendorError) -> GatewayError:
    return errors.upstream_timeout()


def _server_error(error: VendorError) -> GatewayError:
    return errors.upstream_error("upstream_error", retryable=True)


_SERVER = (
    ErrorRule(_overloaded, status=(503, 529)),
    ErrorRule(_timeout, status=(408, 504)),
    ErrorRule(_server_error, status=(500, 502)),
)
_CREDENTIALS = (
    ErrorRule(_auth, status=(401, 403), message="api[ -]?key|token|credential|auth"),
    ErrorRule(_billing, status=(402,)),
    ErrorRule(_auth, status=(401, 403)),
)

OPENAI_ERRORS = (
    *_CREDENTIALS,
    ErrorRule(_model_not_found, status=(404, 410)),
    ErrorRule(_billing, status=(400, 429), code="insufficient_quota|billing"),
    ErrorRule(_single_prompt_too_large, status=(429,), message="request too large|too large for"),
    ErrorRule(_rate_limit, status=(429,)),
    ErrorRule(_context_length, code="context_length_exceeded"),
    ErrorRule(_content_policy, status=(400,), code="content_policy|content_filter"),
    ErrorRule(_too_large, status=(413,)),
    ErrorRule(_invalid_with_code, status=(400, 409, 415, 422)),
    *_SERVER,
)

XAI_ERRORS = (
    ErrorRule(_guidelines, status=(400, 403), message="usage guidelines|content moderation"),
    ErrorRule(_billing, status=(403, 429), message="credits|spending limit"),
    ErrorRule(_auth, status=(400, 401, 403), message="api key"),
    *_CREDENTIALS,
    ErrorRule(_model_not_found, status=(404, 410)),
    ErrorRule(_rate_limit, status=(429,)),
    ErrorRule(_context_length, status=(400,), message="maximum prompt length|context (length|window)"),
    ErrorRule(_model_not_found, status=(400,), message="model not found"),
    ErrorRule(_too_large, status=(413,)),
    ErrorRule(_invalid, status=(400, 415, 422)),
    ErrorRule(_overloaded, status=(200,), message="unavailable|overloaded|capacity"),
    *_SERVER,
)

MODELARK_ERRORS = (
    ErrorRule(_billing, code="Overdue"),
    *_CREDENTIALS,
    ErrorRule(_model_not_found, status=(404, 410)),
    ErrorRule(_model_not_found, status=(400,), code="InvalidEndpoint"),
    ErrorRule(_overloaded, status=(429,), code="ServerOverloaded"),
    ErrorRule(_billing, status=(429,), code="QuotaExceeded|SetLimitExceeded"),
    ErrorRule(_rate_limit, status=(429,)),
    ErrorRule(_content_policy, status=(400,), code="Sensitive|RiskDetection"),
    ErrorRule(_context_length, status=(400,), code="OutofContext"),
    ErrorRule(
        _context_length,
        status=(400,),
        message="context (length|window)|max(imum)? (input|prompt|length)|max message tokens",
    ),
    ErrorRule(_too_large, status=(413,)),
    ErrorRule(_invalid_with_code, status=(400, 422)),
    *_SERVER,
)

NOUS_ERRORS = (
    ErrorRule(_auth, status=(402,)),
    ErrorRule(_billing, status=(403, 404), code="insufficient_credits"),
    ErrorRule(_billing, status=(403, 404), message="available credits|free tier"),
    ErrorRule(_overloaded, status=(429,), message="at capacity"),
    ErrorRule(_context_length, status=(400,), message="context (length|window)|maximum model length"),
    ErrorRule(_server_error, status=(400,), message="provider returned error"),
    *OPENAI_ERRORS,
)
"""An empty account is a 404 and a busy model a 429 there; what its own providers refuse or break, in words of their
own, is a 400."""
