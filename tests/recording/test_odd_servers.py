"""Recording, sessions and flags on hosts and servers whose settings are not the defaults."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction

from agentstate import sessions
from agentstate.models import AgentSession, AgentWorkflowRun, Flag
from agentstate.recording import Recorder, RowsDropped, close_stale_runs, record
from agentstate.sessions import append, open_for, transcript
from agentstate.state import UnsuitableTransaction, load
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.recording.recorded import close_as_stale, events_of, in_threads, silence, the_run
from tests.servers import default_isolation, server_side_binding
from tests.sql import scalar, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

STRICTER = ["repeatable read", "serializable"]


@pytest.fixture(params=["server-side binding", *STRICTER])
def odd_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the host bind on the server, or the server's default isolation be a stricter one."""
    setting = server_side_binding() if request.param == "server-side binding" else default_isolation(request.param)
    with setting:
        yield


@pytest.mark.usefixtures("odd_server")
def test_a_run_with_every_feature_is_recorded() -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()
    with record("intake", project.id, input={"pages": 1}) as recorder:
        recorder.events([("a", None), ("b", [1, "%s"])])
        recorder.heartbeat()
        with recorder.tool("search", {"q": "'"}) as call:
            call.output = 3
        recorder.save(facts=[1])
        recorder.set_output("done")
    types = [type_ for type_, _ in events_of(recorder.run_id)]
    assert types == ["a", "b", "heartbeat", "tool.invocation", "tool.result", "state.changed"]
    run = AgentWorkflowRun.objects.get(pk=recorder.run_id)
    assert (run.status, run.input, run.result["output"]) == ("succeeded", {"pages": 1}, "done")
    assert load(project.id).facts == [1]


@pytest.mark.usefixtures("odd_server")
def test_many_writers_share_one_run() -> None:
    turn("agentkit_writes", everyone=True)
    project = ProjectFactory()
    with record("intake", project.id) as recorder:

        def write(place: int) -> None:
            for number in range(10):
                recorder.event("step", {"thread": place, "number": number})
                recorder.heartbeat()
                recorder.set_output(number)
                if number % 3 == 0:
                    recorder.save(facts=[place, number])

        in_threads(write, 8)
    steps = [payload for type_, payload in events_of(recorder.run_id) if type_ == "step"]
    assert len(steps) == 80
    for place in range(8):
        assert [step["number"] for step in steps if step["thread"] == place] == list(range(10))
    assert AgentWorkflowRun.objects.get(pk=recorder.run_id).status == "succeeded"


@pytest.mark.usefixtures("odd_server")
def test_a_run_ended_by_another_process_refuses_events() -> None:
    for _ in range(5):
        recorders: list[Recorder] = []

        def act(place: int, recorders: list[Recorder] = recorders) -> None:
            if place:
                while not recorders:
                    pass
                for number in range(20):
                    recorders[0].event("step", {"number": number})
            else:
                with record("intake") as recorder:
                    recorders.append(recorder)
                    recorder.run.interrupt()
                    recorder.run.resume()
                    recorder.run.interrupt()

        in_threads(act, 3)
        assert AgentWorkflowRun.objects.get(pk=recorders[0].run_id).status == "pending"


@pytest.mark.usefixtures("odd_server")
def test_sessions_open_once_and_lose_no_entry() -> None:
    project = ProjectFactory()
    with record("chat", project.id) as recorder:
        for memory in ("a", "b", "c"):
            opened = in_threads(lambda _, memory=memory: open_for(project.id, memory, recorder.run_id).pk, 8)
            assert len(set(opened)) == 1
    assert AgentSession.objects.count() == 3
    session = open_for(project.id, "a")
    in_threads(lambda place: [append(session, "user", [place, number]) for number in range(20)], 8)
    assert len(transcript(session)) == 160

    item = {"role": "user", "content": {"id": "i"}}
    assert sum(in_threads(lambda _: sessions.put(session, "i", item), 4)) == 1
    assert [entry["content"] for entry in sessions.page(session, 1, newest_first=True).entries] == [{"id": "i"}]
    assert sum(in_threads(lambda _: sessions.remove(session, "i"), 4)) == 1
    assert len({str(entry) for entry in in_threads(lambda _: sessions.pop(session), 8)}) == 8
    assert len(transcript(session, 500)) == 152


@pytest.mark.usefixtures("odd_server")
def test_stale_runs_are_closed_beside_writers() -> None:
    with record("intake") as recorder:

        def act(place: int) -> None:
            for number in range(20):
                if place < 2:
                    close_stale_runs(timedelta(hours=1))
                else:
                    recorder.event("step", {"number": number})

        in_threads(act, 4)
        close_as_stale(recorder.run_id)
        recorder.event("late")
    assert events_of(recorder.run_id)[-2][1] == {"$late": True}


@pytest.mark.usefixtures("odd_server")
def test_many_processes_change_flags_at_once() -> None:
    turn("agentkit_reads", percent=1)

    def change(place: int) -> None:
        for number in range(10):
            flag = Flag.objects.get(name="agentkit_reads")
            flag.percent = place * 10 + number
            flag.save()
            Flag.objects.filter(name="agentkit_reads").update(note=str(number))

    in_threads(change, 4)
    assert scalar("""SELECT count(*) > 40 FROM "AgentStateFlagChange" WHERE flag = 'agentkit_reads'""")


@pytest.mark.parametrize("level", STRICTER)
def test_a_callers_stricter_transaction_is_refused_where_it_would_be_wrong(level: str) -> None:
    project = ProjectFactory()
    session = open_for(project.id, "a")
    with record("intake", project.id) as recorder:
        silence(recorder.run_id, 2)
        with transaction.atomic():
            sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
            assert open_for(project.id, "a").pk == session.pk
            recorder.event("step")
            append(session, "user", "Hello")
            with pytest.raises(UnsuitableTransaction, match=f"A session cannot be opened in a {level} transaction"):
                open_for(project.id, "b")
            with pytest.raises(UnsuitableTransaction, match=f"Stale runs cannot be closed in a {level} transaction"):
                close_stale_runs(timedelta(hours=1))
    assert (the_run().status, len(transcript(session))) == ("succeeded", 1)


DROP = """
    CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER drop_row BEFORE {} ON "{}" FOR EACH ROW EXECUTE FUNCTION drop_row()"""


@pytest.fixture
def dropping() -> Iterator[Any]:
    """Return a function that lets a trigger drop the rows of a table."""
    yield lambda table, event="INSERT": sql(DROP.format(event, table))
    sql("DROP FUNCTION drop_row CASCADE")


def test_a_run_that_the_database_drops_does_not_begin(dropping: Any) -> None:
    dropping("AgentWorkflowRun")
    for project in (None, ProjectFactory().id):
        with pytest.raises(RowsDropped, match='0 of 1 rows into "AgentWorkflowRun"'), record("intake", project):
            pytest.fail("the block began")


def test_events_that_the_database_drops_are_an_error(dropping: Any) -> None:
    with record("intake") as recorder:
        dropping("AgentWorkflowRunEvent")
        with pytest.raises(RowsDropped, match='0 of 2 rows into "AgentWorkflowRunEvent"'):
            recorder.events([("a", None), ("b", None)])
        with pytest.raises(RowsDropped):
            recorder.heartbeat()


def test_a_session_that_the_database_drops_is_an_error(dropping: Any) -> None:
    project = ProjectFactory()
    dropping("AgentSession")
    with pytest.raises(RowsDropped, match="AgentSession"):
        open_for(project.id)


def test_stale_runs_that_the_database_keeps_are_an_error(dropping: Any) -> None:
    with record("intake") as recorder:
        recorder.run.interrupt()
        recorder.run.resume()
        silence(recorder.run_id, 2)
        dropping("AgentWorkflowRun", "UPDATE")
        with pytest.raises(RowsDropped, match="AgentWorkflowRun"):
            close_stale_runs(timedelta(hours=1))
        sql('DROP TRIGGER drop_row ON "AgentWorkflowRun"')
