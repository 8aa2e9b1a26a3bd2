"""Runs that one process enqueues and another runs."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync

from agentstate.models import AgentWorkflowRun
from agentstate.recording import (
    IllegalStatusChange,
    RunNotFound,
    aenqueue,
    astart,
    current,
    enqueue,
    record,
    resume,
    start,
)
from agentstate.state import ProjectNotFound
from tests.factories import ProjectFactory
from tests.recording.recorded import events_of, in_threads, the_run

pytestmark = pytest.mark.django_db


def test_a_queued_run_is_pending_until_a_worker_starts_it() -> None:
    project = ProjectFactory()
    run_id = enqueue("intake", project.id, {"upload": 1})
    queued = the_run()
    assert (queued.pk, queued.workflow_id, queued.project_id, queued.status, queued.input) == (
        run_id, "intake", project.id, "pending", {"upload": 1}
    )  # fmt: skip
    with start(run_id) as run:
        assert current() is run
        assert (the_run().status, run.run.input, run.project_id) == ("running", {"upload": 1}, project.id)
        run.event("page.read")
    assert the_run().status == "succeeded"
    assert queued.started_at < the_run().started_at < the_run().completed_at


def test_a_run_of_an_unknown_project_is_not_enqueued() -> None:
    with pytest.raises(ProjectNotFound):
        enqueue("intake", "no-such-project")
    assert not AgentWorkflowRun.objects.exists()


def test_a_run_that_is_unknown_or_not_pending_is_not_started() -> None:
    with pytest.raises(RunNotFound), start("no-such-run"):
        pytest.fail("the block began")
    with record("intake") as run, pytest.raises(IllegalStatusChange), start(run.run_id):
        pytest.fail("the block began")
    assert the_run().status == "succeeded"


def test_a_run_that_waits_with_a_state_is_resumed_and_not_started() -> None:
    with start(enqueue("intake")) as run:
        run.set_output(1)
        run.interrupt({"approvals": []})
    with pytest.raises(IllegalStatusChange), start(run.run_id):
        pytest.fail("the block began")
    with resume(run.run_id):
        assert the_run().status == "running"


@pytest.mark.django_db(transaction=True)
def test_one_of_many_workers_starts_a_run() -> None:
    run_id = enqueue("intake")

    def work(place: int) -> bool:
        try:
            with start(run_id) as run:
                run.event("once")
        except IllegalStatusChange:
            return False
        return True

    assert sum(in_threads(work, 4)) == 1
    assert events_of(run_id) == [("once", {})]


@pytest.mark.django_db(transaction=True)
def test_an_asynchronous_run_is_enqueued_and_started() -> None:
    async def work() -> None:
        async with astart(await aenqueue("intake", input=1)) as run:
            await run.event("once")

    async_to_sync(work)()
    assert (the_run().status, the_run().input, events_of(the_run().pk)) == ("succeeded", 1, [("once", {})])
