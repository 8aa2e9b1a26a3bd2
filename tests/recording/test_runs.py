"""How a run begins and ends, and the statuses that it moves through."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording import (
    IllegalStatusChange,
    RunFinished,
    RunNotFound,
    record,
    resume,
)
from agentstate.state import ProjectNotFound
from tests.factories import ProjectFactory, RunFactory
from tests.flags import rolled_back
from tests.recording.recorded import events_of, in_threads, read_page, the_run
from tests.sql import second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_is_running_in_its_block_and_succeeds_after_it() -> None:
    project = ProjectFactory()
    with record("intake", project.id, input={"documents": 3}) as recorder:
        run = the_run()
        assert (run.pk, run.workflow_id, run.project_id) == (recorder.run_id, "intake", project.id)
        assert (run.status, run.input, run.completed_at) == ("running", {"documents": 3}, None)
        recorder.set_output({"pages": 7})
        recorder.event("page.read", {"page": 1})

    run = the_run()
    assert (run.status, run.result, run.error) == ("succeeded", {"output": {"pages": 7}}, None)
    assert run.started_at < AgentWorkflowRunEvent.objects.get().created_at <= run.completed_at
    assert len(run.pk) == 24


def test_beginning_and_ending_a_run_are_one_query_each(django_assert_num_queries: Any) -> None:
    project = ProjectFactory()
    with django_assert_num_queries(2), record("intake", project.id, input=[1]):
        pass


def test_a_run_without_project_input_and_output() -> None:
    with record("tidy"):
        pass
    assert sql('SELECT project_id, input, result, error, status FROM "AgentWorkflowRun"') == [
        (None, None, None, None, "succeeded")
    ]


def test_an_unknown_project_is_refused_and_leaves_no_run() -> None:
    with pytest.raises(ProjectNotFound, match="'no-such-project'"), record("intake", "no-such-project"):
        pytest.fail("the block began")
    assert not AgentWorkflowRun.objects.exists()


def test_an_unknown_project_does_not_break_the_transaction_around_it() -> None:
    with transaction.atomic():
        with pytest.raises(ProjectNotFound), record("intake", "no-such-project"):
            pass
        with record("intake"):
            pass
    assert the_run().status == "succeeded"


def test_an_error_fails_the_run_with_its_text_and_where_it_happened() -> None:
    with pytest.raises(ValueError, match="no page 9"), record("intake"):
        read_page(9)
    run = the_run()
    assert (run.status, run.completed_at is not None) == ("failed", True)
    assert run.error.startswith("ValueError: no page 9\nin this document\n\nTraceback")
    assert "in read_page" in run.error
    assert "contextlib" not in run.error


def test_the_traceback_of_a_deep_error_is_short() -> None:
    def dig(depth: int) -> None:
        if not depth:
            raise RuntimeError
        dig(depth - 1)

    with pytest.raises(RuntimeError), record("intake"):
        dig(200)
    assert the_run().error.startswith("RuntimeError\n")
    assert the_run().error.count("File ") <= 6


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_interruption_cancels_the_run(interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), record("intake"):
        raise interruption
    assert (the_run().status, the_run().error) == ("canceled", interruption.__name__)


def test_a_closed_generator_cancels_its_run() -> None:
    def answer() -> Iterator[str]:
        with record("chat"):
            yield "Hello"
            yield "there"

    words = answer()
    assert next(words) == "Hello"
    words.close()
    assert (the_run().status, the_run().error) == ("canceled", "GeneratorExit")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("NUL \0 and \ud800"), "ValueError: NUL \\u0000 and \\ud800"),
        (Unspeakable(), "Unspeakable: <Unspeakable that raises RuntimeError>"),
    ],
)
def test_an_error_whose_text_cannot_be_stored(error: Exception, text: str) -> None:
    with pytest.raises(type(error)), record("intake"):
        raise error
    assert the_run().error.partition("\n")[0] == text


def test_an_error_is_raised_even_where_its_end_cannot_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        with record("intake"):
            sql('DELETE FROM "AgentWorkflowRun"')
            raise ValueError("the agent's own")

    with pytest.raises(ValueError, match="the agent's own"):
        work()
    assert "could not be recorded" in caplog.text


def lose_the_connection() -> None:
    """Let the server end this thread's idle connection, and wait until it is gone."""
    assert connection.connection is not None
    pid = connection.connection.info.backend_pid
    with second_connection() as other:
        other.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])


def test_a_lost_connection_does_not_keep_a_run_from_ending() -> None:
    with record("intake"):
        lose_the_connection()
    assert the_run().status == "succeeded"


def test_a_lost_connection_does_not_hide_an_error() -> None:
    def work() -> None:
        with record("intake") as recorder, recorder.tool("search"):
            lose_the_connection()
            raise ValueError("no page")

    with pytest.raises(ValueError, match="no page"):
        work()
    assert (the_run().status, the_run().error.partition("\n")[0]) == ("failed", "ValueError: no page")
    assert [type_ for type_, _ in events_of(the_run().pk)] == ["tool.invocation", "tool.result"]


def test_a_caller_who_manages_transactions_keeps_the_connection() -> None:
    def work() -> None:
        with record("intake"):
            sql("SELECT 1 / 0")

    transaction.set_autocommit(False)
    try:
        with pytest.raises(DatabaseError, match="division by zero"):
            work()
        transaction.rollback()
        assert not transaction.get_autocommit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert AgentWorkflowRun.objects.count() == 0


def test_a_run_inside_a_transaction_is_rolled_back_with_it() -> None:
    with rolled_back(), record("intake") as recorder:
        recorder.event("seen")
    assert not AgentWorkflowRun.objects.exists()


def test_an_interrupted_run_is_resumed() -> None:
    with record("intake") as recorder:
        recorder.event("approval.wanted")
        recorder.run.interrupt()
    run = the_run()
    assert (run.status, run.completed_at) == ("pending", None)

    with resume(run.pk) as recorder:
        assert the_run().status == "running"
        recorder.event("approval.given")
    assert the_run().status == "succeeded"
    assert the_run().started_at == run.started_at
    assert [type_ for type_, _ in events_of(run.pk)] == ["approval.wanted", "approval.given"]


def test_only_a_paused_run_is_resumed() -> None:
    with record("intake") as recorder, pytest.raises(IllegalStatusChange), resume(recorder.run_id):
        pytest.fail("the block began")
    with pytest.raises(RunNotFound), resume("nothing"):
        pytest.fail("the block began")
    assert the_run().status == "succeeded"


STATUSES = ["pending", "running", "succeeded", "failed", "canceled"]
VERBS: dict[str, tuple[str, Callable[[AgentWorkflowRun], None]]] = {
    "start": ("running", lambda run: run.start()),
    "resume": ("running", lambda run: run.resume()),
    "interrupt": ("pending", lambda run: run.interrupt()),
    "succeed": ("succeeded", lambda run: run.succeed()),
    "fail": ("failed", lambda run: run.fail("it broke")),
    "cancel": ("canceled", lambda run: run.cancel()),
}
LEGAL = {
    ("pending", "start"),
    ("pending", "resume"),
    ("pending", "cancel"),
    ("running", "interrupt"),
    ("running", "succeed"),
    ("running", "fail"),
    ("running", "cancel"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", STATUSES)
def test_a_status_changes_only_as_allowed(status: str, verb: str) -> None:
    run = RunFactory(status=status, completed_at=None)
    wanted, act = VERBS[verb]
    if (status, verb) in LEGAL:
        act(run)
        assert run.status == wanted
        stored = the_run()
        assert stored.status == wanted
        assert (stored.completed_at is not None) == (wanted in {"succeeded", "failed", "canceled"})
        assert run.completed_at == stored.completed_at
        return
    before = sql('SELECT run::text FROM "AgentWorkflowRun" run')
    with pytest.raises(IllegalStatusChange) as refused:
        act(run)
    assert (refused.value.run_id, refused.value.status, refused.value.wanted) == (run.pk, status, wanted)
    assert sql('SELECT run::text FROM "AgentWorkflowRun" run') == before


def test_starting_says_when_a_run_began() -> None:
    recorded = timezone.now() - timedelta(days=1)
    run = RunFactory(status="pending", started_at=recorded, completed_at=None)
    run.start()
    assert run.started_at > recorded + timedelta(hours=23)


def test_one_of_many_that_end_a_run_succeeds() -> None:
    run = RunFactory(status="running", completed_at=None)

    def end(place: int) -> bool:
        mine = AgentWorkflowRun.objects.get(pk=run.pk)
        try:
            mine.succeed() if place % 2 else mine.cancel()
        except IllegalStatusChange:
            return False
        return True

    assert in_threads(end, 8).count(True) == 1


def test_a_deleted_run_changes_no_status() -> None:
    run = RunFactory(status="running")
    sql('DELETE FROM "AgentWorkflowRun"')
    with pytest.raises(RunNotFound):
        run.succeed()


def test_a_canceled_run_accepts_nothing_more() -> None:
    def work() -> None:
        with record("intake") as recorder:
            the_run().cancel("enough")
            with pytest.raises(RunFinished):
                recorder.set_output(1)
            with pytest.raises(RunFinished):
                recorder.heartbeat()
            recorder.event("too.late")

    with pytest.raises(RunFinished) as refused:
        work()
    run = the_run()
    assert (refused.value.run_id, refused.value.status) == (run.pk, "canceled")
    assert (run.status, run.error, run.result) == ("canceled", "enough", None)
    assert events_of(run.pk) == []


def test_the_end_of_a_canceled_run_raises() -> None:
    with pytest.raises(IllegalStatusChange), record("intake"):
        the_run().cancel()
    assert the_run().status == "canceled"


def test_a_finished_run_accepts_no_events() -> None:
    with record("intake") as recorder:
        pass
    with pytest.raises(RunFinished, match="record in a new run"):
        recorder.events([("a", 1), ("b", 2)])
    with pytest.raises(RunFinished), recorder.tool("search"):
        pytest.fail("the tool was called")
    assert events_of(recorder.run_id) == []


def test_a_deleted_run_accepts_nothing() -> None:
    def work() -> None:
        with record("intake") as recorder:
            sql('DELETE FROM "AgentWorkflowRun"')
            with pytest.raises(RunNotFound):
                recorder.set_output(1)
            recorder.event("late")

    with pytest.raises(RunNotFound):
        work()
