"""Expressions that indexes and queries must spell in the same way, or the index is not used.

Indexes of lists hold a hash of an id, not the id. A synthetic id (``legacy_<project id>_<clock>``) takes about 50
bytes, its hash 8, and always fits into an index row. The order among rows of one moment carries no meaning.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import BigIntegerField, BooleanField, DurationField, F, Func, IntegerField, Q, TextField, Value
from django.db.models.functions import Left
from django.db.models.lookups import Exact, GreaterThanOrEqual, LessThanOrEqual

# An index holds this many characters of a name, of an id, and of an error's pattern. A row with more than fits into an
# index cannot be stored.
WORKFLOW_LETTERS = TOOL_LETTERS = 100
ID_LETTERS = 32
PATTERN_LETTERS = 200
# What status_and_snapshot() returns for a backfilled run.
BACKFILLED = "backfilled"
BACKFILLED_WORKFLOW = "legacy_snapshot"

# Times between these can be subtracted from each other.
_FIRST, _LAST = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
# What differs between errors of one cause: URLs, mail addresses, addresses in memory, words of eight letters and more
# that have two digits (ids, UUIDs, digests), and numbers.
_VARIABLE = r"https?://\S+|[^\s@]+@[^\s@]+|0x[0-9a-f]+|\m(?=[\w-]*\d[\w-]*\d)[\w-]{8,}|\d+([.,:]\d+)*"


class Sql(Func):
    """An expression given as SQL, in which ``{0}``, ``{1}`` and so on are the other arguments."""

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        compiled = [compiler.compile(source) for source in self.source_expressions]
        parameters = [parameter for _, parameters in compiled for parameter in parameters]
        return self.extra["template"].format(*(sql for sql, _ in compiled)), parameters


# Whether an event is a failure, by its type or by the status in its payload. A canceled call is none: it is what a
# failure elsewhere brought with it.
IS_FAILURE = """(type ~ '(^|[._])(error|failed|failure|exception)$'
    OR lower(payload ->> 'status') IN ('error', 'failed', 'failure'))"""


def _hash(text: F | Value) -> Func:
    return Func(text, Value(0), function="hashtextextended", output_field=BigIntegerField())


def id_hash() -> Func:
    """Return a hash of the row's id, which orders rows that have the same time."""
    return _hash(F("id"))


def project_hash() -> Func:
    """Return a hash of the run's project, for the index of a project's runs by time.

    With the project itself in that index, the planner may choose it to find the newest snapshot, and then reads and
    sorts all of the project's runs. The index on the project and ``snapshot_at`` finds the snapshot at once.
    """
    return _hash(F("project_id"))


def of_project(project_id: str) -> Q:
    """Return the condition that a run belongs to a project, spelled so that the index of its runs by time is used."""
    return Q(Exact(project_hash(), _hash(Value(project_id))), project=project_id)


def lacks_snapshot() -> Func:
    """Return 1 for a run that carries no snapshot, and 0 for one that does."""
    return Func(F("snapshot_at"), function="num_nulls", output_field=IntegerField())


def is_snapshot_of_project() -> Q:
    """Return the condition that a run of a project carries a snapshot, for the index of all projects' snapshots.

    With ``IS NOT NULL`` in that index, the planner may choose it to find one project's newest snapshot, and then reads
    the snapshots of all others.
    """
    both = Func(F("project_id"), F("snapshot_at"), function="num_nonnulls", output_field=IntegerField())
    return Q(Exact(both, Value(2)))


def status_and_snapshot() -> Sql:
    """Return a run's status followed by 1 if it carries no snapshot, else by 0; for a backfilled run ``BACKFILLED``.

    The list shows live runs alone by default. Backfilled ones may be most of the table, so they are a part of their
    own.

    The index by workflow spells this differently on purpose. A query for one workflow then cannot use the index by
    status, in which the planner would scan all runs of a status until it meets enough of that workflow.
    """
    return Sql(
        F("workflow_id"),
        F("status"),
        F("snapshot_at"),
        template=f"(CASE WHEN {{0}} = '{BACKFILLED_WORKFLOW}' AND {{1}} = 'succeeded' AND {{2}} IS NOT NULL "
        f"THEN '{BACKFILLED}' ELSE {{1}} || num_nulls({{2}})::text END)",
        output_field=TextField(),
    )


def duration() -> Sql:
    """Return how long a run took, for rows that meet :func:`took_time`."""
    return Sql(F("completed_at"), F("started_at"), template="({0} - {1})", output_field=DurationField())


def took_time() -> Q:
    """Return the condition that a run ended later than it began, at times that can be subtracted.

    A backfilled run ends as it begins, so it has no entry in the index by duration.
    """
    return Q(started_at__gte=_FIRST, completed_at__lt=_LAST, completed_at__gt=F("started_at"))


def error_pattern() -> Sql:
    """Return the first line of a run's error, with addresses, ids and numbers replaced by ``#``.

    Errors that differ in these alone are taken for one. The collation makes the pattern the same on every server.
    """
    lines = "ltrim(translate(left(coalesce({0}, ''), 1000), E'\\r', E'\\n'), E' \\t\\n')"
    variable = _VARIABLE.replace("{", "{{").replace("}", "}}")
    return Sql(
        F("error"),
        template=f"""left(regexp_replace(split_part({lines}, E'\\n', 1) COLLATE "C", '{variable}', '#', 'gi'), """
        f"{PATTERN_LETTERS})",
        output_field=TextField(),
    )


def has_failed() -> Q:
    """Return the condition that a run failed."""
    return Q(status="failed")


def tool_name() -> Sql:
    """Return the beginning of the name of the tool that a call's event is about."""
    return Sql(F("payload"), template=f"left({{0}} ->> 'tool', {TOOL_LETTERS})", output_field=TextField())


def is_call() -> Q:
    """Return the condition that an event is the beginning of a tool's call."""
    return Q(type="tool.invocation")


def is_failed_call() -> Q:
    """Return the condition that an event is the end of a tool's call that failed."""
    status = Sql(F("payload"), template="({0} ->> 'status')", output_field=TextField())
    return Q(type="tool.result") & Q(Exact(status, Value("error")))


def beginning(field: str) -> Sql:
    """Return the beginning of an id, in an order in which ids that begin alike are neighbours."""
    return Sql(F(field), template=f'(left({{0}}, {ID_LETTERS}) COLLATE "C")', output_field=TextField())


def begins_with(field: str, text: str) -> Q:
    """Return the condition that an id begins with a text, as a range that any plan finds in the index."""
    start = text[:ID_LETTERS]
    end = start if len(start) == ID_LETTERS else start + chr(0x10FFFF)
    in_index = Q(
        GreaterThanOrEqual(beginning(field), Value(start)),
        LessThanOrEqual(beginning(field), Value(end)),
    )
    return in_index & Q(**{f"{field}__startswith": text})


def workflow_start() -> Left:
    """Return the beginning of the workflow's name that the index holds."""
    return Left("workflow_id", WORKFLOW_LETTERS)


def is_failure() -> Func:
    """Return whether an event is a failure."""
    return Func(template=IS_FAILURE, output_field=BooleanField())
