"""Rules on the order of turns and blocks: facts/providers.md 3.4, 3.8."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.simulators.anthropic.blocks import check_block, check_extra
from tools.simulators.anthropic.models import Model
from tools.simulators.identifiers import ReasoningSigner
from tools.simulators.refusal import RefusedError

SIGNER = ReasoningSigner("anthropic")
REDACTED = "redacted"
THINKING = frozenset({"thinking", "redacted_thinking"})

Placed = list[tuple[str, Mapping[str, Any]]]
"""Blocks with their JSON paths."""
Turn = tuple[str, Placed]
"""Role and blocks; consecutive messages of one role are one turn."""


def check_messages(messages: Any, model: Model, *, thinking: bool, manual: bool) -> None:
    """`manual`: the model thinks by a budget, not as it likes."""
    if not isinstance(messages, list):
        raise RefusedError("messages: Field required" if messages is None else "messages: Input should be a valid list")
    if not messages:
        raise RefusedError("messages: at least one message is required")
    for number, message in enumerate(messages):
        _check_message(number, message, model, last=number == len(messages) - 1)
    _check_system_turns([message["role"] for message in messages])
    turns = list(merged(messages))
    _check_end(turns[-1], model)
    _check_pairs(turns)
    if thinking:
        _check_signatures(turns, model)
    if manual:
        _check_replay(turns)


def _check_message(number: int, message: Any, model: Model, *, last: bool) -> None:
    where = f"messages.{number}"
    if not isinstance(message, dict):
        raise RefusedError(f"{where}: Input should be a valid dictionary")
    role = message.get("role")
    if role == "system":
        if not model.system_turns:
            raise RefusedError(f"{where}.role: role 'system' is not supported on this model")
    elif role not in ("user", "assistant"):
        raise RefusedError(f"{where}.role: Input should be 'user' or 'assistant'")
    check_extra(message, frozenset({"role", "content"}), where)
    if "content" not in message:
        raise RefusedError(f"{where}.content: Field required")
    content = message["content"]
    if not isinstance(content, str | list):
        raise RefusedError(f"{where}.content: Input should be a valid string or list")
    if not content and not (last and role == "assistant"):
        raise RefusedError(
            f"{where}: all messages must have non-empty content except for the optional final assistant message"
        )
    for index, block in enumerate(blocks(content)):
        check_block(block, role, f"{where}.content.{index}")


def _check_system_turns(roles: Sequence[str]) -> None:
    """A run of system messages must follow a user's and precede an assistant's or end the conversation."""
    for number, role in enumerate(roles):
        if role != "system":
            continue
        if not number:
            raise RefusedError("messages.0: use the top-level 'system' parameter for the initial system prompt")
        if roles[number - 1] == "assistant":
            raise RefusedError(
                f"messages.{number}: role 'system' must follow a 'user' message or an 'assistant' message ending in a "
                "server tool result"
            )
        if roles[number + 1 : number + 2] == ["user"]:
            raise RefusedError(f"messages.{number}: role 'system' must precede an 'assistant' message or end the array")


def blocks(content: Any) -> list[Any]:
    """Content as a list of blocks."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content) if isinstance(content, list) else []


def merged(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    turn: Turn | None = None
    for number, message in enumerate(messages):
        role = "user" if message["role"] == "system" else message["role"]
        placed = [(f"messages.{number}.content.{i}", block) for i, block in enumerate(blocks(message["content"]))]
        if turn is not None and turn[0] == role:
            turn[1].extend(placed)
            continue
        if turn is not None:
            yield turn
        turn = (role, placed)
    if turn is not None:
        yield turn


def _check_end(turn: Turn, model: Model) -> None:
    role, placed = turn
    if role != "assistant":
        return
    if not model.prefill:
        raise RefusedError(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    text = placed[-1][1].get("text", "") if placed else ""
    if text != text.rstrip():
        raise RefusedError("messages: final assistant content cannot end with trailing whitespace")


def _check_pairs(turns: Sequence[Turn]) -> None:
    """The next user turn must begin with the results of all of a turn's calls."""
    seen: set[str] = set()
    for number, (role, placed) in enumerate(turns):
        if role == "assistant":
            calls = [block["id"] for _, block in placed if block["type"] == "tool_use"]
            if len(set(calls)) < len(calls) or seen & set(calls):
                raise RefusedError("messages: `tool_use` ids must be unique")
            seen |= set(calls)
            _check_answered(calls, turns[number + 1][1] if number + 1 < len(turns) else [], placed)
        else:
            _check_expected(placed, turns[number - 1][1] if number else [])


def _check_answered(calls: list[str], following: Placed, placed: Placed) -> None:
    answered = []
    for _, block in following:
        if block["type"] != "tool_result":
            break
        answered.append(block["tool_use_id"])
    if missing := [call for call in calls if call not in answered]:
        where = placed[0][0].rsplit(".content", 1)[0]
        raise RefusedError(
            f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}. "
            "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
        )


def _check_expected(placed: Placed, before: Placed) -> None:
    calls = {block["id"] for _, block in before if block["type"] == "tool_use"}
    results: set[str] = set()
    for where, block in placed:
        if block["type"] != "tool_result":
            continue
        id_ = block["tool_use_id"]
        if id_ not in calls:
            raise RefusedError(
                f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {id_}. Each `tool_result` block "
                "must have a corresponding `tool_use` block in the previous message."
            )
        if id_ in results:
            raise RefusedError(
                f"{where}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id_}"
            )
        results.add(id_)


def _check_signatures(turns: Sequence[Turn], model: Model) -> None:
    """Thinking blocks must be unaltered."""
    for role, placed in turns:
        for where, block in placed:
            if role == "assistant" and block["type"] in THINKING:
                _check_signature(where, block, model)


def _check_replay(turns: Sequence[Turn]) -> None:
    """A turn whose calls are being answered must start with its thinking."""
    if len(turns) < 2 or turns[-1][0] != "user":
        return
    last = turns[-2][1]
    if any(block["type"] == "tool_use" for _, block in last) and last[0][1]["type"] not in THINKING:
        where, block = last[0]
        raise RefusedError(
            f"{where}.type: Expected `thinking` or `redacted_thinking`, but found `{block['type']}`. When `thinking` "
            "is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of "
            "`tool_use` and `tool_result` blocks)."
        )


def _check_signature(where: str, block: Mapping[str, Any], model: Model) -> None:
    if block["type"] == "redacted_thinking":
        if not SIGNER.valid(str(block["data"]), model.name, REDACTED):
            raise RefusedError(f"{where}: Invalid `data` in `redacted_thinking` block")
    elif not SIGNER.valid(str(block["signature"]), model.name, str(block["thinking"])):
        raise RefusedError(f"{where}: Invalid `signature` in `thinking` block")
