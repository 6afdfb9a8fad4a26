"""Identifiers generated in batches."""

import os
import re

from gateway.identifiers import new_id


def test_they_are_hex_and_never_the_same() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


def test_a_forked_worker_gives_others_than_its_parent() -> None:
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, "".join(new_id() for _ in range(300)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read()
    assert len(theirs) == 300 * 32
    assert not {theirs[at : at + 32] for at in range(0, len(theirs), 32)} & {new_id() for _ in range(300)}
