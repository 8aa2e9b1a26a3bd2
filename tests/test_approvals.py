"""Decisions about calls that wait for approval, without the pages and without an agent."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from agentstate.approvals import AlreadyDecided, NotWaiting, approvals_decided, decide, decided_runs, waiting_calls
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording.recorder import Recorder
from agentstate.recording.storable import storable
from tests.factories import RunFactory, WaitingRunFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The runs for which the signal was sent."""
    runs: list[str] = []

    def receive(run_id: str, **_: object) -> None:
        runs.append(run_id)

    approvals_decided.connect(receive)
    yield runs
    approvals_decided.disconnect(receive)


def decisions(run: AgentWorkflowRun) -> list[dict[str, object]]:
    events = AgentWorkflowRunEvent.objects.filter(run=run, type="approval.decided").order_by("created_at")
    return list(events.values_list("payload", flat=True))


@pytest.mark.django_db
def test_the_signal_follows_the_commit_of_the_last_decision(
    sent: list[str], django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[list[object]]]
) -> None:
    run = WaitingRunFactory(calls=["one", "two"])
    with django_capture_on_commit_callbacks(execute=True):
        assert decide(run.pk, "two", approved=False, message="Not to strangers.", by="ada") == 1
    assert (sent, decided_runs()) == ([], [])
    with django_capture_on_commit_callbacks(execute=True):
        assert decide(run.pk, "one", approved=True, by="grace") == 0
        assert sent == []
    assert sent == [run.pk]
    assert decided_runs() == [run]
    assert decisions(run) == [
        {"call_id": "two", "decision": "rejected", "by": "ada", "message": "Not to strangers."},
        {"call_id": "one", "decision": "approved", "by": "grace", "message": None},
    ]


@pytest.mark.django_db
def test_a_second_decision_is_refused_and_names_the_first_ones_author() -> None:
    run = WaitingRunFactory()
    decide(run.pk, "call-1", approved=True, by="ada")
    with pytest.raises(AlreadyDecided, match=r"Call 'call-1' was approved by ada at .* nothing was recorded"):
        decide(run.pk, "call-1", approved=False, message="No", by="grace")
    assert len(decisions(run)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["running", "succeeded", "canceled"])
def test_a_resumed_or_ended_run_takes_no_decision(status: str) -> None:
    run = WaitingRunFactory(status=status)
    assert waiting_calls(run.pk) == []
    with pytest.raises(NotWaiting, match="does not wait for approval now"):
        decide(run.pk, "call-1", approved=True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("run_id", "call_id"), [("nowhere", "call-1"), ("nul\0", "call-1"), ("waits", "call-2"), ("queued", "call-1")]
)
def test_an_unknown_call_takes_no_decision(run_id: str, call_id: str) -> None:
    WaitingRunFactory(id="waits")
    RunFactory(id="queued", status="pending", project=None)
    with pytest.raises(NotWaiting):
        decide(run_id, call_id, approved=True)


@pytest.mark.django_db
def test_a_decision_about_a_changed_call_is_refused() -> None:
    run = WaitingRunFactory()
    (shown,) = waiting_calls(run.pk)
    run.result["interrupted"]["approvals"][0]["arguments"] = '{"to": "everyone@example.org"}'
    run.save()
    with pytest.raises(NotWaiting):
        decide(run.pk, "call-1", approved=True, version=shown.version)


@pytest.mark.django_db
def test_arguments_with_nul_are_shown_as_text() -> None:
    run = WaitingRunFactory()
    run.result["interrupted"]["approvals"][0]["arguments"] = json.loads(storable('{"to": "a\0\ud800"}'))
    run.save()
    assert [call.arguments for call in waiting_calls(run.pk)] == ['{"to": "a\\u0000\\ud800"}']


@pytest.mark.django_db
def test_a_call_that_is_requested_again_needs_a_decision_of_its_own() -> None:
    run = WaitingRunFactory()
    decide(run.pk, "call-1", approved=True, by="ada")
    Recorder(run).event("approval.requested", {"call_id": "call-1"})
    assert [call.decision for call in waiting_calls(run.pk)] == [None]
    decide(run.pk, "call-1", approved=False, message="No", by="ada")
    (call,) = waiting_calls(run.pk)
    assert call.decision is not None
    assert not call.decision.approved


@pytest.mark.django_db
@pytest.mark.parametrize(
    "interrupted", [None, [], "x", {"approvals": {}}, {"approvals": [None, 1]}, {"approvals": [{"tool": ["x"]}]}]
)
def test_a_waiting_state_of_another_shape_is_shown(interrupted: object) -> None:
    run = WaitingRunFactory(result={"interrupted": interrupted})
    assert [call.tool for call in waiting_calls(run.pk)] in ([], ['["x"]'])


@pytest.mark.django_db(transaction=True)
def test_one_of_two_simultaneous_decisions_is_recorded(sent: list[str]) -> None:
    run = WaitingRunFactory()
    together = Barrier(2)

    def act(name: str) -> str:
        try:
            together.wait()
            decide(run.pk, "call-1", approved=name == "ada", message="Why", by=name)
        except AlreadyDecided as error:
            return str(error)
        finally:
            connection.close()
        return name

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(act, ["ada", "grace"]))
    ((decision,), (winner,)) = decisions(run), [each for each in answers if " " not in each]
    assert decision["by"] == winner
    assert any(f"by {winner} at" in answer for answer in answers)
    assert sent == [run.pk]
