"""One GET against servers that misbehave."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.verify import fetch as fetching
from tools.verify.__main__ import main
from tools.verify.errors import UnreachableError, UsageError
from tools.verify.fetch import fetch, origin, unverified_connection

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[str]:
    """``serve`` is called with one connection, whose request has been read."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join()


def dripping(head: bytes) -> Serve:
    """Send ``head``, then one byte at a time until the client closes."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(head)
        gone = threading.Event()
        try:
            while not gone.wait(0.02):
                connection.sendall(b"a")
        except OSError:
            gone.set()

    return serve


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n",
        b"HTTP/1.1 100 C\r\n\r\n",
    ],
)
def test_a_server_that_drips_is_given_up(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_TOTAL_SECONDS", 0.3)
    with serving(dripping(head)) as url, pytest.raises(UnreachableError, match=r"no complete response within 0\.3 s"):
        fetch(url)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://[2001:db8::5]/signing-key", ("2001:db8::5", 443)),
        ("http://[::1]", ("::1", 80)),
        ("https://[2001:db8::abcd]:8443", ("2001:db8::abcd", 8443)),
        ("https://node.example", ("node.example", 443)),
    ],
)
def test_no_part_of_an_address_is_a_port(url: str, address: tuple[str, int]) -> None:
    connection = unverified_connection(origin(url), seconds=1)
    assert (connection.host, connection.port) == address


@pytest.mark.parametrize("host", ["", "no de", "node\x01", "node\x7f"])
def test_a_host_that_no_request_can_name_is_no_url(host: str) -> None:
    with pytest.raises(UsageError, match="not an http or https URL"):
        fetch(f"https://{host}/signing-key")


def test_what_a_server_says_moves_no_cursor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"\x1b[2J\x1b[1;1HPASS signature\r\n\r\n")

    request = tmp_path / "request.json"
    request.write_text("{}", encoding="utf-8")
    with serving(serve) as url:
        assert main(["response", "--key-url", f"{url}key", "--request", str(request), "--response", str(request)]) == 3
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\\x1b[2J" in told


def test_an_answer_in_many_pieces_is_one() -> None:
    def serve(connection: socket.socket) -> None:
        for piece in (b"HTTP/1.1 200 OK\r\nConte", b"nt-Length: 6\r\n\r\nabc", b"def"):
            connection.sendall(piece)

    with serving(serve) as url:
        fetched = fetch(url)
    assert (fetched.body, fetched.certificate) == (b"abcdef", None)
