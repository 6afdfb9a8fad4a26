"""How many files this process may have open, nearly all of them connections, and how many of them clients get.

Every request at work has two connections. If clients could take all there are, no vendor could be reached, and the
vendor would be held responsible.
"""

import resource

MOST_CONNECTIONS = 16 * 1024
_KEPT = 64
"""For the journal, the facilitator and the like."""


def allow_all() -> None:
    """Have as many as the system lets this process and its children have; shells give 1024 only."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def for_clients() -> int:
    """Connections that clients may have: half of what there is, as the other half is for upstreams."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(max(1, (allowed - _KEPT) // 2), MOST_CONNECTIONS)
