"""Add the indexes of what the list of runs is asked, without blocking writers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import migrations, models
from django.db.models import F, Func, Q, Value
from django.db.models.lookups import Exact

from agentstate.migrations._operations import AddIndex, RemoveIndex
from agentstate.models.expressions import Sql

VARIABLE = r"https?://\S+|[^\s@]+@[^\s@]+|0x[0-9a-f]+|\m(?=[\w-]*\d[\w-]*\d)[\w-]{{8,}}|\d+([.,:]\d+)*"
LINES = r"ltrim(translate(left(coalesce({0}, ''), 1000), E'\r', E'\n'), E' \t\n')"


def text(template: str, *fields: str) -> Sql:
    return Sql(*map(F, fields), template=template, output_field=models.TextField())


def id_hash() -> Func:
    return Func(F("id"), Value(0), function="hashtextextended", output_field=models.BigIntegerField())


def index(name: str, *expressions: Any, condition: Q | None = None) -> models.Index:
    return models.Index(*expressions, name=name, condition=condition)


# The models name the reader of each.
RUN = "agentworkflowrun"
RUN_INDEXES = (
    index(
        "AgentWorkflowRun_kind_idx",
        text(
            "(CASE WHEN {0} = 'legacy_snapshot' AND {1} = 'succeeded' AND {2} IS NOT NULL THEN 'backfilled' "
            "ELSE {1} || num_nulls({2})::text END)",
            "workflow_id",
            "status",
            "snapshot_at",
        ),
        F("started_at"),
        id_hash(),
    ),
    index(
        "AgentWorkflowRun_duration_idx",
        Sql(F("completed_at"), F("started_at"), template="({0} - {1})", output_field=models.DurationField()),
        id_hash(),
        condition=Q(
            started_at__gte=datetime(2, 1, 1, tzinfo=UTC),
            completed_at__lt=datetime(9999, 1, 1, tzinfo=UTC),
            completed_at__gt=F("started_at"),
        ),
    ),
    index(
        "AgentWorkflowRun_error_idx",
        text(
            f"""left(regexp_replace(split_part({LINES}, E'\\n', 1) COLLATE "C", '{VARIABLE}', '#', 'gi'), 200)""",
            "error",
        ),
        F("started_at"),
        id_hash(),
        condition=Q(status="failed"),
    ),
    index("AgentWorkflowRun_beginning_idx", text('(left({0}, 32) COLLATE "C")', "id")),
)
SESSION_INDEXES = (
    index("AgentSession_beginning_idx", text('(left({0}, 32) COLLATE "C")', "id")),
    index(
        "AgentSession_memory_idx",
        text('(left({0}, 32) COLLATE "C")', "memory_id"),
        condition=Q(memory_id__isnull=False),
    ),
)
TOOL = "left({0} ->> 'tool', 100)"
EVENT_INDEXES = (
    index(
        "AgentWorkflowRunEvent_call_idx",
        text(TOOL, "payload"),
        F("created_at"),
        condition=Q(type="tool.invocation"),
    ),
    index(
        "AgentWorkflowRunEvent_fail_idx",
        text(TOOL, "payload"),
        F("created_at"),
        # The database looks at the payload of a result alone.
        condition=Q(type="tool.result") & Q(Exact(text("({0} ->> 'status')", "payload"), Value("error"))),
    ),
)


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("agentstate", "0031_kept_verifications")]
    operations = [
        *(AddIndex(RUN, each) for each in RUN_INDEXES),
        *(AddIndex("agentsession", each) for each in SESSION_INDEXES),
        *(AddIndex("agentworkflowrunevent", each) for each in EVENT_INDEXES),
        RemoveIndex(RUN, "AgentWorkflowRun_status_idx"),
        # Without it the planner has no statistics of the expressions in the indexes.
        migrations.RunSQL('ANALYZE "AgentWorkflowRun", "AgentWorkflowRunEvent"', migrations.RunSQL.noop),
    ]
