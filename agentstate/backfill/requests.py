"""What an operator asks of a pass in the ledger, from another terminal or the admin."""

from __future__ import annotations

from agentstate.backfill.errors import BackfillError
from agentstate.backfill.options import Pacing
from agentstate.models.passes import BackfillPass, PassEnded

PAUSE, RESUME, CANCEL = "pause", "resume", "cancel"


class CannotAsk(BackfillError):
    """The pass does not exist, has ended or is lost. Nothing was changed."""


def find_pass(number: int) -> BackfillPass:
    """Return a pass with its state.

    Raises:
        CannotAsk: no pass has this number.
    """
    entry = BackfillPass.objects.with_state().filter(pk=number).first()
    if entry is None:
        raise CannotAsk(f"There is no pass {number}. Run manage.py agentkit_pass list to see them.")
    return entry


def ask(entry: BackfillPass, what: str, by: str) -> None:
    """Pause, resume or cancel a pass. It obeys after its current batches.

    Raises:
        CannotAsk: it has ended, or its process died.
    """
    _refuse_dead(entry)
    act = {PAUSE: entry.pause, RESUME: entry.resume, CANCEL: entry.cancel}[what]
    try:
        act(by)
    except PassEnded as error:
        raise _ended(entry) from error


def set_pacing(entry: BackfillPass, by: str, **changes: float | None) -> Pacing:
    """Change the pacing of a running pass, and return what it is now.

    Raises:
        CannotAsk: it has ended, or its process died.
    """
    _refuse_dead(entry)
    try:
        entry.set_pacing(by, **changes)
    except PassEnded as error:
        raise _ended(entry) from error
    return Pacing(**entry.options["pacing"])


def _refuse_dead(entry: BackfillPass) -> None:
    if entry.is_lost:
        raise CannotAsk(f"Pass {entry.pk} is lost: its process died. Start its command again to continue.")


def _ended(entry: BackfillPass) -> CannotAsk:
    entry.refresh_from_db()
    return CannotAsk(f"Pass {entry.pk} has ended ({entry.outcome}). Nothing was changed.")
