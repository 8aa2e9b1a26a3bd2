"""A run that a person cancels while another process records it."""

from __future__ import annotations

import pytest

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording import (
    IllegalStatusChange,
    RunCanceled,
    RunFinished,
    RunNotFound,
    cancel,
    enqueue,
    record,
    start,
)

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGE = r"Run \S+ has ended \(canceled\) and accepts nothing more\. Canceled by ada: It loops\."


def test_the_recorder_stops_with_who_and_why_at_its_next_event() -> None:
    def loop() -> None:
        with record("intake") as run:
            run.event("before")
            cancel(run.run_id, "It loops.", by="ada")
            run.event("after")

    with pytest.raises(RunCanceled, match=MESSAGE):
        loop()

    kept = AgentWorkflowRun.objects.get()
    assert (kept.status, kept.error) == ("canceled", "Canceled by ada: It loops.")
    events = AgentWorkflowRunEvent.objects.order_by("created_at").values_list("type", "payload")
    assert list(events) == [("before", {}), ("run.canceled", {"by": "ada", "reason": "It loops."})]


def test_a_call_that_was_open_keeps_its_result() -> None:
    def read() -> None:
        with record("intake") as run:
            with run.tool("read") as call:
                cancel(run.run_id, "It loops.", by="ada")
                call.output = 7
            run.heartbeat()

    with pytest.raises(RunCanceled):
        read()

    late = AgentWorkflowRunEvent.objects.get(type="tool.result").payload
    assert (late["output"], late["status"], late["$late"]) == (7, "ok", True)


def test_a_block_that_writes_nothing_more_fails_at_its_end() -> None:
    with pytest.raises(IllegalStatusChange, match="is canceled; it cannot be marked succeeded"), record("x") as run:
        cancel(run.run_id, "It loops.")


def test_a_canceled_run_is_not_started() -> None:
    run_id = enqueue("intake")
    cancel(run_id, "Not needed.")

    with pytest.raises(IllegalStatusChange), start(run_id):
        pass


def test_a_run_that_has_ended_or_that_there_is_not_is_refused() -> None:
    with record("intake") as run:
        pass

    with pytest.raises(RunFinished, match=r"has ended \(succeeded\)"):
        cancel(run.run_id, "Too late.")
    with pytest.raises(RunNotFound):
        cancel("nothing", "Too early.")
    assert AgentWorkflowRun.objects.get().error is None
    assert not AgentWorkflowRunEvent.objects.exists()
