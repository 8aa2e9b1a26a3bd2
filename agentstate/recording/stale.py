"""Close runs whose process died, by their last sign of life."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentstate.models import AgentWorkflowRun
from agentstate.models.runs import ClockTimestamp, last_sign
from agentstate.recording.errors import RowsDropped
from agentstate.state.transactions import seeing_others

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime, timedelta


class StaleRun(NamedTuple):
    """A running run, and its last sign of life: its newest event or heartbeat, or its start."""

    run_id: str
    workflow_id: str
    project_id: str | None
    last_sign: datetime


def close_stale_runs(
    older_than: timedelta, *, dry_run: bool = False, among: Collection[str] | None = None, decision: str = ""
) -> list[StaleRun]:
    """Mark as ``failed`` each running run without a sign of life for longer than that, and return these runs.

    A run whose row is locked is skipped: a process is writing to it. A pending run is never stale: it waits for a
    person.

    Args:
        among: close these runs only, where they are stale; all by default.
        decision: who closes them and why; it precedes the fact in the run's error.

    Raises:
        UnsuitableTransaction: the caller's transaction is repeatable read or serializable.
    """
    runs = AgentWorkflowRun.objects
    with seeing_others("Stale runs cannot be closed"):
        chosen = runs.all() if among is None else runs.filter(pk__in=among)
        silent = chosen.stale(older_than).select_for_update(no_key=True, skip_locked=True, of=("self",))
        # Read again once they are locked: an event may have been written just before.
        locked = runs.filter(pk__in=list(silent.values_list("pk", flat=True))).stale(older_than)
        stale = [
            StaleRun(*row)
            for row in locked.order_by(last_sign(), "pk").values_list("pk", "workflow_id", "project_id", last_sign())
        ]
        if not dry_run:
            fact = (
                f"Closed as stale: there was no event and no heartbeat for longer than {older_than}, so its process "
                "is taken for dead."
            )
            closed = runs.filter(pk__in=[run.run_id for run in stale]).update(
                status=AgentWorkflowRun.Status.FAILED,
                closed_as_stale=True,
                error=f"{decision} {fact}".strip(),
                completed_at=ClockTimestamp(),
            )
            if closed != len(stale):
                raise RowsDropped("AgentWorkflowRun", closed, len(stale))
    return stale
