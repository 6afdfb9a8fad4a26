"""Recorded exchanges as scenarios, replayed byte for byte where the bytes were recorded."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tools.simulators.scenario import RawReply, Scenario, ScenarioError, split

LINES_ONLY = "one data payload per line"


def replay(transcript: Mapping[str, Any], *, piece: int | None = None) -> Scenario:
    """The scenario that answers as `transcript` (`{provider, response: {status, headers, json | body | text}}`) did.

    `piece` splits the body into writes of that many bytes. Bare data payloads are framed as the vendor does; a missing
    status becomes 200, or the code inside Google's error.
    """
    response = transcript["response"]
    body, content_type = _body(transcript)
    headers = {"content-type": content_type} | {name.lower(): value for name, value in response["headers"].items()}
    chunks = (body,) if piece is None else split(body, piece)
    raw = RawReply(status=_status(response), headers=tuple(headers.items()), chunks=chunks)
    return Scenario(raw=raw)


def _status(response: Mapping[str, Any]) -> int:
    if response["status"] is not None:
        return int(response["status"])
    error = (response.get("json") or {}).get("error")
    return int(error["code"]) if isinstance(error, dict) and isinstance(error.get("code"), int) else 200


def _body(transcript: Mapping[str, Any]) -> tuple[bytes, str]:
    response = transcript["response"]
    if "json" in response:
        return msgspec.json.encode(response["json"]), "application/json"
    if "text" in response:
        return response["text"].encode(), "text/plain; charset=utf-8"
    if "body" not in response:
        raise ScenarioError("the transcript holds no answer")
    body: str = response["body"]
    if response.get("framing", "").startswith(LINES_ONLY):
        body = "".join(_frame(transcript["provider"], line) for line in body.splitlines() if line)
    return body.encode(), "text/event-stream"


def _frame(provider: str, payload: str) -> str:
    if provider == "anthropic":
        return f"event: {msgspec.json.decode(payload)['type']}\ndata: {payload}\n\n"
    return f"data: {payload}\r\n\r\n" if provider == "google" else f"data: {payload}\n\n"
