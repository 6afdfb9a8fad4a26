"""What the load generator prints."""

import os
import subprocess
import sys
import time

_WRITE = """
import asyncio, uvloop
from tools.bench.load import write_out
uvloop.run(asyncio.sleep(0))
write_out(bytes(300_000))
"""


def test_a_long_outcome_is_printed_whole_to_a_slow_reader_also_without_buffers() -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, "-c", _WRITE], stdout=subprocess.PIPE, env=environment) as generator:
        assert generator.stdout is not None
        time.sleep(0.5)
        assert len(generator.stdout.read()) == 300_000
