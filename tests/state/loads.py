"""Projects to load, and what a load may cost."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from agentstate.state import ABSENT, ProjectState
from tests import scenes
from tests.factories import ProjectFactory, write_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDINGS = ("empty", "legacy_ahead", "in_sync", "agentkit_ahead", "forked")


def project_that_is(standing: str) -> str:
    """Make a project whose documents say in which home they stand, where the homes differ."""
    project = ProjectFactory(documents=None if standing == "empty" else {"facts": '"columns"', "eligibility": "null"})
    if standing not in ("empty", "legacy_ahead"):
        scenes.forward(project.id, sessions=False)
    if standing in ("agentkit_ahead", "forked"):
        scenes.save(project.id, "facts", '"snapshot"', legacy=False)
    if standing == "forked":
        write_columns(project.id, {"coverage": '"columns"'})
    assert scenes.standing_of(project.id) == standing
    return project.id


def project_with_an_older_snapshot() -> str:
    """Make a legacy-ahead project that has a snapshot."""
    project = project_that_is("in_sync")
    write_columns(project, {"facts": '"newer"'})
    assert scenes.standing_of(project) == "legacy_ahead"
    return project


@contextmanager
def without_check_of_snapshots() -> Iterator[None]:
    """Let rows in that the check constraint refuses, and delete them in the end."""
    (definition,) = scenes.one(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'AgentWorkflowRun_snapshot_check'"
    )
    scenes.run_sql('ALTER TABLE "AgentWorkflowRun" DROP CONSTRAINT "AgentWorkflowRun_snapshot_check"')
    try:
        yield
    finally:
        scenes.run_sql('DELETE FROM "AgentWorkflowRun"')
        scenes.run_sql(f'ALTER TABLE "AgentWorkflowRun" ADD CONSTRAINT "AgentWorkflowRun_snapshot_check" {definition}')


@contextmanager
def without_runs() -> Iterator[None]:
    """Take the run table away."""
    scenes.run_sql('ALTER TABLE "AgentWorkflowRun" RENAME TO "Gone"')
    try:
        yield
    finally:
        scenes.run_sql('ALTER TABLE "Gone" RENAME TO "AgentWorkflowRun"')


@contextmanager
def queries(number: int) -> Iterator[None]:
    """Expect a number of queries, those about flags aside."""
    with CaptureQueriesContext(connection) as captured:
        yield
    about_state = [query["sql"] for query in captured if '"AgentStateFlag' not in query["sql"]]
    assert len(about_state) == number


def documents(loaded: ProjectState) -> dict[str, Any]:
    names = ("rfp_norm", "facts", "coverage", "conflict_log", "eligibility")
    found = {name: getattr(loaded, name) for name in names}
    return {name: document for name, document in found.items() if document is not ABSENT}
