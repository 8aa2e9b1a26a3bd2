"""The words, the JSON and the exit codes of the command; and the command as a process of its own."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest

from agentstate import state
from agentstate.actors import process_owner
from agentstate.models import RolloutStep
from tests import scenes
from tests.factories import ProjectFactory, write_columns
from tests.faults.processes import Command, run, wait_until
from tests.flags import turn
from tests.management.commands import Ended, call
from tests.rollout.ladder import FLAGS, found_by_reads, let_time_pass, position, stand_at
from tests.sql import second_connection

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("thawed")]

KEYS = {"stage", "percent", "next", "open", "conditions"}
WAITS_FOR_TRANSACTIONS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%virtualxid%'"""
BOLD_RED = "\x1b[31;1m"


def rollout(*arguments: str, **options: Any) -> Ended:
    return call("agentkit_rollout", *arguments, **options)


def in_sync() -> str:
    project = ProjectFactory(documents={"facts": "1"}).id
    scenes.forward(project)
    return project


# -- status


def test_status_names_the_stage_and_unmet_conditions() -> None:
    stand_at("shadow_read")
    let_time_pass(30)
    found_by_reads("compared", 12, ago=4)

    ended = rollout()

    assert (ended.code, ended.stderr) == (3, "")
    assert ended.lines[:2] == ["Stage: shadow_read", "Next: agentkit_read at 1 percent"]
    words = [line.split() for line in ended.lines]
    assert ["shadow_reads_compared", "not", "met", "12", "1,000", "30", "h"] in [line[:7] for line in words]
    assert ["hours_without_difference", "met", "30.0", "24", "30", "h"] in [line[:6] for line in words]
    assert ended.lines[-2:] == [
        "Not open. Not met: shadow_reads_compared.",
        "  shadow_reads_compared: let the application load state.",
    ]


def test_status_names_met_conditions() -> None:
    ended = rollout("status")

    assert ended.code == 0
    assert ended.lines[0] == "Stage: legacy"
    assert ended.lines[-1] == "Open. Run manage.py agentkit_rollout advance to take the step."


@pytest.mark.parametrize("stage", FLAGS)
def test_status_prints_json(stage: str) -> None:
    stand_at(stage)

    ended = rollout("--format", "json")

    found = ended.json
    assert found.keys() >= KEYS
    assert found["stage"] == stage
    assert found["percent"] == (100 if FLAGS[stage]["agentkit_reads"] else 0)
    assert isinstance(found["percent"], int)
    assert found["open"] is all(condition["holds"] for condition in found["conditions"])
    assert ended.code == (0 if found["open"] else 3)
    for condition in found["conditions"]:
        assert list(condition) == ["name", "holds", "figure", "needed", "age_seconds"]


def test_the_next_step_in_json() -> None:
    nexts = {}
    for stage in FLAGS:
        stand_at(stage)
        found = rollout("--format", "json").json
        nexts[stage] = found["next"], found["next_percent"]

    assert nexts == {
        "legacy": ("dual_write", 0),
        "dual_write": ("shadow_read", 0),
        "shadow_read": ("agentkit_read", 1),
        "agentkit_read": ("agentkit_only", 100),
        "agentkit_only": ("frozen", 100),
        "frozen": ("contracted", 100),
    }


def test_a_frozen_database_is_open_for_the_migration_that_drops_the_columns() -> None:
    stand_at("frozen")

    ended = rollout()

    assert ended.code == 0
    assert ended.lines[1].endswith(f"by {process_owner()}.")
    assert ended.lines[-1] == "Open. Run AGENTSTATE_CONTRACT=1 manage.py migrate agentstate_contract to take the step."


def test_pilots_are_named() -> None:
    stand_at("dual_write")
    turn("agentkit_reads", project_ids=["p1"], staff=True)

    assert "Pilots: agentkit_reads names 1 project and users." in rollout().lines
    assert rollout("--format", "json").json["pilots"] == [{"gate": "agentkit_reads", "projects": 1, "users": True}]


def test_bypassing_writes_are_counted_and_listed() -> None:
    project = in_sync()
    stand_at("dual_write")
    write_columns(project, {"facts": "2"})
    at = scenes.homes_of(project).clock

    assert "1 write bypassed agentstate since dual writing started; 1 still waits for a backfill." in rollout().lines
    assert any(project in line and "legacy_ahead" in line for line in rollout().lines)
    assert rollout("--format", "json").json["escapes"] == {
        "count": 1,
        "open": 1,
        "newest": at.isoformat(),
        "listed": [{"project": project, "at": at.isoformat(), "kind": "legacy_ahead"}],
    }


def test_off_the_ladder_the_nearest_stages_are_named() -> None:
    stand_at("dual_write")
    turn("legacy_writes", percent=40)

    ended = rollout()
    assert ended.code == 3
    assert ended.lines == [
        "Stage: none",
        "Nearest stage: dual_write. Different:",
        "  legacy_writes is on for 40 percent; dual_write needs on for everyone:",
        "    manage.py waffle_flag legacy_writes --everyone",
    ]
    found = rollout("--format", "json").json
    assert (found["stage"], found["next"], found["open"], found["conditions"]) == (None, None, False, [])
    assert found["nearest"][0]["stage"] == "dual_write"
    for action in ("advance", "retreat"):
        ended = rollout(action)
        assert ended.code == 3
        assert "    manage.py waffle_flag legacy_writes --everyone" in ended.lines
        assert "Nothing was changed." in ended.stderr


def test_the_named_command_leads_back_to_the_ladder() -> None:
    stand_at("agentkit_read", 10)
    turn("agentkit_writes", percent=40)
    (nearest,) = rollout("--format", "json").json["nearest"]
    for difference in nearest["differences"]:
        call(*difference["command"].split())

    assert position() == ("agentkit_read", 10)


# -- advance


def test_advance_takes_one_step() -> None:
    ended = rollout("advance")

    assert (ended.code, ended.stderr) == (0, "")
    assert ended.lines[0] == "legacy → dual_write"
    assert position() == ("dual_write", 0)


def test_advance_in_json() -> None:
    taken = rollout("advance", "--format", "json").json
    assert (taken["taken"], taken["from_stage"], taken["stage"], taken["percent"]) == (True, "legacy", "dual_write", 0)
    assert taken["requested_by"] == process_owner()

    in_sync()
    scenes.damage(in_sync(), facts="2")
    ended = rollout("advance", "--format", "json")
    assert ended.code == 3
    assert (ended.json["taken"], ended.json["stage"]) == (False, "dual_write")
    assert [condition["name"] for condition in ended.json["conditions"] if not condition["holds"]] == [
        "verification_problems"
    ]


def test_a_step_whose_conditions_are_not_met_is_refused() -> None:
    stand_at("shadow_read")

    ended = rollout("advance", "--percent", "5")

    assert ended.code == 3
    why, *lines = ended.stderr.splitlines()
    assert why == (
        "The step to agentkit_read at 5 percent is not open. Not met: shadow_reads_compared, "
        "hours_without_difference. Nothing was changed."
    )
    assert lines == [
        "  shadow_reads_compared: let the application load state.",
        "  hours_without_difference: wait.",
        "Stage: shadow_read.",
    ]
    assert ["shadow_reads_compared", "not", "met", "0", "1,000"] in [line.split()[:5] for line in ended.lines]
    assert position() == ("shadow_read", 0)


def test_an_override_is_shown_while_its_stage_lasts() -> None:
    stand_at("shadow_read")
    because = "A throwaway database, and I want to see the end"

    ended = rollout("advance", "--override", because, force_color=True)
    assert ended.code == 0
    shouted = [line for line in ended.lines if BOLD_RED in line]
    assert "TAKEN BY OVERRIDE" in shouted[0]
    assert "shadow_reads_compared, hours_without_difference" in shouted[0]
    assert because in shouted[1]

    shout = f"Taken by override: {because} ({process_owner()})"
    assert any(BOLD_RED in line and shout in line for line in rollout(force_color=True).lines)
    let_time_pass(30)
    found_by_reads("compared", 5000, ago=4)
    assert rollout("advance").code == 0
    assert position() == ("agentkit_read", 10)
    assert shout in rollout().lines, "the stage lasts"
    assert rollout("--format", "json").json["override"] == {"reason": because, "by": process_owner()}

    assert rollout("retreat").code == 0
    assert "override" not in rollout().stdout


def test_flags_changed_by_hand_since_end_an_override() -> None:
    stand_at("shadow_read")
    rollout("advance", "--override", "Because")
    turn("agentkit_reads", percent=7)

    assert "Taken by override" not in rollout().stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--percent", "5"], "--percent applies to advance and retreat"),
        (["retreat", "--override", "x"], "--override applies to advance"),
        (["advance", "--override", " "], "--override needs a reason"),
        (["advance", "--override", "caf\udce9"], "contains characters that cannot be stored"),
        (["advance", "--percent", "5"], "has no share. Omit --percent."),
        (["advance", "--percent", "0"], "is not a percent above 0"),
        (["advance", "--percent", "101"], "is not a percent above 0"),
        (["advance", "--percent", "1.25"], "is not a percent above 0"),
        (["advance", "--percent", "NaN"], "is not a percent above 0"),
        (["advance", "--percent", "a few"], "is not a percent above 0"),
    ],
)
def test_invalid_arguments_are_refused(arguments: list[str], error: str) -> None:
    ended = rollout(*arguments)

    assert ended.code == 1
    assert error in ended.stderr
    assert position() == ("legacy", 0)


# -- retreat


def test_retreat_takes_one_step() -> None:
    stand_at("shadow_read")

    ended = rollout("retreat")

    assert (ended.code, ended.lines[0]) == (0, "shadow_read → dual_write")


def test_retreat_from_the_bottom() -> None:
    ended = rollout("retreat")

    assert ended.code == 3
    assert ended.stderr.startswith("legacy is the first stage.")


def test_retreat_names_forked_projects(impatient: None) -> None:
    project = in_sync()
    stand_at("agentkit_only")
    state.save(project, facts=2)
    write_columns(project, {"facts": "3"})

    ended = rollout("retreat")

    assert ended.code == 3
    assert project in ended.stderr
    assert ended.stderr.splitlines()[-1] == "Stage: agentkit_read at 100 percent."
    assert (
        "The retreat to this stage is unfinished. Run manage.py agentkit_rollout retreat to continue."
        in rollout().lines
    )
    assert rollout("--format", "json").json["unfinished"] is True


# -- a process of its own


def test_a_process_answers_the_same() -> None:
    first = run("agentkit_rollout", "--format", "json")
    assert (first.process.returncode, first.stderr, first.summary["stage"]) == (0, "", "legacy")
    assert run("agentkit_rollout", "advance").process.returncode == 0
    assert run("agentkit_rollout", "retreat").process.returncode == 0
    assert run("agentkit_rollout", "retreat").process.returncode == 3
    assert [step.to_stage for step in RolloutStep.objects.order_by("pk")] == ["dual_write", "legacy"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_retreat_names_its_stage_and_resumes(
    number: signal.Signals,
) -> None:
    projects = [in_sync() for _ in range(3)]
    stand_at("agentkit_only")
    for project in projects:
        state.save(project, facts=2)
    with second_connection(application_name="report") as older:
        older.execute("BEGIN; SELECT 1")
        command = Command("agentkit_rollout", "retreat")
        wait_until(lambda: position() == ("agentkit_read", 100))
        wait_until(lambda: scenes.rows(WAITS_FOR_TRANSACTIONS))
        command.signal(number)

        assert command.end() == 130
        # Beside a query of this test, which is looking all the time.
        waiting, *_ = command.stderr.splitlines()
        assert re.fullmatch(rf"Waiting for \d older transactions?: .*process {older.info.backend_pid} \(.*", waiting)
        assert "report, since" in waiting
        assert "which is safe: saves go into both homes" in command.stderr
        assert command.stderr.splitlines()[-1] == "Stage: agentkit_read at 100 percent."
        assert "Traceback" not in command.stderr

    again = run("agentkit_rollout", "retreat")

    assert again.process.returncode == 0
    assert again.stdout.splitlines()[0] == "agentkit_only → agentkit_read at 100 percent"
    assert all(scenes.homes_of(project).in_sync for project in projects)


def terminated_between_queries(command: Command) -> bool:
    """End the connection of a command that sleeps; return whether it did.

    In the middle of a query, the server's message can be lost with the connection.
    """
    command.signal(signal.SIGSTOP)
    try:
        ended = scenes.rows(
            f"SELECT pg_terminate_backend(pid, 30000) FROM ({WAITS_FOR_TRANSACTIONS} AND state = 'idle' "
            "AND state_change < clock_timestamp() - interval '50 ms') waiting"
        )
    finally:
        command.signal(signal.SIGCONT)
    return bool(ended)


def test_a_broken_connection_is_reported_with_its_cause() -> None:
    project = in_sync()
    stand_at("agentkit_only")
    state.save(project, facts=2)
    with second_connection() as older:
        older.execute("BEGIN; SELECT 1")
        command = Command("agentkit_rollout", "retreat")
        wait_until(lambda: scenes.rows(WAITS_FOR_TRANSACTIONS))
        wait_until(lambda: terminated_between_queries(command))

        assert command.end() == 1
    assert "terminating connection due to administrator command" in command.stderr.splitlines()[-1]
    assert "Traceback" not in command.stderr


def test_a_killed_retreat_resumes() -> None:
    project = in_sync()
    stand_at("agentkit_only")
    state.save(project, facts=2)
    with second_connection() as older:
        older.execute("BEGIN; SELECT 1")  # for which the retreat waits, however late the kill comes
        command = Command("agentkit_rollout", "retreat")
        wait_until(lambda: position() == ("agentkit_read", 100))
        command.kill()
    assert scenes.standing_of(project) == "agentkit_ahead"

    wait_until(lambda: run("agentkit_rollout", "retreat").process.returncode == 0)

    assert position() == ("agentkit_read", 100)
    assert scenes.homes_of(project).in_sync
