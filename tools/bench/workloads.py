"""The workloads, and the targets on which each is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tools.simulators.scenario import directive

EVENTS = 400
_PROSE = (
    "The river keeps its own time, and those who live beside it learn to count in floods and frosts. "
    'She wrote: "bring rope, bread, two lamps\\u2014and patience"; the rest of the page was blank.\\n'
)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """``body`` is sent to every target except those in ``bodies``.

    ``aliases`` maps a target to the server that it is another workload of. ``bare_path`` is the bare proxies' path.
    ``rounds`` and ``seconds`` are those of a full run; a stream is read to its end in any case. ``ramp_up`` is the
    seconds over which connections start, ``payments`` the number that the paid gateway's clients sign per round.
    """

    name: str
    title: str
    body: Mapping[str, Any]
    targets: tuple[str, ...]
    provider: str = "openai"
    bare_path: str = "/openai/chat/completions"
    bodies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    connections: int = 16
    rounds: int = 7
    payments: int = 0
    seconds: float = 2.0
    ramp_up: float = 0.0
    stream: bool = False
    hold: bool = False
    """Memory is measured. Such a workload runs once, because processes do not return memory."""
    unpinned: bool = False
    """All processes, clients and vendors included, may run on every CPU."""

    def encoded(self, target: str) -> bytes:
        """The request body for one target."""
        return msgspec.json.encode(self.bodies.get(target, self.body))

    def server(self, target: str) -> str:
        """The name of the server that a target is measured on."""
        return self.aliases.get(target, target)

    @property
    def events(self) -> int:
        """Units of work per answer: events of a stream, otherwise 1."""
        return EVENTS if self.stream else 1


def _conversation(size: int) -> list[dict[str, str]]:
    turns = 8
    text = (_PROSE * (size // len(_PROSE) + 1))[: max(1, (size - 400) // turns)]
    return [
        {"role": "system", "content": "You are a careful editor. Answer briefly."},
        *({"role": role, "content": text} for role in ("user", "assistant") * (turns // 2)),
        {"role": "user", "content": "Give this chapter a title."},
    ]


def chat(model: str, size: int) -> dict[str, Any]:
    """A request that encodes to about ``size`` bytes."""
    return {"model": model, "messages": _conversation(size), "temperature": 0.7, "max_tokens": 512}


def _scripted(model: str, **scenario: Any) -> dict[str, Any]:
    content = directive({"text": "word " * EVENTS, **scenario})
    return {"model": model, "messages": [{"role": "user", "content": content}], "stream": True}


_PICTURE = "@sim " + msgspec.json.encode({"picture_bytes": 65536}).decode()
_SMALL = chat("gpt-4.1", 2048)
_ALL_TARGETS = ("gateway", "bare_proxy", "bare_signer", "litellm", "portkey")

WORKLOADS: tuple[Workload, ...] = (
    Workload(
        name="idle",
        title="2,000 open streams",
        body=_scripted("gpt-4.1", stall_after=2),
        targets=("gateway", "bare_proxy"),
        connections=2000,
        rounds=1,
        seconds=1.0,
        hold=True,
        stream=True,
    ),
    Workload(name="small", title="2 KiB request", body=_SMALL, targets=_ALL_TARGETS, rounds=9),
    Workload(name="large", title="200 KiB request", body=chat("gpt-4.1", 200 * 1024), targets=_ALL_TARGETS),
    Workload(
        name="anthropic",
        title="2 KiB request, Anthropic translation",
        body=chat("claude-sonnet-4-5", 2048),
        bodies={"gateway, OpenAI": _SMALL},
        aliases={"gateway, OpenAI": "gateway"},
        provider="anthropic",
        targets=("gateway", "gateway, OpenAI", "litellm", "portkey"),
    ),
    Workload(
        name="alone",
        title="2 KiB request, one connection",
        body=_SMALL,
        targets=("upstream", "gateway", "bare_proxy", "bare_signer", "litellm", "portkey"),
        connections=1,
        rounds=9,
        seconds=1.0,
    ),
    Workload(
        name="paced",
        title="stream, one event per 20 ms",
        body=_scripted("gpt-4.1", event_delay=0.02),
        targets=("gateway", "bare_proxy"),
        connections=50,
        rounds=7,
        seconds=0.1,
        ramp_up=0.53,
        stream=True,
    ),
    Workload(
        name="burst",
        title="stream, all events at once",
        body=_scripted("gpt-4.1", chunk_bytes=16384),
        targets=("gateway", "bare_proxy", "litellm", "portkey"),
        stream=True,
    ),
    Workload(
        name="pictures",
        title="picture of 64 KiB, as base64",
        body={"model": "seedream-4.0", "messages": [{"role": "user", "content": _PICTURE}]},
        bodies={
            "bare_proxy": {"model": "seedream-4-0-250828", "prompt": _PICTURE, "response_format": "b64_json"},
        },
        bare_path="/ark/images/generations",
        provider="bytedance",
        targets=("gateway", "bare_proxy"),
        rounds=5,
    ),
    Workload(
        name="paid",
        title="2 KiB request, paid",
        body=_SMALL,
        targets=("gateway_paid", "gateway"),
        rounds=5,
        seconds=1.0,
        payments=600,
    ),
    Workload(
        name="workers",
        title="2 KiB request, both processors for all",
        body=_SMALL,
        targets=("one_worker", "two_workers"),
        connections=32,
        unpinned=True,
    ),
    Workload(
        name="crowd",
        title="2 KiB request, 1,000 connections",
        body=_SMALL,
        targets=("gateway",),
        connections=1000,
        rounds=1,
        seconds=30.0,
    ),
)
