"""One step up or down the stages: atomic, recorded with the operator, and never two at once."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import connection

from agentstate.actors import actor
from agentstate.backfill.locks import release
from agentstate.backfill.poolers import refuse_transaction_pooling
from agentstate.gates import GATES, LEGACY_WRITES
from agentstate.isolation import read_committed
from agentstate.lock_spaces import STEPS
from agentstate.models import Flag, FlagChange, RolloutStep
from agentstate.rollout.errors import Interrupted, StepInProgress, UnsuitablePercent
from agentstate.rollout.evidence import Evidence
from agentstate.rollout.flag_history import FlagHistory
from agentstate.rollout.flag_lock import lock_flags
from agentstate.rollout.freeze import freeze, has_freeze_triggers, thaw, with_lock_timeout
from agentstate.rollout.preconditions import refuse_unfit_database
from agentstate.rollout.refusals import ConditionsNotMet, NoStage, NoSuchStep
from agentstate.rollout.reversing import reverse_until_synced
from agentstate.rollout.stages import ALL_PROJECTS, NO_PROJECTS, Position, RolloutState, Stage, above, below
from agentstate.rollout.waiting import server_time, wait_until_effective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from agentstate.backfill import Progress
    from agentstate.rollout.waiting import Transaction

# The advisory lock of steps. The passes use the first two keys of the namespace.
_LOCK = (STEPS, 0)

CONTRACT = "AGENTSTATE_CONTRACT=1 manage.py migrate agentstate_contract"
UNCONTRACT = f"{CONTRACT} zero"


@dataclass(frozen=True)
class StepMonitor:
    """Callbacks that report the progress of a step, and the event that stops it.

    Attributes:
        progress: called by the passes.
        waiting: called with the transactions that the step waits for.
        stop: set it to end the step at the next safe point.
    """

    progress: Callable[[Progress], None] = lambda _: None
    waiting: Callable[[Sequence[Transaction]], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)


def advance(
    *,
    percent: Decimal | None = None,
    override: str = "",
    monitor: StepMonitor | None = None,
    seen: Position | None = None,
) -> RolloutStep:
    """Take one step up, if its conditions are met.

    Args:
        percent: the share of projects to read from the AgentKit home, where that is the next step.
        override: why to take the step although conditions are not met. Recorded only in that case.
        seen: the position that the operator decided about; the present one by default.

    Raises:
        ConditionsNotMet: conditions are not met.
        NoStage: the flags match no stage.
        UnfitDatabase: tables are missing, or another tool changed "Project".
        RowsHidden: row-level security hides rows.
        NoSuchStep: this is the top, or a migration takes the next step.
        UnsuitablePercent: the next step has no share, or the share is not larger than now.
        StepInProgress: another step is being taken, or was taken meanwhile, or a transaction keeps a flag locked.
        TableLocked: the freeze could not be set, because another transaction kept the table locked.
        Interrupted: ``monitor.stop`` was set; nothing was changed.
    """
    refuse_unfit_database()
    monitor = monitor or StepMonitor()
    now = _require_place(RolloutState.read())
    seen = seen or now
    with _one_at_a_time():
        position = _still_there(seen)
        target, evidence = _refuse_top(above(position, percent)), Evidence()
        conditions = evidence.conditions(target)
        if target.stage == Stage.CONTRACTED:
            raise NoSuchStep(f"A migration takes the next step: run {CONTRACT}. Nothing was changed.", conditions)
        missing = not all(condition.holds for condition in conditions)
        if missing and not override:
            raise ConditionsNotMet(target, conditions)
        step = RolloutStep(
            conditions=[condition.as_json() for condition in conditions], override=override if missing else ""
        )

        def take(then: Callable[[], None] = lambda: None) -> RolloutStep:
            if monitor.stop.is_set():
                raise Interrupted("Interrupted before the step was taken. Nothing was changed.")
            return _take(step, position, target, evidence.history, then=then)

        if target.stage != Stage.FROZEN:
            return take()
        off_since = evidence.history.since(LEGACY_WRITES, lambda share: share.is_nothing)
        wait_until_effective(off_since or server_time(), monitor.waiting, monitor.stop)
        return with_lock_timeout(lambda: take(then=freeze))


def retreat(
    *, percent: Decimal | None = None, monitor: StepMonitor | None = None, seen: Position | None = None
) -> RolloutStep:
    """Take one step down. Brings the columns up to date before fewer projects read from the AgentKit home.

    Resumes an interrupted retreat.

    Args:
        percent: a smaller share of projects that still reads from the AgentKit home.
        seen: the position that the operator decided about; the present one by default.

    Raises:
        NoStage: the flags match no stage.
        UnfitDatabase: tables are missing, or another tool changed "Project".
        RowsHidden: row-level security hides rows.
        NoSuchStep: this is the bottom, or a migration takes the step down.
        UnsuitablePercent: there is no share here, it is not smaller than now, or a retreat is unfinished.
        StepInProgress: another step is being taken, or was taken meanwhile.
        NeedsPerson: some projects need a decision by the operator first.
        TableLocked: the freeze could not be lifted, because another transaction kept the table locked.
        Refused: a forward pass is running.
        Interrupted: ``monitor.stop`` was set, and the step ended at a safe point.
    """
    refuse_unfit_database()
    monitor = monitor or StepMonitor()
    now = _require_place(RolloutState.read())
    seen = seen or now
    with _one_at_a_time():
        position = _still_there(seen)
        if unfinished := unfinished_step(position):
            if percent is not None:
                raise UnsuitablePercent("The retreat to this stage is unfinished. Run it without --percent first.")
            return _finish(unfinished, monitor)
        target = _refuse_bottom(position, below(position, percent))
        history, step = FlagHistory.load(), RolloutStep()
        if position.stage == Stage.AGENTKIT_ONLY:
            return _finish(_take_down(step, position, target, history, completed=False), monitor)
        if position.stage in (Stage.FROZEN, Stage.SHADOW_READ):
            return _take_down(step, position, target, history)
        _until_legacy_writes_are_on(monitor)
        return reverse_until_synced(
            lambda: _take_down(step, position, target, history), progress=monitor.progress, stop=monitor.stop
        )


def unfinished_step(position: Position | None) -> RolloutStep | None:
    """Return the step to this position, if it is not completed."""
    newest = RolloutStep.newest_to(*position) if position else None
    return newest if newest and not newest.completed_at else None


def _finish(step: RolloutStep, monitor: StepMonitor) -> RolloutStep:
    """Write the newest state of every project into the columns, after legacy writes were switched on."""
    try:
        _until_legacy_writes_are_on(monitor, step.at)
        reverse_until_synced(step.complete, progress=monitor.progress, stop=monitor.stop)
    except Interrupted as interrupted:
        raise Interrupted(
            f"{interrupted} The stage is {Stage.AGENTKIT_READ} at 100 percent, which is safe: saves go into both "
            "homes, and all reads are from the AgentKit home. Run manage.py agentkit_rollout retreat to continue."
        ) from interrupted
    return step


def _until_legacy_writes_are_on(monitor: StepMonitor, *steps_at: datetime) -> None:
    """Wait until every save writes the columns too, since a step or an operator switched that on."""
    by_hand = FlagHistory.load().since(LEGACY_WRITES, lambda share: share.is_everything)
    if moments := [*steps_at, *filter(None, [by_hand])]:  # else they were always on
        wait_until_effective(max(moments), monitor.waiting, monitor.stop)


def _require_place(rollout_state: RolloutState) -> Position:
    if rollout_state.position is None:
        raise NoStage(rollout_state.nearest)
    return rollout_state.position


def _still_there(seen: Position) -> Position:
    """Return the position, if it is still the one that the operator saw.

    Raises:
        StepInProgress: the position has changed.
    """
    now = RolloutState.read().position
    if now != seen:
        raise StepInProgress(
            f"The stage has just changed from {seen} to {now or 'none'}. Run manage.py agentkit_rollout to see it."
        )
    return seen


def _refuse_top(target: Position | None) -> Position:
    if target is None:
        raise NoSuchStep("The columns have been dropped: contracted is the last stage. Nothing was changed.")
    return target


def _refuse_bottom(position: Position, target: Position | None) -> Position:
    if position.stage == Stage.CONTRACTED:
        raise NoSuchStep(f"A migration takes the step down: run {UNCONTRACT}. Nothing was changed.")
    if target is None:
        raise NoSuchStep("legacy is the first stage. Nothing was changed.")
    return target


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold the advisory lock of steps on this connection.

    Raises:
        StepInProgress: another session holds it.
    """
    refuse_transaction_pooling()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK)
        (is_ours,) = cursor.fetchone()
    if not is_ours:
        raise StepInProgress(
            "Another operator is taking a step on this database. Nothing was changed. Try again later."
        )
    try:
        yield
    finally:
        release("pg_advisory_unlock", _LOCK)


def _take(
    step: RolloutStep,
    position: Position,
    target: Position,
    history: FlagHistory,
    *,
    then: Callable[[], None] = lambda: None,
    completed: bool = True,
) -> RolloutStep:
    """Set the flags of a position and record the step, in one transaction.

    Raises:
        StepInProgress: a flag has changed since the conditions were read, or a transaction keeps one locked; nothing
            was changed.
    """
    with read_committed():
        lock_flags()
        if (
            FlagChange.objects.filter(flag__in=GATES, pk__gt=history.newest_id).exists()
            or RolloutState.read().position != position
        ):
            raise StepInProgress("A flag changed after the conditions were read. Nothing was changed. Run this again.")
        _set_flags(target)
        then()
        step.from_stage, step.from_percent = position
        step.to_stage, step.to_percent = target
        step.requested_by = actor()
        step.at = server_time()
        step.completed_at = step.at if completed else None
        step.save(force_insert=True)
    return step


def _take_down(
    step: RolloutStep, position: Position, target: Position, history: FlagHistory, *, completed: bool = True
) -> RolloutStep:
    """Take a step down, and remove what is left of a freeze, which would refuse later saves."""
    if not has_freeze_triggers():
        return _take(step, position, target, history, completed=completed)
    return with_lock_timeout(lambda: _take(step, position, target, history, then=thaw, completed=completed))


def _set_flags(target: Position) -> None:
    """Set the gates that differ from a position. The others keep their settings, including pilots."""
    rollout_state = RolloutState.read()
    for difference in rollout_state.to_set(target):
        flag = rollout_state.flags.get(difference.gate) or Flag(name=difference.gate)
        share = target.shares[difference.gate]
        flag.everyone = {NO_PROJECTS: False, ALL_PROJECTS: True}.get(share)
        flag.percent = share if flag.everyone is None else None
        flag.save()
