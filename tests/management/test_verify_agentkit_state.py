"""The words and exit codes of verification."""

from __future__ import annotations

import json

import pytest

from agentstate.backfill.verification import AUDIT_RUNS
from tests.faults.processes import run
from tests.management.commands import FORWARD, VERIFY, call
from tests.scenes import change_columns, make_fork, make_project, make_samples, open_gates
from tests.sql import count, sql

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def projects() -> None:
    for number in range(3):
        make_project(f"p{number}", facts=[number], chat=[{"role": "user", "content": "Hello"}])
    call(FORWARD)


@pytest.fixture
def trouble(projects: None) -> None:
    """One project of each kind that keeps a database from being clean."""
    make_project("it's new", facts=1)
    for name in ("p1", "p2"):
        make_fork(name, legacy={"facts": {"a": 1}}, agentkit={"facts": {"a": 2}})
    sql("""DELETE FROM "AgentWorkflowRunEvent" WHERE run_id LIKE 'legacy_p0%'""")


def test_a_clean_database_says_so(projects: None) -> None:
    ended = call(VERIFY)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.lines[-1] == "Clean."
    words = [line.split() for line in ended.lines]
    assert ["in_sync", "3"] in words
    assert ["facts", "3", "3"] in words
    assert ["AgentSession", "3"] in words
    assert "What is wrong" not in ended.stdout


def test_findings_are_printed_and_the_exit_code_is_1(trouble: None) -> None:
    ended = call(VERIFY)
    assert ended.code == 1
    words = [line.split() for line in ended.lines]
    assert ["forked", "p1", "facts.a"] in words
    assert ["legacy_ahead", """'it'"'"'s""", "new'"] in words
    verdict = ended.lines[ended.lines.index("Not clean:") :]
    assert [line.partition(":")[0] for line in verdict] == [
        "Not clean",
        "  1 legacy_ahead",
        "  2 forked",
        "  1 event",
    ]
    assert verdict[1] == "  1 legacy_ahead: run manage.py backfill_agentkit_state"
    assert verdict[2].endswith("then settle the rest with --prefer legacy or --prefer agentkit")


def test_json_of_a_clean_database(projects: None) -> None:
    ended = call(VERIFY, "--format", "json")
    assert ended.code == 0
    assert ended.json == {
        "clean": True,
        "standing": {"empty": 0, "legacy_ahead": 0, "in_sync": 3, "agentkit_ahead": 0, "forked": 0},
        "unequal": 0,
        "left_aside": 0,
        "tables": {"Project": 3, "AgentWorkflowRun": 3, "AgentWorkflowRunEvent": 3, "AgentSession": 3},
        "offenders": [],
    }


def test_json_of_findings(trouble: None) -> None:
    ended = call(VERIFY, "--format", "json")
    found = ended.json
    assert (ended.code, found["clean"]) == (1, False)
    assert found["standing"] == {"empty": 0, "legacy_ahead": 1, "in_sync": 1, "agentkit_ahead": 0, "forked": 2}
    assert found["tables"] == {table: count(table) for table in found["tables"]}
    (run_id,) = (row[0] for row in sql("""SELECT id FROM "AgentWorkflowRun" WHERE project_id = 'p0'"""))
    assert found["offenders"] == [
        {"project": "it's new", "kind": "legacy_ahead", "path": ""},
        {"project": "p1", "kind": "forked", "path": "facts.a"},
        {"project": "p2", "kind": "forked", "path": "facts.a"},
        {"project": "p0", "kind": "event", "path": f"{run_id}_00001"},
    ]


def test_only_named_projects_are_verified(trouble: None) -> None:
    assert call(VERIFY, "--project", "p1", "--format", "json").json["standing"]["forked"] == 1
    change_columns("p0", facts=1)
    call(FORWARD)
    several = call(VERIFY, "--project", "p1", "--project", "it's new", "--format", "json")
    assert [offender["project"] for offender in several.json["offenders"]] == ["p1"]
    assert call(VERIFY, "--project", "it's new").code == 0
    unknown = call(VERIFY, "--project", "nobody")
    assert (unknown.code, unknown.stdout) == (1, "")
    assert unknown.stderr == "No project has the id nobody. Nothing was done.\n"


def test_an_audit_prints_its_rows(projects: None) -> None:
    ended = call(VERIFY, "--audit")
    assert ended.code == 0
    assert AUDIT_RUNS in ended.lines
    assert ["p1", "1"] in [line.split() for line in ended.lines]
    assert ended.lines[-1] == "Clean."


def test_an_audit_prints_json(projects: None) -> None:
    sql("""DELETE FROM "Project" WHERE id = 'p1'""")
    ended = call(VERIFY, "--audit", "--format", "json")
    runs, events = ended.json["audit"]
    assert set(runs) == {"sql", "columns", "rows"}
    assert sorted(runs["rows"], key=str) == [["p0", 1], ["p2", 1], [None, 1]]
    ((run_id, clock),) = sql(
        """SELECT run_id, created_at FROM "AgentWorkflowRunEvent" WHERE run_id LIKE 'legacy_p2%'"""
    )
    assert events["rows"] == [[run_id, "snapshot.legacy", str(clock)]]


def test_a_process_says_the_same() -> None:
    make_samples(30)
    unclean = run(VERIFY, "--format", "json", "--audit")
    assert (unclean.process.returncode, unclean.stderr) == (1, "")
    assert set(json.loads(unclean.stdout)) == {
        "clean",
        "standing",
        "unequal",
        "left_aside",
        "tables",
        "offenders",
        "audit",
    }
    run(FORWARD)
    assert run(VERIFY).process.returncode == 0


def test_bypassing_writes_are_counted_and_are_no_problem_once_taken_in(projects: None) -> None:
    open_gates(agentkit_writes=True)
    change_columns("p1", facts=["bypassed"])
    call(FORWARD)

    ended = call(VERIFY)

    assert ended.code == 0
    assert "1 write bypassed agentstate since dual writing started; 0 still wait for a backfill" in ended.stdout
    assert call(VERIFY, "--format", "json").json["escapes"] == 1
    assert "escapes" not in call(VERIFY, "--project", "p1", "--format", "json").json
