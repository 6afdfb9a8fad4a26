"""Batched JSON-RPC calls to an Ethereum node, and decoding of their results."""

from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from gateway.billing.evm import values as evm
from gateway.http_client.body_start import read_start

_TIMEOUT = 8.0
_MAX_RESPONSE_BYTES = 16 << 20
"""More than the receipt of a transaction that fills a block."""
_MALFORMED = (ValueError, RecursionError, KeyError, TypeError)

Call = tuple[str, list[Any]]
"""Method and parameters."""


class ChainUnavailableError(Exception):
    """The RPC endpoint gave no usable response."""


class CallRevertedError(ChainUnavailableError):
    """A contract call reverted."""


class JsonRpc:
    """The endpoint at ``url``. The caller closes ``session``."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """The results of ``calls``, in order. Raises ChainUnavailableError."""
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
            for number, (method, parameters) in enumerate(calls)
        ]
        try:
            responses = await self._post_with_retry(msgspec.json.encode(requests))
            if any(_is_revert(each) for each in responses):
                raise CallRevertedError(f"{calls[0][0]}: reverted")
            results = {each["id"]: each["result"] for each in responses}
            return [results[number] for number in range(len(calls))]
        except (TimeoutError, aiohttp.ClientError, *_MALFORMED) as error:
            raise ChainUnavailableError(f"{calls[0][0]}: {type(error).__name__}") from None

    async def _post_with_retry(self, requests: bytes) -> Any:
        """``_post``, again if the connection is lost: the endpoint may have been closing it for having been idle."""
        try:
            return await self._post(requests)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._post(requests)

    async def _post(self, requests: bytes) -> Any:
        async with self._session.post(
            self._url,
            data=requests,
            headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
            allow_redirects=False,
        ) as response:
            body = await read_start(response, _MAX_RESPONSE_BYTES + 1)
        if len(body) > _MAX_RESPONSE_BYTES:
            raise ChainUnavailableError("the response is too large")
        return msgspec.json.decode(body)


def _is_revert(response: Any) -> bool:
    """Recognized by geth's messages, which other nodes use too; their error codes differ."""
    error = response.get("error") if isinstance(response, dict) else None
    message = str(error.get("message")).lower() if isinstance(error, dict) else ""
    return "revert" in message or "invalid opcode" in message


def as_integer(value: Any) -> int:
    """A 256-bit quantity in hexadecimal. Raises ChainUnavailableError."""
    try:
        return evm.uint256(as_hex_text(value), hexadecimal=True)
    except ValueError:
        raise ChainUnavailableError("the result is not a 256-bit number") from None


def as_hex_text(value: Any) -> str:
    """The text of hexadecimal data, ``0x0`` for empty data. Raises ChainUnavailableError."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ChainUnavailableError("the result is not hexadecimal")
    return value if len(value) > 2 else "0x0"
