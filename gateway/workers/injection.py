"""Permission for the one-time injection, which one worker at a time may try."""

from collections import deque
from collections.abc import Callable


class InjectionPermission:
    """Grants requests one at a time, since an injection may be refused, and denies them after the first success.

    ``reply`` takes a worker's process id, the number of its request, and whether the request is granted.
    """

    def __init__(self, reply: Callable[[int, int, bool], None]) -> None:
        self._reply = reply
        self._requests: deque[tuple[int, int]] = deque()
        self._holder: int | None = None
        self._used = False

    def request(self, pid: int, number: int) -> None:
        self._requests.append((pid, number))
        self._grant()

    def use(self) -> None:
        """The holder's injection was accepted."""
        self._used = True
        self._grant()

    def give_back(self) -> None:
        """The holder's injection was refused."""
        self._holder = None
        self._grant()

    def remove_worker(self, pid: int) -> None:
        """A worker has ended: forget its requests, and take the permission back if it had it."""
        self._requests = deque(request for request in self._requests if request[0] != pid)
        if self._holder == pid:
            self.give_back()

    def _grant(self) -> None:
        while self._requests and (self._holder is None or self._used):
            pid, number = self._requests.popleft()
            self._holder = pid
            self._reply(pid, number, not self._used)
