"""A PostgreSQL server of the tests' own: a new cluster in a folder of /tmp, reachable by its socket only.

TMPDIR would do for neither: the path of a socket has 107 bytes at most, and another user must reach it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]

BINARIES = Path(shutil.which("postgres") or "/nonexistent/postgres").resolve().parent


def installed() -> bool:
    return (BINARIES / "initdb").exists()


@contextmanager
def server() -> Iterator[str]:
    """The URL of its database; the password only keeps the driver from looking for one in files.

    Root hands the cluster to the user ``postgres``, because PostgreSQL refuses to run as root.
    """
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)

    def run(name: str, *arguments: str) -> None:
        command = [str(BINARIES / name), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)

    try:
        run("initdb", "--auth=trust", "--username=gateway", "--no-sync", "--no-locale", "--encoding=UTF8")
        options = f"-c listen_addresses='' -k {folder} -c max_connections=60"
        run("pg_ctl", "start", "-w", "-o", options, "-l", str(folder / "log"))
        try:
            yield f"postgresql://gateway:unused@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "-w", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def run(url: str, statement: str) -> Any:
    """The first value of its first row."""
    db = await asyncpg.connect(url)
    try:
        return await db.fetchval(statement)
    finally:
        await db.close()


async def empty(url: str) -> None:
    """Without the gateway's tables, as before the first one."""
    for table in ("gateway_payments", "gateway_payers", "gateway_credits", "gateway_keys"):
        await run(url, f"DROP TABLE IF EXISTS {table}")
