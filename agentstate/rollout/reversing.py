"""Reverse passes before fewer projects read from the AgentKit home: the columns receive what they lack."""

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

    Projects that are forked are merged first, by a forward pass over them. With both write gates open, what a pass has
    brought home stays there: only a fork that others make meanwhile calls for another round.

    Raises:
        NeedsPerson: a project is forked with a clash, or a pass had to leave it aside.
        Refused: a forward pass is under way.
        Interrupted: somebody set ``stop``; what was moved stays moved.
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
                "A reverse pass had to leave these agentkit_ahead projects aside; mend them, or accept them with "
                "manage.py agentkit_left_aside accept, then run this again",
                ahead,
            )


_TWO_DIRECTIONS = (
    "A pass of the other direction is running on this database. Wait for its end, or interrupt it, then run "
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
        return  # deleted meanwhile: the next round looks again
    _refuse_unfinished(outcome)
    if clashing := sorted(set(forked).intersection(_forked())):
        raise NeedsPerson(
            "Both homes of these projects changed the same document; settle each with "
            "manage.py backfill_agentkit_state --prefer legacy|agentkit --project ID, then run this again",
            clashing,
        )


def _refuse_unfinished(outcome: Outcome) -> None:
    if outcome.stopped:
        raise Interrupted("Interrupted after the batch under way. What was moved stays moved.")


def _forked() -> list[str]:
    """Return the ids of forked projects, but for those that a person gave up."""
    return _that_are(Standing.FORKED, f"NOT {COLUMNS_ARE_GIVEN_UP}")


def _that_are(standing: Standing, also: str = "true") -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT p.id FROM {PROJECTS} p {NEWEST} WHERE ({STANDING}) = '{standing}' AND {also} ORDER BY p.id",
        )
        return [project_id for (project_id,) in cursor.fetchall()]
