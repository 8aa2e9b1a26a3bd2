"""Expressions that indexes and queries must spell alike."""

from __future__ import annotations

from django.db.models import BigIntegerField, F, Func, IntegerField, Q, TextField, Value
from django.db.models.functions import Cast, Left
from django.db.models.lookups import Exact

# As much of a workflow's name as an index holds: no name is too long to be stored for the sake of a list.
WORKFLOW_LETTERS = 100


def _hash(text: F | Value) -> Func:
    return Func(text, Value(0), function="hashtextextended", output_field=BigIntegerField())


def id_hash() -> Func:
    """Return a number that tells apart rows with the same time, whose ids may be too long to stand in an index."""
    return _hash(F("id"))


def project_hash() -> Func:
    """Return a number that stands for a run's project in the index of a project's runs by time.

    An index on the project itself would tempt the planner to read and sort all of a project's runs where its newest
    snapshot is asked for, which the index on the project and ``snapshot_at`` has at hand.
    """
    return _hash(F("project_id"))


def of_project(project_id: str) -> Q:
    """Return the condition that a run is a project's, in the words of the index of a project's runs by time."""
    return Q(Exact(project_hash(), _hash(Value(project_id))), project=project_id)


def lacks_snapshot() -> Func:
    """Return 1 for a run that carries no snapshot, and 0 for one that does."""
    return Func(F("snapshot_at"), function="num_nulls", output_field=IntegerField())


def status_and_snapshot() -> Func:
    """Return a run's status with 1 behind it if it carries no snapshot, else 0.

    The index of workflows has another spelling: where a workflow is asked for, the planner must not read all runs of a
    status in the hope to meet some of that workflow soon.
    """
    lacks = Cast(lacks_snapshot(), TextField())
    return Func(F("status"), lacks, template="(%(expressions)s)", arg_joiner=" || ", output_field=TextField())


def workflow_start() -> Left:
    """Return the workflow's name, as far as the index has it."""
    return Left("workflow_id", WORKFLOW_LETTERS)
