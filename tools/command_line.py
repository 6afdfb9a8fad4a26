"""How the commands end."""

import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130
"""128 and SIGINT's number, as shells have it."""


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """End the process with ``main``'s status; on Ctrl-C with 130 and without a word."""
    try:
        status = main()
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
