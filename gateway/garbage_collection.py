"""Python's search for garbage in circles, held back while serving.

Answers free themselves by counting references. The search would look through everything young several times for each
of them, and through all that was made at the start for nothing.
"""

import gc

YOUNG = 50_000
"""Objects to be made, beyond those that were freed, before the young ones are searched."""


def settle() -> None:
    """To be called once everything that stays has been made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
