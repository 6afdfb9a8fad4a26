"""``POST /v1/completions``, the legacy endpoint."""

from functools import partial

from aiohttp import web

from gateway.endpoint_formats import COMPLETION
from gateway.endpoints.caller import caller_key
from gateway.endpoints.order import payment_order
from gateway.endpoints.request_body import BodyReader
from gateway.endpoints.serving import serve
from gateway.exchange import Exchange
from gateway.openai_api.completion import CompletionRequest, chat_bodies, parse_completion
from gateway.openai_api.deltas import Delta, Text
from gateway.openai_api.errors import GatewayError, unsupported_value
from gateway.openai_api.request import parse_chat
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Chat


async def completions(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Answer prompts as chats, in the legacy format; the first text is also the answer's ``completion``."""
    async with BodyReader(services, request) as body:
        completion = parse_completion(body.json)
        record.stream = bool(completion.stream)
        model = services.catalog.find(completion.model)
        if "image" in model.outputs:
            raise _text_only(model.id)
        caller = caller_key(request)
        chats = [Chat(chat, parse_chat(chat), model, caller=caller) for chat in chat_bodies(body.json, completion)]
        order = payment_order(services, request, body, chats)
        await services.turns.next(len(body.raw))
        exchange = Exchange(
            services,
            COMPLETION,
            body.json,
            chats,
            order,
            record,
            partial(_echo, completion) if completion.echo else None,
        )
        try:
            return await serve(services, exchange, request, stream=record.stream)
        except GatewayError as error:
            raise _with_prompt_param(error) from None


def _with_prompt_param(error: GatewayError) -> GatewayError:
    """``error`` with ``param`` naming the prompt instead of the messages made from it."""
    if error.param is not None and error.param.startswith("messages"):
        error.param = "prompt"
    return error


def _text_only(model: str) -> GatewayError:
    """Legacy answers hold text only: an image would be paid for and not delivered."""
    return unsupported_value(
        f"The model '{model}' generates images and is not supported by this endpoint. Use /v1/chat/completions.",
        "model",
    )


def _echo(completion: CompletionRequest, position: int) -> list[Delta]:
    """The prelude of ``echo``: the prompt before each of its choices."""
    prompt = completion.prompts[position]
    return [Text(prompt, choice) for choice in range(completion.n or 1)]
