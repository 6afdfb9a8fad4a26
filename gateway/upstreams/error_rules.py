"""Ordered rules that map a vendor's error to the caller's (facts/providers.md 12.7).

A refused key or an empty account is the gateway's problem with its vendor, so it is a 502, never the caller's 401;
vendors' messages about keys, accounts and organisations are not passed on.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway.openai_api import errors
from gateway.openai_api.errors import Fault, GatewayError
from gateway.upstreams.vendor_errors import VendorError, public_message


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
    """The error of the first matching rule; when none does, that of a failed server, or upstream_bad_response.

    Status 200 is that of an error inside an answer, whose meaning is not known. Cloudflare, which is in front of most
    vendors, has server errors of its own: 520 to 527, 530.
    """
    for rule in rules:
        if rule.matches(error):
            return rule.make_error(error)
    if error.status >= 500:
        return server_error(error)
    reported = "reported an error" if error.status == 200 else f"returned status {error.status}"
    return errors.upstream_error("upstream_bad_response", f"The upstream {reported}")


def invalid(error: VendorError) -> GatewayError:
    return errors.invalid_request(public_message(error.message), error.param)


def context_length(error: VendorError) -> GatewayError:
    return errors.context_length_exceeded(public_message(error.message))


def content_policy(error: VendorError) -> GatewayError:
    return errors.content_policy_violation(public_message(error.message))


def model_not_found(error: VendorError) -> GatewayError:
    """``Upstream`` replaces the message by one that names the model as the caller knows it."""
    return errors.model_not_found("The upstream does not serve this model")


def too_large(error: VendorError) -> GatewayError:
    return GatewayError("The upstream rejected the request as too large", status=413, code="request_too_large")


def auth(error: VendorError) -> GatewayError:
    return errors.upstream_error("upstream_auth_failed", "The upstream rejected the gateway's credentials")


def billing(error: VendorError) -> GatewayError:
    return errors.upstream_error("upstream_billing", "The gateway's account with the upstream cannot be charged")


def region(error: VendorError) -> GatewayError:
    return GatewayError(
        "The upstream does not serve this model in the gateway's region",
        status=403,
        type="permission_error",
        fault=Fault.UPSTREAM,
    )


def rate_limit(error: VendorError) -> GatewayError:
    return errors.rate_limited(error.retry_after)


def overloaded(error: VendorError) -> GatewayError:
    return errors.upstream_overloaded(error.retry_after)


def timeout(error: VendorError) -> GatewayError:
    return errors.upstream_timeout(retryable=error.status == 504)


def server_error(error: VendorError) -> GatewayError:
    return errors.upstream_error("upstream_error", retryable=True)
