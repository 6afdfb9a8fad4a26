"""JSON-RPC error codes, and the exception that carries an error object on both ends of the wire."""

from typing import Any

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, SERVER_ERROR = -32700, -32600, -32601, -32602, -32000
EXECUTION_REVERTED = 3
"""Geth's code for a call that reverted; `data` is what it reverted with."""


class RpcError(Exception):
    """An `error` object: its code, its message and perhaps `data`."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    def json(self) -> dict[str, Any]:
        body = {"code": self.code, "message": str(self)}
        return body if self.data is None else body | {"data": self.data}
