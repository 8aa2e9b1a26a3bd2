"""The columns come back with their content, and whoever is interrupted in between has lost nothing."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from agentstate import lock_timeout, state
from agentstate.backfill.acceptance import accept
from agentstate.backfill.verification import verify
from agentstate.contract.columns import _add, bring_back, drop, make_all_ahead
from agentstate.contract.refusals import NotReady
from agentstate.lock_spaces import DIRECTIONS
from agentstate.models import LeftAside
from agentstate.rollout.freeze import is_frozen, thaw, with_lock_timeout
from agentstate.samples import make_projects
from agentstate.state.columns import legacy_columns_are_there
from tests import scenes
from tests.contract.scenes import as_somebody_else, columns_return, freeze_columns, projects
from tests.factories import ProjectFactory, write_columns
from tests.faults.processes import Command, wait_until, waits_for
from tests.sql import second_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

# As a shell's foreground has it, whatever the tests were started by.
BRING_BACK = """
from agentstate import lock_timeout
from agentstate.contract.columns import bring_back
lock_timeout.LOCK_TIMEOUT = "10min"
bring_back()
"""


@pytest.fixture(autouse=True)
def _in_the_end() -> Iterator[None]:
    with columns_return():
        yield


def standings() -> dict[str, int]:
    return {str(standing): count for standing, count in verify().standing.items() if count}


def test_the_whole_way_there_and_back_loses_nothing() -> None:
    make_projects(300, 7)
    scenes.forward()
    before = scenes.all_homes()
    freeze_columns()

    drop()
    bring_back()

    assert scenes.all_homes() == before
    assert verify().clean
    assert is_frozen()
    # and further down: what is written again is seen by the clock, and taken in
    with_lock_timeout(thaw)
    project = next(name for name, homes in before.items() if homes.snapshots)
    write_columns(project, {"facts": '"written again"'})
    assert scenes.standing_of(project) == "legacy_ahead"
    scenes.forward()
    assert scenes.homes_of(project).in_sync


def test_saves_made_meanwhile_are_written_into_the_columns() -> None:
    made = projects()
    freeze_columns()
    drop()
    for project in made.values():
        state.save(project, facts={"saved": "meanwhile"})
    loaded = state.load_many(list(made.values()))

    bring_back()

    homes = scenes.all_homes()
    assert all(homes[project].in_sync for project in made.values())
    assert {homes[project].columns["facts"] for project in made.values()} == {'{"saved": "meanwhile"}'}
    assert [found.facts for found in state.load_many(list(made.values())).values()] == [
        found.facts for found in loaded.values()
    ]
    # The columns that came back empty are nobody's history.
    assert all(moment.workflow_id != "legacy_snapshot" for moment in state.history(made["in_sync"])[1:])


def test_after_a_kill_before_the_columns_exist_it_resumes() -> None:
    made = projects()
    before = scenes.all_homes()
    freeze_columns()
    drop()

    make_all_ahead()
    assert not legacy_columns_are_there()
    assert standings() == {"agentkit_ahead": 2, "empty": 1}
    assert state.load(made["in_sync"]).source == "agentkit"

    bring_back()
    assert scenes.homes_of(made["in_sync"]) == before[made["in_sync"]]
    assert standings() == {"in_sync": 2, "empty": 1}


def test_after_a_kill_before_the_content_is_back_any_reverse_pass_completes_it() -> None:
    made = projects()
    freeze_columns()
    drop()
    make_all_ahead()
    with_lock_timeout(_add)

    assert standings() == {"agentkit_ahead": 2, "empty": 1}
    assert verify().clean
    assert state.load(made["in_sync"]).source == "agentkit"

    scenes.reverse(made["in_sync"])
    bring_back()
    assert standings() == {"in_sync": 2, "empty": 1}
    assert scenes.homes_of(made["in_sync"]).workflows == ["legacy_snapshot"]


def test_after_a_kill_before_the_content_is_back_it_resumes_at_any_stage() -> None:
    made = projects()
    freeze_columns()
    drop()
    make_all_ahead()
    with_lock_timeout(_add)
    with_lock_timeout(thaw)
    scenes.open_gates(agentkit_writes=True, legacy_writes=True, agentkit_reads=False)

    bring_back()

    assert standings() == {"in_sync": 2, "empty": 1}
    assert not is_frozen()
    assert scenes.homes_of(made["in_sync"]).in_sync


def test_accepted_columns_come_back_with_the_newest_state() -> None:
    emptied = ProjectFactory(documents={"facts": "1"}).id
    scenes.forward()
    scenes.empty_columns(emptied)
    scenes.forward()
    accept(LeftAside.objects.get(), "Nobody needs it")
    freeze_columns()
    drop()
    assert state.load(emptied).facts == 1

    bring_back()

    assert scenes.homes_of(emptied).in_sync
    assert scenes.homes_of(emptied).columns == {"facts": "1"}
    assert verify().clean


def test_a_project_without_a_name_comes_back_too() -> None:
    ProjectFactory(id="", documents={"facts": "1"})
    scenes.forward()
    freeze_columns()
    drop()

    bring_back()

    assert scenes.homes_of("").columns == {"facts": "1"}


def test_an_entry_about_writing_the_columns_needs_no_decision_without_them() -> None:
    project = projects()["agentkit_ahead"]
    scenes.run_sql(f"""ALTER TABLE "Project" ADD CONSTRAINT full_up CHECK (id <> '{project}' OR "factsJson" = '1')""")
    scenes.reverse()
    accept(LeftAside.objects.get(project_id=project), "Nobody needs it")
    freeze_columns()
    drop()

    state.save(project, facts="saved afterwards")
    assert verify().clean

    bring_back()
    assert scenes.homes_of(project).columns["facts"] == '"saved afterwards"'


def test_it_names_a_forward_pass_that_runs_and_changes_nothing() -> None:
    made = projects()
    freeze_columns()
    drop()
    with second_connection() as other:
        other.execute("SELECT pg_advisory_lock_shared(%s, 1)", [DIRECTIONS])
        with pytest.raises(NotReady, match="A forward pass is running"):
            bring_back()
    assert not legacy_columns_are_there()
    assert scenes.standing_of(made["in_sync"]) == "in_sync"


def test_a_table_that_others_keep_locked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_timeout, "ATTEMPTS", 1)
    projects()
    freeze_columns()
    with second_connection() as other:
        other.execute('BEGIN; LOCK TABLE "Project" IN ROW EXCLUSIVE MODE')
        with pytest.raises(NotReady, match="stayed locked by others"):
            drop()
    assert legacy_columns_are_there()
    assert is_frozen()


def test_a_project_that_others_keep_locked_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_timeout, "ATTEMPTS", 1)
    made = projects()
    freeze_columns()
    drop()
    with second_connection() as other:
        other.execute(f"""BEGIN; SELECT FROM "Project" WHERE id = '{made["in_sync"]}' FOR UPDATE""")
        with pytest.raises(NotReady, match="stayed locked by others"):
            bring_back()
    assert not legacy_columns_are_there()

    bring_back()
    assert standings() == {"in_sync": 2, "empty": 1}


def test_an_interruption_says_that_nothing_is_lost() -> None:
    made = projects()
    freeze_columns()
    drop()
    with second_connection() as other:
        other.execute(f"""BEGIN; SELECT FROM "Project" WHERE id = '{made["in_sync"]}' FOR UPDATE""")
        command = Command("shell", "-v0", "-c", BRING_BACK)
        wait_until(waits_for(other))
        command.signal(signal.SIGINT)
        assert command.end() == 130

    assert command.stderr == "CommandError: Interrupted. Nothing is lost. Run this again to continue.\n"
    bring_back()
    assert standings() == {"in_sync": 2, "empty": 1}


def test_a_role_that_does_not_own_the_table_is_refused_before_anything_changes() -> None:
    made = projects()
    freeze_columns()
    drop()

    with as_somebody_else() as role, pytest.raises(NotReady, match=f"another role than {role}: migrate as its owner"):
        bring_back()

    assert not legacy_columns_are_there()
    assert scenes.standing_of(made["in_sync"]) == "in_sync"


def test_it_is_refused_where_a_freeze_would_refuse_saves() -> None:
    projects()
    freeze_columns()
    drop()
    scenes.open_gates(legacy_writes=True)

    with pytest.raises(NotReady, match="legacy_writes is on, and the columns come back frozen"):
        bring_back()
    assert not legacy_columns_are_there()


def test_it_is_refused_where_readers_would_see_empty_columns() -> None:
    projects()
    freeze_columns()
    drop()
    scenes.open_gates(agentkit_reads=False)

    with pytest.raises(NotReady, match="agentkit_reads is off for some"):
        bring_back()
    assert not legacy_columns_are_there()


def test_concurrent_loads_and_saves_are_undisturbed() -> None:
    made = projects()
    freeze_columns()
    errors: list[Exception] = []
    saved = dict.fromkeys(made.values(), 0)
    over = threading.Event()

    def work(project: str) -> None:
        try:
            while not over.is_set():
                state.save(project, facts={"n": saved[project] + 1})
                saved[project] += 1
                assert state.load(project).facts == {"n": saved[project]}
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[project]) for project in made.values()]
    for thread in threads:
        thread.start()
    try:
        for number, step in enumerate((drop, bring_back, drop, bring_back), start=1):
            wait_until(lambda number=number: errors or min(saved.values()) > number)
            step()
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert errors == []
    scenes.reverse()
    homes = scenes.all_homes()
    assert {project: homes[project].columns["facts"] for project in saved} == {
        project: f'{{"n": {count}}}' for project, count in saved.items()
    }
    assert all(homes[project].in_sync for project in saved)
