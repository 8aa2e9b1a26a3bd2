"""Passes and decisions work whatever isolation level the server has as its default."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from agentstate.backfill.acceptance import accept
from agentstate.backfill.verification import verify
from agentstate.models import LeftAside
from agentstate.models.passes import BackfillPass
from tests.faults.processes import wait_until, waits_for
from tests.scenes import empty_columns, forward, make_project, reverse, save_in_agentkit
from tests.servers import default_isolation
from tests.sql import second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True, params=["repeatable read", "serializable"])
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    with default_isolation(request.param):
        yield


@pytest.fixture
def entry() -> LeftAside:
    """A project left aside, since its columns became SQL NULL."""
    make_project("p1", facts=[1])
    forward()
    empty_columns()
    forward()
    return LeftAside.objects.get()


def while_another_changes_the_entry(act: Callable[[], object]) -> None:
    """Act on another connection of ours, which waits for a transaction that changes the row and then commits."""
    with second_connection() as other:
        other.autocommit = False
        other.execute('UPDATE "AgentStateLeftAside" SET last_seen_at = clock_timestamp()')
        errors: list[BaseException] = []

        def act_there() -> None:
            try:
                act()
            except BaseException as error:
                errors.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=act_there)
        thread.start()
        wait_until(waits_for(other))
        other.commit()
        thread.join(60)
        assert errors == []


def test_two_passes_that_count_the_same_attempt_both_succeed(entry: LeftAside) -> None:
    while_another_changes_the_entry(forward)
    entry.refresh_from_db()
    assert entry.attempts == 2
    assert set(BackfillPass.objects.values_list("outcome", flat=True)) == {"finished"}


def test_an_entry_is_accepted_while_a_pass_counts_it(entry: LeftAside) -> None:
    while_another_changes_the_entry(lambda: accept(entry, "Nobody misses it."))
    entry.refresh_from_db()
    assert entry.status == "accepted"


def test_a_pass_closes_an_entry_that_another_pass_just_counted(entry: LeftAside) -> None:
    sql('DELETE FROM "Project"')
    while_another_changes_the_entry(forward)
    entry.refresh_from_db()
    assert entry.status == "closed"


def test_both_directions_run() -> None:
    for number in range(30):
        make_project(f"p{number}", facts=[number], chat=[{"role": "user", "content": "Hello"}])
    assert forward(workers=3, batch_size=2).counts.written == 30
    save_in_agentkit(facts="new")
    assert reverse(workers=3, batch_size=2).counts.written == 30
    assert verify().clean
