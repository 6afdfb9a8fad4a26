"""A TLS server that heeds no ``close_notify``: only the end of the TCP connection stops it."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def deaf_server(tls: ssl.SSLContext, head: bytes, chunk: bytes) -> Iterator[tuple[str, Event]]:
    """Its URL, and an event that is set if the client ends the TCP connection within three seconds of ``chunk``s."""

    def stream() -> None:
        accepted, _ = listener.accept()
        with tls.wrap_socket(accepted, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(head)
            try:
                for _ in range(300):
                    connection.sendall(chunk)
                    time.sleep(0.01)
            except OSError:
                cut.set()

    cut = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=stream)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", cut
        thread.join()
