"""The settings of the process: environment variables, read once and fully validated."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from gateway.catalog import Provider
from gateway.loopback import is_loopback
from gateway.setting_checks import (
    Check,
    SettingsError,
    checked_address,
    checked_host,
    checked_key,
    checked_private_key,
    checked_sink,
    checked_store,
    checked_url,
)

NSM_DEVICE = Path("/dev/nsm")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds. ``keys`` and ``base_urls`` are by provider id; a provider without a key is absent."""

    host: str = "0.0.0.0"  # noqa: S104 - the operator's default, narrowed by run-time checks
    port: int = 8000
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_urls: Mapping[str, str] = field(default_factory=dict)
    payments: Literal["required", "off"] = "required"
    pay_to: str | None = None
    facilitator_url: str | None = None
    rpc_url: str | None = field(default=None, repr=False)
    price_url: str | None = None
    upto_trial_key: str | None = field(default=None, repr=False)
    journal: str | None = None
    store: str | None = field(default=None, repr=False)
    journal_sink: str | None = field(default=None, repr=False)
    workers: int = 1
    max_inflight: int = 1024
    queue: int = 1024
    drain_seconds: float = 120.0
    max_usd: Decimal = Decimal("1.00")
    enclave: bool = False
    otlp_endpoint: str | None = None
    otlp_headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], providers: Mapping[str, Provider], *, enclave: bool | None = None
    ) -> "Settings":
        """Read the variables of interfaces.md. Raises SettingsError."""
        read = _EnvironmentReader(environment)
        settings = cls(
            host=read.checked("API_SERVER_HOST", checked_host) or cls.host,
            port=read.integer("API_SERVER_PORT", cls.port, maximum=65535),
            keys={
                id_: key
                for id_, provider in providers.items()
                if (key := read.checked(provider.key_variable, checked_key))
            },
            base_urls={
                id_: read.checked(provider.base_url_variable, checked_url) or provider.base_url
                for id_, provider in providers.items()
            },
            payments=read.payments(),
            pay_to=read.checked("EVM_PAYMENT_ADDRESS", checked_address),
            facilitator_url=read.checked("FACILITATOR_URL", checked_url),
            rpc_url=read.checked("GATEWAY_RPC_URL", checked_url),
            price_url=read.checked("GATEWAY_PRICE_URL", checked_url),
            upto_trial_key=read.checked("GATEWAY_UPTO_TRIAL_KEY", checked_private_key),
            journal=read.text("GATEWAY_JOURNAL"),
            store=read.checked("GATEWAY_STORE", checked_store),
            journal_sink=read.checked("GATEWAY_JOURNAL_SINK", checked_sink),
            workers=read.integer("GATEWAY_WORKERS", os.cpu_count() or 1, minimum=1, maximum=256),
            max_inflight=read.integer("GATEWAY_MAX_INFLIGHT", cls.max_inflight, minimum=1),
            queue=read.integer("GATEWAY_QUEUE", cls.queue),
            drain_seconds=float(read.integer("GATEWAY_DRAIN_SECONDS", int(cls.drain_seconds), maximum=86_400)),
            max_usd=read.money("GATEWAY_MAX_USD", cls.max_usd),
            enclave=NSM_DEVICE.exists() if enclave is None else enclave,
            otlp_endpoint=read.checked("OTEL_EXPORTER_OTLP_ENDPOINT", checked_url),
            otlp_headers=read.headers("OTEL_EXPORTER_OTLP_HEADERS"),
        )
        settings._check_unpaid(allowed_publicly=read.text("GATEWAY_UNPAID_PUBLIC") == "1")
        return settings

    def _check_unpaid(self, *, allowed_publicly: bool) -> None:
        if self.payments != "off":
            return
        if self.enclave:
            raise SettingsError("GATEWAY_PAYMENTS=off is not allowed inside an enclave")
        if not is_loopback(self.host) and not allowed_publicly:
            raise SettingsError(
                f"GATEWAY_PAYMENTS=off serves everybody for free: bind a loopback address instead of {self.host} "
                "(API_SERVER_HOST=127.0.0.1), or set GATEWAY_UNPAID_PUBLIC=1 to allow it"
            )


class _EnvironmentReader:
    """Parses environment variables; an empty one counts as absent. Methods raise SettingsError."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def checked(self, name: str, check: Check) -> str | None:
        text = self.text(name)
        return check(name, text) if text is not None else None

    def integer(self, name: str, default: int, *, minimum: int = 0, maximum: int = 10**9) -> int:
        text = self.text(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,20}", text) or not minimum <= int(text) <= maximum:
            raise SettingsError(f"{name} must be a whole number from {minimum} to {maximum}")
        return int(text)

    def money(self, name: str, default: Decimal) -> Decimal:
        text = self.text(name)
        try:
            amount = Decimal(text) if text is not None else default
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or amount <= 0:
            raise SettingsError(f"{name} must be an amount of US dollars above zero")
        return amount

    def headers(self, name: str) -> dict[str, str]:
        """OpenTelemetry's ``name=value,name=value``, values percent-encoded."""
        pairs = [pair.partition("=") for pair in (self.text(name) or "").split(",") if pair.strip()]
        headers = {key.strip(): unquote(value.strip()) for key, _, value in pairs}
        if not all(re.fullmatch(r"[\w-]+", key) and value.isprintable() and value for key, value in headers.items()):
            raise SettingsError(f"{name} must be a comma-separated list of name=value pairs")
        return headers

    def payments(self) -> Literal["required", "off"]:
        match self.text("GATEWAY_PAYMENTS") or "required":
            case "required":
                return "required"
            case "off":
                return "off"
        raise SettingsError("GATEWAY_PAYMENTS must be 'required' or 'off'")
