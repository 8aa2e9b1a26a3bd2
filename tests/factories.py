"""Rows for tests.

The legacy columns are given as JSON text, exactly as it is to stand in the database, by state key. A key that is not
given is SQL NULL, and ``"null"`` is JSON null::

    ProjectFactory(documents={"coverage": '{"score": 0.10}', "facts": "null"})
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import factory
from django.db import connection
from django.utils import timezone
from factory.django import DjangoModelFactory

from agentstate.models import AgentSession, AgentWorkflowRun, AgentWorkflowRunEvent, Project

COLUMNS = {
    "rfpNorm": "rfpNormJson",
    "facts": "factsJson",
    "coverage": "coverageJson",
    "conflictLog": "conflictLogJson",
    "eligibility": "eligibilityJson",
}
KEYS = tuple(COLUMNS)


def write_columns(project_id: str, documents: dict[str, str | None], *, clock: datetime | None = None) -> None:
    """Write documents into columns by SQL, as any other application would: JSON text, None for SQL NULL.

    Only this product's own writers set the clock too.
    """
    columns = ", ".join(f'"{COLUMNS[key]}" = %s::jsonb' for key in documents)
    with connection.cursor() as cursor:
        cursor.execute(
            f'UPDATE "Project" SET {columns}, "stateUpdatedAt" = coalesce(%s, "stateUpdatedAt") WHERE id = %s',
            [*documents.values(), clock, project_id],
        )


class ProjectFactory(DjangoModelFactory[Project]):
    class Meta:
        model = Project
        skip_postgeneration_save = True

    id = factory.Sequence(lambda number: f"project-{number:05}")
    user_id = "user-1"
    name = factory.LazyAttribute(lambda project: f"The proposal of {project.id}")
    created_at = datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)
    meta = None

    @factory.post_generation
    def documents(project: Project, create: bool, documents: dict[str, str | None] | None, **_: Any) -> None:  # noqa: N805
        if documents:
            write_columns(project.id, documents)
        project.refresh_from_db()


class RunFactory(DjangoModelFactory[AgentWorkflowRun]):
    """A run; with a ``state`` it carries a snapshot, in sync unless ``legacy_at`` says otherwise."""

    class Meta:
        model = AgentWorkflowRun

    class Params:
        state = None

    project = factory.SubFactory(ProjectFactory)
    workflow_id = "draft"
    status = AgentWorkflowRun.Status.SUCCEEDED
    started_at = factory.LazyFunction(timezone.now)
    completed_at = factory.SelfAttribute("started_at")
    result = factory.LazyAttribute(lambda run: None if run.state is None else {"state": run.state})
    snapshot_at = factory.LazyAttribute(lambda run: None if run.state is None else run.started_at)
    legacy_at = factory.SelfAttribute("snapshot_at")


class EventFactory(DjangoModelFactory[AgentWorkflowRunEvent]):
    class Meta:
        model = AgentWorkflowRunEvent

    run = factory.SubFactory(RunFactory)
    type = "draft.progress"
    payload = factory.LazyFunction(dict)
    created_at = factory.LazyFunction(timezone.now)


class SessionFactory(DjangoModelFactory[AgentSession]):
    class Meta:
        model = AgentSession

    project = factory.SubFactory(ProjectFactory)
    transcript_json = factory.LazyFunction(list)
    metadata = factory.LazyFunction(dict)
    created_at = factory.LazyFunction(timezone.now)
    updated_at = factory.SelfAttribute("created_at")


class WaitingRunFactory(RunFactory):
    """A run that waits for approval of ``calls``, each given as its id, as an interrupted agent leaves it."""

    class Params:
        calls = ("call-1",)

    project = None
    status = AgentWorkflowRun.Status.PENDING
    completed_at = None
    result = factory.LazyAttribute(
        lambda run: {
            "interrupted": {
                "run_state": "{}",
                "session_id": None,
                "approvals": [
                    {"call_id": each, "tool": "send_mail", "agent": "clerk", "arguments": '{"to": "ada@example.org"}'}
                    for each in run.calls
                ],
            }
        }
    )
