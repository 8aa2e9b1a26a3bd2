"""Statements that a connection sends again are prepared, where its server session is its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from django.db import DataError, NotSupportedError, connection, transaction
from django.test.utils import CaptureQueriesContext

from agentstate import state
from agentstate.models import AgentWorkflowRun
from agentstate.recording import record
from agentstate.rounds import Statement, run
from agentstate.state.keys import STATE_KEYS
from tests import scenes
from tests.factories import ProjectFactory
from tests.faults.processes import Command, wait_until
from tests.pooler import needs_pooler, pooler
from tests.sql import WAITING_FOR_LOCKS, second_connection, sql

pytestmark = pytest.mark.django_db(transaction=True)

PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'agentstate%'"
HALF = Statement("SELECT 10 / %(by)s::int, '%%', %(text)s::text")


@pytest.fixture(autouse=True)
def new_connection() -> None:
    connection.close()


def prepared() -> int:
    with connection.cursor() as cursor:
        cursor.execute(PREPARED)
        return int(cursor.fetchone()[0])


def halve(by: int) -> int:
    (row,) = run([HALF], {"by": by, "text": "it's 5 %"})
    assert row is not None
    assert row[1:] == ("%", "it's 5 %")
    return int(row[0])


def test_a_statement_is_prepared_when_it_is_sent_again() -> None:
    assert [(halve(2), prepared()) for _ in range(3)] == [(5, 0), (5, 1), (5, 1)]


def test_each_row_belongs_to_its_statement() -> None:
    one, other = Statement("SELECT %(a)s::int"), Statement("SELECT WHERE %(a)s::int > 1")
    rounds = [run([one, other, HALF], {"a": 1, "by": 2, "text": ""}) for _ in range(3)]
    assert rounds == [[(1,), None, (5, "%", "")]] * 3


def test_a_statement_that_returns_no_rows_answers_with_how_many_it_has_written() -> None:
    ProjectFactory.create_batch(2)
    rename = Statement('UPDATE "Project" SET name = %(name)s')
    assert [run([rename], {"name": f"name {number}"}) for number in range(3)] == [[(2,)]] * 3


def test_a_round_that_fails_while_it_prepares_can_be_sent_again() -> None:
    halve(2)
    for _ in range(2):
        with pytest.raises(DataError):
            halve(0)
    assert [halve(2), halve(5)] == [5, 2]


def test_what_another_deallocated_is_sent_whole() -> None:
    halve(2)
    halve(2)
    sql("DISCARD ALL")
    assert halve(2) == 5


def test_what_another_deallocated_is_sent_whole_in_a_transaction() -> None:
    halve(2)
    halve(2)
    for _ in range(2):
        with transaction.atomic():
            sql("DEALLOCATE ALL")
            assert halve(2) == 5
            assert halve(5) == 2


def test_what_another_deallocated_is_sent_whole_after_a_round_that_needed_nothing_of_it() -> None:
    halve(2)
    halve(2)
    sql("DISCARD ALL")
    with transaction.atomic():
        assert run([Statement("SELECT %(a)s::int")], {"a": 1}) == [(1,)]
        assert halve(2) == 5


def test_statements_that_differ_in_names_alone_are_prepared_apart() -> None:
    one, other = Statement("SELECT %(a)s::int"), Statement("SELECT %(b)s::int")
    for _ in range(2):
        with transaction.atomic():
            assert run([one], {"a": 1}) == run([other], {"b": 1}) == [(1,)]
    assert prepared() == 2


def test_an_error_that_nothing_prepared_can_cause_is_not_tried_again_in_a_transaction() -> None:
    refuse = Statement("SELECT pg_temp.refuse(%(a)s::int)")
    halve(2)
    sql("CREATE TEMP SEQUENCE calls")
    sql("""
        CREATE FUNCTION pg_temp.refuse(a int) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN IF nextval('calls') = 1 THEN RAISE SQLSTATE '0A000'; END IF; RETURN a; END$$""")
    with pytest.raises(NotSupportedError), transaction.atomic():
        run([refuse], {"a": 1})


def test_a_transaction_takes_one_savepoint_however_many_rounds_it_sends() -> None:
    halve(2)
    halve(2)
    for _ in range(2):
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            assert [halve(2), halve(2)] == [5, 5]
        assert str(queries.captured_queries).count("RELEASE SAVEPOINT agentstate_round") == 1


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_save_writes_once_after_what_it_prepared_is_gone(*, in_transaction: bool) -> None:
    project = ProjectFactory(documents={"facts": "[]"}).id
    scenes.open_gates(legacy_writes=True, agentkit_writes=True)
    for number in range(3):
        state.save(project, facts=[number])
    before = AgentWorkflowRun.objects.count()
    sql("DISCARD ALL")
    with transaction.atomic() if in_transaction else nullcontext():
        state.save(project, facts=["kept"])
        state.save(project, coverage={})
    assert (state.load(project).facts, AgentWorkflowRun.objects.count()) == (["kept"], before + 2)


def test_a_statement_whose_columns_change_their_type_is_sent_whole() -> None:
    sql("CREATE TEMP TABLE typed (number int)")
    sql("INSERT INTO typed VALUES (1)")
    read = Statement("SELECT number FROM typed")
    for _ in range(2):
        run([read], {})
    sql("ALTER TABLE typed ALTER number TYPE text")
    assert run([read], {}) == [("1",)]


@pytest.mark.parametrize("column", ['"Project".id', '"AgentWorkflowRun".id', '"AgentWorkflowRun".status'])
def test_no_statement_of_the_runtime_fails_because_a_column_changes_its_type(column: str) -> None:
    project = ProjectFactory().id
    scenes.open_gates(agentkit_writes=True)

    def act(number: int) -> None:
        with record("draft", project) as run:
            run.event("note", {})
            run.save(facts=[number])
        assert state.load(project).facts == [number]

    for number in range(3):
        act(number)
        halve(2)
    table, name = column.split(".")
    with transaction.atomic():
        assert halve(2) == 5  # what is prepared is there, so no round after it takes a savepoint
        sql(f"ALTER TABLE {table} ALTER {name} TYPE varchar(200)")
        act(3)
        transaction.set_rollback(True)


@pytest.mark.parametrize("act", ["load", "save", "event"])
def test_what_waited_for_the_rewriting_of_a_table_sees_its_rows(act: str) -> None:
    project = ProjectFactory(documents={"facts": "[1]"}).id
    scenes.open_gates(agentkit_writes=True)
    table, column = ("AgentWorkflowRun", "error") if act == "event" else ("Project", "name")
    with record("draft", project) as recorder:

        def do(number: int) -> object:
            if act == "load":
                return state.load(project)
            return state.save(project, facts=[number]) if act == "save" else recorder.event("note", {})

        for number in range(3):
            do(number)
        with second_connection() as other, second_connection() as watching, ThreadPoolExecutor(1) as thread:
            other.execute("BEGIN")
            other.execute(f"ALTER TABLE \"{table}\" ALTER {column} TYPE text USING {column} || ''")

            def commit() -> None:
                wait_until(lambda: watching.execute(WAITING_FOR_LOCKS).fetchall())
                other.execute("COMMIT")

            committed = thread.submit(commit)
            assert do(3)
            committed.result()


def test_nothing_is_prepared_where_psycopg_deallocates_after_a_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "prepare_threshold", 0)
    with transaction.atomic():
        sql("SELECT 1")  # prepared by psycopg, so that it deallocates
        halve(2)
        transaction.set_rollback(True)
    with transaction.atomic():
        assert [halve(2), halve(2), prepared()] == [5, 5, 0]
    connection.close()


def test_a_prepared_load_survives_the_drop_of_the_columns() -> None:
    project = ProjectFactory(documents={"facts": "[1]"}).id
    scenes.forward(project, sessions=False)
    assert [state.load(project).source for _ in range(3)] == ["legacy"] * 3
    with transaction.atomic():
        for key in STATE_KEYS:
            sql(f'ALTER TABLE "Project" DROP COLUMN "{key.column}"')
        assert (state.load(project).source, state.load(project).facts) == ("agentkit", [1])
        transaction.set_rollback(True)
    assert state.load(project).source == "legacy"


THRICE = f"""
from django.db import connection
from agentstate.rounds import Statement, run
statement = Statement("SELECT %(a)s::int")
print([run([statement], {{"a": 1}}) for _ in range(3)] == [[(1,)]] * 3, end=" ")
with connection.cursor() as cursor:
    cursor.execute("{PREPARED}")
    print(cursor.fetchone()[0])
"""


@needs_pooler
def test_nothing_is_prepared_through_a_pooler_although_the_address_says_nothing() -> None:
    with pooler(size=1) as pool:
        ended = Command("shell", "-v0", "-c", THRICE, database=pool.url(connection.settings_dict["NAME"]))
        ended.end()
    assert (ended.stdout.split(), ended.stderr) == (["True", "0"], "")
