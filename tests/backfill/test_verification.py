"""Verification: clean, and each way of being unclean."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from agentstate.backfill import UnknownProjects
from agentstate.backfill.verification import Offender, Verification, audit, verify
from agentstate.state.keys import STATE_KEYS
from tests.scenes import (
    change_columns,
    empty_columns,
    forward,
    make_fork,
    make_project,
    make_samples,
    reverse,
    save_in_agentkit,
)
from tests.sql import EVERYTHING, count, dump, second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = [{"role": "user", "content": "Hello"}]
REQUIREMENTS = [{"id": f"r{number}", "status": "missing"} for number in range(5)]


@pytest.fixture
def project() -> str:
    """A project that is in sync."""
    make_project(
        "p1",
        coverage={"score": 0.5, "requirements": REQUIREMENTS},
        conflictLog=[{"key": "a"}, None],
        facts=None,
        chat=CHAT,
    )
    forward()
    assert verify().clean
    return "p1"


def change_behind_the_triggers_back(project: str, column: str, value: str | None) -> None:
    sql('ALTER TABLE "Project" DISABLE TRIGGER zz_agentstate_state_clock')
    sql(f'UPDATE "Project" SET "{column}" = %s WHERE id = %s', value, project)
    sql('ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock')


def problems(found: Verification) -> dict[str, int]:
    return {kind: number for kind, number in found.problems.items() if number}


def test_an_empty_database_is_clean() -> None:
    found = verify()
    assert found.clean
    assert found.standing == dict.fromkeys(["empty", "legacy_ahead", "in_sync", "agentkit_ahead", "forked"], 0)
    assert found.tables == dict.fromkeys(["Project", "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession"], 0)
    assert found.offenders == []


def test_samples_are_clean_once_moved() -> None:
    make_samples(300)
    before = verify()
    assert before.standing["legacy_ahead"] + before.standing["empty"] == 300
    assert not before.clean

    forward()
    after = verify()
    assert after.clean
    assert after.standing == before.standing | {"legacy_ahead": 0, "in_sync": before.standing["legacy_ahead"]}
    assert after.equal == dict.fromkeys([key.name for key in STATE_KEYS], after.standing["in_sync"])
    assert after.tables == {table: count(table) for table in after.tables}
    assert min(after.tables.values()) > 0


def test_every_standing_is_counted(project: str) -> None:
    for name in ("ahead", "forked", "agentkit"):
        make_project(name, facts=[1])
    make_project("empty")
    forward()
    change_columns("ahead", facts=[2])
    save_in_agentkit("project_id = 'agentkit'", facts=[2])
    make_fork("forked", legacy={"facts": [2]}, agentkit={"facts": [3]})

    found = verify()
    assert found.standing == {"empty": 1, "legacy_ahead": 1, "in_sync": 1, "agentkit_ahead": 1, "forked": 1}
    assert problems(found) == {"legacy_ahead": 1, "forked": 1}


def test_agentkit_ahead_is_clean(project: str) -> None:
    save_in_agentkit(facts=["new"])
    assert verify().standing["agentkit_ahead"] == 1
    assert verify().clean


def test_legacy_ahead_is_not_clean(project: str) -> None:
    requirements = [*REQUIREMENTS[:3], {"id": "r3", "status": "drafted"}, REQUIREMENTS[4]]
    change_columns(project, coverage={"score": 0.5, "requirements": requirements})
    found = verify()
    assert not found.clean
    assert found.offenders == [Offender("p1", "legacy_ahead", "coverage.requirements[3].status")]


def test_a_project_that_was_never_moved_differs_at_its_root() -> None:
    make_project("p1", facts=1)
    assert verify().offenders == [Offender("p1", "legacy_ahead", "")]


def test_a_forked_project_is_named(project: str) -> None:
    make_fork(project, legacy={"facts": {"org": {"ein": 1}}}, agentkit={"facts": {"org": {"ein": 2}}})
    found = verify()
    assert not found.clean
    assert found.offenders == [Offender("p1", "forked", "facts.org.ein")]


@pytest.mark.parametrize(
    ("column", "value", "path"),
    [
        ("coverageJson", '{"score": 0.6, "requirements": []}', "coverage.requirements[0]"),
        ("coverageJson", "1", "coverage"),
        ("coverageJson", None, "coverage"),
        ("conflictLogJson", '[{"key": "a"}, null, 3]', "conflictLog[2]"),
        ("conflictLogJson", '[{"key": "a", "to be": 1}, null]', 'conflictLog[0]["to be"]'),
        ("conflictLogJson", '[{"key": "a", "ärger": 1}, null]', 'conflictLog[0]["ärger"]'),
        ("factsJson", None, "facts"),
        ("eligibilityJson", "null", "eligibility"),
    ],
)
def test_an_unequal_project_is_named_with_its_path(project: str, column: str, value: str | None, path: str) -> None:
    change_behind_the_triggers_back(project, column, value)
    found = verify()
    assert (found.clean, found.unequal, found.standing["in_sync"]) == (False, 1, 0)
    assert found.offenders == [Offender("p1", "unequal", path)]
    different = path.partition(".")[0].partition("[")[0]
    assert found.equal == {key.name: int(key.name != different) for key in STATE_KEYS}


def test_a_deep_difference_is_found(project: str) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    change_columns(project, facts=deep)
    forward()
    sql(
        """UPDATE "AgentWorkflowRun" SET result = replace(result::text, '[1]', '[2]')::jsonb
           WHERE snapshot_at = (SELECT max(snapshot_at) FROM "AgentWorkflowRun")"""
    )
    assert verify().offenders == [Offender("p1", "unequal", "facts" + "[0]" * 200)]


def test_equal_numbers_of_different_scale_are_equal(project: str) -> None:
    change_behind_the_triggers_back(project, "coverageJson", None)
    sql(
        """UPDATE "AgentWorkflowRun" SET result = jsonb_set(
               result, '{state}', (result -> 'state') - 'coverage' || '{"eligibility": 1.50}')"""
    )
    change_behind_the_triggers_back(project, "eligibilityJson", "1.5")
    assert verify().unequal == 0


@pytest.mark.parametrize(
    ("damage", "path"),
    [
        ("UPDATE {events} SET payload = jsonb_set(payload, '{{to}}', '0.6') WHERE {second}", "00002.to"),
        ("UPDATE {events} SET type = 'mine' WHERE {second}", "00002"),
        ("UPDATE {events} SET created_at = created_at + interval '1 hour' WHERE {second}", "00002"),
        ("DELETE FROM {events} WHERE {second}", "00002"),
        ("DELETE FROM {events}", "00001"),
        ("INSERT INTO {events} SELECT run_id || '_00099', run_id, 'mine', '1', now() FROM {events} LIMIT 1", "00099"),
        (
            "UPDATE {events} SET payload = '{{\"keys\": []}}' WHERE type = 'snapshot.legacy'",
            "00001.keys[0]",
        ),
    ],
)
def test_wrong_events_are_named(project: str, damage: str, path: str) -> None:
    sql(damage.format(events='"AgentWorkflowRunEvent"', second="type = 'coverage.delta'"))
    found = verify()
    assert problems(found) == {"event": 1}
    ((run,),) = sql('SELECT id FROM "AgentWorkflowRun"')
    assert found.offenders == [Offender("p1", "event", f"{run}_{path}")]


def test_events_of_orphaned_runs_are_checked(project: str) -> None:
    sql('DELETE FROM "Project"')
    assert verify().clean
    sql("""DELETE FROM "AgentWorkflowRunEvent" WHERE type = 'coverage.delta'""")
    (offender,) = verify().offenders
    assert (offender.project, offender.kind) == (None, "event")


def test_events_of_live_runs_are_not_checked(project: str) -> None:
    save_in_agentkit(facts=[])
    sql(
        """INSERT INTO "AgentWorkflowRunEvent"
           SELECT 'e1', id, 'draft.progress', '{}', now() FROM "AgentWorkflowRun" WHERE workflow_id = 'intake'"""
    )
    assert verify().clean


def test_missing_and_outdated_sessions_are_named(project: str) -> None:
    make_project("p2", chat=CHAT)
    sql("""UPDATE "Project" SET meta = '{"chat": ["changed"]}' WHERE id = 'p1'""")
    found = verify()
    assert problems(found) == {"session": 2}
    assert found.offenders == [Offender("p1", "session", "meta.chat"), Offender("p2", "session", "meta.chat")]

    forward()
    assert verify().clean


def test_a_session_with_new_entries_is_right(project: str) -> None:
    sql('UPDATE "AgentSession" SET updated_at = now()')
    sql("""UPDATE "Project" SET meta = '{"chat": ["changed"]}' WHERE id = 'p1'""")
    assert verify().clean


def test_left_aside_projects_are_named(project: str) -> None:
    empty_columns()
    forward()
    found = verify()
    assert problems(found) == {"legacy_ahead": 1, "left_aside": 1}
    assert found.left_aside == 1
    assert Offender("p1", "left_aside", None) in found.offenders

    sql('UPDATE "AgentStateLeftAside" SET closed_at = now()')
    assert verify().left_aside == 0


def test_ten_offenders_of_each_kind_are_named_and_all_are_counted() -> None:
    for number in range(12):
        make_project(f"p{number:02}", facts=[number], chat=CHAT)
    found = verify()
    assert problems(found) == {"legacy_ahead": 12, "session": 12}
    for kind in ("legacy_ahead", "session"):
        assert [each.project for each in found.offenders if each.kind == kind] == [f"p{n:02}" for n in range(10)]

    forward()
    sql('DELETE FROM "AgentWorkflowRunEvent"')
    for number in range(12):
        change_behind_the_triggers_back(f"p{number:02}", "factsJson", "0")
    found = verify()
    # The facts of the first are [0], and of the others as different from 0.
    assert problems(found) == {"unequal": 12, "event": 12}
    assert [sum(each.kind == kind for each in found.offenders) for kind in ("unequal", "event")] == [10, 10]


def test_only_named_projects_are_verified(project: str) -> None:
    make_project("p2", facts=2, chat=CHAT)
    make_project("p3", facts=3)
    found = verify(("p1", "p3"))
    assert found.tables == {"Project": 2, "AgentWorkflowRun": 1, "AgentWorkflowRunEvent": 4, "AgentSession": 1}
    assert found.offenders == [Offender("p3", "legacy_ahead", "")]
    assert verify(("p1",)).clean
    with pytest.raises(UnknownProjects):
        verify(("p1", "nobody"))


def test_it_changes_nothing_and_needs_no_write_permission(project: str) -> None:
    change_columns(project, facts=[2])
    before = dump(*EVERYTHING)
    sql("SET default_transaction_read_only = on")
    try:
        assert not verify().clean
        assert len(audit()) == 2
    finally:
        sql("SET default_transaction_read_only = off")
    assert dump(*EVERYTHING) == before


def test_it_reads_one_snapshot_of_the_database_and_waits_for_no_lock(project: str) -> None:
    """A writer that moves both homes at once is never seen between them."""
    done = threading.Event()

    def write(other: Any) -> None:
        while not done.is_set():
            with other.transaction():
                other.execute("""UPDATE "Project" SET "factsJson" = to_jsonb(random()) WHERE id = 'p1'""")
                other.execute(
                    """
                    UPDATE "AgentWorkflowRun" run SET snapshot_at = p."stateUpdatedAt", legacy_at = p."stateUpdatedAt",
                        workflow_id = 'live', result = jsonb_set(result, '{state,facts}', p."factsJson")
                    FROM "Project" p WHERE p.id = run.project_id
                    """
                )

    with second_connection() as other:
        thread = threading.Thread(target=write, args=(other,))
        thread.start()
        try:
            found = [verify() for _ in range(30)]
        finally:
            done.set()
            thread.join()
    assert all(each.clean for each in found)
    assert connection.isolation_level is None or sql("SHOW transaction_isolation") == [("read committed",)]


class TestAudit:
    def test_the_plans_queries_run_word_for_word(self, project: str) -> None:
        make_project("p'2", facts=[1])
        forward()
        save_in_agentkit("project_id = 'p1'", facts=[1])
        runs, events = audit()

        assert runs.sql == (
            """SELECT project_id, count(*) FROM "AgentWorkflowRun" WHERE status = 'succeeded' """
            "GROUP BY 1 ORDER BY 2 DESC;"
        )
        assert (runs.columns, runs.rows, runs.more) == (["project_id", "count"], [("p1", 2), ("p'2", 1)], False)
        ((run, clock),) = sql("""SELECT id, snapshot_at FROM "AgentWorkflowRun" WHERE project_id = 'p''2'""")
        quoted = run.replace("'", "''")
        assert events.sql == (
            f"""SELECT run_id, type, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = '{quoted}' """
            "ORDER BY created_at;"
        )
        assert events.columns == ["run_id", "type", "created_at"]
        assert [(row[0], row[1]) for row in events.rows] == [(run, "snapshot.legacy")]
        assert events.rows[0][2] > clock

    def test_without_a_snapshot_one_query_runs(self) -> None:
        (runs,) = audit()
        assert runs.rows == []

    def test_ten_rows_are_shown(self) -> None:
        for number in range(11):
            make_project(f"p{number}", facts=1, conflictLog=list(range(20)))
        forward()
        runs, events = audit(("p3",))
        assert (len(runs.rows), runs.more, len(events.rows), events.more) == (10, True, 10, True)
        assert events.rows[0][0].startswith("legacy_p3_")


# Names that the passes' and verification's own statements use.
NAMES = (
    "result",
    "standing",
    "unequal",
    "state",
    "legacy",
    "held",
    "taken",
    "kept_at",
    "restored_at",
    "clock",
    "step",
)


@pytest.fixture
def other_columns() -> Iterator[None]:
    """Columns of the legacy application that happen to have these names."""
    for name in NAMES:
        sql(f'ALTER TABLE "Project" ADD COLUMN "{name}" text')
    yield
    for name in NAMES:
        sql(f'ALTER TABLE "Project" DROP COLUMN "{name}"')


def test_other_columns_of_the_legacy_table_do_not_matter(project: str, other_columns: None) -> None:
    forward()
    make_fork(project, {"facts": ["legacy's"]}, {"facts": ["AgentKit's"]})
    assert forward(prefer="agentkit").counts.merged == 1
    assert reverse().counts.written == 1
    change_columns(project, facts=["damaged"])
    assert reverse(force=True).counts.written == 1

    assert verify().clean
