"""One worker at a time may try the one-time injection, and none after the first success."""

from gateway.workers.injection import InjectionPermission


class Replies(list[tuple[int, int, bool]]):
    """The replies so far: process id, number of the request, whether it was granted."""

    def __call__(self, pid: int, number: int, granted: bool) -> None:
        self.append((pid, number, granted))


def test_a_refused_injection_leaves_it_to_the_next() -> None:
    replies = Replies()
    permission = InjectionPermission(replies)
    permission.request(1, 7)
    permission.request(2, 8)
    assert replies == [(1, 7, True)]
    permission.give_back()
    assert replies == [(1, 7, True), (2, 8, True)]


def test_a_success_denies_all_others_whether_they_wait_or_come_later() -> None:
    replies = Replies()
    permission = InjectionPermission(replies)
    for pid in (1, 2, 3):
        permission.request(pid, 7)
    permission.use()
    permission.request(1, 8)
    assert replies == [(1, 7, True), (2, 7, False), (3, 7, False), (1, 8, False)]


def test_a_worker_that_ends_passes_it_on_and_is_told_nothing_more() -> None:
    replies = Replies()
    permission = InjectionPermission(replies)
    for pid in (1, 2, 3):
        permission.request(pid, 7)
    permission.remove_worker(2)
    permission.remove_worker(1)
    assert replies == [(1, 7, True), (3, 7, True)]
    permission.remove_worker(2)
    permission.request(4, 9)
    assert len(replies) == 2
