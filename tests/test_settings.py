"""Settings: validated completely at startup, with one clear line for each error."""

import asyncio
import os
import sys
from decimal import Decimal

import pytest

from gateway.catalog import Catalog
from gateway.loopback import is_loopback
from gateway.setting_checks import SettingsError
from gateway.settings import Settings

EVERYWHERE = "0.0.0.0"  # noqa: S104
PAYEE = "0x9deEBB5D1b22e4a6e027977CeAd13893A7E4cC1a"


def read(catalog: Catalog, variables: dict[str, str] | None = None, *, enclave: bool = False, **more: str) -> Settings:
    variables = {**(variables or {}), **more}
    return Settings.from_environment(variables, catalog.providers, enclave=enclave)


def test_defaults(catalog: Catalog) -> None:
    settings = read(catalog)
    assert (settings.host, settings.port, settings.payments) == (EVERYWHERE, 8000, "required")
    assert settings.max_usd == Decimal("1.00")
    assert settings.base_urls["bytedance"] == "https://ark.ap-southeast.bytepluses.com/api/v3"
    assert settings.keys == {}


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"API_SERVER_PORT": "65536"}, "API_SERVER_PORT"),
        ({"API_SERVER_PORT": "-1"}, "API_SERVER_PORT"),
        ({"API_SERVER_PORT": "eighty"}, "API_SERVER_PORT"),
        ({"API_SERVER_PORT": "9" * 5000}, "API_SERVER_PORT"),
        ({"API_SERVER_HOST": "gate..way"}, "API_SERVER_HOST"),
        ({"API_SERVER_HOST": "\udcff"}, "API_SERVER_HOST"),
        ({"GATEWAY_STORE": "postgresql://user@db:port/x"}, "GATEWAY_STORE"),
        ({"GATEWAY_STORE": "postgresql://user@[db/x"}, "GATEWAY_STORE"),
        ({"GATEWAY_STORE": "postgresql://user:se/cret@db/x"}, "percent-encode special characters"),
        ({"GATEWAY_JOURNAL_SINK": "http://[host/"}, "GATEWAY_JOURNAL_SINK"),
        ({"OPENAI_BASE_URL": "http://api.example/v1"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "ftp://api.example"}, "OPENAI_BASE_URL"),
        ({"XAI_BASE_URL": "https://user:pass@api.example"}, "XAI_BASE_URL"),
        ({"ARK_BASE_URL": "https://api.example/?x=1"}, "ARK_BASE_URL"),
        ({"FACILITATOR_URL": "https://api.example/x402?"}, "FACILITATOR_URL"),
        ({"FACILITATOR_URL": "https://api.example/x402#"}, "FACILITATOR_URL"),
        ({"FACILITATOR_URL": "https://@api.example/x402"}, "FACILITATOR_URL"),
        ({"NOUS_BASE_URL": "https://[::1"}, "NOUS_BASE_URL"),
        ({"NOUS_BASE_URL": "https://api.example/\r\nx: y"}, "NOUS_BASE_URL"),
        ({"NOUS_BASE_URL": "https://api example"}, "NOUS_BASE_URL"),
        ({"NOUS_BASE_URL": "https://api.example/\u00e9"}, "NOUS_BASE_URL"),
        ({"FACILITATOR_URL": "https://pay..example"}, "FACILITATOR_URL"),
        ({"GATEWAY_RPC_URL": f"https://{'a' * 64}.example"}, "GATEWAY_RPC_URL"),
        ({"XAI_API_KEY": "two words"}, "XAI_API_KEY"),
        ({"GATEWAY_PAYMENTS": "maybe"}, "GATEWAY_PAYMENTS"),
        ({"GATEWAY_PAYMENTS": "off"}, EVERYWHERE),
        ({"GATEWAY_PAYMENTS": "off", "API_SERVER_HOST": "192.168.1.5"}, "192.168.1.5"),
        ({"GATEWAY_MAX_USD": "0"}, "GATEWAY_MAX_USD"),
        ({"GATEWAY_MAX_USD": "NaN"}, "GATEWAY_MAX_USD"),
        ({"GATEWAY_MAX_INFLIGHT": "0"}, "GATEWAY_MAX_INFLIGHT"),
        ({"EVM_PAYMENT_ADDRESS": "0xabc"}, "EVM_PAYMENT_ADDRESS"),
        ({"EVM_PAYMENT_ADDRESS": "0x" + "0" * 40}, "EVM_PAYMENT_ADDRESS must not be the zero address"),
        ({"EVM_PAYMENT_ADDRESS": PAYEE[:-1] + "B"}, "EVM_PAYMENT_ADDRESS has a wrong EIP-55 checksum"),
        ({"EVM_PAYMENT_ADDRESS": PAYEE.replace("9d", "9D")}, "EVM_PAYMENT_ADDRESS has a wrong EIP-55 checksum"),
        ({"GATEWAY_STORE": "mysql://db"}, "GATEWAY_STORE"),
        ({"GATEWAY_STORE": "journal.sqlite3"}, "GATEWAY_STORE"),
        ({"GATEWAY_JOURNAL_SINK": "sink"}, "GATEWAY_JOURNAL_SINK"),
        ({"GATEWAY_JOURNAL_SINK": "file:sink"}, "GATEWAY_JOURNAL_SINK"),
        ({"GATEWAY_JOURNAL_SINK": "http:///records"}, "GATEWAY_JOURNAL_SINK"),
        ({"GATEWAY_UPTO_TRIAL_KEY": "0x" + "ff" * 32}, "GATEWAY_UPTO_TRIAL_KEY"),
    ],
)
def test_unusable_settings_name_themselves(catalog: Catalog, variables: dict[str, str], word: str) -> None:
    with pytest.raises(SettingsError, match=word) as caught:
        read(catalog, variables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", [PAYEE, PAYEE.lower(), "0x" + PAYEE[2:].upper(), "0x" + "1" * 40])
def test_an_address_may_do_without_a_checksum(catalog: Catalog, address: str) -> None:
    assert read(catalog, {"EVM_PAYMENT_ADDRESS": address}).pay_to == address


@pytest.mark.parametrize(
    "store",
    [
        "postgresql://db/x",
        "postgres://user:secret@10.0.0.1:5432/x?sslmode=require",
        "postgresql://user:p%40ss:@word@[::1]:5432,db.example:5433",
        "postgresql:///x?host=/run/postgresql",
    ],
)
@pytest.mark.parametrize(
    "sink", ["file:///var/journal", "file:/var/journal", "http://192.168.127.254:8600/records", "https://h:1/"]
)
def test_stores_and_sinks(catalog: Catalog, store: str, sink: str) -> None:
    settings = read(catalog, GATEWAY_STORE=store, GATEWAY_JOURNAL_SINK=sink)
    assert (settings.store, settings.journal_sink) == (store, sink)


@pytest.mark.parametrize("url", ["https://pay.example.", "https://[2001:db8::1]:8443", "https://my_node.example/v2/k"])
def test_hosts_that_there_can_be(catalog: Catalog, url: str) -> None:
    assert read(catalog, FACILITATOR_URL=url).facilitator_url == url


def test_urls_with_keys_in_them_are_in_no_repr(catalog: Catalog) -> None:
    settings = read(
        catalog,
        GATEWAY_RPC_URL="https://rpc.example/v2/sesame",
        GATEWAY_STORE="postgresql://user:sesame@db/x",
        GATEWAY_JOURNAL_SINK="http://user:sesame@192.168.127.254/",
    )
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.10"])
def test_unpaid_on_loopback(catalog: Catalog, host: str) -> None:
    assert read(catalog, GATEWAY_PAYMENTS="off", API_SERVER_HOST=host).payments == "off"


def test_unpaid_in_public_only_when_said(catalog: Catalog) -> None:
    assert read(catalog, GATEWAY_PAYMENTS="off", GATEWAY_UNPAID_PUBLIC="1").payments == "off"


def test_never_unpaid_inside_an_enclave(catalog: Catalog) -> None:
    with pytest.raises(SettingsError, match="enclave"):
        read(catalog, enclave=True, GATEWAY_PAYMENTS="off", GATEWAY_UNPAID_PUBLIC="1", API_SERVER_HOST="127.0.0.1")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.0.0.1", False),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("example.org", False),
        (None, False),
    ],
)
def test_loopback(host: str | None, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_empty_variables_count_as_absent(catalog: Catalog) -> None:
    settings = read(catalog, OPENAI_API_KEY=" ", XAI_API_KEY="k", API_SERVER_PORT="", OPENAI_BASE_URL="")
    assert settings.keys == {"xai": "k"}
    assert settings.base_urls["openai"] == "https://api.openai.com/v1"


async def test_the_process_ends_with_one_line() -> None:
    environment = {**os.environ, "GATEWAY_PAYMENTS": "off", "API_SERVER_HOST": EVERYWHERE}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert told.decode().count("\n") == 1
    assert told.startswith(b"gateway: GATEWAY_PAYMENTS=off")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--help"], 0, "usage: python -m gateway"),
        (["-h"], 0, "usage"),
        (["--port", "1"], 2, "gateway: unrecognized argument"),
    ],
)
async def test_arguments_start_nothing(arguments: list[str], status: int, told: str) -> None:
    """A gateway that ignored ``--help`` would start listening to the world instead."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == status
    assert (output if status == 0 else errors).decode().startswith(told)
    assert not (errors if status == 0 else output)
