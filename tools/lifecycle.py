"""``python -m tools.lifecycle``: print docs/lifecycle.md, generated from the state table of gateway/lifecycle.py."""

import sys

from gateway.lifecycle import MEANINGS, diagram


def page() -> str:
    """The whole page."""
    rows = "\n".join(f"| {state} | {meaning} |" for state, meaning in MEANINGS.items())
    return (
        "# The states of a request\n\n"
        "Generated from the table in `gateway/lifecycle.py` by `python -m tools.lifecycle`; "
        "a test checks that it is up to date.\n\n"
        f"```mermaid\n{diagram()}```\n\n| state | meaning |\n| --- | --- |\n{rows}\n"
    )


if __name__ == "__main__":
    sys.stdout.write(page())
