"""How the commands end, and what they print where the output's encoding lacks a character."""

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130
"""128 + SIGINT, as in shells."""
BROKEN_PIPE = 141
"""128 + SIGPIPE, as in shells."""


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Exit with the status that ``main`` returns, without a traceback on Ctrl-C (130) and when the reader of the output
    has gone (141). Characters that the output's encoding lacks are escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(_run(main))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


def _run(main: Callable[[], int | None]) -> int | None:
    """The status of ``main``, whose output is flushed: at the interpreter's exit a closed pipe would be reported."""
    try:
        return main()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        print(end="", flush=True)
