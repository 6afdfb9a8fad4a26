"""A request that the vendor would not serve."""

from dataclasses import dataclass

from tools.simulators.scenario import ErrorKind


@dataclass(frozen=True, slots=True)
class VendorError:
    """One row of a vendor's error table.

    `type` and `code` go where the vendor's body has such fields; a message may hold `{model}` and `{detail}`.
    """

    status: int
    type: str | None
    code: str | None
    message: str
    headers: tuple[tuple[str, str], ...] = ()


class Refused(Exception):  # noqa: N818
    """Raised by a vendor's checks.

    `kind` picks the row of the vendor's error table, the rest replaces what that row says.
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
