"""Accumulate a stream into a complete answer: every key of every delta, not only text and tool calls.

Independent of the gateway's assembler, so that streamed and complete answers can be compared.
"""

from typing import Any

from tests.event_streams import events

Json = dict[str, Any]


def folded(raw: bytes) -> Json:
    """The stream as a complete answer: ``choices`` with messages, and the other fields of the last event."""
    choices: dict[int, Json] = {}
    last: Json = {}
    for event in events(raw):
        if "error" in event:
            raise AssertionError(f"the stream ended in an error: {event['error']}")
        for item in event["choices"]:
            choice = choices.setdefault(
                item["index"], {"index": item["index"], "message": {}, "logprobs": None, "finish_reason": None}
            )
            _add(choice["message"], item["delta"])
            choice["finish_reason"] = item["finish_reason"] or choice["finish_reason"]
        last = event
    return {**last, "object": "chat.completion", "choices": [_finished(choices[index]) for index in sorted(choices)]}


def _add(message: Json, delta: Json) -> None:
    for key, value in delta.items():
        match key:
            case "content" | "reasoning_content" | "refusal":
                message[key] = (message.get(key) or "") + value if value is not None else message.get(key)
            case "tool_calls":
                for fragment in value:
                    _add_call(message.setdefault(key, []), fragment)
            case "reasoning_details":
                for detail in value:
                    _add_detail(message.setdefault(key, []), detail)
            case "images" | "annotations":
                message.setdefault(key, []).extend(value)
            case _:
                message[key] = value


def _add_call(calls: list[Json], fragment: Json) -> None:
    index = fragment["index"]
    if index == len(calls):
        calls.append({key: value for key, value in fragment.items() if key != "index"})
        return
    assert index == len(calls) - 1, "tool calls come one after the other, each with an index of its own"
    [kind] = fragment.keys() - {"index"}
    [(name, text)] = fragment[kind].items()
    calls[index][kind][name] += text


def _add_detail(details: list[Json], detail: Json) -> None:
    last = details[-1] if details else {}
    if last.get("type") == detail["type"] == "reasoning.text" and last["index"] == detail["index"]:
        text = last.get("text", "") + detail.get("text", "")
        last |= detail | ({"text": text} if text else {})
    else:
        details.append(dict(detail))


def _finished(choice: Json) -> Json:
    message = choice["message"]
    if not message["content"] and (message.get("tool_calls") or message["refusal"]):
        message["content"] = None
    return choice
