"""Cancel a run from outside: a person ends what another process is recording."""

from __future__ import annotations

from agentstate.actors import actor
from agentstate.models import AgentWorkflowRun
from agentstate.models.fields import possible_id
from agentstate.models.runs import IllegalStatusChange, RunNotFound
from agentstate.recording import events
from agentstate.recording.storable import storable_text
from agentstate.state.transactions import seeing_others

CANCELED = "run.canceled"


def cancel(run_id: str, reason: str, *, by: str | None = None, seen: str | None = None) -> None:
    """Cancel a pending or running run, and keep who did it and why: in ``error``, and in the event ``run.canceled``.

    The process that records the run gets :class:`RunCanceled` at its next event. What it did until then stays.

    Args:
        by: who cancels it; the actor by default.
        seen: the status in which they saw it; a run in another one is left alone.

    Raises:
        RunNotFound: no run has this id.
        RunFinished: the run has ended. Nothing was written.
        IllegalStatusChange: the run has not the status that was seen. Nothing was written.
        UnsuitableTransaction: the caller's transaction is repeatable read or serializable.
    """
    name, why = storable_text(by or actor()), storable_text(reason.strip())
    run = AgentWorkflowRun.objects.only("status").filter(pk=possible_id(run_id)).first()
    if run is None:
        raise RunNotFound(run_id)
    with seeing_others("A run cannot be canceled"):
        events.append(run.pk, [(CANCELED, {"by": name, "reason": why})])  # locks the run
        if seen is not None:
            run.refresh_from_db(fields=["status"])
        if seen not in (None, run.status):
            raise IllegalStatusChange(run.pk, run.status, AgentWorkflowRun.Status.CANCELED)
        run.cancel(f"Canceled by {name}: {why}" if why else f"Canceled by {name}.")
