"""One step up or down the ladder: taken as a whole, kept with who asked for it, and never by two at once."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from agentstate.actors import actor
from agentstate.backfill.locks import NAMESPACE, release
from agentstate.backfill.poolers import refuse_transaction_pooling
from agentstate.gates import GATES, LEGACY_WRITES
from agentstate.lock_timeout import LOCK_TIMEOUT
from agentstate.models import Flag, FlagChange, RolloutStep
from agentstate.rollout.errors import Interrupted, StepUnderWay, UnsuitablePercent
from agentstate.rollout.evidence import Evidence
from agentstate.rollout.flag_history import FlagHistory
from agentstate.rollout.freeze import freeze, is_left, thaw, with_lock_timeout
from agentstate.rollout.homecoming import bring_home
from agentstate.rollout.refusals import NoSuchStep, NotOpen, OffLadder
from agentstate.rollout.stages import EVERYONE, NOBODY, Place, Stage, above, below, look
from agentstate.rollout.waiting import server_time, until_true_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from agentstate.backfill import Progress
    from agentstate.rollout.stages import Standpoint
    from agentstate.rollout.waiting import Transaction

# One step at a time on a database: (namespace + 2, 0). The passes have the first two.
_LOCK = (NAMESPACE + 2, 0)
FLAGS_LOCK_TIMEOUT = "5s"

CONTRACT = "AGENTSTATE_CONTRACT=1 manage.py migrate agentstate_contract"
UNCONTRACT = f"{CONTRACT} zero"


@dataclass(frozen=True)
class Watching:
    """How a step that takes a while tells about itself, and how it is stopped.

    Attributes:
        progress: called by the passes that bring state home.
        waiting: called with the transactions that are waited for.
        stop: set it to end the step where that is safe.
    """

    progress: Callable[[Progress], None] = lambda _: None
    waiting: Callable[[Sequence[Transaction]], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)


def advance(*, percent: Decimal | None = None, override: str = "", watching: Watching | None = None) -> RolloutStep:
    """Take one step up, if its conditions hold.

    Args:
        percent: the share of projects to read from the AgentKit home, where that is the next step.
        override: why to take the step although conditions do not hold. It is kept only where they do not.

    Raises:
        NotOpen: conditions do not hold.
        OffLadder: the flags are no stage.
        NoSuchStep: this is the top, or a migration takes the next step.
        UnsuitablePercent: the next step has no share, or this is no larger one.
        StepUnderWay: another step is being taken, or was taken meanwhile, or somebody keeps a flag locked.
        StayedLocked: the freeze could not be set since others kept the table locked.
        Interrupted: somebody stopped it; nothing was changed.
    """
    watching = watching or Watching()
    seen = _require_place(look())
    with _one_at_a_time():
        place = _still_there(seen)
        target, evidence = _refuse_top(above(place, percent)), Evidence()
        conditions = evidence.conditions(target)
        if target.stage == Stage.CONTRACTED:
            raise NoSuchStep(f"A migration takes the next step: run {CONTRACT}. Nothing was changed.", conditions)
        missing = not all(condition.holds for condition in conditions)
        if missing and not override:
            raise NotOpen(target, conditions)
        step = RolloutStep(
            conditions=[condition.as_json() for condition in conditions], override=override if missing else ""
        )

        def take(then: Callable[[], None] = lambda: None) -> RolloutStep:
            if watching.stop.is_set():
                raise Interrupted("Interrupted before the step was taken. Nothing was changed.")
            return _take(step, place, target, evidence.history, then=then)

        if target.stage != Stage.FROZEN:
            return take()
        off_since = evidence.history.since(LEGACY_WRITES, lambda share: share.is_nothing)
        until_true_everywhere(off_since or server_time(), watching.waiting, watching.stop)
        return with_lock_timeout(lambda: take(then=freeze))


def retreat(*, percent: Decimal | None = None, watching: Watching | None = None) -> RolloutStep:
    """Take one step down. Before fewer projects read from the AgentKit home, their columns hold the newest state.

    An interrupted retreat that is started again goes on.

    Args:
        percent: a smaller share of projects that still reads from the AgentKit home.

    Raises:
        OffLadder: the flags are no stage.
        NoSuchStep: this is the bottom, or a migration takes the step down.
        UnsuitablePercent: there is no share here, this is no smaller one, or an interrupted retreat goes on first.
        StepUnderWay: another step is being taken, or was taken meanwhile.
        NeedsPerson: projects cannot be brought home without a person.
        StayedLocked: the freeze could not be lifted since others kept the table locked.
        Refused: a forward pass is under way.
        Interrupted: somebody stopped it where that is safe.
    """
    watching = watching or Watching()
    seen = _require_place(look())
    with _one_at_a_time():
        place = _still_there(seen)
        if unfinished := unfinished_step(place):
            if percent is not None:
                raise UnsuitablePercent("The retreat to here has not ended: run it without --percent first.")
            return _finish(unfinished, watching)
        target = _refuse_bottom(place, below(place, percent))
        history, step = FlagHistory.load(), RolloutStep()
        if place.stage == Stage.AGENTKIT_ONLY:
            return _finish(_take_down(step, place, target, history, completed=False), watching)
        if place.stage in (Stage.FROZEN, Stage.SHADOW_READ):
            return _take_down(step, place, target, history)
        _until_legacy_writes_are_on(watching)
        return bring_home(
            lambda: _take_down(step, place, target, history), progress=watching.progress, stop=watching.stop
        )


def unfinished_step(place: Place | None) -> RolloutStep | None:
    """Return the step that led here and was interrupted before its end."""
    newest = RolloutStep.newest_to(*place) if place else None
    return newest if newest and not newest.completed_at else None


def _finish(step: RolloutStep, watching: Watching) -> RolloutStep:
    """Bring everybody home after legacy writes were switched on."""
    try:
        _until_legacy_writes_are_on(watching, step.at)
        bring_home(step.complete, progress=watching.progress, stop=watching.stop)
    except Interrupted as interrupted:
        raise Interrupted(
            f"{interrupted} The stage is {Stage.AGENTKIT_READ} at 100 percent, which is safe: saves go into both "
            "homes, and everybody reads from the AgentKit home. Run manage.py agentkit_rollout retreat again to go on."
        ) from interrupted
    return step


def _until_legacy_writes_are_on(watching: Watching, *steps_at: datetime) -> None:
    """Wait until every save goes into the columns too, whoever switched that on: a step, or somebody by hand."""
    by_hand = FlagHistory.load().since(LEGACY_WRITES, lambda share: share.is_everything)
    if moments := [*steps_at, *filter(None, [by_hand])]:  # else they have always been on
        until_true_everywhere(max(moments), watching.waiting, watching.stop)


def _require_place(standpoint: Standpoint) -> Place:
    if standpoint.place is None:
        raise OffLadder(standpoint.nearest)
    return standpoint.place


def _still_there(seen: Place) -> Place:
    """Return the place, which is still the one that the operator saw.

    Raises:
        StepUnderWay: it is another.
    """
    now = look().place
    if now != seen:
        raise StepUnderWay(f"The stage was {seen} a moment ago, and is {now or 'none of the ladder'} now: look again.")
    return seen


def _refuse_top(target: Place | None) -> Place:
    if target is None:
        raise NoSuchStep("The columns have been dropped: this is the top of the ladder. Nothing was changed.")
    return target


def _refuse_bottom(place: Place, target: Place | None) -> Place:
    if place.stage == Stage.CONTRACTED:
        raise NoSuchStep(f"A migration takes the step down: run {UNCONTRACT}. Nothing was changed.")
    if target is None:
        raise NoSuchStep("Everything is legacy: this is the bottom of the ladder. Nothing was changed.")
    return target


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold the lock of steps, which goes with this connection.

    Raises:
        StepUnderWay: somebody else holds it.
    """
    refuse_transaction_pooling()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK)
        (is_ours,) = cursor.fetchone()
    if not is_ours:
        raise StepUnderWay("Another operator is taking a step on this database. Nothing was changed: look again soon.")
    try:
        yield
    finally:
        release("pg_advisory_unlock", _LOCK)


def _take(
    step: RolloutStep,
    place: Place,
    target: Place,
    history: FlagHistory,
    *,
    then: Callable[[], None] = lambda: None,
    completed: bool = True,
) -> RolloutStep:
    """Set the flags of a place and keep the step, in one transaction.

    Raises:
        StepUnderWay: somebody changed a flag since the conditions were looked at, or keeps one locked; nothing was
            changed.
    """
    with transaction.atomic():
        _lock_flags()
        if FlagChange.objects.filter(flag__in=GATES, pk__gt=history.newest_id).exists() or look().place != place:
            raise StepUnderWay("Somebody changed a flag just now. Nothing was changed: look again.")
        _set_flags(target)
        then()
        step.from_stage, step.from_percent = place
        step.to_stage, step.to_percent = target
        step.requested_by = actor()
        step.at = server_time()
        step.completed_at = step.at if completed else None
        step.save(force_insert=True)
    return step


def _take_down(
    step: RolloutStep, place: Place, target: Place, history: FlagHistory, *, completed: bool = True
) -> RolloutStep:
    """Take a step down, with what is left of a freeze: it would refuse what is saved from then on."""
    if not is_left():
        return _take(step, place, target, history, completed=completed)
    return with_lock_timeout(lambda: _take(step, place, target, history, then=thaw, completed=completed))


def _lock_flags() -> None:
    """Keep others from changing the flags until the end of the transaction.

    Raises:
        StepUnderWay: a transaction of others kept one locked.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{FLAGS_LOCK_TIMEOUT}'")
        try:
            list(Flag.objects.select_for_update(no_key=True).filter(name__in=GATES).order_by("pk"))
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            raise StepUnderWay(
                f"Somebody has been changing a flag for {FLAGS_LOCK_TIMEOUT}, in a transaction that has not ended. "
                "Nothing was changed: end that transaction (pg_stat_activity, pg_locks), then look again."
            ) from error
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")  # which the freeze needs


def _set_flags(target: Place) -> None:
    """Set the gates that are not as a place has them; the others stay as they are, with the pilots that they name."""
    standpoint = look()
    for difference in standpoint.to_set(target):
        flag = standpoint.flags.get(difference.gate) or Flag(name=difference.gate)
        share = target.shares[difference.gate]
        flag.everyone = {NOBODY: False, EVERYONE: True}.get(share)
        flag.percent = share if flag.everyone is None else None
        flag.save()
