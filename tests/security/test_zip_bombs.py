"""Unrequested compressed answers from upstreams are decompressed only up to the limit on responses."""

import gzip
import json
import resource
import zlib
from functools import cache

import pytest

from tests.running_gateway import RunningGateway
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import RawReply, Scenario

MEGABYTE = 2**20
UNPACKED = 300 * MEGABYTE


@cache
def bomb(encoding: str) -> bytes:
    """300 MB of zeros, compressed to 300 KB."""
    block = b"\0" * MEGABYTE
    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    return b"".join(packer.compress(block) for _ in range(UNPACKED // MEGABYTE)) + packer.flush()


def reply(encoding: str, body: bytes, *, status: int = 200, kind: str = "application/json") -> Scenario:
    headers = (("Content-Type", kind), ("Content-Encoding", encoding))
    return Scenario(raw=RawReply(status=status, headers=headers, chunks=(body,)))


def peak() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("application/json", 200, "upstream_bad_response"),
        ("text/event-stream", 200, "upstream_bad_response"),
        ("application/json", 500, "upstream_error"),
    ],
)
async def test_bombs(fleet: Fleet, gateway: RunningGateway, encoding: str, kind: str, status: int, code: str) -> None:
    fleet.openai.enqueue(*[reply(encoding, bomb(encoding), kind=kind, status=status)] * 3)
    before = peak()
    response = await gateway.chat("gpt-4.1", "Hi", stream=kind == "text/event-stream")
    assert response.status == 502
    assert (await response.json())["error"]["code"] == code
    assert peak() - before < UNPACKED * 2 // 3  # the limit on responses, its copy, and what the allocator keeps
    assert gateway.services.upstreams["openai"].transport.open_connections == 0


async def test_an_honest_packed_answer_is_read(fleet: Fleet, gateway: RunningGateway) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "unpacked"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    plain = json.dumps({"id": "c", "created": 1, "model": "gpt-4.1", "choices": [choice], "usage": usage}).encode()
    fleet.openai.enqueue(reply("gzip", gzip.compress(plain)))
    response = await gateway.chat("gpt-4.1", "Hi")
    assert (await response.json())["choices"][0]["message"]["content"] == "unpacked"
    assert fleet.openai.requests[-1].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("body", [b"not packed at all", gzip.compress(b"{}" * 1000, mtime=0)[:-20], b""])
async def test_broken_packing_is_the_upstreams_fault(fleet: Fleet, gateway: RunningGateway, body: bytes) -> None:
    fleet.openai.enqueue(*[reply("gzip", body)] * 3)
    response = await gateway.chat("gpt-4.1", "Hi")
    assert response.status == 502
