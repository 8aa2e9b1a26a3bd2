"""The workflows that runs have, from an index."""

from __future__ import annotations

from django.db import connection

from agentstate.models.expressions import WORKFLOW_LETTERS

MOST_WORKFLOWS = 50
# A loose index scan: one lookup per name.
WORKFLOWS = f"""
    WITH RECURSIVE workflow (name) AS (
        (SELECT left(workflow_id, {WORKFLOW_LETTERS}) FROM "AgentWorkflowRun" ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (SELECT left(workflow_id, {WORKFLOW_LETTERS}) FROM "AgentWorkflowRun"
                WHERE left(workflow_id, {WORKFLOW_LETTERS}) > workflow.name ORDER BY 1 LIMIT 1)
        FROM workflow WHERE workflow.name IS NOT NULL
    )
    SELECT name FROM workflow WHERE name IS NOT NULL LIMIT {MOST_WORKFLOWS}
"""


def workflow_names() -> list[str]:
    """Return the beginnings of the workflows' names in alphabetical order, ``MOST_WORKFLOWS`` of them at most."""
    with connection.cursor() as cursor:
        cursor.execute(WORKFLOWS)
        return [name for (name,) in cursor.fetchall()]
