"""Settling: an operator's decision about a forked, unequal or emptied project, with the facts that it rests on."""

from __future__ import annotations

import shlex
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable, QueryCanceled

from agentstate.backfill.errors import BackfillError
from agentstate.backfill.locks import release
from agentstate.backfill.options import PassOptions, Selection
from agentstate.backfill.pass_runner import run_pass
from agentstate.backfill.poolers import refuse_transaction_pooling
from agentstate.lock_spaces import DECISIONS
from agentstate.models.passes import BackfillPass, Direction
from agentstate.state.homes import CLOCK, CLOCKS, NEWEST, PROJECTS, readable
from agentstate.state.merging import DifferingKey, differing_keys
from agentstate.state.replay import state_at
from agentstate.state.restoring import ReplacedKey, replaced_keys
from agentstate.state.standing import EMPTIED, STANDING, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_REASON = 3
_CHANGED = (
    "Nothing was changed: the project has changed since the page was shown, or holds that state already. "
    "Look at it again."
)


class Choice(StrEnum):
    """What an operator can decide."""

    COLUMNS = "columns"
    SNAPSHOT = "snapshot"
    RESTORE = "restore"


class CannotSettle(BackfillError):
    """The decision was not carried out. Nothing was changed. The text says why."""


@dataclass(frozen=True)
class Dispute:
    """How the two homes of a project contradict each other.

    Attributes:
        kind: ``forked``, ``unequal`` or ``emptied``; empty for a project without a contradiction.
        seen: its clocks. A decision about other ones is refused.
        columns_at, snapshot_at: when each home last changed.
        base_at: when both homes of a fork were equal.
        keys: where they differ.
    """

    kind: str
    seen: str
    columns_at: datetime
    snapshot_at: datetime | None
    base_at: datetime | None
    keys: list[DifferingKey]

    @property
    def clashes(self) -> list[str]:
        """The documents that both homes changed."""
        return [each.key for each in self.keys if each.clashes]

    @property
    def needs_decision(self) -> bool:
        """Whether no pass settles it without an operator."""
        return bool(self.kind) and (self.kind != "forked" or bool(self.clashes))

    @property
    def choices(self) -> list[Choice]:
        """The decisions that settle it."""
        if not self.needs_decision:
            return []
        return [Choice.RESTORE, Choice.COLUMNS] if self.kind == "emptied" else [Choice.COLUMNS, Choice.SNAPSHOT]


_DISPUTE = f"""
    SELECT CASE WHEN {EMPTIED} AND ({STANDING}) IN ('legacy_ahead', 'forked') THEN 'emptied' ELSE {STANDING} END,
        {CLOCKS}, {readable(CLOCK)}, {readable("newest.snapshot_at")}, {readable("newest.legacy_at")}
    FROM {PROJECTS} p {NEWEST} WHERE p.id = %(project)s AND p.has_columns"""


def dispute_of(project_id: str) -> Dispute | None:
    """Read how a project's homes contradict each other, None once the columns are dropped. Compares all documents."""
    with connection.cursor() as cursor:
        cursor.execute(_DISPUTE, {"project": project_id})
        row = cursor.fetchone()
        if row is None:
            return None
        standing, seen, columns_at, snapshot_at, base_at = row
        keys = differing_keys(cursor, project_id)
    kind = "unequal" if standing == Standing.IN_SYNC and keys else standing
    is_dispute = kind in ("forked", "unequal", "emptied")
    return Dispute(
        kind if is_dispute else "",
        seen,
        columns_at,
        snapshot_at,
        base_at if kind == "forked" else None,
        keys if is_dispute else [],
    )


def has_state_at(project_id: str, moment: datetime) -> bool:
    """Return whether the history has a state of the project at a moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT EXISTS (SELECT FROM {state_at("%(moment)s::timestamptz")} past)
                FROM "Project" p WHERE p.id = %(project)s""",
            {"project": project_id, "moment": moment},
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def replaced_by_restoring(project_id: str, as_of: datetime | None) -> list[ReplacedKey]:
    """Return the documents that restoring the state of a moment, or the newest snapshot's, would replace."""
    with connection.cursor() as cursor:
        return replaced_keys(cursor, project_id, as_of)


def settle_project(project_id: str, choice: Choice, *, reason: str, seen: str, as_of: datetime | None = None) -> None:
    """Carry out a decision: run a pass for this project, which the ledger records with the actor and the reason.

    Args:
        reason: why.
        seen: the clocks that the operator saw, see :attr:`Dispute.seen`.
        as_of: the moment whose state is restored; without it that of the newest snapshot.

    Raises:
        CannotSettle: the reason is too short, or the project has changed since.
        BackfillError: the pass could not start.
    """
    if len(reason.strip()) < SHORTEST_REASON:
        raise CannotSettle(f"The reason must have at least {SHORTEST_REASON} characters. Nothing was changed.")
    with _one_after_the_other(project_id):
        dispute = dispute_of(project_id)
        if dispute is None or dispute.seen != seen:
            raise CannotSettle(f"{_CHANGED} {newest_decision(project_id)}".strip())
        outcome = run_pass(_options(project_id, choice, reason.strip(), seen, as_of))
    if outcome.failures:
        failure = outcome.failures[0]
        raise CannotSettle(f"{failure.error_class}: {failure.error}")
    if not outcome.counts.written and not outcome.counts.merged:
        raise CannotSettle(_CHANGED)


def newest_decision(project_id: str) -> str:
    """Say who decided about a project last, when and why; empty before the first decision."""
    decided = BackfillPass.objects.filter(
        options__selection__projects=[project_id], options__has_key="reason", outcome=BackfillPass.Outcome.FINISHED
    )
    newest = decided.order_by("-pk").first()
    if newest is None:
        return ""
    at = f"{newest.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{newest.requested_by} decided about this project at {at}: {newest.options['reason']}"


@contextmanager
def _one_after_the_other(project_id: str) -> Iterator[None]:
    """Let decisions about one project wait for each other. Each sees what those before it did.

    Two that need passes of opposite directions would otherwise refuse each other.

    Raises:
        CannotSettle: another one took longer than the host's limit for locks or statements.
    """
    refuse_transaction_pooling()
    key = (DECISIONS, zlib.crc32(project_id.encode()) - 2**31)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", key)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable | QueryCanceled):
            raise
        raise CannotSettle(
            "Nothing was changed: another decision about this project is being carried out. Try again after it."
        ) from error
    try:
        yield
    finally:
        release("pg_advisory_unlock", key)


def _options(project_id: str, choice: Choice, reason: str, seen: str, as_of: datetime | None) -> PassOptions:
    selection = Selection((project_id,))
    if choice == Choice.RESTORE:
        return PassOptions(Direction.REVERSE, selection, force=True, as_of=as_of, reason=reason, seen=seen)
    home = "legacy" if choice == Choice.COLUMNS else "agentkit"
    return PassOptions(Direction.FORWARD, selection, sessions=False, prefer=home, reason=reason, seen=seen)


def command_of(project_id: str, choice: Choice, as_of: datetime | None = None) -> str:
    """Return the command that carries out a decision."""
    project = shlex.quote(project_id)
    if choice == Choice.RESTORE:
        moment = f" --as-of {as_of.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if as_of else ""
        return f"manage.py reverse_backfill_agentkit_state --force --project {project}{moment}"
    home = "legacy" if choice == Choice.COLUMNS else "agentkit"
    return f"manage.py backfill_agentkit_state --no-sessions --prefer {home} --project {project}"
