"""A pass whose connection is lost while its process lives: the ledger has how it ended."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection

from agentstate.backfill import PassOptions, fleet, run_pass
from agentstate.models import BackfillPass, PassRange
from agentstate.models.passes import Direction
from tests.scenes import make_project
from tests.sql import second_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

CONTROL = ["SELECT wanted"]
END = ['UPDATE "AgentStatePass"', '"seen_at" =', '"ended_at" =']
FORWARD = PassOptions(Direction.FORWARD)


@contextmanager
def lost_before(parts: list[str]) -> Iterator[None]:
    """End this connection's session before the first statement that has all these parts."""
    ended: list[str] = []

    def end(execute: Any, sql: str, *rest: Any) -> Any:
        if not ended and all(part in sql for part in parts):
            ended.append(sql)
            with second_connection() as other:
                other.execute("SELECT pg_terminate_backend(%s, 60000)", [connection.connection.info.backend_pid])
        return execute(sql, *rest)

    with connection.execute_wrapper(end):
        yield
    assert ended


@pytest.fixture(autouse=True)
def project() -> None:
    make_project("p1", facts=[1])


def test_a_pass_that_loses_its_connection_has_failed() -> None:
    with lost_before(CONTROL), pytest.raises(OperationalError):
        run_pass(FORWARD)
    entry = BackfillPass.objects.get()
    assert entry.outcome == "failed"
    assert entry.error.startswith("OperationalError: ")


def test_a_pass_that_loses_its_connection_as_it_ends_has_finished() -> None:
    with lost_before(END):
        assert run_pass(FORWARD).counts.written == 1
    assert BackfillPass.objects.get().outcome == "finished"


def test_a_range_whose_worker_loses_its_connection_waits_and_has_the_reason() -> None:
    fleet.begin(FORWARD, 5)
    part = PassRange.objects.get()
    with lost_before(CONTROL), pytest.raises(OperationalError):
        fleet.work(part.pk, lambda _: None)
    part.refresh_from_db()
    assert part.status == "waiting"
    assert part.error.startswith("OperationalError: ")
