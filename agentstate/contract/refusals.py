"""What must hold before the columns go, and before they come back: found out first, refused with a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management import CommandError
from django.db import ProgrammingError, connection
from psycopg.errors import UndefinedColumn, UndefinedTable

from agentstate.backfill.verification import verify
from agentstate.rollout.stages import Stage, look
from agentstate.state.columns import legacy_columns_are_there
from agentstate.state.filling import CONTENT_IS_KEPT
from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, NEWEST, PROJECTS
from agentstate.state.replay import state_at
from agentstate.state.standing import STANDING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.migrations import Migration

LABEL = "agentstate_contract"
NAMED = 5

# Columns that AgentKit left behind, and that the history does not have as they are: somebody changed them behind the
# trigger's back, and dropping them would lose that.
_UNKEPT = f"""
    SELECT p.id, count(*) OVER () FROM {PROJECTS} p {NEWEST}
    WHERE ({STANDING}) = 'agentkit_ahead' AND NOT ({CONTENT_IS_KEPT})
      AND NOT EXISTS (SELECT FROM {state_at(CLOCK)} past WHERE past.at = {CLOCK} AND past.state = {COLUMNS_AS_STATE})
    ORDER BY p.id LIMIT {NAMED}"""


class NotReady(CommandError):
    """The columns stay as they are, there or not; the text says what is missing."""


def check_before_migrating(*, using: str, plan: list[tuple[Migration, bool]], **kwargs: Any) -> None:
    """Refuse a plan before its first migration runs, where ours would refuse in the middle of it.

    Raises:
        NotReady: see :func:`refuse_to_drop` and :func:`refuse_to_bring_back`.
    """
    for backwards in [backwards for migration, backwards in plan if migration.app_label == LABEL]:
        if backwards:
            refuse_to_bring_back()
        else:
            refuse_to_drop()


def refuse_to_drop() -> None:
    """Check that the columns can go: the stage is frozen, verification is clean, and nothing would be lost.

    Raises:
        NotReady: naming everything that is missing.
    """
    try:
        if not legacy_columns_are_there():
            return  # an earlier attempt was killed after the drop
        missing = list(_missing())
    except ProgrammingError as error:
        if not isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
            raise
        missing = ["- agentstate is not migrated: migrate it first, without AGENTSTATE_CONTRACT."]
    if missing:
        raise NotReady("\n".join(["The legacy columns stay, and nothing was changed. What is missing:", *missing]))


def _missing() -> Iterator[str]:
    place = look().place
    if place is None or place.stage != Stage.FROZEN:
        stands = f"the stage is {place}" if place else "the flags are in no stage of the rollout"
        yield f"- {stands}, and must be frozen: see manage.py agentkit_rollout."
    found = verify()
    for kind, count in found.problems.items():
        if count:
            yield f"- {count:,} {kind}: see manage.py verify_agentkit_state."
    if stranger := _stranger():
        yield f"- {stranger}"
    with connection.cursor() as cursor:
        cursor.execute(_UNKEPT)
        unkept = cursor.fetchall()
    if unkept:
        names = ", ".join(project_id for project_id, _ in unkept)
        yield (
            f"- {unkept[0][1]:,} with columns that no run holds, {names}: "
            "run manage.py reverse_backfill_agentkit_state, which keeps them."
        )


def refuse_to_bring_back() -> None:
    """Check that the columns can come back frozen, as they went.

    Raises:
        NotReady: this role may not alter the table, legacy_writes is on, so that saves would run into the freeze, or
            agentkit_reads is not, so that the columns would be read before they have their content.
    """
    if legacy_columns_are_there():
        return  # an earlier attempt was killed after they came back, and seeding them is right at any stage
    if stranger := _stranger():
        raise NotReady(f"The legacy columns stay dropped, and nothing was changed: {stranger}")
    rollout = look().rollout
    if not rollout.legacy_writes.is_nothing:
        raise NotReady(
            "The legacy columns stay dropped, and nothing was changed: legacy_writes is on, and the columns come back "
            "frozen, so that saves would be refused. Run manage.py waffle_flag legacy_writes --deactivate first."
        )
    if not rollout.agentkit_reads.is_everything:
        raise NotReady(
            "The legacy columns stay dropped, and nothing was changed: agentkit_reads is off for some, who would read "
            "the columns before they have their content. Run manage.py waffle_flag agentkit_reads --everyone first."
        )


def _stranger() -> str:
    """Say that this role may not alter the table; nothing where it may."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT current_user FROM pg_class
            WHERE oid = '"Project"'::regclass AND NOT pg_has_role(relowner, 'USAGE')
            """
        )
        found = cursor.fetchone()
    return f'"Project" belongs to another role than {found[0]}: migrate as its owner, or as a member.' if found else ""
