"""The names of workflows and of tools, from indexes."""

from __future__ import annotations

from django.db import connection

from agentstate.models.expressions import TOOL_LETTERS, WORKFLOW_LETTERS

# How many names are offered, and how many a search looks at.
MOST_NAMES, LOOKED_AT = 50, 2_000


def _loose_scan(name: str, rows: str) -> str:
    """Return the SQL of the first different names: a loose index scan, one lookup per name."""
    return f"""
    WITH RECURSIVE names (name) AS (
        (SELECT {name} FROM {rows} ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (SELECT {name} FROM {rows} AND {name} > names.name ORDER BY 1 LIMIT 1)
        FROM names WHERE names.name IS NOT NULL
    )
    SELECT name FROM names WHERE name IS NOT NULL LIMIT %s"""


WORKFLOWS = _loose_scan(f"left(workflow_id, {WORKFLOW_LETTERS})", '"AgentWorkflowRun" WHERE true')
TOOLS = _loose_scan(
    f"left(payload ->> 'tool', {TOOL_LETTERS})", """"AgentWorkflowRunEvent" WHERE type = 'tool.invocation'"""
)


def workflow_names(most: int = MOST_NAMES) -> list[str]:
    """Return the beginnings of the workflows' names in alphabetical order, so many at most."""
    return _names(WORKFLOWS, most)


def workflows_beginning(words: str) -> list[str]:
    """Return the beginnings of the names of the workflows that begin so, in any case of the letters."""
    return [name for name in workflow_names(LOOKED_AT) if name.casefold().startswith(words.casefold())]


def tool_names(most: int = MOST_NAMES) -> list[str]:
    """Return the beginnings of the names of the tools that were called, in alphabetical order, so many at most."""
    return _names(TOOLS, most)


def _names(query: str, most: int) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(query, [most])
        return [name for (name,) in cursor.fetchall()]
