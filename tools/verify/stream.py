"""Assemble an SSE answer as a client would: the choices, and the ``tee_*`` fields of the last event.

The events are OpenAI's chat or legacy completion chunks, ending in ``data: [DONE]`` (facts/x402.md 2.4). The code is
independent of the gateway's on purpose, so that neither masks bugs in the other.
"""

from collections.abc import Iterator

from tools.verify import strict_json
from tools.verify.errors import MalformedError
from tools.verify.strict_json import Json

_ENVELOPE_PREFIX = "tee_"
# By type of tool: the key whose value is streamed in fragments.
_STREAMED_KEYS = {"function": "arguments", "custom": "input"}


def reassemble(data: bytes) -> dict[str, Json]:
    """Merge the events into the equivalent non-streamed answer.

    Raises MalformedError with a one-line message for a stream that failed, was cut off or is inconsistent.
    """
    last: dict[str, Json] = {}
    choices: dict[int, _Choice] = {}
    for number, chunk in enumerate(_chunks(data), start=1):
        if any(key.startswith(_ENVELOPE_PREFIX) for key in last):
            raise MalformedError(f"event {number} follows the signed event, which must be the last")
        for item in _list(chunk.get("choices"), "choices"):
            index = _index(item)
            choices.setdefault(index, _Choice(index)).add(item)
        last = chunk
    if not choices:
        raise MalformedError("a stream without choices")
    answered = [index for index in sorted(choices) if not choices[index].is_empty] or sorted(choices)
    return {**last, "choices": [choices[index].answer() for index in answered]}


def _chunks(data: bytes) -> Iterator[dict[str, Json]]:
    """The JSON objects of the stream, which must end in ``[DONE]``."""
    done = False
    number = 0
    for number, event in enumerate(_events(data), start=1):
        if done:
            raise MalformedError("an event follows [DONE]")
        if event == b"[DONE]":
            done = True
            continue
        try:
            chunk = strict_json.loads_object(event)
        except MalformedError as error:
            raise MalformedError(f"event {number} is {error}") from None
        if "error" in chunk:
            raise MalformedError(f"event {number} is an error: {error_summary(chunk['error'])}")
        yield chunk
    if number == 0:
        raise MalformedError("neither a JSON object nor a stream of events")
    if not done:
        raise MalformedError("the stream ends without [DONE]: it was cut off")


def _events(data: bytes) -> Iterator[bytes]:
    """The data of each server-sent event; comments and other fields are ignored."""
    lines: list[bytes] = []
    for line in [*data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), b""]:
        if not line and lines:
            yield b"\n".join(lines)
            lines = []
        elif line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))


class _Choice:
    """Accumulates the deltas of one choice."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.legacy: bool | None = None
        self.text: list[str] = []
        self.calls: dict[int, dict[str, Json]] = {}
        self.finish_reason: str | None = None

    def add(self, item: dict[str, Json]) -> None:
        self._check_kind(item)
        if "text" in item:
            self._add_text(item["text"])
        else:
            delta = _object(item.get("delta") or {}, "delta")
            self._add_text(delta.get("content"))
            for fragment in _list(delta.get("tool_calls") or [], "tool_calls"):
                _merge_call(self.calls.setdefault(_index(fragment), {}), fragment)
        self.finish_reason = item.get("finish_reason") or self.finish_reason

    @property
    def is_empty(self) -> bool:
        """Only begun, so that choices of higher index have their place: the vendor has left it out of its answer."""
        return self.finish_reason is None and not self.calls and not any(self.text)

    def answer(self) -> dict[str, Json]:
        if self.finish_reason is None:
            raise MalformedError(f"choice {self.index} has no finish_reason: it was cut off")
        choice: dict[str, Json] = {"index": self.index, "finish_reason": self.finish_reason}
        text = "".join(self.text)
        if self.legacy:
            return {**choice, "text": text}
        message: dict[str, Json] = {"role": "assistant", "content": text}
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        return {**choice, "message": message}

    def _check_kind(self, item: dict[str, Json]) -> None:
        """Reject a choice with both texts and deltas: the caller could read the one that is not signed."""
        for key, legacy in (("text", True), ("delta", False)):
            if key in item:
                if self.legacy not in (None, legacy):
                    raise MalformedError(f"choice {self.index} has both a delta and a text")
                self.legacy = legacy

    def _add_text(self, text: Json) -> None:
        if text is None:
            return
        if not isinstance(text, str):
            raise MalformedError(f"choice {self.index} has content that is not text")
        self.text.append(text)


def _merge_call(call: dict[str, Json], fragment: dict[str, Json]) -> None:
    """Merge a fragment: arguments and inputs are concatenated, any other key keeps its one value."""
    for key, value in fragment.items():
        if key == "index" or value is None:
            continue
        if key in _STREAMED_KEYS:
            body = call.setdefault(key, {})
            for name, part in _object(value, key).items():
                if name == _STREAMED_KEYS[key]:
                    body[name] = body.get(name, "") + _text(part or "", name)
                elif part is not None:
                    _set_once(body, name, part)
        else:
            _set_once(call, key, value)


def _set_once(target: dict[str, Json], key: str, value: Json) -> None:
    known = target.setdefault(key, value)
    if value and known and known != value:
        raise MalformedError(f"a tool call has two different values of {key}")
    target[key] = known or value


def error_summary(error: Json) -> str:
    """Code or type of an OpenAI error object; its message may quote the prompt and is omitted."""
    if not isinstance(error, dict):
        return "no details"
    return str(error.get("code") or error.get("type") or "no details")


def _index(item: Json) -> int:
    index = _object(item, "an item").get("index", 0)
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise MalformedError("an index that is not a number")
    return index


def _object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not an object")
    return value


def _list(value: Json, what: str) -> list[Json]:
    if not isinstance(value, list):
        raise MalformedError(f"{what} is not a list")
    return value


def _text(value: Json, what: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"{what} is not text")
    return value
