"""The actor: the name that the history records for a change."""

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
    """Record changes in this block under a name, for example of the logged-in user."""
    token = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> str:
    """Return the name given to :func:`acting_as`, or else the operating system's user and host."""
    return _actor.get() or process_owner()


@cache
def process_owner() -> str:
    """Return the operating system's user and host, as in ``ada@app-1``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
