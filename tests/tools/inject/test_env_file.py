"""Parsing ``.env``: its syntax, and the variables that are passed to a gateway."""

import io
import sys
from pathlib import Path

import pytest

from gateway.keyring import Injection
from tools.inject.env_file import FIELDS, MAX_BYTES, injection, read_variables
from tools.verify.errors import UsageError


def read(tmp_path: Path, content: str | bytes) -> dict[str, str]:
    path = tmp_path / ".env"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_variables(path)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  A=b  ", "b"),
        ("export A=b", "b"),
        ("A= b", "b"),
        ("A=", ""),
        ("A=b=c==", "b=c=="),
        ("A=b # comment", "b"),
        ("A=b#no-comment", "b#no-comment"),
        ("A= # comment", ""),
        ("A='b # c'", "b # c"),
        ('A="b" # comment', "b"),
        ("A=$HOME", "$HOME"),
        ("A=1\nA=2", "2"),
        ("# A=1\n\nA=2\r\n", "2"),
    ],
)
def test_lines(tmp_path: Path, line: str, value: str) -> None:
    assert read(tmp_path, line) == {"A": value}


@pytest.mark.parametrize("content", ["sk-secret", "A B=c", "1A=b", "A='b", 'A="b" c', "A: b", b"A=\xff", "=b"])
def test_lines_that_are_none(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path, content)
    assert "secret" not in str(raised.value)


def test_a_file_of_any_size_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="larger than"):
        read(tmp_path, b"#" * (MAX_BYTES + 1))


def test_standard_input_of_any_size_is_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"OPENAI_API_KEY=" + b"k" * MAX_BYTES
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(UsageError, match="larger than"):
        read_variables(None)


def test_fields_are_those_of_the_injection() -> None:
    assert set(FIELDS.values()) == set(Injection.__struct_fields__)
    variables = {
        "ARK_API_KEY": "ark",
        "GATEWAY_RPC_URL": "https://rpc.example",
        "GATEWAY_UPTO_TRIAL_KEY": "0x7a",
        "TEE_HEARTBEAT_INTERVAL": "600",
        "XAI_API_KEY": "",
        "PUBLIC_PORT": "443",
    }
    fields, ignored = injection(variables)
    assert fields == {
        "bytedance_api_key": "ark",
        "evm_rpc_url": "https://rpc.example",
        "upto_trial_key": "0x7a",
        "tee_heartbeat_interval": 600,
    }
    assert ignored == ["PUBLIC_PORT"]


@pytest.mark.parametrize("value", ["ten", "-1", "1.5", "٣", "99999999"])
def test_seconds_are_whole_numbers(value: str) -> None:
    with pytest.raises(UsageError, match="TEE_HEARTBEAT_BUFFER is not a whole number"):
        injection({"OPENAI_API_KEY": "k", "TEE_HEARTBEAT_BUFFER": value})
