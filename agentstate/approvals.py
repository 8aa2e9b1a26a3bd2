"""Calls of tools that wait for approval, and people's decisions about them.

A run that waits is ``pending``, and ``result["interrupted"]["approvals"]`` has its calls. A decision is an event
``approval.decided`` of that run. Resuming the run is the application's part: it receives ``approvals_decided``, or
calls ``manage.py resume_waiting_runs``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.dispatch import Signal

from agentstate.actors import actor
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.fields import possible_id
from agentstate.recording.recorder import Recorder
from agentstate.recording.storable import restored, storable_text
from agentstate.state.transactions import seeing_others

if TYPE_CHECKING:
    from datetime import datetime

REQUESTED, DECIDED = "approval.requested", "approval.decided"
APPROVED, REJECTED = "approved", "rejected"

# Sent after the commit of the decision with which every waiting call of a run has one. The sender is the model of
# runs; the argument is ``run_id``. A receiver that raises is logged, and keeps no other from being called.
approvals_decided = Signal()


class CannotDecide(Exception):
    """The decision was refused, and nothing was recorded."""


class NotWaiting(CannotDecide):
    """No such call of the run waits for approval."""

    def __init__(self, run_id: str, call_id: str) -> None:
        super().__init__(
            f"Call {call_id!r} of run {run_id} does not wait for approval now: the run was resumed or ended, or it "
            "waits for another call. Reload the run's page."
        )
        self.run_id, self.call_id = run_id, call_id


class AlreadyDecided(CannotDecide):
    """The call has a decision, which is final.

    Attributes:
        decision: the decision that it has.
    """

    def __init__(self, call_id: str, decision: Decision) -> None:
        super().__init__(
            f"Call {call_id!r} was {decision.word} by {decision.by} at {decision.at:%Y-%m-%d %H:%M:%S} UTC. "
            "A decision is final; nothing was recorded."
        )
        self.call_id, self.decision = call_id, decision


@dataclass(frozen=True)
class Decision:
    """A recorded decision about a call.

    Attributes:
        approved: False if the call was rejected.
        by: who decided.
        message: the reason, empty where none was given.
        at: when it was recorded.
    """

    approved: bool
    by: str
    message: str
    at: datetime

    @property
    def word(self) -> str:
        return APPROVED if self.approved else REJECTED


@dataclass(frozen=True)
class WaitingCall:
    """A call that waits for approval.

    Attributes:
        call_id: the call's id.
        tool, agent: the names of the tool and of the agent that called it.
        arguments: the arguments, usually as the model's text, which may be no JSON.
        decision: None while the call waits.
    """

    call_id: str
    tool: str
    agent: str
    arguments: Any
    decision: Decision | None = None

    @property
    def version(self) -> str:
        """A digest of what people see of the call, by which a decision names what it is about."""
        seen = json.dumps([self.call_id, self.tool, self.agent, self.arguments], sort_keys=True, default=str)
        return hashlib.sha256(seen.encode()).hexdigest()


def waiting_calls(run_id: str) -> list[WaitingCall]:
    """Return the calls for which a run waits, in the order of the model's; none of a run that does not wait."""
    waiting = AgentWorkflowRun.objects.waiting_for_approval().filter(pk=possible_id(run_id))
    approvals = waiting.values_list("result__interrupted__approvals", flat=True).first()
    if not isinstance(approvals, list):
        return []
    decisions = _decisions(run_id)
    return [
        WaitingCall(
            call_id=_text(each.get("call_id")),
            tool=_text(each.get("tool")),
            agent=_text(each.get("agent")),
            arguments=_shown(each.get("arguments")),
            decision=decisions.get(_text(each.get("call_id"))),
        )
        for each in approvals
        if isinstance(each, dict)
    ]


def decide(
    run_id: str, call_id: str, approved: bool, *, message: str = "", by: str | None = None, version: str | None = None
) -> int:
    """Approve or reject a waiting call, once. With the last decision of a run, ``approvals_decided`` is sent.

    The run does not move: it is resumed by the application.

    Args:
        run_id: of the run that waits.
        call_id: of the call.
        approved: False rejects the call: its tool does not run, and the model gets the message.
        message: the reason.
        by: who decides; by default who is at work.
        version: of the call as it was shown; another one is refused.

    Returns:
        How many calls of the run still lack a decision.

    Raises:
        NotWaiting: the call does not wait, or is another one than was shown.
        AlreadyDecided: the call has a decision.
        UnsuitableTransaction: the caller's transaction is repeatable read or serializable.
    """
    with seeing_others("Calls cannot be decided"):
        # Decisions about one run come one after the other: each sees those before it.
        locked = AgentWorkflowRun.objects.only("pk").select_for_update(no_key=True).filter(pk=possible_id(run_id))
        run = locked.first()
        call, undecided = undecided_call(run_id, call_id)
        if run is None or version not in (None, call.version):
            raise NotWaiting(run_id, call_id)
        decided = {
            "call_id": call_id,
            "decision": APPROVED if approved else REJECTED,
            "by": by or actor(),
            "message": message or None,
        }
        Recorder(run).event(DECIDED, decided)
        if not undecided:
            send = partial(approvals_decided.send_robust, sender=AgentWorkflowRun, run_id=run_id)
            transaction.on_commit(send, robust=True)
    return undecided


def undecided_call(run_id: str, call_id: str) -> tuple[WaitingCall, int]:
    """Return a call that lacks a decision, and how many others of its run do.

    Raises:
        NotWaiting: the call does not wait.
        AlreadyDecided: the call has a decision.
    """
    calls = {call.call_id: call for call in waiting_calls(run_id)}
    call = calls.pop(call_id, None)
    if call is None:
        raise NotWaiting(run_id, call_id)
    if call.decision is not None:
        raise AlreadyDecided(call_id, call.decision)
    return call, sum(other.decision is None for other in calls.values())


def decided_runs() -> list[AgentWorkflowRun]:
    """Return the runs that wait, each with a decision for every call, without their documents; the oldest first."""
    waiting = AgentWorkflowRun.objects.waiting_for_approval().defer("input", "result", "error")
    return [run for run in waiting.order_by("started_at", "pk") if _is_decided(waiting_calls(run.pk))]


def _is_decided(calls: list[WaitingCall]) -> bool:
    return bool(calls) and all(call.decision for call in calls)


def _decisions(run_id: str) -> dict[str, Decision]:
    """Return the decisions by call; one that is older than the call's last request was about an earlier call."""
    events = AgentWorkflowRunEvent.objects.filter(run=run_id, type__in=[REQUESTED, DECIDED]).order_by("created_at")
    decisions: dict[str, Decision] = {}
    for type_, payload, at in events.values_list("type", "payload", "created_at"):
        said = payload if isinstance(payload, dict) else {}
        call_id = _text(said.get("call_id"))
        if type_ == REQUESTED:
            decisions.pop(call_id, None)
        elif said.get("decision") in (APPROVED, REJECTED):
            decision = Decision(said["decision"] == APPROVED, _text(said.get("by")), _text(said.get("message")), at)
            decisions.setdefault(call_id, decision)
    return decisions


def _shown(arguments: Any) -> Any:
    """Return arguments as people read them: a text with NUL is stored as a mark, and no page can show NUL itself."""
    text = restored(arguments)
    return storable_text(text) if isinstance(text, str) else arguments


def _text(value: Any) -> str:
    """Return a text as it is. The recorder stores a text with NUL in another form, which is shown as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
