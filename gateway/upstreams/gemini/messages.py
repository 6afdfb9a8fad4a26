"""Translates messages into systemInstruction and contents (facts/providers.md 5.2, 12.3).

Gemini has two roles, and the results of all calls of a model turn belong together, in call order, in the user turn
right after it. Newer models refuse anything else in that turn: the next user message becomes a turn of its own.
"""

from functools import cached_property
from typing import Any

import msgspec

from gateway.openai_api import long_json
from gateway.openai_api.errors import invalid_request
from gateway.openai_api.messages import (
    AssistantMessage,
    DeveloperMessage,
    FunctionToolCall,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
    texts_of,
)
from gateway.upstreams.adapter import Chat
from gateway.upstreams.gemini.parts import TEXT_MESSAGE_KEYS, Part, content_parts, picture
from gateway.upstreams.gemini.thought_signatures import SKIP_VALIDATION, ThoughtSignatures, plain_id
from gateway.upstreams.gemini.tools import mixes_tools, tool_names
from gateway.upstreams.name_map import NameMap
from gateway.upstreams.signature_cache import SignatureCache

_SHORT_SIGNATURE = 256
"""Characters that may be repeated."""
_ROLES = {"user": "user", "assistant": "model"}
_REFERENCE = '"$ref"'


class Contents:
    """The translated messages of a chat: ``system`` are the parts of systemInstruction, ``turns`` the contents.

    Plain text messages, the most common, carry no signatures and are added right in the constructor.
    """

    def __init__(self, chat: Chat, signatures: SignatureCache) -> None:
        self._chat = chat
        self._signatures = signatures
        self.system: list[Part] = []
        self.turns: list[dict[str, Any]] = []
        self._results_turn: dict[str, Any] | None = None
        """The last turn with tool results."""
        self._found: dict[int, list[Part] | str] = {}
        """What was found for calls, by Python's id of it."""
        turns = self.turns
        for position, sent in enumerate(chat.body["messages"]):
            text = sent["content"] if sent.keys() == TEXT_MESSAGE_KEYS else None
            if type(text) is not str:
                self._add(position, chat.request.messages[position])
            elif (role := _ROLES.get(sent["role"])) is None:
                if text:
                    self.system.append({"text": text})
            elif text or role == "user":
                if turns and turns[-1]["role"] == role and turns[-1] is not self._results_turn:
                    turns[-1]["parts"].append({"text": text})
                else:
                    turns.append({"role": role, "parts": [{"text": text}]})
        self._normalize()

    def _add(self, position: int, message: Message) -> None:
        """Add a message, an answer together with the tools' results after it."""
        match message:
            case SystemMessage() | DeveloperMessage():
                self.system += [{"text": text} for text in texts_of(message.content)]
            case UserMessage():
                self._turn("user", content_parts(self._chat, message.content, f"messages[{position}].content"))
            case AssistantMessage():
                self._turn("model", self._model_parts(position, message))
                if message.tool_calls:
                    self._add_results(position + 1, message.tool_calls)

    @cached_property
    def _names(self) -> NameMap:
        return tool_names(self._chat.request.tools)

    def _turn(self, role: str, parts: list[Part]) -> None:
        if not parts:
            return
        if self.turns and self.turns[-1]["role"] == role and self.turns[-1] is not self._results_turn:
            self.turns[-1]["parts"] += parts
        else:
            self.turns.append({"role": role, "parts": parts})

    def _normalize(self) -> None:
        """Remove empty texts beside other parts; start with a user turn (5.2)."""
        for turn in self.turns:
            if len(turn["parts"]) > 1:
                turn["parts"] = [part for part in turn["parts"] if part != {"text": ""}] or [{"text": ""}]
        if not self.turns:
            self.turns.append({"role": "user", "parts": [{"text": ""}]})
        elif self.turns[0]["role"] == "model":
            self.turns.insert(0, {"role": "user", "parts": [{"text": " "}]})

    def _model_parts(self, position: int, message: AssistantMessage) -> list[Part]:
        signatures = ThoughtSignatures(message, self._chat.caller, self._signatures)
        calls = message.tool_calls or []
        text = _visible_text(message)
        parts: list[Part] = [{"text": text}] if text else []
        if signatures.text and (text or not calls):
            parts = [{"text": text, "thoughtSignature": signatures.text}]
        if message.refusal and text != message.refusal:
            parts.append({"text": message.refusal})
        for number, url in enumerate(message.image_urls):
            where = f"messages[{position}].images[{number}]"
            parts.append(self._image(signatures, number, url, where))
        for number, call in enumerate(calls):
            where = f"messages[{position}].tool_calls[{number}]"
            if mixes_tools(self._chat.request) and isinstance(call, FunctionToolCall):
                invocations = signatures.invocations(call)
                parts += [] if self._is_repeated(invocations) else invocations
            parts.append(self._call(signatures, call, where, first=number == 0))
        return parts

    def _is_repeated(self, found: list[Part] | str) -> bool:
        """Whether this very object came with an earlier call: a caller may repeat a call, and so what is cached for it.

        What the caller itself sends twice are two objects, except for the shortest texts.
        """
        repeated = id(found) in self._found
        self._found[id(found)] = found
        return repeated

    def _image(self, signatures: ThoughtSignatures, number: int, url: str, where: str) -> Part:
        part = picture(self._chat, url, where)
        signature = signatures.image(number, url)
        if signature is None and signatures.lost and self._chat.model.traits.signatures:
            signature = SKIP_VALIDATION
        return part if signature is None else part | {"thoughtSignature": signature}

    def _call(self, signatures: ThoughtSignatures, call: ToolCall, where: str, *, first: bool) -> Part:
        """A functionCall part; the first of a turn needs a signature on models that validate them (5.6)."""
        arguments: Any
        if isinstance(call, FunctionToolCall):
            arguments = _arguments(call.function.arguments, f"{where}.function.arguments")
            name, signature = call.function.name, signatures.call(call)
            if signature is not None and len(signature) > _SHORT_SIGNATURE and self._is_repeated(signature):
                signature = None
        else:
            arguments = {"input": call.custom.input}
            name, signature = call.custom.name, None
        if signature is None and first and self._chat.model.traits.signatures:
            signature = SKIP_VALIDATION
        part = {"functionCall": {"id": plain_id(call.id), "name": self._names.outbound(name), "args": arguments}}
        return part if signature is None else part | {"thoughtSignature": signature}

    def _add_results(self, first: int, calls: list[ToolCall]) -> None:
        """Add a turn of the results in call order, and one of the files that the model does not accept within them.

        The tool messages with the results begin at position ``first``, in any order.
        """
        results = enumerate(self._chat.request.messages[first : first + len(calls)], first)
        by_id = {message.tool_call_id: (at, message) for at, message in results if isinstance(message, ToolMessage)}
        parts: list[Part] = []
        files_turn: list[Part] = []
        for call in calls:
            position, message = by_id[call.id]
            response, files = self._response(message, f"messages[{position}].content")
            if files and self._chat.model.traits.tool_result_images:
                response["parts"] = files
            else:
                files_turn += files
            name = call.function.name if isinstance(call, FunctionToolCall) else call.custom.name
            head = {"id": plain_id(call.id), "name": self._names.outbound(name)}
            parts.append({"functionResponse": head | response})
        self._results_turn = {"role": "user", "parts": parts}
        self.turns.append(self._results_turn)
        self._turn("user", files_turn)

    def _response(self, message: ToolMessage, where: str) -> tuple[dict[str, Any], list[Part]]:
        """``{"response": …}`` of one result, and its files.

        Its texts become lines: MCP servers return the items of a list as one text each. An object with a ``$ref``,
        such as a JSON Schema, is sent as text: Gemini looks for the file of that name.
        """
        text = "\n".join(texts_of(message.content))
        files: list[Part] = []
        if not isinstance(message.content, str):
            files = [part for part in content_parts(self._chat, message.content, where) if "text" not in part]
        response: Any = {"error": text} if message.is_error else {"output": text}
        if not message.is_error and _REFERENCE not in text and _is_object(text):
            response = msgspec.Raw(text.encode())
        return {"response": response}, files


def _visible_text(message: AssistantMessage) -> str:
    """The visible text of an assistant message, or its refusal if it has none."""
    content = message.content
    if isinstance(content, list):
        content = "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)
    return content or message.refusal or ""


def _arguments(text: str, param: str) -> msgspec.Raw:
    """A call's arguments, which must be an object, as the caller's own bytes. Raises 400."""
    if not text.strip():
        return msgspec.Raw(b"{}")
    if not _is_object(text):
        raise invalid_request(f"Invalid '{param}': expected a JSON object.", param)
    return msgspec.Raw(text.encode())


def _is_object(text: str) -> bool:
    try:
        return isinstance(long_json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
