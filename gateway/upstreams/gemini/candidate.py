"""Decodes the parts of one candidate into deltas (facts/providers.md 5.6, 5.7, 12.4)."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from gateway.openai_api.deltas import Delta, Image, Reasoning, Text, ToolCallArguments, ToolCallStart
from gateway.upstreams.adapter import Chat
from gateway.upstreams.gemini import partial_args
from gateway.upstreams.gemini.thought_signatures import FORMAT, IMAGE, cache_id, image_id, invocations_id
from gateway.upstreams.gemini.tools import called_name, tool_names
from gateway.upstreams.gemini.wire import Blob, FunctionCall, Part
from gateway.upstreams.name_map import NameMap
from gateway.upstreams.signature_cache import SignatureCache


class _OpenCall(msgspec.Struct):
    """A function call whose arguments are still arriving.

    ``invocations`` are the parts of Google's server-side tools that precede it.
    """

    index: int
    id: str
    name: str
    signature: str | None
    invocations: list[dict[str, Any]]
    arguments: dict[str, Any]


class CandidateDecoder:
    """Decodes one candidate. ``calls`` and ``images`` are counts; ``produced``: it has any content.

    Signatures are sent where clients may keep them, and cached for clients that do not.
    """

    def __init__(self, choice: int, chat: Chat, signatures: SignatureCache) -> None:
        self._choice = choice
        self._caller = chat.caller
        self._tools = chat.request.tools
        self._signatures = signatures
        self._texts: list[str] = []
        self.images = 0
        self._block = -1
        self._thinking = False
        self._open: _OpenCall | None = None
        self._invocations: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self.calls = 0

    @cached_property
    def _names(self) -> NameMap:
        """The map of the caller's tool names, built when a tool is called."""
        return tool_names(self._tools)

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def produced(self) -> bool:
        return bool(self._texts or self.images or self.calls)

    def feed(self, part: Part, scope: str) -> Iterable[Delta]:
        """The deltas of one part. ``scope`` identifies the response, for the ids of calls that come without one."""
        if part.function_call is not None:
            return self._call(part.function_call, part.thought_signature, scope)
        if part.inline_data is not None:
            if not part.thought and part.inline_data.mime_type.startswith("image/"):
                return self._image(part.inline_data, part.thought_signature)
            return ()
        if part.thought:
            return self._reasoning(part)
        deltas: list[Delta] = []
        if part.text:
            self._texts.append(part.text)
            deltas.append(Text(part.text, self._choice))
        if part.text is None:
            self._keep_invocation(part)
        elif part.thought_signature:
            deltas.append(self._signature(part.thought_signature))
        return deltas

    def finish(self) -> Iterable[Delta]:
        """Close a call whose last part is missing."""
        return () if self._open is None else (self._rest(self._open),)

    def _reasoning(self, part: Part) -> Iterable[Delta]:
        deltas: list[Delta] = []
        if part.text:
            if not self._thinking:
                self._thinking = True
                self._block += 1
            deltas.append(Reasoning(text=part.text, choice=self._choice, format=FORMAT, index=self._block))
        if part.thought_signature:
            deltas.append(self._signature(part.thought_signature))
        return deltas

    def _image(self, image: Blob, signature: str | None) -> Iterable[Delta]:
        url = f"data:{image.mime_type};base64,{image.data}"
        deltas: list[Delta] = [Image(url, self._choice)]
        if signature:
            self._signatures.put(self._caller, cache_id(IMAGE), IMAGE, url, signature)
            deltas.append(self._signature(signature, image_id(self.images)))
        self.images += 1
        return deltas

    def _keep_invocation(self, part: Part) -> None:
        """Keep the call or response of a server-side tool, unchanged, for the function call that follows it."""
        for name, value in (("toolCall", part.tool_call), ("toolResponse", part.tool_response)):
            if value is not None:
                signature = {"thoughtSignature": part.thought_signature} if part.thought_signature else {}
                self._invocations.append({name: value} | signature)

    def _call(self, call: FunctionCall, signature: str | None, scope: str) -> Iterable[Delta]:
        before = self.finish() if call.name else ()
        if call.name:
            self._open = self._opened(call, call.name, signature, scope)
        opened = self._open
        if opened is None:
            raise ValueError("arguments without a function call")
        for piece in call.partial_args or ():
            partial_args.extend(opened.arguments, piece)
        if call.name:
            return (*before, *self._start(opened, "" if call.will_continue else self._close(opened)))
        return () if call.will_continue else (self._rest(opened),)

    def _opened(self, call: FunctionCall, vendor_name: str, signature: str | None, scope: str) -> _OpenCall:
        name, call_id = called_name(self._names, vendor_name), self._unique_id(call.id, scope)
        opened = _OpenCall(self.calls, call_id, name, signature, self._invocations, call.args or {})
        self._invocations = []
        self.calls += 1
        return opened

    def _start(self, call: _OpenCall, arguments: str) -> Iterable[Delta]:
        extra = {"google": {"thought_signature": call.signature}} if call.signature else None
        start = ToolCallStart(
            index=call.index,
            id=call.id,
            name=call.name,
            choice=self._choice,
            arguments=arguments,
            extra_content=extra,
        )
        # The signature comes first: clients such as openai-go take a chunk without the call for the call's end.
        return (self._signature(call.signature, call.id), start) if call.signature else (start,)

    def _unique_id(self, vendor_id: str | None, scope: str) -> str:
        """The vendor's id, or a new one where it gave none or one that an earlier call has.

        A new id is derived from ``scope``, so that the same response has the same ids, streamed or not.
        """
        if not vendor_id or vendor_id in self._ids:
            vendor_id = f"call_{uuid5(NAMESPACE_URL, f'{scope}/{self._choice}/{self.calls}').hex}"
        self._ids.add(vendor_id)
        return vendor_id

    def _rest(self, call: _OpenCall) -> Delta:
        return ToolCallArguments(call.index, self._close(call), self._choice)

    def _close(self, call: _OpenCall) -> str:
        """The arguments of ``call``, which are complete."""
        arguments = msgspec.json.encode(call.arguments).decode()
        if call.signature:
            self._signatures.put(self._caller, cache_id(call.id), call.name, arguments, call.signature)
        if call.invocations:
            key = cache_id(invocations_id(call.id))
            self._signatures.put(self._caller, key, call.name, arguments, call.invocations)
        self._open = None
        return arguments

    def _signature(self, signature: str, owner: str | None = None) -> Reasoning:
        """A signature as an entry of its own in ``reasoning_details``."""
        self._thinking = False
        self._block += 1
        return Reasoning(data=signature, id=owner, format=FORMAT, index=self._block, choice=self._choice)
