"""What one would write by hand: the same rows in one statement, and in a loop over the ORM."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import JSONField, Value

from agentstate.backfill.transactions import TUNE
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent, LegacyState

COLUMNS = {
    "rfpNorm": "rfp_norm",
    "facts": "facts",
    "coverage": "coverage",
    "conflictLog": "conflict_log",
    "eligibility": "eligibility",
}

ONE_SHOT = """
WITH runs AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
                                    started_at, completed_at, snapshot_at, legacy_at)
    SELECT 'legacy_' || id || '_' || (extract(epoch FROM "stateUpdatedAt") * 1000000)::bigint, 'legacy_snapshot', id,
        'succeeded', '{"source": "legacy_snapshot"}',
        jsonb_build_object('state', (
            SELECT coalesce(jsonb_object_agg(key, value) FILTER (WHERE value IS NOT NULL), '{}')
            FROM (VALUES ('rfpNorm', "rfpNormJson"), ('facts', "factsJson"), ('coverage', "coverageJson"),
                         ('conflictLog', "conflictLogJson"), ('eligibility', "eligibilityJson")) d (key, value)
        )),
        "stateUpdatedAt", "stateUpdatedAt", "stateUpdatedAt", "stateUpdatedAt"
    FROM "Project"
    WHERE num_nonnulls("rfpNormJson", "factsJson", "coverageJson", "conflictLogJson", "eligibilityJson") > 0
    RETURNING id, snapshot_at, result->'state' AS state
), events AS (
    SELECT runs.id AS run_id, runs.snapshot_at, event.type, event.payload,
           row_number() OVER (PARTITION BY runs.id ORDER BY event.part, event.position) AS ordinal
    FROM runs CROSS JOIN LATERAL (
        SELECT 1 AS part, 1::bigint AS position, 'snapshot.legacy' AS type, jsonb_build_object('keys', (
            SELECT coalesce(jsonb_agg(key ORDER BY place), '[]')
            FROM unnest('{rfpNorm,facts,coverage,conflictLog,eligibility}'::text[]) WITH ORDINALITY k (key, place)
            WHERE state ? key)) AS payload
        UNION ALL
        SELECT 2, 1, 'coverage.delta', jsonb_build_object('from', NULL, 'to', state->'coverage'->'score')
        WHERE jsonb_typeof(state->'coverage'->'score') = 'number'
        UNION ALL
        SELECT 3, position, 'conflict.found', value
        FROM jsonb_array_elements(
            CASE coalesce(jsonb_typeof(state->'conflictLog'), 'null')
                WHEN 'array' THEN state->'conflictLog' WHEN 'null' THEN '[]'
                ELSE jsonb_build_array(state->'conflictLog') END
        ) WITH ORDINALITY e (value, position)
        UNION ALL
        SELECT 4, position, 'eligibility.flag', value
        FROM jsonb_array_elements(
            CASE WHEN jsonb_typeof(state->'eligibility'->'items') = 'array' THEN state->'eligibility'->'items'
                 WHEN jsonb_typeof(state->'eligibility') = 'array' THEN state->'eligibility'
                 WHEN coalesce(jsonb_typeof(state->'eligibility'), 'null') = 'null' THEN '[]'
                 ELSE jsonb_build_array(state->'eligibility') END
        ) WITH ORDINALITY e (value, position)
    ) event
)
INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
SELECT run_id || '_' || lpad(ordinal::text, greatest(5, length(ordinal::text)), '0'), run_id, type, payload,
       snapshot_at + ordinal * interval '1 microsecond'
FROM events
"""


def one_shot() -> None:
    """Write all runs and events in one statement, with the settings that the passes use too."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TUNE)
        cursor.execute(ONE_SHOT)


def orm_loop(count: int) -> int:
    """Upsert the runs and events of the first projects row by row, and return how many projects that were."""
    states = LegacyState.objects.select_related("project").order_by("pk")[:count]
    for state in states.iterator():
        at = state.project.state_updated_at
        documents = {key: getattr(state, attribute) for key, attribute in COLUMNS.items()}
        run, _ = AgentWorkflowRun.objects.update_or_create(
            id=f"legacy_{state.pk}_{_microseconds(at)}",
            defaults={
                "workflow_id": "legacy_snapshot",
                "project_id": state.pk,
                "status": "succeeded",
                "input": {"source": "legacy_snapshot"},
                "result": {"state": {key: document for key, document in documents.items() if document is not None}},
                "started_at": at,
                "completed_at": at,
                "snapshot_at": at,
                "legacy_at": at,
            },
        )
        for ordinal, (kind, payload) in enumerate(_events(documents), start=1):
            AgentWorkflowRunEvent.objects.update_or_create(
                id=f"{run.pk}_{ordinal:05d}",
                defaults={
                    "run": run,
                    "type": kind,
                    "payload": Value(None, JSONField()) if payload is None else payload,
                    "created_at": at + timedelta(microseconds=ordinal),
                },
            )
    return count


def _microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _events(documents: dict[str, Any]) -> list[tuple[str, Any]]:
    coverage, conflicts, eligibility = documents["coverage"], documents["conflictLog"], documents["eligibility"]
    events = [("snapshot.legacy", {"keys": [key for key, document in documents.items() if document is not None]})]
    if isinstance(coverage, dict) and isinstance(coverage.get("score"), int | float):
        events.append(("coverage.delta", {"from": None, "to": coverage["score"]}))
    events += [("conflict.found", entry) for entry in _entries(conflicts)]
    items = eligibility.get("items") if isinstance(eligibility, dict) else None
    events += [("eligibility.flag", entry) for entry in _entries(items if isinstance(items, list) else eligibility)]
    return events


def _entries(document: Any) -> list[Any]:
    if document is None:
        return []
    return document if isinstance(document, list) else [document]
