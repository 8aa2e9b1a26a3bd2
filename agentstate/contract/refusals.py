"""Checks before the columns are dropped, and before they are added again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management import CommandError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from agentstate.backfill.verification import verify
from agentstate.rollout.preconditions import UnfitDatabase, refuse_unfit_database
from agentstate.rollout.stages import RolloutState, Stage
from agentstate.row_security import RowsHidden
from agentstate.state.columns import read_legacy_home
from agentstate.state.filling import CONTENT_IS_KEPT
from agentstate.state.foreign_changes import CLOCK_MADE_BY
from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, NEWEST, PROJECTS
from agentstate.state.replay import state_at
from agentstate.state.standing import STANDING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.migrations import Migration

LABEL = "agentstate_contract"
NAMED = 5

# agentkit_ahead projects whose columns are in no run: a write bypassed the trigger, and dropping them would lose it.
_UNKEPT = f"""
    SELECT p.id, count(*) OVER () FROM {PROJECTS} p {NEWEST}
    WHERE ({STANDING}) = 'agentkit_ahead' AND NOT ({CONTENT_IS_KEPT})
      AND NOT EXISTS (SELECT FROM {state_at(CLOCK)} past WHERE past.at = {CLOCK} AND past.state = {COLUMNS_AS_STATE})
    ORDER BY p.id LIMIT {NAMED}"""


class NotReady(CommandError):
    """Nothing was changed. The text says which conditions are not met."""


def check_before_migrating(*, using: str, plan: list[tuple[Migration, bool]], **kwargs: Any) -> None:
    """Refuse a migration plan before its first migration runs, if the contract would refuse in the middle of it.

    Raises:
        NotReady: see :func:`refuse_to_drop` and :func:`refuse_to_bring_back`.
    """
    for backwards in [backwards for migration, backwards in plan if migration.app_label == LABEL]:
        if backwards:
            refuse_to_bring_back()
        else:
            refuse_to_drop()


def refuse_to_drop() -> None:
    """Check that the columns can be dropped: the stage is frozen, verification is clean, and nothing would be lost.

    Raises:
        NotReady: naming every condition that is not met.
    """
    if CLOCK_MADE_BY not in MigrationRecorder(connection).applied_migrations():
        raise NotReady(
            "The legacy columns stay, and nothing was changed: agentstate is not migrated. Migrate it first, without "
            "AGENTSTATE_CONTRACT."
        )
    with _as_not_ready():
        refuse_unfit_database()
    if read_legacy_home().is_contracted:
        return  # an earlier attempt was killed after the drop
    if not_met := list(_not_met()):
        raise NotReady("\n".join(["The legacy columns stay, and nothing was changed. Not met:", *not_met]))


def _not_met() -> Iterator[str]:
    position = RolloutState.read().position
    if position is None or position.stage != Stage.FROZEN:
        stage = f"the stage is {position}" if position else "the flags match no stage"
        yield f"- {stage}, and must be frozen: see manage.py agentkit_rollout."
    for kind, count in verify().problems.items():
        if count:
            yield f"- {count:,} {kind}: see manage.py verify_agentkit_state."
    if sentence := _not_owner():
        yield f"- {sentence}"
    with connection.cursor() as cursor:
        cursor.execute(_UNKEPT)
        unkept = cursor.fetchall()
    if unkept:
        names = ", ".join(project_id for project_id, _ in unkept)
        yield (
            f"- {unkept[0][1]:,} with columns that are in no run, {names}: "
            "run manage.py reverse_backfill_agentkit_state, which records them."
        )


def refuse_to_bring_back() -> None:
    """Check that the columns can be added again, frozen.

    Raises:
        NotReady: this role may not alter the table; or legacy_writes is on, so the freeze would refuse saves; or
            agentkit_reads is not on for everyone, so the columns would be read before they are filled.
    """
    with _as_not_ready():
        refuse_unfit_database()
    if not read_legacy_home().is_contracted:
        return  # an earlier attempt was killed after adding them; filling them is correct at any stage
    if sentence := _not_owner():
        raise NotReady(f"The legacy columns stay dropped, and nothing was changed: {sentence}")
    rollout = RolloutState.read().rollout
    if not rollout.legacy_writes.is_nothing:
        raise NotReady(
            "The legacy columns stay dropped, and nothing was changed: legacy_writes is on, and the columns come back "
            "frozen and would refuse saves. Run manage.py waffle_flag legacy_writes --deactivate first."
        )
    if not rollout.agentkit_reads.is_everything:
        raise NotReady(
            "The legacy columns stay dropped, and nothing was changed: agentkit_reads is off for some projects, "
            "which would read the columns before these are filled. Run manage.py waffle_flag agentkit_reads "
            "--everyone first."
        )


@contextmanager
def _as_not_ready() -> Iterator[None]:
    try:
        yield
    except (UnfitDatabase, RowsHidden) as error:
        raise NotReady(str(error)) from error


def _not_owner() -> str:
    """Return a sentence if this role may not alter the table, else an empty string."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT current_user FROM pg_class
            WHERE oid = '"Project"'::regclass AND NOT pg_has_role(relowner, 'USAGE')
            """
        )
        row = cursor.fetchone()
    return f'"Project" belongs to another role than {row[0]}: migrate as its owner, or as a member.' if row else ""
