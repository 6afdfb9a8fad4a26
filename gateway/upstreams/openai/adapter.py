"""The adapter of every upstream that speaks OpenAI's chat completions; what differs is its dialect."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from gateway.openai_api.deltas import (
    Delta,
    Finish,
    MessageField,
    Reasoning,
    Refusal,
    Served,
    Text,
    ToolCallArguments,
    ToolCallStart,
)
from gateway.openai_api.errors import GatewayError, upstream_error
from gateway.openai_api.request import Tool
from gateway.openai_api.usage import Usage
from gateway.upstreams import error_rules
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.lenient_json import decode_mended
from gateway.upstreams.name_map import NameMap
from gateway.upstreams.openai import request as openai_request
from gateway.upstreams.openai.chunk_template import LikeChunks
from gateway.upstreams.openai.dialects import Dialect
from gateway.upstreams.openai.think_tags import ThinkTags
from gateway.upstreams.openai.tool_names import name_map
from gateway.upstreams.sse import Event


class OpenAIAdapter:
    """Chat completions of OpenAI, xAI, BytePlus ModelArk and Nous (facts/providers.md 2, 6, 7, 8)."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def authorization(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def remote_files(self, chat: Chat) -> Iterable[str]:
        return ()

    def request(self, chat: Chat) -> UpstreamCall:
        body, dropped = openai_request.build(self._dialect, chat)
        return UpstreamCall("/chat/completions", msgspec.json.encode(body), chat.stream, dropped=dropped)

    def answer(self, chat: Chat, body: bytes) -> list[Delta]:
        decoder = OpenAIDecoder(self._dialect, chat.request.tools, complete=True)
        return decoder.take(body) + decoder.finish()

    def decoder(self, chat: Chat) -> "OpenAIDecoder":
        return OpenAIDecoder(self._dialect, chat.request.tools)

    def error(self, chat: Chat, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return error_rules.explain(self._dialect.errors, error_rules.parse(status, headers, body))


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _Function | None = None
    custom: _Function | None = None


class _Piece(msgspec.Struct):
    """A ``delta`` of a stream or the ``message`` of a complete answer: the same keys."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    encrypted_content: str | None = None


class _Logprobs(msgspec.Struct):
    content: list[Any] | None = None
    refusal: list[Any] | None = None


class _Choice(msgspec.Struct):
    index: Annotated[int, msgspec.Meta(ge=0)] = 0
    delta: _Piece | None = None
    message: _Piece | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    audio_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Chunk(msgspec.Struct):
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    moderation: Any = None
    error: Any = None
    code: Any = None
    type: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def _mended(data: bytes) -> _Chunk:
    """The chunk in ``data`` if only its text was faulty; raises 502."""
    try:
        return decode_mended(_decode_chunk, data)
    except (ValueError, RecursionError):
        raise upstream_error("upstream_bad_response", "The upstream's answer could not be read") from None


_FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_LIKES = 4
"""How often in one stream the text is looked for in a chunk, in case that more chunks like it follow."""
_LONGEST_LIKE = 4096
"""Bytes of a chunk in which it is looked for: the search takes a hundred times the memory of what it runs over."""
_STANDARD_TIERS = frozenset({"", "auto", "default", "standard"})


class OpenAIDecoder:
    """One answer, whole or in chunks. Finish reasons are held back until the end, because usage comes after them.

    ``tools`` are the caller's. ``complete`` says that it comes in one piece; a stream is complete when each choice has
    a reason or ``[DONE]`` came.
    """

    def __init__(self, dialect: Dialect, tools: list[Tool] | None = None, *, complete: bool = False) -> None:
        self._dialect = dialect
        self._tools = tools
        self._finish: dict[int, str] = {}
        self._calls: dict[int, _Calls] = {}
        self._thoughts: dict[int, ThinkTags] = {}
        self._served: tuple[str | None, str | None, str | None] | None = None
        self._tier = ""
        self._complete = self._done = complete
        self._likes: LikeChunks | None = None
        self._likes_choice = 0
        self._likes_left = 0 if dialect.think_tags else _LIKES

    def feed(self, event: Event) -> Iterable[Delta]:
        data = event.data
        if self._likes is not None and (text := self._likes.text(data)) is not None:
            return (Text(text, self._likes_choice),) if text else ()
        if data == b"[DONE]":
            self._done = True
            return ()
        deltas = self.take(data) if data else []
        if self._likes_left and len(deltas) == 1 and isinstance(deltas[0], Text) and len(data) <= _LONGEST_LIKE:
            self._expect_more_like(data, deltas[0])
        return deltas

    def _expect_more_like(self, data: bytes, known: Text) -> None:
        def read(other: bytes) -> str | None:
            match self.take(other):
                case [Text(text=text, choice=known.choice, logprobs=None)]:
                    return text
            return None

        self._likes_left -= 1
        self._likes = LikeChunks.like(data, known.text, read)
        self._likes_choice = known.choice

    def take(self, data: bytes) -> list[Delta]:
        """The deltas of one JSON object, a chunk or a complete answer."""
        try:
            chunk = _decode_chunk(data)
        except (ValueError, RecursionError):
            chunk = _mended(data)
        if chunk.error:
            raise self._error(chunk)
        deltas: list[Delta] = []
        seen = (chunk.model, chunk.service_tier, chunk.system_fingerprint)
        if self._served != seen:
            self._served = seen
            self._tier = chunk.service_tier or self._tier
            self._likes = None
            deltas.append(
                Served(model=chunk.model, service_tier=chunk.service_tier, system_fingerprint=chunk.system_fingerprint)
            )
        for choice in chunk.choices or ():
            index, piece = choice.index, choice.delta or choice.message
            if choice.finish_reason:
                self._finish[index] = choice.finish_reason
            elif index not in self._finish:
                self._finish[index] = ""
            if piece is None:
                continue
            if choice.logprobs is not None or self._dialect.think_tags or piece != _Piece(content=piece.content):
                deltas += self._piece(index, piece, choice.logprobs)
            elif piece.content:
                deltas.append(Text(piece.content, index))
        usage = chunk.usage
        if usage is not None and (usage.prompt_tokens is not None or usage.completion_tokens is not None):
            deltas.append(self._usage(usage))
        if chunk.moderation:
            deltas.append(Served(moderation=chunk.moderation))
        return deltas

    def finish(self) -> list[Delta]:
        if not self._finish or (not self._done and "" in self._finish.values()):
            raise upstream_error("upstream_truncated", "The upstream's answer ended before it was complete")
        deltas: list[Delta] = []
        for index, reason in self._finish.items():
            if index in self._thoughts:
                deltas += self._thoughts[index].finish()
            calls = self._calls.get(index)
            if calls:
                deltas += calls.finish()
            ending = _FINISH_REASONS.get(reason, "tool_calls" if calls and not reason else "stop")
            deltas.append(Finish(ending, index))
        return deltas

    def _piece(self, index: int, piece: _Piece, logprobs: _Logprobs | None) -> list[Delta]:
        deltas: list[Delta] = []
        if thought := piece.reasoning_content or piece.reasoning:
            deltas.append(Reasoning(text=thought, choice=index))
        if piece.content or logprobs:
            text = piece.content or ""
            if self._dialect.think_tags:
                deltas += self._thoughts.setdefault(index, ThinkTags(index)).feed(text)
            else:
                deltas.append(Text(text, index, None if logprobs is None else msgspec.structs.asdict(logprobs)))
        if piece.refusal:
            deltas.append(Refusal(piece.refusal, index))
        if piece.tool_calls:
            calls = self._calls.get(index)
            if calls is None:
                calls = self._calls[index] = _Calls(index, name_map(self._tools), complete=self._complete)
            for call in piece.tool_calls:
                deltas += calls.take(call)
        if piece.annotations:
            deltas.append(MessageField("annotations", piece.annotations, index))
        if piece.audio:
            deltas.append(MessageField("audio", piece.audio, index))
        if piece.encrypted_content:
            deltas.append(MessageField("encrypted_content", piece.encrypted_content, index))
        return deltas

    def _usage(self, usage: _Usage) -> Usage:
        prompt = usage.prompt_tokens_details or _PromptDetails()
        completion = usage.completion_tokens_details or _CompletionDetails()
        return Usage(
            prompt_tokens=usage.prompt_tokens or 0,
            completion_tokens=self._completion_tokens(usage, completion.reasoning_tokens or 0),
            cached_tokens=prompt.cached_tokens or 0,
            cache_write_tokens=prompt.cache_write_tokens or 0,
            audio_tokens=prompt.audio_tokens or 0,
            reasoning_tokens=completion.reasoning_tokens or 0,
            completion_audio_tokens=completion.audio_tokens or 0,
            accepted_prediction_tokens=completion.accepted_prediction_tokens or 0,
            rejected_prediction_tokens=completion.rejected_prediction_tokens or 0,
            tier="" if self._tier in _STANDARD_TIERS else self._tier,
            estimated=usage.prompt_tokens is None or usage.completion_tokens is None,
        )

    def _completion_tokens(self, usage: _Usage, reasoning: int) -> int:
        """Completion with reasoning inside, whichever way the vendor counts; the total tells (1.4)."""
        prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
        if usage.total_tokens is None:
            beside = not self._dialect.reasoning_counted
        else:
            beside = usage.total_tokens == prompt + completion + reasoning
        return completion + reasoning if beside else completion

    def _error(self, chunk: _Chunk) -> GatewayError:
        """An error inside an answer with status 200."""
        told = {"error": chunk.error, "code": chunk.code, "type": chunk.type}
        return error_rules.explain(self._dialect.errors, error_rules.inside_answer(told))


class _Calls:
    """The tool calls of one choice: whatever indexes and ids the vendor uses, ours are never shared.

    In a ``complete`` answer each entry is a call of its own. A call begins with its name, which may come late.
    ``names`` are those that go under others at the vendor.
    """

    def __init__(self, choice: int, names: NameMap | None, *, complete: bool) -> None:
        self._choice = choice
        self._names = names
        self._complete = complete
        self._ours: dict[int, int] = {}
        self._ids: list[str | None] = []
        self._taken: set[str] = set()
        self._types: dict[int, str] = {}
        self._empty: set[int] = set()
        self._nameless: dict[int, tuple[str, list[str]]] = {}
        self._last = -1

    def take(self, call: _ToolCall) -> Iterator[Delta]:
        body = call.function or call.custom or _Function()
        theirs = call.index if call.index is not None else self._last
        known = None if self._complete else self._ours.get(theirs)
        if known is None or (call.id and call.id != self._ids[known] and body.name):
            known = len(self._ids)
            self._ours[theirs if call.index is not None else known] = known
            self._ids.append(call.id)
            kind = self._types[known] = "custom" if call.custom is not None else "function"
            if kind == "function":
                self._empty.add(known)
            own = self._new_id(call.id)
            if body.name:
                yield self._start(known, own, body.name)
            else:
                self._nameless[known] = own, []
        elif body.name and known in self._nameless:
            yield from self._begin(known, body.name)
        self._last = theirs if call.index is not None else known
        if fragment := body.arguments or body.input:
            self._empty.discard(known)
            if known in self._nameless:
                self._nameless[known][1].append(fragment)
            else:
                yield ToolCallArguments(known, fragment, self._choice, self._types[known])

    def _start(self, index: int, own: str, name: str) -> ToolCallStart:
        if self._names is not None:
            name = self._names.inbound(name)
        return ToolCallStart(index=index, id=own, name=name, choice=self._choice, type=self._types[index])

    def _begin(self, index: int, name: str) -> Iterator[Delta]:
        """What was kept of a call that had no name."""
        own, fragments = self._nameless.pop(index)
        yield self._start(index, own, name)
        for fragment in fragments:
            yield ToolCallArguments(index, fragment, self._choice, self._types[index])

    def _new_id(self, theirs: str | None) -> str:
        """The vendor's id, unless it gave none or gave it to an earlier call."""
        ours = theirs if theirs and theirs not in self._taken else f"call_{uuid4().hex}"
        self._taken.add(ours)
        return ours

    def finish(self) -> Iterator[Delta]:
        """The calls whose name never came, and valid JSON for the function calls that came without arguments."""
        for index in sorted(self._nameless):
            yield from self._begin(index, "")
        for index in sorted(self._empty):
            yield ToolCallArguments(index, "{}", self._choice)
