"""Reverse passes, which bring the columns up to date before fewer projects read from the AgentKit home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from agentstate.backfill import OtherDirectionRunning, PassOptions, Selection, UnknownProjects, run_pass
from agentstate.backfill.locks import pass_lock
from agentstate.models.passes import Direction
from agentstate.rollout.errors import Interrupted, NeedsPerson, Refused
from agentstate.state.acceptance import COLUMNS_ARE_GIVEN_UP
from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.standing import STANDING, Standing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import TypeVar

    from agentstate.backfill import Outcome, Progress

    Result = TypeVar("Result")


def reverse_until_synced(
    then: Callable[[], Result], *, progress: Callable[[Progress], None], stop: threading.Event
) -> Result:
    """Run reverse passes until no project is AgentKit ahead, then call ``then`` before any forward pass can start.

    A forward pass merges forked projects first. With both write gates open, a project that a pass has synced stays in
    sync; only a bypassing write meanwhile causes another round.

    Raises:
        NeedsPerson: a project is forked with a conflict, or a pass left it aside.
        Refused: a forward pass is running.
        Interrupted: ``stop`` was set; projects already moved stay moved.
    """
    while True:
        _merge_forks(progress, stop)
        try:
            with pass_lock(Direction.REVERSE):
                outcome = run_pass(PassOptions(direction=Direction.REVERSE), progress=progress, stop=stop)
                _refuse_unfinished(outcome)
                ahead = [each for each in _that_are(Standing.AGENTKIT_AHEAD) if each not in outcome.accepted]
                if not ahead and not _forked():
                    return then()
        except OtherDirectionRunning as error:
            raise Refused(_TWO_DIRECTIONS) from error
        failed = {failure.project for failure in outcome.failures}
        if ahead and failed.issuperset(ahead):
            raise NeedsPerson(
                "A reverse pass left these agentkit_ahead projects aside. Fix each, or accept it with manage.py "
                "agentkit_left_aside accept, then run this again. The projects",
                ahead,
            )


_TWO_DIRECTIONS = (
    "A pass of the other direction is running on this database. Wait until it ends, or interrupt it. Then run "
    "manage.py agentkit_rollout retreat again."
)


def _merge_forks(progress: Callable[[Progress], None], stop: threading.Event) -> None:
    forked = _forked()
    if not forked:
        return
    options = PassOptions(direction=Direction.FORWARD, selection=Selection(tuple(forked)), sessions=False)
    try:
        outcome = run_pass(options, progress=progress, stop=stop)
    except OtherDirectionRunning as error:
        raise Refused(_TWO_DIRECTIONS) from error
    except UnknownProjects:
        return  # deleted meanwhile: the next round reads them again
    _refuse_unfinished(outcome)
    if clashing := sorted(set(forked).intersection(_forked())):
        raise NeedsPerson(
            "Both homes of these projects changed the same document. Settle each with manage.py "
            "backfill_agentkit_state --prefer legacy|agentkit --project ID, then run this again. The projects",
            clashing,
        )


def _refuse_unfinished(outcome: Outcome) -> None:
    if outcome.stopped:
        raise Interrupted("Interrupted after the current batch. Projects already moved stay moved.")


def _forked() -> list[str]:
    """Return the ids of forked projects, without those that the operator accepted."""
    return _that_are(Standing.FORKED, f"NOT {COLUMNS_ARE_GIVEN_UP}")


def _that_are(standing: Standing, also: str = "true") -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT p.id FROM {PROJECTS} p {NEWEST} WHERE ({STANDING}) = '{standing}' AND {also} ORDER BY p.id",
        )
        return [project_id for (project_id,) in cursor.fetchall()]
