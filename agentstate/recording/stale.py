"""Runs whose process died: found by their last sign of life, and closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction

from agentstate.models import AgentWorkflowRun
from agentstate.models.runs import CLOSED_AS_STALE, ClockTimestamp, last_sign

if TYPE_CHECKING:
    from datetime import datetime, timedelta


class StaleRun(NamedTuple):
    """A running run, and when it last gave a sign of life: its newest event or heartbeat, or its start."""

    run_id: str
    workflow_id: str
    project_id: str | None
    last_sign: datetime


def close_stale_runs(older_than: timedelta, *, dry_run: bool = False) -> list[StaleRun]:
    """End as ``failed`` each running run without a sign of life for longer than that, and return them.

    A run to which somebody is just writing lives: its row is locked, and it is left alone. A pending run waits for a
    person, which may take as long as it takes.
    """
    running = AgentWorkflowRun.objects
    with transaction.atomic():
        silent = running.stale(older_than).select_for_update(no_key=True, skip_locked=True, of=("self",))
        # Looked at anew once the locks are ours: an event may have been written just before.
        found = running.filter(pk__in=list(silent.values_list("pk", flat=True))).stale(older_than)
        stale = [
            StaleRun(*row)
            for row in found.order_by(last_sign(), "pk").values_list("pk", "workflow_id", "project_id", last_sign())
        ]
        if not dry_run:
            running.filter(pk__in=[run.run_id for run in stale]).update(
                status=AgentWorkflowRun.Status.FAILED,
                error=f"{CLOSED_AS_STALE}: there was no event and no heartbeat for longer than {older_than}, so its "
                "process is taken for dead.",
                completed_at=ClockTimestamp(),
            )
    return stale
