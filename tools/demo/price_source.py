"""A simulated CoinGecko token price API, with one price that may be changed or blocked (facts/x402.md 5)."""

from decimal import Decimal
from types import TracebackType
from typing import Self

from aiohttp import web


class PriceSource:
    """Serves within its ``async with``. ``usd`` is the price of any token; None answers 403, like CoinGecko's CDN."""

    def __init__(self) -> None:
        self.usd: Decimal | None = Decimal("0.10")
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/simple/token_price/{platform}", self._price)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _price(self, request: web.Request) -> web.Response:
        if self.usd is None:
            return web.json_response({"status": {"error_code": 1020}}, status=403)
        quoted = ", ".join(
            f'"{address.lower()}": {{"usd": {self.usd:f}}}'
            for address in request.query["contract_addresses"].split(",")
        )
        return web.Response(text=f"{{{quoted}}}", content_type="application/json")
