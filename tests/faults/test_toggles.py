"""A toggle made in one process is seen by every other within two seconds, and a gate asks nothing in between."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from agentstate import gates
from agentstate.actors import process_owner
from agentstate.models import FlagChange
from tests.faults.processes import database_url, run
from tests.flags import turn
from tests.forked import Forked
from tests.project.processes import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 2.0
# Asks a gate all the time, a hundred times in a row. A line for each answer that is another than before: the answer,
# when the other was asked for last, how often the gate was asked, and how many queries and seconds that took since the
# line before. However late the process is, it cannot get the other answer long after a toggle.
WATCH = """
import sys, time
from django.db import connection
from agentstate import gates

queries = asked = 0
last, at, since = None, 0, time.monotonic()

def count(execute, *arguments):
    global queries
    queries += 1
    return execute(*arguments)

with connection.execute_wrapper(count):
    while True:
        for _ in range(100):
            began = time.time()
            answer = getattr(gates, sys.argv[1])("p1")
            asked += 1
            if answer == last:
                at = began
        if answer != last:
            now = time.monotonic()
            print(answer, at, asked, queries, now - since, flush=True)
            last, asked, queries, since = answer, 0, 0, now
        time.sleep(0.02)
"""


class Watcher:
    """A process that asks a gate all the time."""

    def __init__(self, process: Forked) -> None:
        self.process = process

    def next(self) -> tuple[bool, float, int, int, float]:
        """Return the next answer that is another: the answer, when the other was last asked for, how often the gate
        was asked, with how many queries, in how many seconds."""
        assert self.process.stdout is not None
        answer, at, asked, queries, seconds = self.process.stdout.readline().split()
        return answer == "True", float(at), int(asked), int(queries), float(seconds)


@contextmanager
def watching(gate: str) -> Iterator[Watcher]:
    environment = {**ENVIRONMENT, "DATABASE_URL": database_url(), "SECRET_KEY": "a key for tests only"}
    process = Forked(gate, environment=environment, program=WATCH)
    try:
        yield Watcher(process)
    finally:
        process.kill()
        process.communicate()


def by_command(*arguments: str) -> None:
    command = run("waffle_flag", *arguments)
    assert (command.process.returncode, command.stderr) == (0, "")


def by_sql(settings: str, flag: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'UPDATE "AgentStateFlag" SET {settings} WHERE name = %s', [flag])


TOGGLES: dict[str, tuple[str, Callable[[], None], Callable[[], None]]] = {
    "the command": (
        "agentkit_reads",
        lambda: by_command("agentkit_reads", "--percent", "100"),
        lambda: by_command("agentkit_reads", "--percent", "0"),
    ),
    "everyone": (
        "legacy_writes",
        lambda: by_command("legacy_writes", "--everyone"),
        lambda: by_command("legacy_writes", "--deactivate"),
    ),
    "plain SQL": (
        "agentkit_writes",
        lambda: by_sql("project_ids = '{p1}'", "agentkit_writes"),
        lambda: by_sql("project_ids = '{}'", "agentkit_writes"),
    ),
    "code": (
        "agentkit_shadow_reads",
        lambda: turn("agentkit_shadow_reads", percent=100) and None,
        lambda: turn("agentkit_shadow_reads") and None,
    ),
}


@pytest.mark.parametrize(("gate", "turn_on", "turn_off"), TOGGLES.values(), ids=TOGGLES.keys())
def test_another_process_sees_a_toggle_in_time_and_asks_once_a_second(
    gate: str, turn_on: Callable[[], None], turn_off: Callable[[], None]
) -> None:
    turn(gate)

    with watching(gate) as watcher:
        answer, *_ = watcher.next()
        assert not answer
        for toggle, expected in ((turn_on, True), (turn_off, False)):
            toggle()
            toggled_at = time.time()
            answer, last_asked_at, asked, queries, seconds = watcher.next()

            assert answer is expected
            assert last_asked_at - toggled_at < SECONDS
            assert queries <= seconds + 1
            assert asked > 10 * queries


def test_this_process_sees_the_commands_change_and_the_history_names_its_author() -> None:
    turn("agentkit_reads")
    assert not gates.agentkit_reads("p1")

    by_command("agentkit_reads", "--everyone")

    toggled_at = asked_at = time.monotonic()
    while not gates.agentkit_reads("p1"):
        assert asked_at - toggled_at < SECONDS
        time.sleep(0.01)
        asked_at = time.monotonic()
    change = FlagChange.objects.latest("pk")
    assert (change.flag, change.changed_by) == ("agentkit_reads", process_owner())
    assert change.differences() == {"everyone": (None, True)}
