"""Connections that the supervisor accepts, and those that it leaves in the backlog for now."""

import pytest

from tests.workers.supervisor_script import run


@pytest.mark.parametrize(("shortage", "tries"), [("EMFILE", 1), ("ENFILE", 1), ("ENOMEM", 1), ("ECONNABORTED", 5)])
async def test_a_shortage_of_files_is_waited_out(shortage: str, tries: int) -> None:
    """A connection that cannot be accepted keeps its listener readable: the supervisor once asked without a pause."""
    status, output = await run(f"""
        import errno, socket

        class Short(socket.socket):
            tries, short = 0, True

            def accept(self):
                Short.tries += 1
                if Short.short:
                    raise OSError(errno.{shortage}, os.strerror(errno.{shortage}))
                return super().accept()

        def serve_one(channel, injected):
            from gateway.workers.channel import receive
            send(channel, Packet("ready"))
            while (received := receive(channel)) is None or received[1] is None:
                time.sleep(0.01)
            received[1].sendall(b"served")
            time.sleep(60)

        listener = Short()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        supervisor = Supervisor([listener], 1, serve_one)
        supervisor.start()
        client = socket.create_connection(listener.getsockname())
        supervisor._set_accepting(accepting=True)
        for _ in range(5):
            supervisor._step(0.05, accepting=True)
        print(Short.tries, flush=True)
        Short.short = False
        supervisor._accept_after = 0.0
        supervisor._step(1.0, accepting=True)
        print(client.recv(6))
        supervisor.stop()
    """)
    assert status == 0
    assert output.splitlines()[-2:] == [str(tries), "b'served'"]
    assert ("cannot accept connections" in output) is (tries == 1)


async def test_connections_of_a_worker_that_has_just_ended_go_to_the_next() -> None:
    status, output = await run("""
        import socket
        from gateway.workers.channel import receive

        def serve_all(channel, injected):
            send(channel, Packet("ready"))
            while True:
                time.sleep(0.01)
                while (received := receive(channel)) is not None:
                    if received[1] is not None:
                        received[1].sendall(b"served")

        listener = socket.create_server(("127.0.0.1", 0))
        supervisor = Supervisor([listener], 2, serve_all)
        supervisor.start()
        ended, other = supervisor._workers
        kill(ended, signal.SIGKILL)
        os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(4)]
        supervisor._accept(0)
        print([client.recv(6) for client in clients], supervisor._workers.keys() == {ended, other})
        supervisor.stop()
    """)
    assert (status, output) == (0, f"{[b'served'] * 4} True\n")


async def test_a_burst_that_fills_the_channels_loses_no_connection() -> None:
    """They were reset, silently, once both workers had some hundreds to take."""
    status, output = await run("""
        import socket
        from gateway.workers import channel
        from gateway.workers.channel import receive

        reader, writer = os.pipe()

        def serve_late(channel, injected):
            send(channel, Packet("ready"))
            os.read(reader, 1)
            while True:
                time.sleep(0.01)
                while (received := receive(channel)) is not None:
                    if received[1] is not None:
                        received[1].sendall(b"served")
                        received[1].close()

        channel.MAX_PACKET_BYTES = 8192
        listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        supervisor = Supervisor([listener], 2, serve_late)
        supervisor.start()
        clients = [socket.create_connection(listener.getsockname()) for _ in range(100)]
        supervisor._step(0.0, accepting=True)
        supervisor._step(0.0, accepting=True)
        assert supervisor._unassigned is not None and not supervisor._accepting
        supervisor._spawn()
        os.write(writer, b"123")
        while supervisor._unassigned is not None or supervisor._selector.select(0.5):
            supervisor._step(0.1, accepting=True)
        print(sum(client.recv(7) + client.recv(1) == b"served" for client in clients))
        supervisor.stop()
    """)
    assert (status, output) == (0, "100\n")
