"""Requests that the vendor refuses, and error tables."""

from dataclasses import dataclass

from tools.simulators.scenario import ErrorKind


@dataclass(frozen=True, slots=True)
class VendorError:
    """One row of a vendor's error table.

    `type` and `code` are used where the vendor's body has such fields; `message` may contain `{model}`.
    """

    status: int
    type: str | None
    code: str | None
    message: str
    headers: tuple[tuple[str, str], ...] = ()


class RefusedError(Exception):
    """Raised by a vendor's checks.

    `kind` selects the row of the vendor's error table; the other arguments override its values.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        kind: ErrorKind = "bad_request",
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message or kind)
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.status = status


PROXY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)
