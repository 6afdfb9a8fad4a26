"""POST /v1beta/models/{model}:generateContent and :streamGenerateContent, also under /v1."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tools.simulators.composition import Answer, compose
from tools.simulators.delivery import Reply
from tools.simulators.gemini.conversation import FAMILY, SIGNER, function_parts
from tools.simulators.gemini.errors import envelope
from tools.simulators.gemini.fields import read
from tools.simulators.gemini.models import MODELS, Model
from tools.simulators.gemini.rendering import Render, array, compact, document, events
from tools.simulators.gemini.request_checks import check
from tools.simulators.identifiers import Identifiers
from tools.simulators.prompt import TOKENS_PER_ATTACHMENT, Prompt, PromptSize, Tool
from tools.simulators.received import ReceivedRequest
from tools.simulators.refusal import RefusedError
from tools.simulators.sample_images import base64_text, png
from tools.simulators.vendor import Endpoint, Exchange, Vendor, html_page

PATH = re.compile(r"/v1(?:beta)?/models/([^/:]+):(generateContent|streamGenerateContent)")
JSON_TYPE = "application/json; charset=UTF-8"
HEADERS = (("x-gemini-service-tier", "standard"), ("server-timing", "gfet4t7; dur=512"))
MODALITIES = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO", "application": "DOCUMENT"}


class Gemini(Vendor):
    name = "google"

    def endpoint(self, received: ReceivedRequest) -> Endpoint | None:
        return Endpoint(self.answer, last_user_text) if PATH.fullmatch(received.path) else None

    def authenticate(self, received: ReceivedRequest) -> None:
        key = received.headers.get("x-goog-api-key") or received.query.get("key", "")
        if not key:
            raise RefusedError(kind="missing_key")
        if key.startswith("wrong"):
            raise RefusedError(kind="bad_key")

    def answer(self, exchange: Exchange) -> Reply:
        scenario = exchange.scenario
        model = _model(exchange)
        request = read(exchange.body)
        stream = exchange.received.path.endswith(":streamGenerateContent")
        check(request, model, stream=stream)
        prompt = _prompt(request, model)
        if prompt.tokens > model.context:
            raise RefusedError(
                f"The input token count ({prompt.tokens}) exceeds the maximum number of tokens allowed "
                f"({model.context}).",
                kind="context_length",
            )
        exchange.fail_if_scripted()
        render = _render(exchange, request, model, compose(prompt, scenario))
        stream = stream and not scenario.json_instead_of_stream
        sse = stream and exchange.received.query.get("alt") == "sse"
        reply = Reply(
            status=200,
            headers=(("Content-Type", "text/event-stream" if sse else JSON_TYPE), *HEADERS),
            events=tuple(events(render) if sse else array(render) if stream else [document(render)]),
            stream=stream,
            scenario=scenario,
        )
        return reply.with_content_faults(_stream_error(exchange) if stream else None, end_marker=stream)

    def error(self, refused: RefusedError, exchange: Exchange) -> Reply:
        if refused.kind == "proxy_page":
            return html_page(refused, exchange)
        status, body = envelope(refused, exchange, _model_name(exchange.received))
        as_array = (
            exchange.received.path.endswith(":streamGenerateContent") and exchange.received.query.get("alt") != "sse"
        )
        text = msgspec.json.format(msgspec.json.encode([body] if as_array else body), indent=2) + b"\n"
        return Reply(status=status, headers=(("Content-Type", JSON_TYPE),), events=(text,), scenario=exchange.scenario)


def _stream_error(exchange: Exchange) -> bytes | None:
    """Bare, pretty-printed JSON between frames, or a frame for the scenario's "event" form (facts/providers.md 5.8)."""
    if exchange.scenario.error is None:
        return None
    _, body = envelope(exchange.scripted_error(), exchange, _model_name(exchange.received))
    if exchange.scenario.error_form == "event":
        return b"data: " + compact(body) + b"\r\n\r\n"
    return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"


def _model_name(received: ReceivedRequest) -> str:
    match = PATH.fullmatch(received.path)
    return match[1] if match else ""


def _model(exchange: Exchange) -> Model:
    model = MODELS.get(_model_name(exchange.received))
    if model is None:
        raise RefusedError(kind="model_not_found")
    if model.retired and not (exchange.serve_retired or exchange.scenario.serve_retired):
        raise RefusedError(model.retired, kind="model_not_found")
    return model


def last_user_text(body: Any) -> str:
    """Text of the last turn if it is the user's; empty for tool results and for bodies of another shape."""
    contents = body.get("contents") if isinstance(body, dict) else None
    last = contents[-1] if isinstance(contents, list) and contents else contents
    if not isinstance(last, dict) or last.get("role", "user") != "user":
        return ""
    given = last.get("parts")
    parts = [part for part in (given if isinstance(given, list) else [given]) if isinstance(part, dict)]
    if any(part.keys() & {"functionResponse", "function_response"} for part in parts):
        return ""
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _prompt(request: Mapping[str, Any], model: Model) -> Prompt:
    config = request.get("generationConfig") or {}
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    last = request["contents"][-1]
    return Prompt(
        model=model.name,
        last_user_text=last_user_text(request),
        results=tuple(_result(response) for response in function_parts(last, "functionResponse")),
        tokens=_size(request),
        tools=tuple(
            Tool(function["name"], function.get("parametersJsonSchema") or function.get("parameters"))
            for tool in request.get("tools") or ()
            for function in tool.get("functionDeclarations") or ()
        ),
        tool_choice=_choice(calling),
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        json_mode=config.get("responseMimeType") == "application/json",
        reasoning_enabled=_reasoning_enabled(config.get("thinkingConfig") or {}, model),
        limit=config.get("maxOutputTokens"),
        limit_includes_reasoning=True,
        stop=tuple(config.get("stopSequences") or ()),
        choices=config.get("candidateCount") or 1,
        generates_image=model.pictures and "IMAGE" in (config.get("responseModalities") or ("TEXT", "IMAGE")),
    )


def _choice(calling: Mapping[str, Any]) -> str:
    allowed = calling.get("allowedFunctionNames") or []
    match calling.get("mode"):
        case "NONE":
            return "none"
        case "ANY":
            return f":{allowed[0]}" if len(allowed) == 1 else "required"
    return "auto"


def _reasoning_enabled(config: Mapping[str, Any], model: Model) -> bool:
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if budget is not None:
        return bool(budget != 0)
    return model.reasoning_enabled if level is None else level.lower() != "minimal"


def _result(response: Mapping[str, Any]) -> str:
    value = response["response"]
    output = value.get("output", value.get("error", value))
    return output if isinstance(output, str) else msgspec.json.encode(output).decode()


def _size(request: Mapping[str, Any]) -> int:
    size = PromptSize()
    for content in (request.get("systemInstruction") or {}, *request["contents"]):
        for part in content.get("parts") or ():
            if "text" in part:
                size.text(part["text"])
            elif "functionCall" in part:
                call = part["functionCall"]
                size.text(call["name"] + msgspec.json.encode(call.get("args") or {}).decode())
            elif "functionResponse" in part:
                size.text(_result(part["functionResponse"]))
            else:
                size.attachment()
    return size.tokens


def _modalities(request: Mapping[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for content in request["contents"]:
        for part in content.get("parts") or ():
            data = part.get("inlineData") or part.get("fileData")
            if data is not None:
                modality = MODALITIES.get(data.get("mimeType", "").partition("/")[0], "DOCUMENT")
                counts[modality] = counts.get(modality, 0) + TOKENS_PER_ATTACHMENT
    return counts


def _render(exchange: Exchange, request: Mapping[str, Any], model: Model, answer: Answer) -> Render:
    config, ids, scenario = request.get("generationConfig") or {}, exchange.ids, exchange.scenario
    signs = model.generation >= 3 or bool(answer.reasoning and request.get("tools"))
    size = (config.get("imageConfig") or {}).get("imageSize", "")
    pictures = answer.pictures if model.pictures else 0
    return Render(
        answer=answer,
        response_id=ids.alphanumeric(23),
        calls=tuple((call.id or _call_id(model, ids), call) for call in answer.calls),
        show_thoughts=(config.get("thinkingConfig") or {}).get("includeThoughts") is True,
        signature=SIGNER.sign(FAMILY, "", ids.octets(16)) if signs else None,
        closing_chunk=model.generation >= 3,
        pictures=tuple(
            base64_text(png(int.from_bytes(ids.octets(3)), scenario.picture_bytes)) for _ in range(pictures)
        ),
        picture_tokens=(model.picture_tokens or {}).get(size, 0),
        modalities=_modalities(request),
        candidates=config.get("candidateCount") or 1,
    )


def _call_id(model: Model, ids: Identifiers) -> str | None:
    return f"call_{ids.digits(5)}" if model.generation >= 3 else None
