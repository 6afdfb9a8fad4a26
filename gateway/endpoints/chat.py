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
from gateway.openai_api.request import parse_chat
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Chat


async def chat_completions(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """Answer one chat, streamed or not, in OpenAI's shape and signed."""
    async with BodyReader(services, request) as body:
        translated = functions_to_tools(body.json)
        try:
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
            raise error if translated is body.json else with_legacy_params(error, body.json) from None
