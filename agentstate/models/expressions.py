"""Expressions that indexes and queries must spell in the same way, or the index is not used.

Indexes of lists hold a hash of an id, not the id. A synthetic id (``legacy_<project id>_<clock>``) takes about 50
bytes, its hash 8, and always fits into an index row. The order among rows of one moment carries no meaning.
"""

from __future__ import annotations

from django.db.models import BigIntegerField, F, Func, IntegerField, Q, TextField, Value
from django.db.models.functions import Cast, Left
from django.db.models.lookups import Exact

# An index holds this many characters of a workflow's name. A row whose name is too long for an index cannot be stored.
WORKFLOW_LETTERS = 100


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


def status_and_snapshot() -> Func:
    """Return a run's status followed by 1 if it carries no snapshot, else by 0.

    The index by workflow spells this differently on purpose. A query for one workflow then cannot use the index by
    status, in which the planner would scan all runs of a status until it meets enough of that workflow.
    """
    lacks = Cast(lacks_snapshot(), TextField())
    return Func(F("status"), lacks, template="(%(expressions)s)", arg_joiner=" || ", output_field=TextField())


def workflow_start() -> Left:
    """Return the beginning of the workflow's name that the index holds."""
    return Left("workflow_id", WORKFLOW_LETTERS)
