"""Tools, state and output of a run, and what comes late for one that was closed as stale."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording import RunFinished, close_stale_runs, record
from agentstate.state import UnsuitableRun, load
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.recording.recorded import close_as_stale, events_of, in_threads, silence, the_run
from tests.sql import scalar, sql

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_what_happens_inside_a_tool_has_its_invocation_as_its_parent() -> None:
    project = ProjectFactory()
    turn("agentkit_writes", everyone=True)
    with record("intake", project.pk) as recorder:
        recorder.event("before")
        with recorder.tool("outer") as outer:
            with recorder.tool("inner") as inner:
                recorder.usage(model="small", input_tokens=1)
            recorder.save(facts={"pages": 7})
        section = recorder.event("section")
        with recorder.inside(section), record("elsewhere") as other:
            recorder.event("part")
            other.event("of another run")
    inside = dict.fromkeys(["tool.invocation outer", "tool.result outer", "before", "section"])
    assert parents_of(recorder.run_id) == inside | {
        "tool.invocation inner": outer.event_id,
        "tool.result inner": outer.event_id,
        "model.usage": inner.event_id,
        "state.changed": outer.event_id,
        "part": section,
    }
    assert parents_of(other.run_id) == {"of another run": None}


def parents_of(run_id: str) -> dict[str, str | None]:
    events = AgentWorkflowRunEvent.objects.filter(run=run_id)
    return {f"{event.type} {event.payload.get('tool', '')}".strip(): event.parent_id for event in events}


@pytest.mark.parametrize(
    ("error", "status", "run_status"),
    [(ValueError("no page"), "error", "failed"), (KeyboardInterrupt(), "canceled", "canceled")],
)
def test_a_failing_tool_is_recorded(error: BaseException, status: str, run_status: str) -> None:
    with pytest.raises(type(error)), record("intake") as recorder, recorder.tool("search"):
        raise error
    (_, invocation), (_, result) = events_of(recorder.run_id)
    assert invocation["arguments"] == {}
    assert (result["status"], result["call_id"], result["output"]) == (status, invocation["call_id"], None)
    assert result["error"] == ("ValueError: no page" if status == "error" else "KeyboardInterrupt")
    assert the_run().status == run_status


def test_the_traceback_of_a_failed_run_leaves_out_the_frames_of_recording() -> None:
    with pytest.raises(ValueError, match="no page"), record("intake") as recorder, recorder.tool("search"):
        raise ValueError("no page")
    error = the_run().error or ""
    assert recorder.run_id
    assert "test_tools_and_output.py" in error
    assert "recording/recorder.py" not in error
    assert "contextlib.py" not in error


def test_a_failing_tool_that_is_handled_is_recorded() -> None:
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
    answered = {each["call_id"]: each["output"] for each in payloads if "output" in each}
    assert asked == answered
    assert len(asked) == 6


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


def test_a_save_outside_the_runs_history_is_a_sign_of_life() -> None:
    project = ProjectFactory()
    with record("intake", project.id) as recorder:
        for facts in ([1], [2]):
            silence(recorder.run_id, 2)
            recorder.save(facts=facts)
            assert close_stale_runs(timedelta(hours=1)) == []
        assert events_of(recorder.run_id) == [("heartbeat", {})]

        silence(recorder.run_id, 2)
        recorder.save(facts=[2])
        assert [run.run_id for run in close_stale_runs(timedelta(hours=1), dry_run=True)] == [recorder.run_id]


def test_a_save_in_the_runs_history_leaves_no_heartbeat() -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()
    with record("intake", project.id) as recorder:
        recorder.save(facts=[1])
        recorder.save(facts=[1])
    assert [type_ for type_, _ in events_of(recorder.run_id)] == ["state.changed"]


def test_a_run_without_project_saves_no_state() -> None:
    with record("intake") as recorder, pytest.raises(ValueError, match="give record"):
        recorder.save(facts=[1])


@pytest.mark.parametrize("result", ["null", "[1]", None])
def test_an_output_goes_into_an_object(result: str | None) -> None:
    with record("intake") as recorder:
        sql('UPDATE "AgentWorkflowRun" SET result = %s::jsonb', result)
        recorder.set_output([1])
        recorder.set_output(None)
    assert scalar('SELECT result::text FROM "AgentWorkflowRun"') == '{"output": null}'


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


def test_late_events_of_a_run_closed_as_stale_are_kept_and_marked() -> None:
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


def test_a_canceled_run_takes_the_results_of_its_tools_late_and_nothing_else() -> None:
    def work() -> None:
        with record("intake") as recorder:
            call = recorder.invoke("search", call_id="1")
            recorder.invoke("fetch", call_id="2")
            AgentWorkflowRun.objects.get().cancel("enough")
            recorder.settle(call, output="done all the same")
            recorder.event("next")

    with pytest.raises(RunFinished):
        work()
    assert (the_run().status, the_run().error) == ("canceled", "enough")
    results = [payload for _, payload in events_of(the_run().pk)[2:]]
    late = [(result["call_id"], result["status"], result["output"], result["$late"]) for result in results]
    assert late == [("1", "ok", "done all the same", True), ("2", "canceled", None, True)]


def test_a_run_closed_as_stale_saves_no_more() -> None:
    project = ProjectFactory().id
    with record("intake", project) as recorder:
        recorder.save(facts=1)
        close_as_stale(recorder.run_id)
        with pytest.raises(UnsuitableRun, match="save in a new run"):
            recorder.save(facts=2)
    assert load(project).facts == 1


def test_a_run_closed_as_stale_that_fails_late_records_why() -> None:
    def work() -> None:
        with record("intake") as recorder:
            close_as_stale(recorder.run_id)
            raise ValueError("no page")

    with pytest.raises(ValueError, match="no page"):
        work()
    ((type_, payload),) = events_of(the_run().pk)
    assert (type_, payload["status"], payload["$late"]) == ("run.ended", "failed", True)
    assert payload["error"].startswith("ValueError: no page\n")
