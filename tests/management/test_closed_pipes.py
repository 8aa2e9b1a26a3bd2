"""A reader that leaves early changes neither what a command does nor its exit code."""

from __future__ import annotations

import os
import subprocess

import pytest

from agentstate.models import AgentWorkflowRun, LeftAside
from tests.faults.processes import database_url
from tests.forked import Forked
from tests.scenes import empty_columns, forward, make_project, open_gates
from tests.sql import count, sql

pytestmark = pytest.mark.django_db(transaction=True)


def run_unread(*command: str, stderr_too: bool = False) -> tuple[int, str]:
    """Run a command into a pipe that nobody reads, and return its exit code and what it wrote to stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    process = Forked(
        *command,
        environment={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url(),
            "PYTHONWARNINGS": "error",
            "SECRET_KEY": "a key for tests only",
        },
        stdout=writing,
        stderr=subprocess.STDOUT if stderr_too else subprocess.PIPE,
    )
    os.close(writing)
    _, stderr = process.communicate()
    return process.wait(), stderr


@pytest.fixture(autouse=True)
def projects() -> None:
    for number in range(3):
        make_project(f"p{number}", facts=[number])


@pytest.mark.parametrize("stderr_too", [False, True])
@pytest.mark.parametrize("output", ["text", "json"])
def test_a_pass_completes(output: str, *, stderr_too: bool) -> None:
    code, stderr = run_unread(
        "backfill_agentkit_state", "--batch-size", "1", "--format", output, stderr_too=stderr_too
    )
    assert code == 0
    assert "Traceback" not in stderr
    assert "BrokenPipe" not in stderr
    assert count("AgentWorkflowRun") == 3


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["reverse_backfill_agentkit_state"], 0),
        (["verify_agentkit_state"], 1),
        (["verify_agentkit_state", "--audit", "--format", "json"], 1),
        (["agentkit_left_aside", "list"], 0),
        (["agentkit_left_aside", "retry", "--all"], 1),
        (["close_stale_runs", "--older-than", "1h"], 0),
        (["waffle_flag", "--list"], 0),
        (["waffle_flag", "agentkit_writes", "--percent", "101"], 1),
        (["agentkit_rollout"], 3),
        (["agentkit_rollout", "--format", "json"], 3),
        (["make_live_runs"], 1),
        (["seed_legacy_projects", "--count", "2", "--append"], 0),
        (["backfill_agentkit_state", "--help"], 0),
    ],
)
@pytest.mark.parametrize("stderr_too", [False, True])
def test_each_command_exits_as_usual(command: list[str], code: int, *, stderr_too: bool) -> None:
    forward()
    empty_columns("p1")
    forward()
    open_gates(agentkit_writes=True)
    sql('DELETE FROM "AgentStateReadCount"')
    ended, stderr = run_unread(*command, stderr_too=stderr_too)
    assert ended == code, stderr
    assert "Traceback" not in stderr
    assert "BrokenPipe" not in stderr


def test_a_decision_is_kept() -> None:
    forward()
    empty_columns("p1")
    forward()
    entry = LeftAside.objects.get()
    code, stderr = run_unread("agentkit_left_aside", "accept", str(entry.pk), "--note", "Nobody misses it.")
    assert (code, stderr) == (0, "")
    entry.refresh_from_db()
    assert entry.status == "accepted"


def test_a_stale_run_is_closed() -> None:
    sql(
        """INSERT INTO "AgentWorkflowRun" (id, workflow_id, status, started_at)
        VALUES ('r1', 'w', 'running', now() - interval '2 hours')"""
    )
    assert run_unread("close_stale_runs", "--older-than", "1h") == (0, "")
    assert AgentWorkflowRun.objects.get().status == "failed"
