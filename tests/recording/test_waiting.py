"""Runs that wait, for example for an approval, and are resumed."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError

from agentstate.models import AgentWorkflowRun
from agentstate.recording import (
    IllegalStatusChange,
    RunFinished,
    RunNotFound,
    arecord,
    aresume,
    record,
    resume,
    waiting_state,
)
from tests.factories import RunFactory
from tests.recording.recorded import events_of, in_threads, the_run
from tests.sql import sql

pytestmark = pytest.mark.django_db

WAITING = {"run_state": '{"text": "a\\u0000b"}', "session_id": None, "approvals": [{"call_id": "1"}]}
REQUESTED = ("approval.requested", {"call_id": "1", "tool": "send"})


def test_a_run_waits_with_its_state_until_it_is_resumed() -> None:
    with record("intake") as run:
        run.set_output("so far")
        run.interrupt(WAITING, [REQUESTED])
    assert (the_run().status, the_run().result) == ("pending", {"output": "so far", "interrupted": WAITING})
    assert waiting_state(run.run_id) == WAITING
    with resume(run.run_id) as resumed:
        assert waiting_state(run.run_id) is None
        resumed.event("after")
    assert (the_run().status, the_run().result) == ("succeeded", {"output": "so far"})
    assert events_of(run.run_id) == [REQUESTED, ("after", {})]


def test_a_run_that_waits_can_be_canceled_and_waits_no_more() -> None:
    with record("intake") as run:
        run.interrupt(WAITING)
    the_run().cancel("nobody answered")
    assert (the_run().status, the_run().result) == ("canceled", {})


def test_a_run_may_wait_without_a_state() -> None:
    with record("intake") as run:
        run.interrupt(events=[REQUESTED])
    assert (the_run().status, the_run().result, waiting_state(run.run_id)) == ("pending", None, None)


def test_the_waiting_state_of_an_unknown_run_is_an_error() -> None:
    with pytest.raises(RunNotFound):
        waiting_state("no-such-run")


@pytest.mark.parametrize(("status", "error"), [("canceled", RunFinished), ("pending", IllegalStatusChange)])
def test_a_run_that_is_not_running_cannot_wait(status: str, error: type[Exception]) -> None:
    def work() -> None:
        with record("intake") as run:
            sql('UPDATE "AgentWorkflowRun" SET status = %s', status)
            run.interrupt(WAITING, [REQUESTED])

    with pytest.raises(error):
        work()
    assert (the_run().status, the_run().result, events_of(the_run().pk)) == (status, None, [])


@pytest.mark.django_db(transaction=True)
def test_events_waiting_state_and_status_are_written_together_or_not_at_all() -> None:
    sql("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF new.status = 'pending' THEN RAISE 'no pause' USING ERRCODE = '23514'; END IF; RETURN new;
        END $$""")
    sql('CREATE TRIGGER refuse BEFORE UPDATE ON "AgentWorkflowRun" FOR EACH ROW EXECUTE FUNCTION refuse()')
    try:
        with pytest.raises(IntegrityError, match="no pause"), record("intake") as run:
            run.interrupt(WAITING, [REQUESTED])
    finally:
        sql("DROP FUNCTION refuse CASCADE")
    assert (the_run().status, the_run().result, events_of(run.run_id)) == ("failed", None, [])


@pytest.mark.django_db(transaction=True)
def test_one_of_many_that_resume_a_run_succeeds() -> None:
    with record("intake") as run:
        run.interrupt(WAITING)

    def resume_it(place: int) -> bool:
        try:
            with resume(run.run_id) as resumed:
                resumed.event("once")
        except IllegalStatusChange:
            return False
        return True

    assert sum(in_threads(resume_it, 4)) == 1
    assert events_of(run.run_id) == [("once", {})]


@pytest.mark.django_db(transaction=True)
def test_an_asynchronous_run_waits_and_is_resumed() -> None:
    async def work() -> None:
        async with arecord("intake") as run:
            await run.interrupt(WAITING, [REQUESTED])
        async with aresume(run.run_id) as resumed:
            await resumed.set_result(model="m")

    async_to_sync(work)()
    assert (the_run().status, the_run().result) == ("succeeded", {"model": "m"})


@pytest.mark.parametrize("result", [None, [1], {"state": {}, "model": "old"}])
def test_other_members_of_the_result_are_set_beside_its_state(result: Any) -> None:
    with record("intake") as run:
        AgentWorkflowRun.objects.update(result=result)
        run.set_result(model="m", numbers=[1, float("nan")])
    kept = {"state": {}} if isinstance(result, dict) else {}
    marked = [1, {"$unstorable": "number", "value": "NaN"}]
    assert the_run().result == {**kept, "model": "m", "numbers": marked}


@pytest.mark.parametrize("name", ["state", "output", "interrupted"])
def test_members_of_the_result_that_have_verbs_of_their_own_are_refused(name: str) -> None:
    with record("intake") as run, pytest.raises(ValueError, match=f"'{name}'"):
        run.set_result(**{name: 1})
    assert the_run().result is None


def test_a_finished_run_takes_no_further_members() -> None:
    run = RunFactory(status="canceled", result={"output": 1})
    assert not run.set_result(model='"m"')
    assert the_run().result == {"output": 1}
