"""A TLS server that closes the TCP connection right after its answer, without waiting for the client to read it."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def closing_server(tls: ssl.SSLContext, head: bytes, body: bytes) -> Iterator[tuple[str, Event]]:
    """Its URL, and an event on which it sends the body after the head, and closes the TCP connection at once."""

    def serve() -> None:
        accepted, _ = listener.accept()
        with tls.wrap_socket(accepted, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(head)
            awaited.wait(5.0)
            connection.sendall(body)

    awaited = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5.0)
        thread = Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", awaited
        thread.join()
