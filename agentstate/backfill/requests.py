"""What an operator asks of a pass in the ledger, from another terminal or the admin."""

from __future__ import annotations

from agentstate.backfill import fleet
from agentstate.backfill.errors import BackfillError
from agentstate.backfill.options import Pacing
from agentstate.backfill.others import refuse_hidden_replicas
from agentstate.models.passes import BackfillPass, PassEnded


class NoTasks(BackfillError):
    """Django has no tasks framework."""

    def __init__(self) -> None:
        super().__init__(
            "This Django has no tasks framework. Run pip install 'agentstate[fleet]', and name a queue in TASKS "
            "(docs/fleet.md)."
        )


PAUSE, RESUME, CANCEL = "pause", "resume", "cancel"


class CannotAsk(BackfillError):
    """The pass does not exist, has ended or is lost, or another operator was first. Nothing was changed."""


def find_pass(number: int) -> BackfillPass:
    """Return a pass with its state.

    Raises:
        CannotAsk: no pass has this number.
    """
    entry = BackfillPass.objects.with_state().filter(pk=number).first()
    if entry is None:
        raise CannotAsk(f"There is no pass {number}. Run manage.py agentkit_pass list to see them.")
    return entry


def ask(entry: BackfillPass, what: str, by: str, seen: int | None = None) -> None:
    """Pause, resume or cancel a pass. It obeys after its current batches.

    Args:
        seen: how many requests the operator saw that it had. With more, nothing is asked.

    Raises:
        CannotAsk: it has ended, its process died, it is canceled and something else is asked, or there was a request
            that the operator did not see.
    """
    is_shared = entry.ranges.exists()
    if not is_shared:
        _refuse_dead(entry)
    act = {PAUSE: entry.pause, RESUME: entry.resume, CANCEL: entry.cancel}[what]
    try:
        act(by, seen)
    except PassEnded as error:
        raise _ended(entry) from error
    if is_shared and what == RESUME:
        queue(entry)
    elif is_shared and what == CANCEL:
        fleet.cancel_unattended(entry)


def queue(entry: BackfillPass) -> int:
    """Queue the ranges of a shared pass that no worker is at, and return their number.

    Raises:
        NoTasks: Django has no tasks framework.
    """
    try:
        from agentstate.backfill.tasks import move_range
    except ImportError as error:
        raise NoTasks from error
    ranges = fleet.unqueued(entry)
    for range_id in ranges:
        move_range.enqueue(range_id)
    return len(ranges)


def set_pacing(entry: BackfillPass, by: str, seen: int | None = None, **changes: float | None) -> Pacing:
    """Change the pacing of a running pass, and return what it is now.

    Args:
        seen: see :func:`ask`.

    Raises:
        CannotAsk: it has ended or is canceled, its process died, or there was a request that the operator did not see.
        ReplicasHidden: this role cannot see how far the replicas are.
    """
    if not entry.ranges.exists():
        _refuse_dead(entry)
    if changes.get("max_lag") is not None:
        refuse_hidden_replicas()
    try:
        entry.set_pacing(by, seen, **changes)
    except PassEnded as error:
        raise _ended(entry) from error
    return Pacing.recorded(entry.options)


def _refuse_dead(entry: BackfillPass) -> None:
    if entry.is_lost:
        raise CannotAsk(f"Pass {entry.pk} is lost: its process died. Start its command again to continue.")


def _ended(entry: BackfillPass) -> CannotAsk:
    entry.refresh_from_db()
    if entry.outcome == BackfillPass.Outcome.RUNNING and entry.wanted != BackfillPass.Wanted.CANCEL:
        return CannotAsk(
            f"Pass {entry.pk} got another request after the page was shown: {_newest_request(entry)}. Nothing was "
            "changed."
        )
    if entry.outcome == BackfillPass.Outcome.RUNNING:
        return CannotAsk(f"Pass {entry.pk} is canceled and ends after its current batches. Nothing was changed.")
    return CannotAsk(f"Pass {entry.pk} has ended ({entry.outcome}). Nothing was changed.")


def _newest_request(entry: BackfillPass) -> str:
    newest = entry.requests[-1] if entry.requests else {}
    return f"{newest.get('what', 'changed')} by {newest.get('by', 'somebody')}"
