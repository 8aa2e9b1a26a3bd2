"""What the list of projects shows and filters by, beside the columns of ``"Project"`` that stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from agentstate.admin.project.panels.reading import number_or_text, short_number
from agentstate.models import KeptVerification, UnequalProject
from agentstate.state.documents import decode
from agentstate.state.homes import CLOCK, NEWEST, PROJECTS, readable
from agentstate.state.keys import STATE_KEYS
from agentstate.state.standing import STANDING, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# Larger documents, in bytes as they are stored, are read for a filter, but not for the columns of the list.
LARGEST = 100_000

_COLUMN_OF = {key.name: key.column for key in STATE_KEYS}
_READ = ("coverage", "conflictLog", "eligibility")


def _latest(project: str, largest: int | None = None) -> str:
    """Return a subquery of a project's standing, clocks and documents, those of the home that changed last.

    In sync the columns are read: each is a value of its own, while a snapshot is detoasted whole.

    Args:
        project: an SQL expression of its id; its table must have another name than ``p``.
        largest: bytes of a document that are not exceeded; a larger one is NULL, and ``is_large`` is true.
    """
    columns = ", ".join(f'p."{_COLUMN_OF[key]}"' for key in _READ)
    stored = ", ".join(f'coalesce(pg_column_size("{_COLUMN_OF[key]}"), 0)' for key in _READ)
    documents = ", ".join(
        f"""CASE WHEN is_large THEN NULL WHEN reads_columns THEN "{_COLUMN_OF[key]}"
            ELSE state -> '{key}' END AS {key}"""
        for key in _READ
    )
    is_large = "false"
    if largest is not None:
        is_large = f"CASE WHEN reads_columns THEN greatest({stored}) ELSE pg_column_size(result) END > {largest}"
    return f"""(
        SELECT standing, clock, snapshot_at, is_large, {documents} FROM (
            SELECT *, CASE WHEN NOT reads_columns AND NOT is_large THEN result -> 'state' END AS state FROM (
                SELECT *, coalesce({is_large}, false) AS is_large FROM (
                    SELECT *, has_columns AND (standing = 'legacy_ahead' OR (clock >= snapshot_at) IS NOT FALSE)
                        AS reads_columns
                    FROM (
                        SELECT {columns}, p.has_columns, {STANDING} AS standing, {CLOCK} AS clock, newest.snapshot_at,
                            newest.result
                        FROM {PROJECTS} p {NEWEST} WHERE p.id = {project}
                        OFFSET 0
                    ) homes OFFSET 0
                ) judged OFFSET 0
            ) sized OFFSET 0
        ) latest)"""


# As the panels count them. Strict: a lax path would look into arrays in the place of objects.
_OPEN_ONES = """? (@.type() == "object" && ((exists(@.resolved)) is unknown || @.resolved.type() == "null"
    || (@.resolved.type() == "boolean" && @.resolved == false)))"""
_FATAL_ONES = '? (@.type() == "object" && @.fatal.type() == "boolean" && @.fatal == true)'


def _number(document: str, path: str) -> str:
    return f"jsonb_array_length(jsonb_path_query_array({document}, 'strict {path}'))"


_OPEN = f"""CASE jsonb_typeof(conflictLog)
    WHEN 'array' THEN {_number("conflictLog", f"$[*] {_OPEN_ONES}")}
    WHEN 'object' THEN {_number("conflictLog", f"$ {_OPEN_ONES}")}
    ELSE 0 END"""
_FATAL = f"""CASE
    WHEN jsonb_typeof(eligibility) = 'array' THEN {_number("eligibility", f"$[*] {_FATAL_ONES}")}
    WHEN jsonb_typeof(eligibility -> 'items') = 'array' THEN {_number("eligibility", f"$.items[*] {_FATAL_ONES}")}
    ELSE 0 END"""
_SCORE = """(
    SELECT CASE WHEN jsonb_typeof(score) IN ('number', 'string') AND pg_column_size(score) < 200 THEN score::text END
    FROM (SELECT CASE jsonb_typeof(coverage) WHEN 'object' THEN coverage -> 'score' ELSE coverage END AS score) one)"""

_ROWS = f"""
    SELECT listed.id, standing, is_large, {_SCORE},
        CASE WHEN NOT is_large THEN {_OPEN} END, CASE WHEN NOT is_large THEN {_FATAL} END,
        {readable("clock")}, {readable("snapshot_at")}
    FROM unnest(%(projects)s::text[]) listed (id) CROSS JOIN LATERAL {_latest("listed.id", LARGEST)} latest"""


@dataclass(frozen=True)
class ProjectFigures:
    """The figures of one project in the list.

    Attributes:
        standing: a standing, or ``unequal`` by the last verification.
        is_large: the documents are too large to be read for a list; then these figures are missing.
        columns_at, snapshot_at: when each home last changed.
    """

    standing: str
    is_large: bool
    score: str | None
    open_conflicts: int | None
    fatal: int | None
    columns_at: datetime
    snapshot_at: datetime | None

    @property
    def last_change(self) -> datetime:
        return max(self.columns_at, self.snapshot_at or self.columns_at)


def figures_of(projects: Sequence[str]) -> dict[str, ProjectFigures]:
    """Return the figures of the projects of one page of the list."""
    unequal = set(unequal_projects().filter(project_id__in=projects).values_list("project_id", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, {"projects": list(projects)})
        rows = cursor.fetchall()
    return {project: _figures(standing, *rest, is_unequal=project in unequal) for project, standing, *rest in rows}


def _figures(standing: str, is_large: bool, score: str | None, *rest: Any, is_unequal: bool) -> ProjectFigures:
    number = number_or_text(decode(score)) if score else None
    word = "unequal" if is_unequal and standing == Standing.IN_SYNC else standing
    return ProjectFigures(word, is_large, None if number is None else short_number(number), *rest)


def unequal_projects() -> Any:
    """Return the projects that the last verification found unequal."""
    newest = KeptVerification.objects.newest()
    return UnequalProject.objects.filter(verification=newest) if newest else UnequalProject.objects.none()


# -- conditions on the project of an SQL expression


def has_standing(project: str, standing: str) -> RawSQL:
    """Return the condition that a project has a standing. Reads no document."""
    return _condition(f"(SELECT {STANDING} FROM {PROJECTS} p {NEWEST} WHERE p.id = {project}) = %s", standing)


def has_open_conflicts(project: str) -> RawSQL:
    """Return the condition that a project's conflict log has an open conflict."""
    return _condition(f"(SELECT {_OPEN} > 0 FROM {_latest(project)} latest)")


def has_fatal_items(project: str) -> RawSQL:
    """Return the condition that a project's eligibility has a fatal item."""
    return _condition(f"(SELECT {_FATAL} > 0 FROM {_latest(project)} latest)")


def is_newest_snapshot(run: str) -> RawSQL:
    """Return the condition that no snapshot of the run's project is newer than the run's."""
    return _condition(
        f"""NOT EXISTS (SELECT FROM "AgentWorkflowRun" newer
            WHERE newer.project_id = {run}.project_id AND newer.snapshot_at > {run}.snapshot_at)"""
    )


def _condition(sql: str, *parameters: str) -> RawSQL:
    return RawSQL(sql, parameters, output_field=BooleanField())  # noqa: S611 - constant pieces
