"""``POST /v1/chat/completions``."""

from aiohttp import web

from gateway.endpoint_formats import CHAT, FUNCTIONS
from gateway.endpoints.caller import caller_key
from gateway.endpoints.order import payment_order
from gateway.endpoints.request_body import BodyReader
from gateway.endpoints.serving import serve
from gateway.exchange import Exchange
from gateway.openai_api.checks import check
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.legacy_functions import functions_to_tools, with_legacy_params
from gateway.openai_api.reasoning import reasoning_to_effort, with_reasoning_param
from gateway.openai_api.request import parse_chat
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Chat


async def chat_completions(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Answer one chat, streamed or not, in OpenAI's shape and signed."""
    async with BodyReader(services, request) as body:
        modern = functions_to_tools(body.json)
        try:
            translated = reasoning_to_effort(modern)
            chat_request = parse_chat(translated)
            check(chat_request)
            record.stream = bool(chat_request.stream)
            model = services.catalog.find(chat_request.model)
            chat = Chat(translated, chat_request, model, caller=caller_key(request))
            order = payment_order(services, request, body, [chat])
            await services.turns.next(len(body.raw))
            format_ = FUNCTIONS if body.json.get("functions") else CHAT
            exchange = Exchange(services, format_, body.json, [chat], order, record)
            return await serve(services, exchange, request, stream=chat.stream)
        except GatewayError as error:
            if modern is not body.json:
                error = with_legacy_params(error, body.json)
            raise with_reasoning_param(error, body.json) from None
