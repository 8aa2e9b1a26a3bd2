"""A save that the database does not keep is an error, and never taken for done."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import transaction

from agentstate import state
from agentstate.models import LeftAside, Project
from agentstate.state import ABSENT, NotWritten, ProjectHidden
from tests import scenes
from tests.factories import write_columns
from tests.state.projects import (
    GATES,
    agentkit_ahead,
    empty,
    forked,
    forked_with_clock_set_back,
    in_sync,
    legacy_ahead,
    open_gates,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentstate.backfill import Outcome

MICROSECOND = timedelta(microseconds=1)


def insert(project: str, clock: datetime, facts: str) -> None:
    scenes.run_sql(
        """INSERT INTO "Project" (id, "userId", name, "factsJson", "stateUpdatedAt") VALUES (%s, 'u', 'p', %s, %s)""",
        project,
        facts,
        clock,
    )


def restored_with_orphans(clock: datetime, number: int) -> str:
    """Restore a deleted project with its clock, in the future; orphaned runs have the ids of the next clock values."""
    insert("p", clock, "0")
    scenes.forward(sessions=False)
    for each in range(1, number):
        write_columns("p", {"facts": f"{each}"})
        scenes.forward(sessions=False)
    Project.objects.filter(pk="p").delete()
    assert [moment for (moment,) in scenes.rows('SELECT snapshot_at FROM "AgentWorkflowRun" ORDER BY 1')] == [
        clock + each * MICROSECOND for each in range(number)
    ]
    insert("p", clock, '"restored"')
    return "p"


@pytest.mark.django_db
@pytest.mark.parametrize("orphans", [1, 2, 5])
def test_a_save_gets_a_clock_beyond_those_of_orphaned_runs(orphans: int) -> None:
    clock = datetime.now(UTC) + timedelta(hours=1)
    project = restored_with_orphans(clock, orphans)
    scenes.open_gates(agentkit_writes=True, legacy_writes=False, agentkit_reads=True)

    saved = state.save(project, coverage={"score": 1})

    homes = scenes.homes_of(project)
    assert saved.at == homes.newest.at
    assert homes.newest.state == {"facts": '"restored"', "coverage": '{"score": 1}'}
    assert state.load(project).coverage == {"score": 1}


# -- another trigger of "Project"

SKIPS = "RETURN NULL;"
UPPERCASES = """NEW."factsJson" := upper(NEW."factsJson"::text)::jsonb; RETURN NEW;"""
ADDS_A_FIELD = """NEW."coverageJson" := NEW."coverageJson" || '{"by": "trigger"}'; RETURN NEW;"""
TURNS_THE_CLOCK = """NEW."stateUpdatedAt" := NEW."stateUpdatedAt" - interval '1 hour'; RETURN NEW;"""


def add_trigger(body: str, *, name: str = "archived", when: str = "BEFORE UPDATE") -> None:
    scenes.run_sql(
        f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
        CREATE TRIGGER {name} {when} ON "Project" FOR EACH ROW EXECUTE FUNCTION {name}()
        """
    )


@pytest.mark.django_db
@pytest.mark.parametrize("writes", ["both", "legacy"])
@pytest.mark.parametrize("body", [SKIPS, UPPERCASES, ADDS_A_FIELD], ids=["skips", "upper-cases", "adds a field"])
@pytest.mark.parametrize("make", [in_sync, agentkit_ahead, forked, forked_with_clock_set_back])
def test_a_save_that_a_trigger_skips_or_changes_is_an_error(make: Callable[[], str], body: str, writes: str) -> None:
    project = make()
    open_gates(writes)
    add_trigger(body)
    before = scenes.everything()

    with pytest.raises(NotWritten, match="trigger"), transaction.atomic():
        state.save(project, facts="new", coverage={"score": 1})

    assert scenes.everything() == before


@pytest.mark.django_db
@pytest.mark.parametrize("writes", ["both", "legacy"])
def test_a_save_at_a_clock_that_a_trigger_changes_is_an_error(writes: str) -> None:
    project = in_sync()
    open_gates(writes)
    add_trigger(TURNS_THE_CLOCK, name="zzz_last")

    with pytest.raises(NotWritten), transaction.atomic():
        state.save(project, facts="new")


@pytest.mark.django_db
def test_a_trigger_that_changes_another_document_is_noticed_where_the_snapshot_differs() -> None:
    project = in_sync()
    add_trigger(ADDS_A_FIELD)
    open_gates("both")
    with pytest.raises(NotWritten), transaction.atomic():
        state.save(project, facts="new")

    # Without a snapshot it is a change of the columns like any other.
    open_gates("legacy")
    state.save(project, facts="new")
    assert scenes.homes_of(project).columns["coverage"].startswith('{"by": "trigger", ')
    assert scenes.standing_of(project) == "legacy_ahead"


@pytest.mark.django_db
@pytest.mark.parametrize("writes", ["both", "legacy"])
def test_a_trigger_that_changes_only_foreign_columns_is_no_error(writes: str) -> None:
    project = in_sync()
    open_gates(writes)
    add_trigger("""NEW.name := upper(NEW.name); RETURN NEW;""")

    state.save(project, facts="new")

    assert state.load(project).facts == "new"


@pytest.mark.django_db
def test_a_trigger_that_writes_afterwards_is_another_writer() -> None:
    project = in_sync()
    open_gates("both")
    add_trigger(
        """
        IF NEW."eligibilityJson" IS DISTINCT FROM '"derived"' THEN
            UPDATE "Project" SET "eligibilityJson" = '"derived"' WHERE id = NEW.id;
        END IF;
        RETURN NULL;
        """,
        when="AFTER UPDATE",
    )

    state.save(project, facts="new")

    assert scenes.standing_of(project) == "legacy_ahead"
    assert scenes.forward(project, sessions=False).counts.written == 1
    assert scenes.homes_of(project).in_sync
    assert scenes.homes_of(project).columns["eligibility"] == '"derived"'


def left_aside() -> list[tuple[str, str]]:
    return [*LeftAside.objects.unclosed().order_by("project_id").values_list("project_id", "error_class")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("body", [SKIPS, ADDS_A_FIELD, UPPERCASES], ids=["skips", "adds a field", "upper-cases"])
@pytest.mark.parametrize(
    ("make", "run_pass"),
    [
        (agentkit_ahead, scenes.reverse),
        (forked, lambda *projects: scenes.reverse(*projects, prefer="agentkit")),
        (forked_with_clock_set_back, scenes.forward),
        (in_sync, lambda *projects: scenes.reverse(*projects, force=True, as_of=datetime.now(UTC))),
    ],
    ids=["reverse", "merge and reverse", "forward", "restore"],
)
def test_a_pass_leaves_aside_what_a_trigger_skips_or_changes(
    make: Callable[[], str], run_pass: Callable[..., Outcome], body: str
) -> None:
    archived, other = make(), make()
    if make is in_sync:
        for project in (archived, other):
            write_columns(project, {"facts": '"later"', "coverage": '{"score": 0.5}'})
    with triggers(f"IF NEW.id = '{archived}' THEN {body} END IF; RETURN NEW;"):
        before = scenes.homes_of(archived)
        outcome = run_pass(archived, other)
        assert [failure.project for failure in outcome.failures] == [archived]
        assert left_aside() == [(archived, "NotWritten")]
        assert scenes.homes_of(archived) == before
        run_pass(archived, other)
        assert scenes.homes_of(archived) == before
        if run_pass is not scenes.forward:
            assert scenes.homes_of(other).in_sync
    run_pass(archived, other)
    scenes.reverse()  # a restore closes no entry
    assert left_aside() == []


@contextmanager
def triggers(body: str) -> Iterator[None]:
    add_trigger(body)
    try:
        yield
    finally:
        scenes.run_sql('DROP TRIGGER archived ON "Project"; DROP FUNCTION archived()')


# -- clocks that none can follow

UNUSABLE = ["infinity", "-infinity", "294276-12-31 23:59:59.999999+00", "10000-01-01 00:00+00", "4713-01-01 BC"]


def set_clock(project: str, clock: str) -> None:
    with scenes.behind_the_trigger():
        scenes.run_sql('UPDATE "Project" SET "stateUpdatedAt" = %s WHERE id = %s', clock, project)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("clock", UNUSABLE)
@pytest.mark.parametrize("make", [legacy_ahead, in_sync, agentkit_ahead])
def test_an_unusable_clock_affects_only_its_project(make: Callable[[], str], clock: str) -> None:
    project, other = make(), legacy_ahead()
    set_clock(project, clock)

    dry = scenes.forward(dry_run=True)
    outcome = scenes.forward()

    assert [failure.project for failure in outcome.failures] == [project]
    assert "stateUpdatedAt" in outcome.failures[0].error
    assert dry.counts.written == outcome.counts.written == 1
    assert scenes.standing_of(other) == "in_sync"
    assert left_aside() == [(project, "UnusableClock")]
    scenes.reverse()

    scenes.run_sql('UPDATE "Project" SET name = name WHERE id = %s', project)
    scenes.forward()
    scenes.reverse()
    assert left_aside() == []
    assert scenes.standing_of(project) == "in_sync"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("clock", UNUSABLE)
@pytest.mark.parametrize("writes", GATES)
@pytest.mark.parametrize("make", [empty, legacy_ahead, in_sync, agentkit_ahead])
def test_a_save_at_an_unusable_clock_is_an_error_and_a_load_is_not(
    make: Callable[[], str], writes: str, clock: str
) -> None:
    project = make()
    open_gates(writes, reads_agentkit=writes == "agentkit")
    set_clock(project, clock)
    before = scenes.everything()

    with pytest.raises(NotWritten, match="stateUpdatedAt"):
        state.save(project, facts="new")

    assert scenes.everything() == before
    loaded = state.load(project)
    assert loaded.as_of is None or loaded.as_of.year in (2, 9999) or make is agentkit_ahead
    scenes.run_sql('UPDATE "Project" SET name = name WHERE id = %s', project)
    state.save(project, facts="new")
    assert state.load(project).facts == "new"


@pytest.mark.django_db
@pytest.mark.parametrize("clock", UNUSABLE)
def test_a_snapshot_with_an_unusable_clock_can_be_read(clock: str) -> None:
    project = in_sync()
    open_gates("both")
    scenes.run_sql('UPDATE "AgentWorkflowRun" SET snapshot_at = %s', clock)

    assert state.load(project).facts == "base"
    assert len(state.history(project)) == 1
    with pytest.raises(NotWritten), transaction.atomic():
        state.save(project, facts="new")


# -- other settings and other hands


@pytest.mark.django_db
@pytest.mark.parametrize("writes", GATES)
def test_documents_are_removed_where_array_nulls_is_off(writes: str) -> None:
    project = in_sync()
    open_gates(writes)
    scenes.run_sql("SET LOCAL array_nulls = off")

    saved = state.save(project, facts=ABSENT, coverage=None, rfp_norm="NULL")

    assert set(saved.changed) == {"facts", "coverage", "rfp_norm"}
    homes = scenes.homes_of(project)
    documents = homes.columns if writes == "legacy" else homes.newest.state
    assert documents == {"coverage": "null", "rfpNorm": '"NULL"', "eligibility": "null"}


@pytest.mark.django_db
def test_a_project_hidden_by_a_policy_is_not_reported_as_missing() -> None:
    project = in_sync()
    scenes.run_sql(
        """
        CREATE ROLE tenant;
        GRANT ALL ON ALL TABLES IN SCHEMA public TO tenant;
        ALTER TABLE "Project" ENABLE ROW LEVEL SECURITY;
        CREATE POLICY mine ON "Project" USING (id = 'mine');
        SET LOCAL row_security = on;  -- which the pass above has switched off for its transaction
        SET LOCAL ROLE tenant
        """
    )
    for call in (
        lambda: state.save(project, facts=1),
        lambda: state.load(project),
        lambda: state.history(project),
        lambda: state.at(project, datetime.now(UTC)),
    ):
        with pytest.raises(ProjectHidden, match='Row-level security of "Project" applies to the role tenant'):
            call()


@pytest.mark.django_db
@pytest.mark.parametrize("make", [legacy_ahead, in_sync, agentkit_ahead, forked, forked_with_clock_set_back])
def test_a_project_with_a_changed_id_is_saved(make: Callable[[], str]) -> None:
    project = make()
    homes, standing = scenes.homes_of(project), scenes.standing_of(project)

    scenes.run_sql("""UPDATE "Project" SET id = 'renamed' WHERE id = %s""", project)

    assert scenes.homes_of("renamed") == homes
    assert scenes.standing_of("renamed") == standing
    open_gates("both")
    state.save("renamed", conflict_log=["new"])
    assert scenes.homes_of("renamed").in_sync
    write_columns("renamed", {"facts": '"changed"'})
    scenes.forward("renamed", sessions=False)
    scenes.save("renamed", "facts", '"saved"', legacy=False)
    scenes.reverse("renamed")
    assert scenes.homes_of("renamed").in_sync
    assert scenes.reverse("renamed", force=True, as_of=homes.clock).counts.failures == []

    # Another project may now have the old id, and the old clock.
    insert(project, homes.clock, '"another"')
    scenes.forward(sessions=False)
    open_gates("both")
    state.save(project, coverage=1)
    assert scenes.homes_of(project).in_sync


@pytest.mark.django_db
@pytest.mark.parametrize("writes", ["both", "legacy"])
def test_the_remaining_columns_are_saved_where_another_tool_dropped_one(writes: str) -> None:
    project = in_sync()
    open_gates(writes)
    scenes.run_sql('ALTER TABLE "Project" DROP COLUMN "coverageJson"')

    state.save(project, facts="new")

    assert scenes.one("""SELECT "factsJson" FROM "Project" WHERE id = %s""", project) == ('"new"',)
