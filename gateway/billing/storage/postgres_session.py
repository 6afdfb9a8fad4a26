"""Sessions of PostgreSQL that end, and with them their locks, a minute after their gateway has vanished.

A host that loses its power or its network says nothing, and by default PostgreSQL waits two hours for it. A URL or a
parameter at the connect could ask for this too, but some poolers refuse settings that they do not know there.
"""

from typing import Any

_SETTINGS = """
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 6;
SET tcp_user_timeout = 60000;
"""


async def set_up(connection: Any) -> None:
    await connection.execute(_SETTINGS)


async def keep(connection: Any) -> None:
    """Replaces asyncpg's reset, which undoes the settings: a transaction leaves nothing else to reset."""
