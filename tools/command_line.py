"""Exit status of the commands."""

import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130
"""128 + SIGINT, as in shells."""


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Exit with the status that ``main`` returns; on Ctrl-C with 130 and without a traceback."""
    try:
        status = main()
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
