"""Requests that act at the same instant, each on a connection of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from django.db import connection

from tests.faults.processes import wait_until
from tests.sql import WAITING_FOR_LOCKS, second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


def at_once(lock: str, *acts: Callable[[], Answer]) -> list[Answer]:
    """Let all wait for the same lock in the middle of what they do, then give it free, and return their answers.

    Args:
        lock: the statement that takes the lock for another session.
        acts: each runs in a thread.
    """

    def closing(act: Callable[[], Answer]) -> Answer:
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as threads, second_connection() as other:
        with other.transaction():
            other.execute(lock)
            answers = [threads.submit(closing, act) for act in acts]
            wait_until(lambda: len(sql(WAITING_FOR_LOCKS)) == len(acts) or any(each.done() for each in answers), 120)
            assert not any(each.done() for each in answers), [each.result() for each in answers if each.done()]
        return [each.result() for each in answers]
