"""The interface of a vendor: requests in, replies out; no I/O."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from tools.simulators.delivery import Reply
from tools.simulators.identifiers import Identifiers
from tools.simulators.received import ReceivedRequest
from tools.simulators.refusal import PROXY_PAGE, RefusedError
from tools.simulators.scenario import Scenario

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request, decoded, with the scenario to answer it with."""

    received: ReceivedRequest
    body: Any
    scenario: Scenario
    ids: Identifiers
    serve_retired: bool

    def fail_if_scripted(self) -> None:
        """Raise the scenario's error, unless it belongs inside the stream."""
        if self.scenario.error is not None and self.scenario.error_after is None:
            raise self.scripted_error()

    def scripted_error(self) -> RefusedError:
        assert self.scenario.error is not None  # noqa: S101
        return RefusedError(self.scenario.message, kind=self.scenario.error, status=self.scenario.status)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route of a vendor; `last_user_text` extracts the text that may hold a directive from any JSON body."""

    answer: Callable[[Exchange], Reply]
    last_user_text: Callable[[Any], str]
    method: str = "POST"
    public: bool = False


class Vendor(ABC):
    """The wire format of one vendor."""

    name: ClassVar[str]
    base_path: ClassVar[str] = ""

    @abstractmethod
    def endpoint(self, received: ReceivedRequest) -> Endpoint | None:
        """The endpoint at this path, or None."""

    @abstractmethod
    def authenticate(self, received: ReceivedRequest) -> None:
        """Raise `RefusedError` for a missing key, or a wrong one: one that starts with "wrong"."""

    @abstractmethod
    def error(self, refused: RefusedError, exchange: Exchange) -> Reply:
        """The vendor's reply to a refused or failed request."""


def html_page(refused: RefusedError, exchange: Exchange) -> Reply:
    """The error page of a proxy in front of the vendor."""
    return Reply(
        status=refused.status or 502,
        headers=(("Content-Type", "text/html"),),
        events=(PROXY_PAGE,),
        scenario=exchange.scenario,
    )
