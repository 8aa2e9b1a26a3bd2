"""Runs recorded as they happen, and what their end makes of them."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.utils import timezone

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording import (
    IllegalStatusChange,
    Recorder,
    RunFinished,
    RunNotFound,
    arecord,
    aresume,
    close_stale_runs,
    record,
    resume,
)
from agentstate.state import ProjectNotFound, load
from tests.factories import EventFactory, ProjectFactory, RunFactory
from tests.flags import rolled_back, turn
from tests.rows import one, second_connection, sql
from tests.scenes import start_and_wait_for_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.django_db(transaction=True)

A_MICROSECOND = timedelta(microseconds=1)


def events_of(run_id: str) -> list[tuple[str, Any]]:
    rows = sql('SELECT type, payload::text FROM "AgentWorkflowRunEvent" WHERE run_id = %s ORDER BY created_at', run_id)
    return [(type_, json.loads(payload)) for type_, payload in rows]


def the_run() -> AgentWorkflowRun:
    return AgentWorkflowRun.objects.get()


def silence(run_id: str, hours: float) -> None:
    """Let a run have begun and written its events so long ago."""
    shift = f"interval '{hours} hours'"
    sql(f'UPDATE "AgentWorkflowRun" SET started_at = started_at - {shift} WHERE id = %s', run_id)
    sql(f'UPDATE "AgentWorkflowRunEvent" SET created_at = created_at - {shift} WHERE run_id = %s', run_id)


def close_as_stale(run_id: str) -> None:
    silence(run_id, 2)
    assert [run.run_id for run in close_stale_runs(timedelta(hours=1))] == [run_id]


def in_threads(act: Callable[[int], Any], number: int) -> list[Any]:
    """Act in so many threads at once, each with its own connection."""
    barrier = threading.Barrier(number)

    def act_and_close(place: int) -> Any:
        barrier.wait()
        try:
            return act(place)
        finally:
            connection.close()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(act_and_close, range(number)))


# -- how a run begins and ends


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
    with pytest.raises(ProjectNotFound, match="'nobody'"), record("intake", "nobody"):
        pytest.fail("the block began")
    assert not AgentWorkflowRun.objects.exists()


def test_an_unknown_project_does_not_break_the_transaction_around_it() -> None:
    with transaction.atomic():
        with pytest.raises(ProjectNotFound), record("intake", "nobody"):
            pass
        with record("intake"):
            pass
    assert the_run().status == "succeeded"


def read_page(number: int) -> None:
    raise ValueError(f"no page {number}\nin this document")


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


def test_a_generator_that_nobody_reads_on_cancels_its_run() -> None:
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


def test_the_error_goes_on_where_its_end_cannot_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        with record("intake"):
            sql('DELETE FROM "AgentWorkflowRun"')
            raise ValueError("the agent's own")

    with pytest.raises(ValueError, match="the agent's own"):
        work()
    assert "could not be recorded" in caplog.text


def test_a_run_inside_a_transaction_shares_its_fate() -> None:
    with rolled_back(), record("intake") as recorder:
        recorder.event("seen")
    assert not AgentWorkflowRun.objects.exists()


# -- statuses


def test_an_interrupted_run_waits_and_goes_on() -> None:
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


def test_only_a_run_that_waits_is_resumed() -> None:
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
def test_a_status_moves_only_as_the_design_says(status: str, verb: str) -> None:
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


def test_of_many_that_end_a_run_at_once_one_does() -> None:
    run = RunFactory(status="running", completed_at=None)

    def end(place: int) -> bool:
        mine = AgentWorkflowRun.objects.get(pk=run.pk)
        try:
            mine.succeed() if place % 2 else mine.cancel()
        except IllegalStatusChange:
            return False
        return True

    assert in_threads(end, 8).count(True) == 1


def test_a_run_that_is_gone_moves_nowhere() -> None:
    run = RunFactory(status="running")
    sql('DELETE FROM "AgentWorkflowRun"')
    with pytest.raises(RunNotFound):
        run.succeed()


def test_a_run_that_somebody_canceled_takes_nothing_more() -> None:
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


def test_a_run_that_somebody_canceled_does_not_succeed_unnoticed() -> None:
    with pytest.raises(IllegalStatusChange), record("intake"):
        the_run().cancel()
    assert the_run().status == "canceled"


def test_a_finished_run_takes_no_events() -> None:
    with record("intake") as recorder:
        pass
    with pytest.raises(RunFinished, match="record in a new run"):
        recorder.events([("a", 1), ("b", 2)])
    with pytest.raises(RunFinished), recorder.tool("search"):
        pytest.fail("the tool was called")
    assert events_of(recorder.run_id) == []


def test_a_run_that_is_gone_takes_nothing() -> None:
    def work() -> None:
        with record("intake") as recorder:
            sql('DELETE FROM "AgentWorkflowRun"')
            with pytest.raises(RunNotFound):
                recorder.set_output(1)
            recorder.event("late")

    with pytest.raises(RunNotFound):
        work()


# -- events


def test_an_event_is_on_disk_when_the_call_returns() -> None:
    with record("intake") as recorder:
        event_id = recorder.event("page.read", {"page": 1})
        with second_connection() as other:
            found = other.execute('SELECT id, type, payload::text FROM "AgentWorkflowRunEvent"').fetchall()
        assert found == [(event_id, "page.read", '{"page": 1}')]
    assert len(event_id) == 24


def test_the_payload_is_an_object_where_there_is_none() -> None:
    with record("intake") as recorder:
        recorder.event("a")
        recorder.event("b", [])
        recorder.events([("c", None), ("d", 0)])
    assert events_of(recorder.run_id) == [("a", {}), ("b", []), ("c", {}), ("d", 0)]


def test_events_inside_a_transaction_share_its_fate() -> None:
    with record("intake") as recorder:
        with rolled_back():
            recorder.event("undone")
        with transaction.atomic():
            recorder.event("kept")
    assert events_of(recorder.run_id) == [("kept", {})]


def test_many_events_in_one_statement_keep_their_order(django_assert_num_queries: Any) -> None:
    with record("intake") as recorder:
        with django_assert_num_queries(1):
            ids = recorder.events(("step", {"number": number}) for number in range(500))
        with django_assert_num_queries(0):
            assert recorder.events([]) == []
    assert [payload["number"] for _, payload in events_of(recorder.run_id)] == list(range(500))
    assert [id_ for (id_,) in sql('SELECT id FROM "AgentWorkflowRunEvent" ORDER BY created_at')] == ids


def test_one_event_is_one_round_to_the_database(django_assert_num_queries: Any) -> None:
    with record("intake") as recorder, django_assert_num_queries(1):
        recorder.event("a")


def test_order_holds_where_the_clock_was_set_back() -> None:
    with record("intake") as recorder:
        ahead = timezone.now() + timedelta(days=1)
        EventFactory(run=recorder.run, type="ahead", created_at=ahead)
        recorder.event("first")
        recorder.events([("second", None), ("third", None)])
        recorder.event("fourth")
    assert sql('SELECT type, created_at FROM "AgentWorkflowRunEvent" ORDER BY created_at') == [
        (type_, ahead + place * A_MICROSECOND)
        for place, type_ in enumerate(["ahead", "first", "second", "third", "fourth"])
    ]
    assert the_run().completed_at >= ahead + 4 * A_MICROSECOND


def test_no_event_stands_before_its_run() -> None:
    with record("intake") as recorder:
        ahead = timezone.now() + timedelta(days=1)
        AgentWorkflowRun.objects.update(started_at=ahead)
        recorder.event("first")
    assert AgentWorkflowRunEvent.objects.get().created_at >= ahead


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=1)], ids=["true clock", "clock set back"])
def test_many_threads_write_to_one_run_in_one_order(ahead: timedelta) -> None:
    """The order of rows is the order of calls: what was written before a call began stands before it."""
    seen: list[tuple[int, int]] = []
    with record("intake") as recorder:
        EventFactory(run=recorder.run, type="start", created_at=timezone.now() + ahead)

        def write(place: int) -> None:
            for number in range(25):
                before = len(seen)
                if number % 5:
                    recorder.event("step", {"thread": place, "number": number, "before": before})
                else:
                    recorder.events([("step", {"thread": place, "number": number, "before": before})])
                seen.append((place, number))

        in_threads(write, 8)

    steps = [payload for type_, payload in events_of(recorder.run_id) if type_ == "step"]
    assert len(steps) == 200
    for place in range(8):
        assert [step["number"] for step in steps if step["thread"] == place] == list(range(25))
    position = {(step["thread"], step["number"]): index for index, step in enumerate(steps)}
    for step in steps:
        mine = position[step["thread"], step["number"]]
        assert all(position[earlier] < mine for earlier in seen[: step["before"]])


def test_an_event_waits_for_whoever_ends_the_run() -> None:
    """A run that ends in another transaction takes no event once that is committed."""
    recorder = Recorder(RunFactory(status="running"))
    outcome: list[BaseException] = []

    def write() -> None:
        try:
            recorder.event("late")
        except RunFinished as error:
            outcome.append(error)

    with transaction.atomic():
        the_run().cancel()
        thread = start_and_wait_for_lock(write)
    thread.join(20)
    assert [type(error) for error in outcome] == [RunFinished]
    assert events_of(recorder.run_id) == []


def test_writers_of_different_runs_do_not_wait_for_each_other() -> None:
    with record("one") as first, record("other") as second, second_connection() as other:
        other.execute("BEGIN")
        other.execute('SELECT FROM "AgentWorkflowRun" WHERE id = %s FOR NO KEY UPDATE', [first.run_id])
        second.event("free")
        other.execute("ROLLBACK")
    assert events_of(second.run_id) == [("free", {})]


def test_only_a_save_writes_state_changed() -> None:
    with record("intake") as recorder, pytest.raises(ValueError, match="call save"):
        recorder.events([("fine", None), ("state.changed", {"facts": 1})])
    assert events_of(recorder.run_id) == []


def test_a_heartbeat_is_one_event_that_moves() -> None:
    with record("intake") as recorder:
        recorder.heartbeat()
        recorder.event("step")
        assert [type_ for type_, _ in events_of(recorder.run_id)] == ["heartbeat", "step"]
        recorder.heartbeat()
        recorder.heartbeat()
    assert events_of(recorder.run_id) == [("step", {}), ("heartbeat", {})]


def test_the_last_event_is_found_in_the_index() -> None:
    with record("intake") as recorder:
        recorder.events(("step", None) for _ in range(3000))
    sql('ANALYZE "AgentWorkflowRunEvent"')
    plan = "\n".join(
        line
        for (line,) in sql(
            'EXPLAIN SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = %s', recorder.run_id
        )
    )
    assert "Index Only Scan Backward" in plan
    assert "AgentWorkflowRunEvent_run_created_key" in plan


# -- tools


def test_a_tool_leaves_its_call_and_its_result() -> None:
    with record("intake") as recorder, recorder.tool("search", {"query": "deadline"}) as call:
        recorder.event("inside")
        call.output = ["page 7"]
    invocation, inside, result = events_of(recorder.run_id)
    assert invocation == (
        "tool.invocation",
        {"call_id": call.call_id, "tool": "search", "arguments": {"query": "deadline"}},
    )
    assert inside == ("inside", {})
    duration = result[1].pop("duration_ms")
    assert result == (
        "tool.result",
        {"call_id": call.call_id, "tool": "search", "status": "ok", "output": ["page 7"], "error": None},
    )
    assert 0 < duration < 60_000


@pytest.mark.parametrize(
    ("error", "status", "run_status"),
    [(ValueError("no page"), "error", "failed"), (KeyboardInterrupt(), "canceled", "canceled")],
)
def test_a_tool_that_breaks(error: BaseException, status: str, run_status: str) -> None:
    with pytest.raises(type(error)), record("intake") as recorder, recorder.tool("search"):
        raise error
    (_, invocation), (_, result) = events_of(recorder.run_id)
    assert invocation["arguments"] == {}
    assert (result["status"], result["call_id"], result["output"]) == (status, invocation["call_id"], None)
    assert result["error"] == ("ValueError: no page" if status == "error" else "KeyboardInterrupt")
    assert the_run().status == run_status


def test_a_tool_that_breaks_and_is_coped_with() -> None:
    with record("intake") as recorder:
        with pytest.raises(ValueError, match="no page"), recorder.tool("search"):
            raise ValueError("no page")
        recorder.event("coped")
    assert the_run().status == "succeeded"


def test_tools_side_by_side_keep_their_pairs() -> None:
    with record("intake") as recorder:

        def call_tool(place: int) -> None:
            with recorder.tool("search", {"place": place}) as call:
                call.output = place

        in_threads(call_tool, 6)
    payloads = [payload for _, payload in events_of(recorder.run_id)]
    asked = {each["call_id"]: each["arguments"]["place"] for each in payloads if "arguments" in each}
    told = {each["call_id"]: each["output"] for each in payloads if "output" in each}
    assert asked == told
    assert len(asked) == 6


# -- state and output


def test_saving_state_and_setting_the_output_leave_each_other_alone() -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory(documents={"facts": '{"amount": 0.10}'})
    with record("intake", project.id) as recorder:
        recorder.set_output({"pages": 1})
        recorder.save(coverage={"score": 0.5})
        recorder.set_output({"pages": 2, "bad": float("nan")})
    (result,) = sql(
        """SELECT result -> 'state' #>> '{facts,amount}', result -> 'output' FROM "AgentWorkflowRun"
        WHERE id = %s""",
        recorder.run_id,
    )
    assert result[0] == "0.10"
    assert json.loads(result[1]) == {"pages": 2, "bad": {"$unstorable": "number", "value": "NaN"}}
    assert load(project.id).coverage == {"score": 0.5}
    assert [type_ for type_, _ in events_of(recorder.run_id)] == ["state.changed", "coverage.delta"]


def test_state_that_was_saved_stays_when_the_run_fails() -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()

    def work() -> None:
        with record("intake", project.id) as recorder:
            recorder.save(facts=[1])
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        work()
    assert AgentWorkflowRun.objects.get(workflow_id="intake").status == "failed"
    assert load(project.id).facts == [1]


def test_a_run_without_project_saves_no_state() -> None:
    with record("intake") as recorder, pytest.raises(ValueError, match="give record"):
        recorder.save(facts=[1])


@pytest.mark.parametrize("result", ["null", "[1]", None])
def test_an_output_goes_into_an_object(result: str | None) -> None:
    with record("intake") as recorder:
        sql('UPDATE "AgentWorkflowRun" SET result = %s::jsonb', result)
        recorder.set_output([1])
        recorder.set_output(None)
    assert one('SELECT result::text FROM "AgentWorkflowRun"') == '{"output": null}'


def test_input_that_cannot_be_stored_is_marked() -> None:
    with record("in\0take", input={"text": "a\0b", "when": float("inf")}):
        pass
    run = the_run()
    assert run.workflow_id == "in\\u0000take"
    assert run.input["text"] == {"$unstorable": "string", "value": "a\\u0000b"}


def test_a_type_and_a_tool_that_cannot_be_stored_are_marked() -> None:
    with record("intake") as recorder:
        recorder.event("odd\0type")
        with recorder.tool("odd\0tool", {"x": {1, 2}}):
            pass
    (odd, _), (_, invocation), _ = events_of(recorder.run_id)
    assert odd == "odd\\u0000type"
    assert invocation["tool"]["$unstorable"] == "string"
    assert invocation["arguments"]["x"] == {"$unstorable": "set", "value": [1, 2]}


# -- runs closed as stale


def test_what_comes_late_for_a_run_closed_as_stale_is_kept_and_marked() -> None:
    with record("intake") as recorder:
        recorder.event("in.time", {"a": 1})
        close_as_stale(recorder.run_id)
        recorder.event("late", {"a": 1})
        recorder.event("late.list", [1])
        with recorder.tool("search"):
            pass
        recorder.heartbeat()
        recorder.set_output({"pages": 7})
    run = the_run()
    assert (run.status, run.result) == ("failed", {"output": {"pages": 7}})
    assert run.error.startswith("Closed as stale: ")
    events = events_of(recorder.run_id)
    assert events[:3] == [
        ("in.time", {"a": 1}),
        ("late", {"a": 1, "$late": True}),
        ("late.list", {"$late": True, "value": [1]}),
    ]
    assert [type_ for type_, _ in events[3:]] == ["tool.invocation", "tool.result", "heartbeat", "run.ended"]
    assert events[-1][1] == {"status": "succeeded", "error": None, "$late": True}


def test_a_run_closed_as_stale_that_fails_late_tells_why() -> None:
    def work() -> None:
        with record("intake") as recorder:
            close_as_stale(recorder.run_id)
            raise ValueError("no page")

    with pytest.raises(ValueError, match="no page"):
        work()
    ((type_, payload),) = events_of(the_run().pk)
    assert (type_, payload["status"], payload["$late"]) == ("run.ended", "failed", True)
    assert payload["error"].startswith("ValueError: no page\n")


# -- asynchronous code


def test_an_asynchronous_run() -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()

    async def work() -> str:
        async with arecord("intake", project.id, input=1) as recorder:
            assert recorder.project_id == project.id
            await recorder.event("a", {"number": 1})
            await recorder.events([("b", None), ("c", None)])
            async with recorder.tool("search") as call:
                await asyncio.sleep(0)
                call.output = 3
            await recorder.save(facts=[1])
            await recorder.heartbeat()
            await recorder.set_output("done")
        return recorder.run_id

    run_id = async_to_sync(work)()
    run = AgentWorkflowRun.objects.get(pk=run_id)
    assert (run.status, run.input, run.result["output"], run.result["state"]) == (
        "succeeded",
        1,
        "done",
        {"facts": [1]},
    )
    types = [type_ for type_, _ in events_of(run_id)]
    assert types == ["a", "b", "c", "tool.invocation", "tool.result", "state.changed", "heartbeat"]


def test_an_asynchronous_run_under_asyncio_itself() -> None:
    async def work() -> None:
        try:
            async with arecord("intake") as recorder:
                await asyncio.gather(*(recorder.event("step", {"number": number}) for number in range(20)))
        finally:
            await sync_to_async(lambda: connection.close())()

    asyncio.run(work())
    assert the_run().status == "succeeded"
    numbers = [payload["number"] for _, payload in events_of(the_run().pk)]
    assert numbers == list(range(20))


def test_an_asynchronous_error() -> None:
    async def work() -> None:
        async with arecord("intake") as recorder, recorder.tool("search"):
            read_page(9)

    with pytest.raises(ValueError, match="no page 9"):
        async_to_sync(work)()
    assert the_run().status == "failed"
    assert "in read_page" in the_run().error
    assert events_of(the_run().pk)[1][1]["status"] == "error"


def test_an_asynchronous_run_of_an_unknown_project() -> None:
    async def work() -> None:
        async with arecord("intake", "nobody"):
            pytest.fail("the block began")

    with pytest.raises(ProjectNotFound):
        async_to_sync(work)()
    assert not AgentWorkflowRun.objects.exists()


def test_a_canceled_task_cancels_its_run_and_its_tool() -> None:
    async def work() -> None:
        async with arecord("intake") as recorder, recorder.tool("search"):
            await asyncio.sleep(60)

    async def cancel_it() -> None:
        task = asyncio.create_task(work())
        while not await AgentWorkflowRunEvent.objects.aexists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(cancel_it)()
    assert (the_run().status, the_run().error) == ("canceled", "CancelledError")
    assert events_of(the_run().pk)[1][1]["status"] == "canceled"


def test_a_task_that_runs_out_of_time() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.2), arecord("intake"):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        async_to_sync(work)()
    assert the_run().status == "canceled"


def test_a_task_that_is_canceled_again_and_again_ends_its_run_all_the_same() -> None:
    """As task groups of some libraries do: they cancel until the task gives in."""

    async def work() -> None:
        async with arecord("intake") as recorder:
            for number in range(1000):
                await recorder.event("step", {"number": number})

    async def cancel_it() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.1)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()

    async_to_sync(cancel_it)()
    assert the_run().status == "canceled"
    numbers = [payload["number"] for _, payload in events_of(the_run().pk)]
    assert numbers == list(range(len(numbers)))


def test_a_task_that_is_canceled_while_its_run_begins_leaves_none_running() -> None:
    async def work() -> None:
        async with arecord("intake"):
            await asyncio.sleep(60)

    async def cancel_it() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(cancel_it)()
    assert not AgentWorkflowRun.objects.filter(status="running").exists()


def test_an_asynchronous_run_waits_and_goes_on() -> None:
    async def work() -> None:
        async with arecord("intake") as recorder:
            await recorder.interrupt()
        async with aresume(recorder.run_id) as recorder:
            await recorder.event("on")

    async_to_sync(work)()
    assert the_run().status == "succeeded"
