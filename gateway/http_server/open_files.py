"""How many files this process may have open, nearly all of them connections, and how many of them clients get.

Every request at work has two connections. If clients could take all there are, no vendor could be reached, and the
vendor would be held responsible.
"""

import resource
import sys

MOST_CONNECTIONS = 16 * 1024
_KEPT = 64
"""For the journal, the facilitator and the like."""


def allow_enough() -> None:
    """Have as many as can be used, or the system lets this process and its children have; shells give 1024 only."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(_KEPT + 2 * MOST_CONNECTIONS, _number(most))
    if _number(allowed) < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def for_clients() -> int:
    """Connections that clients may have: half of what there is, as the other half is for upstreams."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(max(1, (_number(allowed) - _KEPT) // 2), MOST_CONNECTIONS)


def _number(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
