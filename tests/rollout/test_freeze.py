"""Frozen columns refuse whoever writes them, and nothing else is in anybody's way."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from django.db import OperationalError, transaction
from psycopg.errors import ObjectNotInPrerequisiteState

from agentstate import lock_timeout, state
from agentstate.actors import acting_as
from agentstate.rollout.errors import TableLocked
from agentstate.rollout.freeze import freeze, is_frozen, read_freeze, thaw, with_lock_timeout
from agentstate.state.columns import MOVES_STATE
from tests import scenes
from tests.factories import COLUMNS, KEYS, ProjectFactory, write_columns
from tests.rollout.ladder import stand_at
from tests.sql import out_of_line, second_connection

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("thawed")]

DOCUMENTS = {"facts": '{"a": 0.10}', "coverage": "null"}


@pytest.fixture
def project() -> str:
    """A project, frozen by Ada."""
    made = ProjectFactory(documents=DOCUMENTS).id
    with acting_as("ada@app-1"):
        freeze()
    return made


def refused(act: Callable[[], object]) -> str:
    """Return why something was refused."""
    with pytest.raises(OperationalError) as refusal, transaction.atomic():
        act()
    assert isinstance(refusal.value.__cause__, ObjectNotInPrerequisiteState)
    return str(refusal.value)


# -- what is refused


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("document", ['{"a": 2}', None])
def test_a_changed_column_is_refused(project: str, key: str, document: str | None) -> None:
    write: Callable[[], object] = lambda: write_columns(project, {key: document})  # noqa: E731
    if document is None and key not in DOCUMENTS:
        write()
    else:
        refused(write)

    assert scenes.homes_of(project).columns == DOCUMENTS


def test_sql_null_and_json_null_are_not_the_same(project: str) -> None:
    refused(lambda: write_columns(project, {"facts": "null"}))
    refused(lambda: write_columns(project, {"coverage": None}))
    refused(lambda: write_columns(project, {"eligibility": "null"}))


def test_a_new_project_with_a_document_is_refused_and_an_empty_one_is_not(project: str) -> None:
    insert = "INSERT INTO \"Project\" (id, \"userId\", name, {column}) VALUES ('new', 'u', 'n', {value})"
    for column in COLUMNS.values():
        refused(lambda column=column: scenes.run_sql(insert.format(column=f'"{column}"', value="'null'")))

    scenes.run_sql(insert.format(column='"factsJson"', value="NULL"))

    assert scenes.homes_of("new").columns == {}


def test_upserts_are_refused_where_they_change_a_column(project: str) -> None:
    upsert = f"""
        INSERT INTO "Project" (id, "userId", name) VALUES ('{project}', 'u', 'n')
        ON CONFLICT (id) DO UPDATE SET """
    refused(lambda: scenes.run_sql(upsert + """"factsJson" = '3'"""))

    scenes.run_sql(upsert + "name = 'Renamed'")

    assert scenes.homes_of(project).columns == DOCUMENTS


def test_the_replica_role_is_refused_too(project: str) -> None:
    with second_connection(session_replication_role="replica") as other, pytest.raises(ObjectNotInPrerequisiteState):
        other.execute('UPDATE "Project" SET "factsJson" = %s', ["3"])


def test_a_role_without_rights_on_our_tables_is_refused_with_the_same_error(project: str) -> None:
    with transaction.atomic():
        scenes.run_sql('CREATE ROLE legacy_app_frozen; GRANT SELECT, UPDATE ON "Project" TO legacy_app_frozen')
        scenes.run_sql("SET LOCAL ROLE legacy_app_frozen")
        scenes.run_sql("""UPDATE "Project" SET name = 'Renamed'""")
        assert "have been frozen" in refused(lambda: scenes.run_sql("""UPDATE "Project" SET "factsJson" = '3'"""))
        transaction.set_rollback(True)


def test_the_error_names_the_reason_and_the_command(project: str) -> None:
    with second_connection() as other, pytest.raises(ObjectNotInPrerequisiteState) as refusal:
        other.execute('UPDATE "Project" SET "factsJson" = %s', ["3"])

    told = refusal.value.diag
    since = read_freeze()
    assert since is not None
    assert since.by == "ada@app-1"
    assert told.message_primary == (
        f'The state columns of "Project" have been frozen since {since.since}, by ada@app-1: the state lives in '
        '"AgentWorkflowRun" now.'
    )
    assert told.message_detail is not None
    assert project in told.message_detail
    assert told.message_hint == (
        "Write other columns only, or ask ada@app-1. manage.py agentkit_rollout retreat lifts the freeze."
    )


@pytest.mark.parametrize("name", ["o'hara", "100 % sure %s", "$$ $function$", "größe\\"])
def test_any_name_can_be_the_author_of_a_freeze(name: str) -> None:
    project = ProjectFactory().id
    with acting_as(name):
        freeze()

    assert name in refused(lambda: write_columns(project, {"facts": "1"}))
    assert read_freeze() is not None
    assert read_freeze().by == name  # type: ignore[union-attr]


# -- what passes


def test_other_columns_and_equal_documents_pass(project: str) -> None:
    scenes.run_sql("""UPDATE "Project" SET name = 'Renamed', meta = '{"chat": []}'""")
    write_columns(project, {"facts": '{"a":    0.10}', "rfpNorm": None})
    scenes.run_sql('DELETE FROM "Project"')


def test_allowed_writes_do_not_call_the_function(project: str) -> None:
    scenes.run_sql("DROP FUNCTION agentstate_freeze CASCADE")
    assert not is_frozen()
    freeze()
    scenes.run_sql(
        """
        CREATE OR REPLACE FUNCTION agentstate_freeze() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''called''; END'
        """
    )

    scenes.run_sql("""UPDATE "Project" SET name = 'Renamed', "factsJson" = "factsJson" """)


def test_our_passes_write_in_their_own_transaction_only(project: str) -> None:
    with transaction.atomic():
        scenes.run_sql(MOVES_STATE)
        write_columns(project, {"facts": "3"})

    refused(lambda: write_columns(project, {"facts": "4"}))
    assert scenes.homes_of(project).columns["facts"] == "3"


def test_the_agentkit_home_works_as_before(project: str) -> None:
    thaw()
    stand_at("frozen")

    state.save(project, facts=2)
    forked = ProjectFactory().id
    scenes.forward()

    assert scenes.standing_of(project) == "agentkit_ahead"
    assert scenes.standing_of(forked) == "empty"


def test_a_save_into_the_columns_is_refused_as_a_whole(project: str) -> None:
    stand_at("dual_write")
    before = scenes.everything()

    refused(lambda: state.save(project, facts=2))

    assert scenes.everything() == before


# -- on and off


def test_frozen_is_what_is_frozen(project: str) -> None:
    assert is_frozen()
    freeze()
    assert is_frozen()

    thaw()
    thaw()

    assert not is_frozen()
    write_columns(project, {"facts": "3"})
    assert scenes.rows("SELECT FROM pg_proc WHERE proname = 'agentstate_freeze'") == []


@pytest.mark.parametrize("trigger", ["agentstate_freeze", "agentstate_freeze_insert"])
def test_a_disabled_trigger_means_not_frozen_until_frozen_again(project: str, trigger: str) -> None:
    scenes.run_sql(f'ALTER TABLE "Project" DISABLE TRIGGER {trigger}')
    assert not is_frozen()

    freeze()

    assert is_frozen()


def test_a_locked_table_is_waited_for_in_short_attempts(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_timeout, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(lock_timeout, "LONGEST_PAUSE", 0.05)
    with second_connection() as other:
        other.execute("BEGIN")
        other.execute('SELECT FROM "Project"')
        with pytest.raises(TableLocked, match="stayed locked by others through 8 attempts"):
            with_lock_timeout(thaw)
        assert is_frozen()

        monkeypatch.setattr(lock_timeout, "ATTEMPTS", 1_000)
        attempts = itertools.count(1)

        def thaw_at_the_third_attempt() -> None:
            if next(attempts) == 3:
                other.execute("ROLLBACK")
            thaw()

        with_lock_timeout(thaw_at_the_third_attempt)

    assert next(attempts) > 3
    assert not is_frozen()


def test_a_write_of_other_columns_reads_no_document_for_the_freeze() -> None:
    scenes.run_sql(
        """
        INSERT INTO "Project" (id, "userId", name, "factsJson", "rfpNormJson", "coverageJson")
        SELECT 'p' || number, 'u', 'n', big, big, big FROM generate_series(1, 300) number,
            LATERAL (SELECT jsonb_agg(md5(random()::text || number || i)) AS big FROM generate_series(1, 100) i) made
        """
    )

    def documents_read_by(update: str) -> int:
        with transaction.atomic():
            before = out_of_line("Project").read
            scenes.run_sql(f'UPDATE "Project" SET {update}')
            return out_of_line("Project").read - before

    renamed, written = (documents_read_by(update) for update in ("name = name || '!'", '"factsJson" = "factsJson"'))
    freeze()

    assert documents_read_by("name = name || '!'") == renamed
    assert documents_read_by('"factsJson" = "factsJson"') > written, "the freeze compares what is written"
