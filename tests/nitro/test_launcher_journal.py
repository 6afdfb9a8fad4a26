"""The launcher and the journal: its sink kept running, its key generated once."""

import os
import re
import shlex
import signal
import sys
import time

from tests.nitro.launcher_host import BEHAVIOUR, COREUTILS, Host, ended, on


def test_without_a_journal_nothing_is_kept_and_no_key_is_made(host: Host) -> None:
    host.settings = {"JOURNAL_FOLDER": ""}
    with host.launched() as (process, endpoints):
        process.terminate()
        process.communicate(timeout=30)
    assert "journal      none: unsettled payments are lost when the enclave stops\n" in endpoints
    assert not host.called("python3 -m tools.inject.journal_key")
    assert not host.called("python3 -m tools.journal_sink")
    assert "8010" not in "".join(host.calls)


def test_a_journal_whose_other_end_is_lost_gets_a_new_one(host: Host) -> None:
    host.settings = {"WATCH_SECONDS": "1"}
    with host.launched() as (process, _):
        first = host.pid("sink")
        os.kill(first, signal.SIGKILL)
        for _ in range(200):
            if host.pid("sink") != first:
                break
            time.sleep(0.05)
        second = host.pid("sink")
        assert second != first
        assert not ended(second)
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert host.nothing_is_left()


def test_a_key_for_the_journal_is_made_once_and_told_to_nobody(host: Host) -> None:
    """Runs the real tool, not a stand-in."""
    host.behaviour["python3"] = (
        on("*journal_key*", f'exec {shlex.quote(sys.executable)} "$@"') + f"\n{BEHAVIOUR['python3']}"
    )
    printed = []
    for _ in range(2):
        with host.launched() as (process, before):
            process.terminate()
            printed += [before, *process.communicate(timeout=30)]
        for name in COREUTILS:
            (host.folder / "bin" / name).unlink()
    [line] = [line for line in (host.folder / ".env").read_text().splitlines() if line.startswith("JOURNAL_KEY=")]
    key = line.partition("=")[2]
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert printed[0].startswith("JOURNAL_KEY was generated and added to .env")
    assert "was generated" not in printed[3]
    assert key not in "".join(printed)
    assert key not in "\n".join(host.calls) + (host.folder / "notes" / "environments").read_text()
