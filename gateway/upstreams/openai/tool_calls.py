"""Tool calls of one choice, with indices and ids that no two calls share."""

from collections.abc import Iterator
from uuid import uuid4

import msgspec

from gateway.openai_api.deltas import Delta, ToolCallArguments, ToolCallStart
from gateway.upstreams.name_map import NameMap
from gateway.upstreams.openai.wire import Function, ToolCall


class _Call(msgspec.Struct):
    """``pending`` holds the argument fragments of a call whose name has not arrived; None once it has started."""

    index: int
    id: str
    vendor_id: str | None
    type: str
    pending: list[str] | None
    has_arguments: bool = False


class ToolCallDecoder:
    """Decodes the tool calls of one choice, whole or in fragments.

    Vendors leave out or repeat indices and ids, so calls are numbered in order of arrival. A call starts with its
    name, which may come after some of its arguments. In a ``complete`` response each entry is a call of its own.
    ``names`` maps the vendor's function names back to the caller's; None where all are the same.
    """

    def __init__(self, choice: int, names: NameMap | None, *, complete: bool) -> None:
        self._choice = choice
        self._names = names
        self._complete = complete
        self._calls: list[_Call] = []
        self._by_vendor_index: dict[int, _Call] = {}
        self._ids: set[str] = set()
        self._last: _Call | None = None

    def feed(self, fragment: ToolCall) -> Iterator[Delta]:
        """The deltas of one entry of ``tool_calls``."""
        function = fragment.function or fragment.custom or Function()
        call = None if self._complete else self._find(fragment.index)
        if call is None or (fragment.id and fragment.id != call.vendor_id and function.name):
            call = self._open(fragment)
        self._last = call
        if arguments := function.arguments or function.input:
            call.has_arguments = True
            if call.pending is None:
                yield ToolCallArguments(call.index, arguments, self._choice, call.type)
            else:
                call.pending.append(arguments)
        if function.name and call.pending is not None:
            yield self._start(call, call.pending, function.name)

    def finish(self) -> Iterator[Delta]:
        """Start the calls whose name never came, and give ``{}`` to the function calls without arguments."""
        for call in self._calls:
            if call.pending is not None:
                yield self._start(call, call.pending, "")
            if call.type == "function" and not call.has_arguments:
                yield ToolCallArguments(call.index, "{}", self._choice)

    def _find(self, vendor_index: int | None) -> _Call | None:
        """The call that a fragment continues: without an index, the one of the fragment before."""
        return self._last if vendor_index is None else self._by_vendor_index.get(vendor_index)

    def _open(self, fragment: ToolCall) -> _Call:
        call = _Call(
            index=len(self._calls),
            id=self._unique_id(fragment.id),
            vendor_id=fragment.id,
            type="function" if fragment.custom is None else "custom",
            pending=[],
        )
        self._calls.append(call)
        self._by_vendor_index[call.index if fragment.index is None else fragment.index] = call
        return call

    def _start(self, call: _Call, pending: list[str], name: str) -> Delta:
        call.pending = None
        return ToolCallStart(
            index=call.index,
            id=call.id,
            name=name if self._names is None else self._names.inbound(name),
            choice=self._choice,
            type=call.type,
            arguments="".join(pending),
        )

    def _unique_id(self, vendor_id: str | None) -> str:
        """The vendor's id, or a new one where it gave none or one that an earlier call has."""
        call_id = vendor_id if vendor_id and vendor_id not in self._ids else f"call_{uuid4().hex}"
        self._ids.add(call_id)
        return call_id
