"""``POST /v1/completions``, the legacy endpoint."""

from aiohttp import web

from gateway.endpoints.caller import caller_key
from gateway.endpoints.serving import Reading, order, serve
from gateway.exchange import Exchange
from gateway.openai_api.completion import CompletionRequest, chat_bodies, parse_completion
from gateway.openai_api.deltas import Delta, Text
from gateway.openai_api.errors import GatewayError, unsupported_value
from gateway.openai_api.request import parse_chat
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Chat
from gateway.wire_formats import COMPLETION


async def completions(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Answer prompts as chats, in the legacy shape; the answer's first text is also its ``completion``."""
    async with Reading(services, request) as sent:
        completion = parse_completion(sent.json)
        record.stream = bool(completion.stream)
        model = services.catalog.find(completion.model)
        if "image" in model.outputs:
            raise _no_place_for_pictures(model.id)
        caller = caller_key(request)
        chats = [Chat(body, parse_chat(body), model, caller=caller) for body in chat_bodies(sent.json, completion)]
        exchange = Exchange(
            services,
            COMPLETION,
            sent.json,
            chats,
            order(services, request, sent, chats),
            record,
            _Echo(completion) if completion.echo else None,
        )
        try:
            return await serve(services, exchange, request, stream=record.stream)
        except GatewayError as error:
            raise _named_as_sent(error) from None


def _named_as_sent(error: GatewayError) -> GatewayError:
    """``error`` about the messages that prompts were turned into, in the caller's words."""
    if error.param is not None and error.param.startswith("messages"):
        error.param = "prompt"
    return error


def _no_place_for_pictures(model: str) -> GatewayError:
    """The legacy answer is text only: a picture would be paid for and never arrive."""
    return unsupported_value(f"The model '{model}' produces pictures: ask it at /v1/chat/completions.", "model")


class _Echo:
    """The prompt before each of its choices, as ``echo`` asks."""

    def __init__(self, completion: CompletionRequest) -> None:
        self._completion = completion

    def __call__(self, position: int) -> list[Delta]:
        prompt = self._completion.prompts[position]
        return [Text(prompt, choice) for choice in range(self._completion.n or 1)]
