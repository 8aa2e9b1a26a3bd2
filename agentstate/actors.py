"""Who is at work: the name that the history of changes gets."""

from __future__ import annotations

import getpass
import socket
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_actor: ContextVar[str | None] = ContextVar("agentstate_actor", default=None)


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Name who makes the changes of this block: a person who is logged in, where the process would say too little."""
    token = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> str:
    """Return who is at work: whom :func:`acting_as` named, or else the operating system's user and host."""
    return _actor.get() or process_owner()


@cache
def process_owner() -> str:
    """Return the operating system's user and host, as in ``ada@app-1``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
