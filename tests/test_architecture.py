"""The import directions of design 3 hold, and the script that checks them detects violations."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import architecture

ROOT = Path(__file__).parent.parent


def violations(tmp_path: Path, module: str, source: str) -> list[str]:
    path = tmp_path / (module.replace(".", "/") + ".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return list(architecture.check(tmp_path, path))


def test_the_gateway_is_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert architecture.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.openai_api.request", "from gateway.catalog import Model"),
        ("gateway.catalog", "from gateway.upstreams.adapter import Chat"),
        ("gateway.upstreams.openai.adapter", "from gateway.billing.payment import Bill"),
        ("gateway.billing.quote", "import gateway.upstreams.adapter"),
        ("gateway.upstreams.openai.adapter", "from gateway.exchange import Exchange"),
        ("gateway.upstreams.openai.adapter", "import aiohttp"),
        ("gateway.upstreams.gemini.decoder", "from urllib.request import urlopen"),
        ("gateway.signing", "def late() -> None:\n    from gateway import server"),
        ("gateway.exchange", "import gateway.endpoints.chat"),
        ("gateway.server", "import web3"),
        ("gateway.server", "from tools.verify import claims"),
        ("gateway.server", "from tests.running_gateway import FAST"),
        ("gateway.server", "from openai import OpenAI"),
        ("gateway.newcomer", "import json"),
    ],
)
def test_wrong_arrows_are_seen(tmp_path: Path, module: str, source: str) -> None:
    [violation] = violations(tmp_path, module, source)
    assert module.replace(".", "/") + ".py" in violation


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.upstreams.openai.adapter", "from gateway.openai_api.request import parse_chat\nimport msgspec"),
        ("gateway.upstreams.fetch", "import aiohttp"),
        ("gateway.server", "from gateway.endpoints import chat\nfrom gateway.upstreams import registry"),
        ("gateway.billing.quote", "from gateway.billing import terms"),
        ("gateway.endpoints.chat", "from . import serving"),
    ],
)
def test_right_arrows_pass(tmp_path: Path, module: str, source: str) -> None:
    assert violations(tmp_path, module, source) == []


def test_the_serving_process_loads_no_tools() -> None:
    """Including lazy and transitive imports: a ready gateway has none of these in memory."""
    script = "import sys, gateway.__main__, gateway.composition; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "gateway" in loaded
    assert not loaded & set(architecture.SERVING_NEVER_IMPORTS)
