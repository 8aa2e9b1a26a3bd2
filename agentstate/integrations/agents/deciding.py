"""The decisions with which an agent's run is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstate.approvals import (
    APPROVED,
    DECIDED,
    REJECTED,
    AlreadyDecided,
    NotWaiting,
    WaitingCall,
    waiting_calls,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# True approves a call, False rejects it, and a text rejects it for that reason, which the model gets.
Decision = bool | str


class NotInterrupted(Exception):
    """The run is pending, and no agent waits in it.

    Attributes:
        run_id: the run's id.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"Run {run_id} is pending, but no agent waits in it for approval. Start a queued run with "
            "run_workflow(…, run_id=…), and resume one that other code paused with agentstate.recording.resume()."
        )
        self.run_id = run_id


class UndecidedCalls(Exception):
    """Calls of the run lack a decision. The run still waits.

    Attributes:
        run_id: the run's id.
        call_ids: the ids of these calls.
    """

    def __init__(self, run_id: str, call_ids: list[str]) -> None:
        super().__init__(
            f"Run {run_id} waits for a decision about {', '.join(call_ids)}. Pass it, or record it in the admin."
        )
        self.run_id, self.call_ids = run_id, call_ids


def decisions_about(run_id: str, given: Mapping[str, Decision]) -> dict[str, Decision]:
    """Return a decision for each call that the run waits for: the recorded one, or the one that is given.

    Raises:
        UndecidedCalls: a call has neither.
        NotWaiting: one is given for a call that does not wait.
        AlreadyDecided: one is given for a call that has a recorded one, which is final.
    """
    calls = {call.call_id: call for call in waiting_calls(run_id)}
    for call_id in given:
        if call_id not in calls:
            raise NotWaiting(run_id, call_id)
        if (recorded := calls[call_id].decision) is not None:
            raise AlreadyDecided(call_id, recorded)
    decisions = {**{call_id: _recorded(call) for call_id, call in calls.items()}, **given}
    if undecided := [call_id for call_id, decision in decisions.items() if decision is None]:
        raise UndecidedCalls(run_id, undecided)
    return {call_id: decision for call_id, decision in decisions.items() if decision is not None}


def decided_event(call_id: str, decision: Decision, by: str) -> tuple[str, dict[str, Any]]:
    """Return the event of a decision that is given."""
    return DECIDED, {
        "call_id": call_id,
        "decision": APPROVED if decision is True else REJECTED,
        "by": by,
        "message": decision if isinstance(decision, str) else None,
    }


def _recorded(call: WaitingCall) -> Decision | None:
    if call.decision is None:
        return None
    return call.decision.approved or call.decision.message or False
