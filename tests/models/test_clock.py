"""The legacy home's clock: the database moves it when any writer changes one of the five columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from agentstate.models import LegacyState, Project
from agentstate.state.keys import STATE_KEYS

pytestmark = pytest.mark.django_db

MICROSECOND = timedelta(microseconds=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
COLUMNS = [key.column for key in STATE_KEYS]
OTHERS = {"name": "'other'", "userId": "'other'", "meta": "'{}'", "status": "'other'", "charterJson": "'1'"}


def execute(statement: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def value(query: str, *parameters: object) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


def clock(project: str = "p") -> datetime:
    moment = value('SELECT "stateUpdatedAt" FROM "Project" WHERE id = %s', project)
    assert isinstance(moment, datetime)
    return moment


def add(clock: datetime = LONG_AGO, **documents: str) -> None:
    """Insert the project p with this clock and these documents."""
    names = "".join(f', "{column}"' for column in documents)
    values = "".join(", %s::jsonb" for _ in documents)
    execute(
        f"""INSERT INTO "Project" (id, "userId", name, "stateUpdatedAt"{names}) VALUES ('p', 'u', 'n', %s{values})""",
        clock,
        *documents.values(),
    )


def update(assignments: str, *parameters: object) -> datetime:
    """Update the project p and return its clock."""
    execute(f"""UPDATE "Project" SET {assignments} WHERE id = 'p'""", *parameters)
    return clock()


def test_a_new_project_gets_the_time_of_its_transaction() -> None:
    execute("""INSERT INTO "Project" (id, "userId", name) VALUES ('p', 'u', 'n')""")

    assert clock() == value("SELECT now()")


def test_a_project_made_by_the_model_gets_it_too() -> None:
    project = Project.objects.create(id="p", user_id="u", name="n")
    project.refresh_from_db()

    assert project.state_updated_at == value("SELECT now()")


@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_of_each_of_the_five_moves_it_to_the_servers_time(column: str) -> None:
    add()
    before = value("SELECT clock_timestamp()")

    moved = update(f""""{column}" = '{{"a": 1}}'""")

    assert before < moved < value("SELECT clock_timestamp()")


@pytest.mark.parametrize("column", OTHERS)
def test_a_change_of_another_column_does_not(column: str) -> None:
    add(factsJson="1")

    assert update(f'"{column}" = {OTHERS[column]}') == LONG_AGO


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
        ('{"a": 1}', '{"a": 0, "a": 1}'),
        ("0.10", "0.1"),
        ("[100]", "[1e2]"),
        ('"é"', '"\\u00e9"'),
    ],
)
def test_a_document_that_is_equal_as_jsonb_is_no_change(old: str, new: str) -> None:
    add(factsJson=old)

    assert update('"factsJson" = %s', new) == LONG_AGO


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NULL", "'null'"),
        ("'null'", "NULL"),
        ("NULL", "'{}'"),
        ("'[]'", "'{}'"),
        ("""'{"a": null}'""", "'{}'"),
        ("'[1, 2]'", "'[2, 1]'"),
        ("'1'", """'"1"'"""),
        ("'0.30000000000000004'", "'0.3'"),
        ("'12345678901234567890123456789012345678901'", "'12345678901234567890123456789012345678902'"),
    ],
)
def test_a_document_that_differs_as_jsonb_is_a_change(old: str, new: str) -> None:
    add()
    before = update(f'"factsJson" = {old}')
    execute("""UPDATE "Project" SET "stateUpdatedAt" = %s WHERE id = 'p'""", before)

    assert update(f'"factsJson" = {new}') > before


@pytest.mark.parametrize("written", [LONG_AGO, LONG_AGO - timedelta(days=1), None], ids=["same", "stale", "NULL"])
def test_a_clock_that_is_not_later_counts_as_unset(written: datetime | None) -> None:
    add(factsJson="1")

    kept = update('name = %s, "stateUpdatedAt" = %s', "other", written)
    moved = update('"factsJson" = %s, "stateUpdatedAt" = %s', "2", written)

    assert kept == LONG_AGO
    assert moved > LONG_AGO + timedelta(days=1)


def test_a_stale_row_that_is_written_back_does_not_set_it_back() -> None:
    add(factsJson="1")
    stale = Project.objects.get()
    moved = update("\"factsJson\" = '2'")

    stale.name = "other"
    stale.save()

    assert clock() == moved
    assert Project.objects.get().name == "other"


@pytest.mark.parametrize("change", ["name = 'other'", "\"factsJson\" = '2'"])
def test_a_later_clock_that_the_writer_sets_is_kept(change: str) -> None:
    add(factsJson="1")
    later = LONG_AGO + MICROSECOND

    assert update(f'{change}, "stateUpdatedAt" = %s', later) == later


def test_it_is_strictly_later_with_each_change_of_one_transaction() -> None:
    add()

    clocks = [update('"factsJson" = %s', str(n)) for n in range(20)]

    assert clocks == sorted(set(clocks))


def test_it_moves_forward_after_the_servers_clock_was_set_back() -> None:
    ahead = value("SELECT clock_timestamp()") + timedelta(hours=1)
    add(clock=ahead)

    assert update("\"factsJson\" = '1'") == ahead + MICROSECOND
    assert update("\"factsJson\" = '2'") == ahead + 2 * MICROSECOND
    assert update("name = 'other'") == ahead + 2 * MICROSECOND


def test_writers_with_the_replica_role_move_it() -> None:
    add()
    execute("SET LOCAL session_replication_role = replica")

    assert update("\"factsJson\" = '1'") > LONG_AGO


@pytest.mark.parametrize("name", ["Audit", "zz_a_late_one"])
def test_it_sees_the_changes_of_other_triggers(name: str) -> None:
    execute(
        f"""
        CREATE FUNCTION pg_temp.normalize() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW."factsJson" := '"normalized"'; RETURN NEW; END $$;
        CREATE TRIGGER "{name}" BEFORE UPDATE ON "Project" FOR EACH ROW EXECUTE FUNCTION pg_temp.normalize()
        """
    )
    add(factsJson="1")

    assert update("name = 'other'") > LONG_AGO


def test_changes_through_other_statements_move_it() -> None:
    add(factsJson="1")

    execute(
        """
        INSERT INTO "Project" (id, "userId", name, "factsJson") VALUES ('p', 'u', 'n', '2')
        ON CONFLICT (id) DO UPDATE SET "factsJson" = excluded."factsJson"
        """
    )
    upserted = clock()
    LegacyState.objects.update(facts={"a": 1})

    assert LONG_AGO < upserted < clock()


def test_each_row_of_one_statement_has_its_own_time_and_only_if_it_changed() -> None:
    add(factsJson="1")
    execute(
        """
        INSERT INTO "Project" (id, "userId", name, "factsJson", "stateUpdatedAt")
        SELECT id, 'u', 'n', '2', %s FROM unnest(ARRAY['q', 'r']) id
        """,
        LONG_AGO,
    )

    execute("""UPDATE "Project" SET "factsJson" = '1'""")

    assert clock("p") == LONG_AGO
    assert min(clock("q"), clock("r")) > LONG_AGO


# What PostgreSQL can hold in a timestamptz, and Python cannot read.
UNREADABLE = ["infinity", "-infinity", "294276-12-31 23:59:59.999999+00", "10000-01-01 00:00+00", "0044-03-15 BC"]


def store_unreadable(clock: str) -> None:
    """Store a clock with the trigger disabled, as in a row that is older than the trigger."""
    add(factsJson="1")
    execute("""ALTER TABLE "Project" DISABLE TRIGGER zz_agentstate_state_clock""")
    execute("""UPDATE "Project" SET "stateUpdatedAt" = %s""", clock)
    execute("""ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock""")


@pytest.mark.parametrize("written", UNREADABLE)
def test_a_clock_that_python_cannot_read_counts_as_unset(written: str) -> None:
    add(factsJson="1")

    kept = update('"stateUpdatedAt" = %s', written)
    moved = update('"factsJson" = %s, "stateUpdatedAt" = %s', "2", written)

    assert kept == LONG_AGO
    assert LONG_AGO < moved <= value("SELECT clock_timestamp()")


@pytest.mark.parametrize("written", UNREADABLE)
def test_a_new_row_with_such_a_clock_gets_the_servers_time(written: str) -> None:
    execute(
        """INSERT INTO "Project" (id, "userId", name, "stateUpdatedAt") VALUES ('p', 'u', 'n', %s)""",
        written,
    )

    assert clock() <= value("SELECT clock_timestamp()")


@pytest.mark.parametrize("stored", UNREADABLE)
@pytest.mark.parametrize("change", ["name = 'other'", "\"factsJson\" = '2'"])
def test_any_update_of_a_row_with_such_a_clock_gives_it_the_servers_time(stored: str, change: str) -> None:
    store_unreadable(stored)
    before = value("SELECT clock_timestamp()")

    assert before < update(change) < value("SELECT clock_timestamp()")


def test_a_new_row_keeps_a_readable_clock_and_needs_none() -> None:
    add(clock=LONG_AGO)
    execute("""INSERT INTO "Project" (id, "userId", name, "stateUpdatedAt") VALUES ('q', 'u', 'n', NULL)""")

    assert clock() == LONG_AGO
    assert clock("q") > LONG_AGO
