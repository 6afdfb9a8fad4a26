"""The nginx of docs/operators.md before a gateway: payers, web pages and streams pass, the operator's routes do not."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.money.paid_gateway import CHAT_PATH, PaidGateway, chat, decode_header, sign
from tests.waiting import until
from tools.simulators.scenario import Scenario

PAGE = Path(__file__).parent.parent.parent / "docs" / "operators.md"
SURROUNDINGS = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {documented}
}}
"""

pytestmark = pytest.mark.needs("nginx")


@pytest.fixture
async def front(shop: PaidGateway, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[str]:
    """The URL of the nginx before ``shop``."""
    listening = f"127.0.0.1:{unused_tcp_port}"
    [documented] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    documented = documented.replace("127.0.0.1:8000", shop.url.removeprefix("http://"))
    documented = documented.replace("# listen, server_name, certificate", f"listen {listening};")
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(SURROUNDINGS.format(folder=tmp_path, documented=documented), encoding="utf-8")
    nginx = await asyncio.create_subprocess_exec("nginx", "-c", configuration)
    try:
        await until(lambda: nginx.returncode is not None or (tmp_path / "pid").exists())
        yield f"http://{listening}"
    finally:
        if nginx.returncode is None:
            nginx.terminate()
        await nginx.wait()


async def test_payers_and_web_pages_pass(shop: PaidGateway, front: str) -> None:
    """With its own buffers nginx answers 502 to a web page instead of 402: the head is larger than 4 KiB."""
    body = chat("Hello", "seed-2-0-lite-260428", stream=True)
    headers = {"Origin": "https://app.example", "Host": "gateway.example"}
    async with shop.gateway.session.post(front + CHAT_PATH, json=body, headers=headers) as response:
        assert response.status == 402
        assert sum(len(name) + len(value) + 4 for name, value in response.raw_headers) > 4096
        required = decode_header(response.headers["PAYMENT-REQUIRED"])
    assert required["resource"]["url"] == f"http://gateway.example{CHAT_PATH}"
    headers["PAYMENT-SIGNATURE"] = await sign(await shop.wallet(), required)
    async with shop.gateway.session.post(front + CHAT_PATH, json=body, headers=headers) as response:
        assert response.status == 200
        assert (await response.text()).endswith("data: [DONE]\n\n")
    assert len(await shop.paid()) == 1


async def test_streams_are_not_held_back(shop: PaidGateway, front: str) -> None:
    shop.fleet.openai.enqueue(Scenario(text="word " * 3, stall_after=2))
    body = chat(stream=True)
    headers = {"PAYMENT-SIGNATURE": await shop.sign(await shop.wallet(), body)}
    async with shop.gateway.session.post(front + CHAT_PATH, json=body, headers=headers) as response:
        first = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 10)
        assert first.startswith(b"data: {")
    await shop.ended()


@pytest.mark.parametrize(("method", "path"), [("GET", "/metrics"), ("POST", "/v1/keys")])
async def test_the_operators_routes_stay_closed(shop: PaidGateway, front: str, method: str, path: str) -> None:
    async with shop.gateway.session.request(method, front + path, json={}) as response:
        assert response.status == 403
