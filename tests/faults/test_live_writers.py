"""Passes beside an application that writes columns and deletes projects all the time."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from agentstate.backfill.verification import verify
from tests.faults.processes import FORWARD, REVERSE, run
from tests.scenes import forward, make_samples, reverse, save_in_agentkit
from tests.sql import count, second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.django_db(transaction=True)

SMALL_BATCHES = ("--batch-size", "7", "--workers", "2")


@contextmanager
def going_on(*acts: Callable[[psycopg.Connection], None]) -> Iterator[None]:
    """Do each of the acts over and over, each on a connection of its own, until the block ends."""
    done = threading.Event()
    errors: list[Exception] = []

    def act_on(act: Callable[[psycopg.Connection], None], other: psycopg.Connection) -> None:
        try:
            while not done.wait(0.002):
                act(other)
        except Exception as error:
            errors.append(error)

    with second_connection() as one, second_connection() as two:
        threads = [
            threading.Thread(target=act_on, args=(act, other)) for act, other in zip(acts, (one, two), strict=False)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert errors == []


def write_a_column(other: psycopg.Connection) -> None:
    """Write as the legacy application does, and keep a note of what each version of a project held."""
    other.execute(
        """
        WITH written AS (
            UPDATE "Project" SET "factsJson" = to_jsonb(random())
            WHERE id = (SELECT id FROM "Project" ORDER BY random() LIMIT 1)
            RETURNING id, "factsJson", "stateUpdatedAt"
        )
        INSERT INTO written_columns SELECT * FROM written
        """
    )


def delete_a_project(other: psycopg.Connection) -> None:
    if random.random() < 0.3:
        other.execute('DELETE FROM "Project" WHERE id = (SELECT id FROM "Project" ORDER BY random() LIMIT 1)')


@pytest.fixture
def notes() -> Iterator[None]:
    sql("CREATE TABLE written_columns (project text, facts jsonb, at timestamptz)")
    yield
    sql("DROP TABLE written_columns")


def test_forward_runs_beside_writers(notes: None) -> None:
    make_samples(500)
    with going_on(write_a_column, delete_a_project):
        for _ in range(2):
            under_way = run(FORWARD, *SMALL_BATCHES)
            assert (under_way.process.returncode, under_way.stderr.count("Traceback")) == (0, 0)

    forward()
    assert verify().clean
    assert forward().candidates == 0
    # No snapshot holds what nobody wrote at its clock.
    assert (
        sql(
            """
            SELECT run.id FROM "AgentWorkflowRun" run JOIN written_columns ON project = project_id AND at = snapshot_at
            WHERE result -> 'state' -> 'facts' IS DISTINCT FROM facts
            """
        )
        == []
    )


def test_reverse_runs_beside_writers(notes: None) -> None:
    make_samples(500)
    forward()
    save_in_agentkit(coverage={"score": 0.99})
    with going_on(write_a_column, delete_a_project):
        for _ in range(2):
            under_way = run(REVERSE, *SMALL_BATCHES)
            assert (under_way.process.returncode, under_way.stderr.count("Traceback")) == (0, 0)

    # What forked meanwhile is merged, and both homes' changes are there.
    forward()
    reverse()
    assert verify().clean
    assert (
        sql(
            """
            SELECT id FROM "Project" JOIN (
                SELECT DISTINCT ON (project) * FROM written_columns ORDER BY project, at DESC
            ) written ON project = id
            WHERE "factsJson" IS DISTINCT FROM facts
            """
        )
        == []
    )
    assert count("Project", """"coverageJson" ->> 'score' = '0.99'""") == count(
        "Project", """id IN (SELECT project_id FROM "AgentWorkflowRun" WHERE workflow_id = 'intake')"""
    )
