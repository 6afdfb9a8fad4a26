"""Upstream keys and run-time settings, from the environment or the one-time injection.

They live in memory only. Which are set is public, their values are not (design 4.6).
"""

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from gateway.catalog import Provider
from gateway.openai_api.conversion import convert
from gateway.openai_api.errors import GatewayError, invalid_request
from gateway.setting_checks import (
    Check,
    SettingsError,
    checked_address,
    checked_key,
    checked_private_key,
    checked_url,
)
from gateway.settings import Settings

Seconds = Annotated[int, Meta(ge=1, le=86_400)]


class Injection(msgspec.Struct, kw_only=True):
    """The body of ``POST /v1/keys`` (interfaces.md). Null or empty means: leave as it is. Numbers may be strings."""

    openai_api_key: str | None = None
    anthropic_api_key: str | None = None
    google_api_key: str | None = None
    xai_api_key: str | None = None
    bytedance_api_key: str | None = None
    nous_api_key: str | None = None
    facilitator_url: str | None = None
    evm_payment_address: str | None = None
    evm_rpc_url: str | None = None
    coingecko_api_key: str | None = None
    journal_key: str | None = None
    upto_trial_key: str | None = None
    heartbeat_contract_address: str | None = None
    tee_heartbeat_interval: Seconds | None = None
    tee_heartbeat_buffer: Annotated[int, Meta(ge=0, le=86_400)] | None = None

    def __repr__(self) -> str:
        """Omits the values, most of which are secret."""
        return "<Injection>"


def injection_type(providers: Mapping[str, Provider]) -> type[Injection]:
    """``Injection``, or a subclass with key fields for providers that it has none for."""
    names = dict.fromkeys(provider.injected_key for provider in providers.values())
    unknown = [name for name in names if name not in Injection.__struct_fields__]
    if not unknown:
        return Injection
    fields: list[Any] = [(name, str | None, None) for name in unknown]
    return cast("type[Injection]", msgspec.defstruct("Injection", fields, bases=(Injection,), kw_only=True))


_NUMBERS = ("tee_heartbeat_interval", "tee_heartbeat_buffer")
JOURNAL_KEY_BYTES = 32


def journal_key(text: str) -> bytes:
    """The 32 bytes of a journal key, written as 64 hexadecimal digits or in base64; raises ValueError."""
    key = bytes.fromhex(text) if len(text) == 2 * JOURNAL_KEY_BYTES else base64.b64decode(text, validate=True)
    if len(key) != JOURNAL_KEY_BYTES:
        raise ValueError
    return key


def _checked_journal_key(name: str, value: str) -> str:
    try:
        journal_key(checked_key(name, value))
    except ValueError:
        raise SettingsError(f"{name} must be 32 bytes, as 64 hexadecimal digits or in base64") from None
    return value


_CHECKS: dict[str, Check] = {
    "coingecko_api_key": checked_key,
    "journal_key": _checked_journal_key,
    "facilitator_url": checked_url,
    "evm_rpc_url": checked_url,
    "evm_payment_address": checked_address,
    "heartbeat_contract_address": checked_address,
    "upto_trial_key": checked_private_key,
}
"""The check of each field that is neither a vendor's key nor a number."""


class Keyring:
    """Keys by provider, and the one-time injection, whose type is ``injection_type``."""

    def __init__(self, providers: Mapping[str, Provider], settings: Settings) -> None:
        self.injection_type = injection_type(providers)
        self._providers = providers
        self._checks = {provider.injected_key: checked_key for provider in providers.values()} | _CHECKS
        self._keys = dict(settings.keys)
        self._injected: Injection | None = None

    def key(self, provider: str) -> str | None:
        return self._keys.get(provider)

    def configured(self) -> list[str]:
        """The providers with a key, in catalogue order."""
        return [provider for provider in self._providers if provider in self._keys]

    @property
    def injected(self) -> Injection | None:
        """The injection, or None before it."""
        return self._injected

    def check(self, body: dict[str, Any]) -> Injection:
        """Validate ``body`` as an injection, with URLs as ``checked_url`` returns them, without storing it.

        Raises 400 if it is malformed or sets nothing, 409 after the first one.
        """
        if self._injected is not None:
            raise already_injected()
        injection = convert({**body, **_numbers(body)}, self.injection_type)
        if all(getattr(injection, name) in (None, "") for name in injection.__struct_fields__):
            raise invalid_request("The injection has no values: every field is absent, null or empty.")
        for name, check in self._checks.items():
            if value := getattr(injection, name):
                try:
                    setattr(injection, name, check(name, value))
                except SettingsError as error:
                    raise invalid_request(f"{error}.", name, "invalid_value") from None
        return injection

    def store(self, injection: Injection) -> None:
        """Store a checked injection; callers make sure that there is only one."""
        self._injected = injection
        for provider in self.providers_in(injection):
            self._keys[provider] = getattr(injection, self._providers[provider].injected_key)

    def providers_in(self, injection: Injection) -> list[str]:
        """The providers that ``injection`` has a key for, in catalogue order."""
        return [name for name, provider in self._providers.items() if getattr(injection, provider.injected_key)]


def _numbers(body: dict[str, Any]) -> dict[str, int | None]:
    """The numbers that ``body`` has as strings, as launchers do that copy them from an environment file."""
    return {
        name: int(text) if text else None
        for name in _NUMBERS
        if isinstance(text := body.get(name), str) and re.fullmatch("[0-9]{0,7}", text)
    }


def already_injected() -> GatewayError:
    return GatewayError("The keys have been injected already", status=409, code="already_injected")
