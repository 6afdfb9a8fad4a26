"""The supervisor under signals and resource shortages at awkward moments."""

import pytest

from tests.workers.supervisor_script import run


async def test_a_worker_that_is_told_to_stop_as_it_is_forked() -> None:
    """Before it has installed its own handlers: the signal was once lost and the worker waited for in vain."""
    status, output = await run("""
        def late_fork():
            pid = fork()
            if pid:
                kill(pid, signal.SIGTERM)
            else:
                time.sleep(0.3)
            return pid

        supervisor = Supervisor([], 1, serve)
        supervisor.start()
        os.fork = late_fork
        supervisor._spawn()
        supervisor.stop()
        print("all ended")
    """)
    assert (status, output) == (0, "all ended\n")


async def test_nobody_is_replaced_once_it_stops() -> None:
    status, output = await run("""
        def counted():
            global forks
            forks += 1
            return fork()

        os.fork = counted
        supervisor = Supervisor([], 2, serve)
        supervisor.start()
        kill(next(iter(supervisor._workers)), signal.SIGKILL)
        while len(supervisor._workers) == 2:
            supervisor._step(1.0, accepting=False)
        supervisor._spawn_after = 0.0
        kill(os.getpid(), signal.SIGTERM)
        supervisor.run()
        print(forks)
    """)
    assert (status, output.splitlines()[-1]) == (0, "2")


async def test_a_worker_that_ends_with_the_whole_process_group_is_not_lost() -> None:
    """It may have ended before the supervisor looks at its own signals."""
    status, output = await run("""
        supervisor = Supervisor([], 1, serve)
        supervisor.start()
        [pid] = supervisor._workers
        os.killpg(0, signal.SIGTERM)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        supervisor._reap()
        supervisor.run()
        print(supervisor._workers, supervisor._calls._metrics.total())
    """)
    assert (status, output) == (0, "{} []\n")


async def test_a_signal_during_the_start_is_heeded() -> None:
    status, output = await run("""
        def never_ready(channel, injected):
            kill(os.getppid(), signal.SIGTERM)
            time.sleep(60)

        supervisor = Supervisor([], 1, never_ready)
        supervisor.start()
        supervisor.run()
        print("stopped")
    """)
    assert (status, output) == (0, "stopped\n")


async def test_a_start_without_enough_processes_ends_those_it_has() -> None:
    """As under a limit of pids. The message was "cannot listen", and the first worker outlived its supervisor."""
    status, output = await run("""
        from gateway.workers.supervisor import WorkerLostError

        def fork_once():
            global forks
            forks += 1
            if forks == 2:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return fork()

        os.fork = fork_once
        supervisor = Supervisor([], 2, serve)
        try:
            supervisor.start()
        except WorkerLostError as error:
            print(error, supervisor._workers)
    """)
    assert (status, output) == (0, "a worker cannot be forked: [Errno 11] Resource temporarily unavailable {}\n")


async def test_the_start_waits_for_the_slowest_worker() -> None:
    status, output = await run("""
        reader, writer = os.pipe()
        os.write(writer, b"03")

        def serve_later(channel, injected):
            time.sleep(int(os.read(reader, 1)) / 10)
            serve(channel, injected)

        supervisor = Supervisor([], 2, serve_later)
        supervisor.start()
        print([worker.ready for worker in supervisor._workers.values()])
        supervisor.stop()
    """)
    assert (status, output) == (0, "[True, True]\n")


async def test_a_worker_that_ends_during_the_start_ends_the_others() -> None:
    status, output = await run("""
        from gateway.workers.supervisor import WorkerLostError

        reader, writer = os.pipe()
        os.write(writer, b"se")

        def serve_or_end(channel, injected):
            if os.read(reader, 1) == b"s":
                serve(channel, injected)

        supervisor = Supervisor([], 2, serve_or_end)
        try:
            supervisor.start()
        except WorkerLostError as error:
            print(error, supervisor._workers)
    """)
    assert (status, output.splitlines()[-1]) == (0, "a worker exited before it was ready {}")


@pytest.mark.parametrize("call", ["os.fork", "supervisor_module.channel_pair"])
async def test_a_worker_that_cannot_be_forked_now_is_forked_later(call: str) -> None:
    """A brief shortage of memory or files costs the gateway one worker for that moment, not all of them."""
    status, output = await run(f"""
        import gateway.workers.supervisor as supervisor_module

        work = {call}

        def short():
            {call} = work
            raise OSError(12, "Cannot allocate memory")

        supervisor = Supervisor([], 2, serve)
        supervisor.start()
        first, second = supervisor._workers
        {call} = short
        kill(first, signal.SIGKILL)
        while len(supervisor._workers) == 2:
            supervisor._step(0.1, accepting=False)
        while len(supervisor._workers) < 2:
            supervisor._step(0.1, accepting=False)
            supervisor._replace_lost()
        print(second in supervisor._workers, first in supervisor._workers)
        supervisor.stop()
    """)
    assert status == 0
    assert output.splitlines()[-1] == "True False"
    assert "cannot fork a worker" in output


async def test_a_worker_that_cannot_tell_its_metrics_ends_nobody() -> None:
    """Its ``SupervisorLink`` answers None for a request that failed."""
    status, output = await run("""
        from gateway.workers.channel import receive

        def failing(channel, injected):
            send(channel, Packet("ready"))
            send(channel, Packet("metrics", 7))
            while True:
                time.sleep(0.01)
                while (received := receive(channel)) is not None:
                    match received[0]:
                        case Packet("metrics", number):
                            send(channel, Packet("reply", number))
                        case Packet("reply", 7, told):
                            assert told == []
                            return

        supervisor = Supervisor([], 1, failing)
        supervisor.start()
        while supervisor._workers:
            supervisor._step(0.1, accepting=False)
        print("told")
    """)
    assert (status, output.splitlines()[-1]) == (0, "told")
    assert "exited with status 0" in output


async def test_why_a_worker_cannot_be_replaced_is_logged() -> None:
    status, output = await run("""
        from gateway.billing.storage.store import StoreUnavailableError

        def unusable(channel, injected):
            raise StoreUnavailableError("journal: database or disk is full")

        supervisor = Supervisor([], 1, serve)
        supervisor.start()
        supervisor._run_worker = unusable
        [first] = supervisor._workers
        kill(first, signal.SIGKILL)
        while first in supervisor._workers:
            supervisor._step(0.1, accepting=False)
        supervisor._replace_lost()
        assert not supervisor._workers, "not at once: the next may end as soon"
        supervisor._spawn_after = 0.0
        supervisor._replace_lost()
        while supervisor._workers:
            supervisor._step(0.1, accepting=False)
    """)
    assert status == 0
    assert "cannot start: journal: database or disk is full" in output


async def test_a_worker_that_hangs_does_not_keep_the_gateway_from_ending() -> None:
    status, output = await run("""
        def deaf(channel, injected):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            serve(channel, injected)

        supervisor = Supervisor([], 2, deaf, longest_drain=0.1)
        supervisor.start()
        stopped = next(iter(supervisor._workers))
        kill(stopped, signal.SIGSTOP)
        supervisor.stop()
        print("all ended")
    """)
    assert status == 0
    assert output.count("has not drained; killing it") == 2
    assert output.endswith("all ended\n")


async def test_a_worker_that_answers_no_pings_is_replaced() -> None:
    """Its channel has room: it would get its share of the connections as long as it hangs."""
    status, output = await run("""
        import asyncio
        from gateway.workers.link import SupervisorLink

        async def answer(channel):
            link = SupervisorLink(channel, lambda number, connection: None)
            link.ready()
            await link.gone.wait()

        def serve_link(channel, injected):
            asyncio.run(answer(channel))

        supervisor = Supervisor([], 2, serve_link)
        supervisor.start()
        hangs, answers = supervisor._workers.values()
        kill(hangs.pid, signal.SIGSTOP)
        while hangs.pid in supervisor._workers:
            supervisor._ping_at = 0.0
            supervisor._step(0.1, accepting=False)
            while answers.unanswered:
                supervisor._step(1.0, accepting=False)
        print(answers.pid in supervisor._workers, hangs.unanswered)
        supervisor.stop()
    """)
    assert status == 0
    assert output.count("does not answer; killing it") == 1
    assert output.endswith("True 4\n")


async def test_what_a_worker_logs_last_is_written_before_it_ends() -> None:
    """Although nobody reads at that moment."""
    status, output = await run("""
        import asyncio, logging
        from gateway.telemetry import logs

        reader, writer = os.pipe()
        os.dup2(writer, 2)
        logs.WAIT_SECONDS = 15.0
        logs.configure_logging()

        async def log():
            for number in range(100):
                logging.getLogger().warning("%d %s", number, 2000 * "x")

        def serve_and_log(channel, injected):
            send(channel, Packet("ready"))
            asyncio.run(log())

        supervisor = Supervisor([], 1, serve_and_log)
        supervisor.start()
        read = b""
        while read.count(b"warning") < 100:
            read += os.read(reader, 1 << 16)
        print("all read")
    """)
    assert (status, output) == (0, "all read\n")
