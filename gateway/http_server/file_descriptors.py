"""The process's limit on file descriptors, nearly all of them sockets, and the share of client connections in it.

A paid request uses three sockets: the client's, the upstream's and one to the facilitator, which is kept for the next
payment. If clients could take all descriptors, no upstream could be reached, and the upstream would be blamed for it.
"""

import resource
import sys

MAX_CLIENT_CONNECTIONS = 16 * 1024
_PER_CLIENT = 3
_RESERVED = 64
"""For the journal, the chain and the like."""


def raise_limit() -> None:
    """Raise the soft limit of this process and its children as far as it is useful and allowed; shells set 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(_RESERVED + _PER_CLIENT * MAX_CLIENT_CONNECTIONS, _finite(hard))
    if _finite(soft) < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_client_connections() -> int:
    """How many connections clients may have: a third of the descriptors; the others are for upstreams and payments."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(max(1, (_finite(soft) - _RESERVED) // _PER_CLIENT), MAX_CLIENT_CONNECTIONS)


def _finite(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
