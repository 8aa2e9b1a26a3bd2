"""Runs and sessions of a project that is deleted at the same moment."""

from __future__ import annotations

import pytest
from django.db import transaction

from agentstate.models import AgentWorkflowRun
from agentstate.recording import RunNotFound, record
from agentstate.sessions import open_for
from agentstate.state import ProjectNotFound
from tests.factories import ProjectFactory, RunFactory
from tests.recording.recorded import in_threads
from tests.scenes import start_and_wait_for_lock
from tests.servers import default_isolation
from tests.sql import sql

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_a_row_that_waits_for_the_deletion_raises_not_found(level: str) -> None:
    raised: list[type[Exception]] = []

    def attempt(begin: object, project: str, run: str) -> None:
        try:
            if begin == "run":
                with record("intake", project):
                    pytest.fail("the block began")
            else:
                open_for(project, "a", run)
        except Exception as error:
            raised.append(type(error))

    with default_isolation(level):
        for begin in ("run", "session"):
            project, run = ProjectFactory().id, RunFactory(project=None).id
            with transaction.atomic():
                sql('DELETE FROM "Project" WHERE id = %s', project)
                thread = start_and_wait_for_lock(lambda b=begin, p=project, r=run: attempt(b, p, r))
            thread.join(60)
    assert raised == [ProjectNotFound, ProjectNotFound]


def test_a_run_that_is_deleted_while_it_opens_a_session() -> None:
    project, run = ProjectFactory().id, RunFactory(project=None).id
    raised: list[str] = []

    def attempt() -> None:
        try:
            open_for(project, "a", run)
        except RunNotFound as error:
            raised.append(error.run_id)

    with transaction.atomic():
        sql('DELETE FROM "AgentWorkflowRun" WHERE id = %s', run)
        thread = start_and_wait_for_lock(attempt)
    thread.join(60)
    assert raised == [run]


def test_beginnings_beside_a_deleter() -> None:
    """A block begins or raises ProjectNotFound, and nothing else."""
    for _ in range(30):
        project, run = ProjectFactory().id, RunFactory(project=None).id

        def act(place: int, project: str = project, run: str = run) -> str:
            if not place:
                sql('DELETE FROM "Project" WHERE id = %s', project)
                return "deleted"
            try:
                if place % 2:
                    with record("intake", project):
                        return "began"
                return open_for(project, f"memory {place}", run).pk and "opened"
            except ProjectNotFound:
                return "not found"

        assert set(in_threads(act, 5)) <= {"deleted", "began", "opened", "not found"}
    assert not AgentWorkflowRun.objects.exclude(project=None).exists()
