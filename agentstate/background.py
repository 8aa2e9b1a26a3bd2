"""Threads of a web process for work that outlives its request, each on its own database connections."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING

from django.db import connections

from agentstate.distant_times import distant_times

if TYPE_CHECKING:
    from collections.abc import Callable


def in_background(name: str, act: Callable[[], None]) -> threading.Thread:
    """Call a function in a thread of its own, as the actor of the caller, and return the thread.

    A daemon thread: it does not keep its process alive. The function must leave the database in a safe state wherever
    it ends, and handle its errors.
    """
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_call, act), name=name, daemon=True)
    thread.start()
    return thread


def _call(act: Callable[[], None]) -> None:
    try:
        with distant_times():
            act()
    finally:
        connections.close_all()  # that of a replica too; each thread has its own
