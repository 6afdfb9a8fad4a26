"""``POST /v1/chat/completions``."""

from aiohttp import web

from gateway.endpoints.caller import caller_key
from gateway.endpoints.serving import Reading, order, serve
from gateway.exchange import Exchange
from gateway.openai_api.checks import check
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.legacy_functions import modernise, named_as_sent
from gateway.openai_api.request import parse_chat
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Chat
from gateway.wire_formats import CHAT


async def chat_completions(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Answer one chat, streamed or not, in OpenAI's shape and signed."""
    async with Reading(services, request) as sent:
        body = modernise(sent.json)
        try:
            chat_request = parse_chat(body)
            check(chat_request)
            record.stream = bool(chat_request.stream)
            model = services.catalog.find(chat_request.model)
            chat = Chat(body, chat_request, model, caller=caller_key(request))
            exchange = Exchange(services, CHAT, sent.json, [chat], order(services, request, sent, [chat]), record)
            return await serve(services, exchange, request, stream=chat.stream)
        except GatewayError as error:
            raise error if body is sent.json else named_as_sent(error, sent.json) from None
