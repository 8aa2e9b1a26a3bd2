"""A database in which Prisma has made tables of runs, events and sessions under our names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.migrations.databases import Database, new_database
from tests.migrations.live import LegacyApplication

if TYPE_CHECKING:
    from collections.abc import Iterator

PRISMA_RUNS = (Path(__file__).parent / "prisma_runs.sql").read_text()
ADOPT = {"AGENTSTATE_ADOPT_PRISMA_RUNS": "1"}
THEIRS = ("AgentSession", "AgentWorkflowRun", "AgentWorkflowRunEvent")
TEN = datetime(2025, 10, 7, 10, tzinfo=UTC)
TIMES = {"createdAt": "2025-10-07T10:00:00", "updatedAt": "2025-10-07T10:05:00"}


@pytest.fixture(scope="module")
def runs_template(prisma_template: Database) -> Iterator[Database]:
    with new_database(prisma_template.name) as database:
        database.execute(PRISMA_RUNS)
        yield database


@pytest.fixture
def runs(runs_template: Database) -> Iterator[Database]:
    """A database with runs, events and sessions of Prisma's."""
    with new_database(runs_template.name) as database:
        yield database


@pytest.fixture(scope="module")
def taken_over_template(runs_template: Database) -> Iterator[Database]:
    with new_database(runs_template.name) as database:
        take_over(database)
        yield database


@pytest.fixture
def taken_over(taken_over_template: Database) -> Iterator[Database]:
    """The same, after the takeover."""
    with new_database(taken_over_template.name) as database:
        yield database


def take_over(database: Database) -> str:
    result = database.manage("migrate", settings=ADOPT)
    assert (result.code, result.err) == (0, "")
    return result.out


def copied(database: Database) -> dict[str, list[Any]]:
    return {table: database.rows(f'SELECT t::text FROM "{table}" t ORDER BY id') for table in THEIRS}


def test_without_the_setting_the_refusal_names_it(runs: Database) -> None:
    before = runs.schema()
    result = runs.manage("migrate")
    assert result.code == 1
    (line,) = [line for line in result.err.splitlines() if line.startswith("- ")]
    assert line.startswith('- Prisma made "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession"')
    assert "set AGENTSTATE_ADOPT_PRISMA_RUNS=1" in line
    assert runs.schema() == before


def test_tables_that_are_not_prismas_are_refused_with_the_setting_too(runs: Database) -> None:
    runs.execute('ALTER TABLE "AgentWorkflowRun" ALTER "startedAt" TYPE timestamptz')
    result = runs.manage("migrate", settings=ADOPT)
    assert result.code == 1
    assert result.err.count("that is not ours") == 3


def test_a_name_that_is_taken_is_refused(runs: Database) -> None:
    runs.execute('CREATE TABLE "AgentSession_prisma" ()')
    result = runs.manage("migrate", settings=ADOPT)
    assert result.code == 1
    assert '- Both "AgentSession" and "AgentSession_prisma" exist' in result.err


def test_tables_of_another_role_are_refused(runs: Database, other_role: str) -> None:
    runs.execute(f'ALTER TABLE "AgentSession" OWNER TO {other_role}; ALTER ROLE {other_role} LOGIN')
    runs.execute(f'ALTER TABLE "Project" OWNER TO {other_role}')
    result = runs.manage("migrate", settings=ADOPT, user=other_role)
    assert '- "AgentWorkflowRun" belongs to another role' in result.err
    assert '- "AgentSession" belongs to another role' not in result.err
    runs.execute(f"REASSIGN OWNED BY {other_role} TO CURRENT_USER; DROP OWNED BY {other_role} CASCADE")


def test_the_setting_alone_changes_nothing(prisma: Database, adopted: Database) -> None:
    take_over(prisma)
    assert prisma.schema() == adopted.schema()


def test_rows_are_counted(runs: Database) -> None:
    lines = take_over(runs).splitlines()
    assert [line.strip() for line in lines if "Copied" in line] == [
        'Copied 5 of 6 rows of "AgentWorkflowRun_prisma".',
        'Copied 1,505 of 1,507 rows of "AgentWorkflowRunEvent_prisma".',
        'Copied 4 of 6 rows of "AgentSession_prisma".',
    ]


def test_the_renamed_tables_keep_their_contents(runs: Database) -> None:
    columns = {table: names for table, names in runs.columns().items() if table in THEIRS}
    before = runs.content(columns)
    take_over(runs)
    after = runs.content({f"{table}_prisma": names for table, names in columns.items()})
    assert {name.removesuffix("_prisma"): rows for name, rows in after.items()} == before


def test_our_tables_are_those_of_any_database(taken_over: Database, adopted: Database) -> None:
    ours = adopted.schema()
    assert ours <= taken_over.schema()
    assert not [line for line in taken_over.schema() - ours if "_prisma" not in line and "leaves_no_room" not in line]


def test_runs_are_copied(taken_over: Database) -> None:
    rows = taken_over.rows(
        """
        SELECT id, workflow_id, project_id, status, input::text, result, error, started_at, completed_at, snapshot_at
        FROM "AgentWorkflowRun" ORDER BY id
        """
    )
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
        ("r1", "wf_intake", "nothing", "succeeded"),
        ("r2", "wf_intake", "a/b \"c\" 'd' ü 漢", "succeeded"),
        ("r3", "wf_intake", None, "failed"),
        ("r4", "wf_draft", "null", "running"),
        ("r5", "wf_draft", "null", "pending"),
    ]
    first, second, third, fourth, fifth = ((row[4], row[5], row[6]) for row in rows)
    assert first == (
        '{"documents": 3}',
        {
            "output": {"coverage": 0.1},
            "prisma": {**TIMES, "agentSessionId": "s1", "metrics": {"tokens": 12, "cost": None}},
        },
        None,
    )
    assert second == (
        None,
        {"output": None, "prisma": {**TIMES, "status": "succeeded_fallback"}},
        "the first model failed",
    )
    assert third[1] == {"prisma": {**TIMES, "status": "timed_out"}}
    assert third[2] == "no answer\nCopied from Prisma with the unknown status 'timed_out', and marked as failed."
    assert (fourth[0], fifth[0]) == ("null", None)
    assert rows[0][7:] == (TEN + timedelta(milliseconds=1), TEN + timedelta(minutes=5, milliseconds=2), None)
    assert rows[2][8] is None
    assert (
        taken_over.value("""SELECT result -> 'output' ->> 'coverage' FROM "AgentWorkflowRun" WHERE id = 'r1'""")
        == "0.10"
    )


def test_events_are_copied(taken_over: Database) -> None:
    query = """
        SELECT id, type, payload::text, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = '{}' ORDER BY created_at
        """
    second = TEN + timedelta(seconds=1)
    assert taken_over.rows(query.format("r1")) == [
        ("e1", "coverage.delta", "{}", second),
        ("e2", "tool.invocation", '{"n": 0.30000000000000004}', second + timedelta(milliseconds=500)),
        ("e3", "tool.result", '{"at": "the same time"}', second + timedelta(milliseconds=500, microseconds=1)),
        ("e4", "prisma.state.changed", "null", second + timedelta(seconds=1)),
    ]
    crowded = taken_over.rows(query.format("r2"))
    assert [int(payload) for _, _, payload, _ in crowded] == list(range(1, 1502))
    assert crowded[0][3] == TEN + timedelta(milliseconds=1)
    assert crowded[-1][3] == TEN + timedelta(milliseconds=1, microseconds=1500)


def test_sessions_are_copied(taken_over: Database) -> None:
    rows = taken_over.rows(
        """
        SELECT id, project_id, agent_run_id, memory_id, transcript_json, metadata, created_at, updated_at
        FROM "AgentSession" ORDER BY id
        """
    )
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
        ("s1", "nothing", "r1", "memory"),
        ("s2", "nothing", None, None),
        ("s3", "null", None, None),
        ("s4", "null", None, None),
    ]
    at = "2025-10-07T10:00:00.123000Z"
    assert rows[0][4] == [
        {"role": "user", "content": "Hello", "at": "2025-10-07T10:00:00Z"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Hi 0.10"}],
            "model": "m",
            "score": 0.1,
            "at": at,
        },
        {"role": "user", "content": "At null", "at": at},
        {"role": "unknown", "content": '{"content": "without role"}', "at": at},
        {"role": "unknown", "content": '"a string"', "at": at},
        {"role": "unknown", "content": "null", "at": at},
        {"role": "unknown", "content": "1.50", "at": at},
    ]
    assert [[entry["content"] for entry in row[4]] for row in rows[1:]] == [[], ['{"entries": 1}'], ["null"]]
    assert rows[0][5] == {"source": "AgentSession_prisma"}
    assert rows[0][6:] == (TEN + timedelta(milliseconds=123), TEN + timedelta(hours=1, milliseconds=456))


def test_later_changes_work_on_the_copies(taken_over: Database) -> None:
    for command in (
        ("backfill_agentkit_state",),
        ("verify_agentkit_state",),
        ("close_stale_runs", "--older-than", "1h"),
    ):
        result = taken_over.manage(*command)
        assert result.code == 0, result.out + result.err
    assert taken_over.value("""SELECT status FROM "AgentWorkflowRun" WHERE id = 'r4'""") == "failed"
    assert taken_over.value("""SELECT count(*) FROM "AgentWorkflowRun" WHERE project_id = 'numbers'""") == 1


def test_copying_again_changes_nothing_and_adds_what_is_missing(taken_over: Database) -> None:
    taken_over.execute("""UPDATE "AgentWorkflowRun" SET status = 'canceled' WHERE id = 'r4'""")
    before = copied(taken_over)
    taken_over.execute("""DELETE FROM "AgentSession" WHERE id = 's3'""")
    taken_over.migrate("agentstate", "0019")
    taken_over.migrate()
    assert copied(taken_over) == before


def test_zero_restores_the_tables_and_migrating_again_takes_them_over(runs: Database) -> None:
    schema, columns = runs.schema(), runs.columns()
    content = runs.content(columns)
    take_over(runs)
    mine = copied(runs)

    runs.migrate("agentstate", "zero")

    def of_the_application(lines: set[str]) -> set[str]:
        return {line for line in lines if not any(name in line for name in ("django_", "auth_", "waffle_"))}

    assert of_the_application(runs.schema()) == of_the_application(schema)
    assert runs.content(columns) == content
    take_over(runs)
    assert copied(runs) == mine


def test_a_database_without_sessions_is_copied(runs: Database) -> None:
    runs.execute('DROP TABLE "AgentSession" CASCADE')
    assert take_over(runs).count("Copied") == 2
    assert runs.value('SELECT count(*) FROM "AgentSession"') == 0
    runs.migrate("agentstate", "zero")
    assert "AgentSession" not in runs.columns()


def test_projects_of_another_collation_are_copied(runs: Database) -> None:
    runs.execute(
        'DROP VIEW "RecentProject"; ALTER TABLE "AgentWorkflowRun" DROP CONSTRAINT "AgentWorkflowRun_projectId_fkey"; '
        'ALTER TABLE "Project" ALTER id TYPE text COLLATE "POSIX"'
    )
    assert "Copied 5 of 6" in take_over(runs)


def test_a_row_that_cannot_be_copied_unchanged_is_refused(runs: Database) -> None:
    runs.manage("migrate", "agentstate", "0019", settings=ADOPT)
    runs.execute(
        """
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN NEW.type := upper(NEW.type); RETURN NEW; END';
        CREATE TRIGGER shout BEFORE INSERT ON "AgentWorkflowRunEvent" FOR EACH ROW EXECUTE FUNCTION shout();
        """
    )
    result = runs.manage("migrate")
    assert result.code == 1
    assert (
        '1505 rows of "AgentWorkflowRunEvent_prisma" are not in "AgentWorkflowRunEvent" as they should be'
        in result.err
    )
    assert runs.value('SELECT count(*) FROM "AgentWorkflowRun"') == 0


def test_the_legacy_application_keeps_working(runs: Database) -> None:
    with LegacyApplication(runs) as application:
        take_over(runs)
    assert application.error is None
