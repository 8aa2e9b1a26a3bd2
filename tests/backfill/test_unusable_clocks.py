"""A clock that no statement can compute with concerns its row alone: it is left aside and named, all others move."""

from __future__ import annotations

import pytest

from agentstate.backfill.acceptance import CannotAccept, accept
from agentstate.backfill.given_up import given_up
from agentstate.backfill.retry import retry
from agentstate.backfill.verification import verify
from agentstate.models import LeftAside
from tests.management.commands import FORWARD, REVERSE, VERIFY, call
from tests.scenes import (
    behind_the_trigger,
    change_columns,
    forward,
    make_project,
    reverse,
    save_in_agentkit,
    standing_of,
)
from tests.sql import count, scalar, sql

pytestmark = pytest.mark.django_db(transaction=True)

CLOCKS = pytest.mark.parametrize(
    "clock", ["infinity", "-infinity", "294276-12-31 23:59:59.999999+00", "10000-01-01 00:00:00+00", "0044-03-15 BC"]
)
CHAT = [{"role": "user", "content": "Hello"}]


def set_clock(project: str, clock: str) -> None:
    with behind_the_trigger():
        sql('UPDATE "Project" SET "stateUpdatedAt" = %s WHERE id = %s', clock, project)


@pytest.fixture
def projects() -> None:
    for number in range(5):
        make_project(f"p{number}", facts=[number], chat=CHAT)


@CLOCKS
@pytest.mark.usefixtures("projects")
class TestForward:
    def test_all_others_are_moved(self, clock: str) -> None:
        set_clock("p2", clock)
        dry = call(FORWARD, "--dry-run")
        assert (dry.code, dry.lines[0].partition(" projects")[0]) == (0, "4 of 5")
        ended = call(FORWARD)

        assert ended.code == 1
        assert ended.lines[0].startswith("4 of 5 projects moved, 4 runs, ")
        assert ended.lines[2].startswith(
            "  p2: UnusableClock: State of project 'p2' was not saved: its \"stateUpdatedAt\", or "
        )
        assert 'Any UPDATE of the row in "Project" sets the first' in ended.lines[2]
        assert count("AgentWorkflowRun", "project_id = 'p2'") == 0
        assert count("AgentSession") == 5  # a chat has no clock

    def test_verification_names_it(self, clock: str) -> None:
        set_clock("p2", clock)
        forward()
        ended = call(VERIFY)

        assert ended.code == 1
        assert verify().problems["clock"] == 1
        assert ("p2", "clock", "stateUpdatedAt") in verify().offenders

    def test_the_errors_way_out_works(self, clock: str) -> None:
        set_clock("p2", clock)
        forward()
        sql("""UPDATE "Project" SET "stateUpdatedAt" = now() WHERE id = 'p2'""")

        assert forward().counts.written == 1
        assert LeftAside.objects.get().status == "closed"
        assert verify().clean

    def test_it_cannot_be_accepted(self, clock: str) -> None:
        set_clock("p2", clock)
        forward()
        entry = LeftAside.objects.get()

        assert given_up(entry).is_nothing
        with pytest.raises(CannotAccept, match="is about a clock"):
            accept(entry, "Nobody misses it.")
        assert [each.pk for each in retry([entry]).failed] == [entry.pk]

    def test_a_fork_is_left_aside(self, clock: str) -> None:
        forward()
        save_in_agentkit("project_id = 'p2'", facts="ours")
        set_clock("p2", clock)
        make_project("p9", facts=9)
        for prefer in (None, "legacy", "agentkit"):
            outcome = forward(prefer=prefer)
            assert [failure.project for failure in outcome.failures] == ["p2"]
        assert standing_of("p9") == "in_sync"


@CLOCKS
@pytest.mark.usefixtures("projects")
class TestReverse:
    @pytest.fixture(autouse=True)
    def saved(self, projects: None) -> None:
        forward()
        save_in_agentkit(facts="new")

    def test_all_others_are_moved(self, clock: str) -> None:
        set_clock("p2", clock)
        outcome = reverse()
        assert (outcome.counts.written, outcome.forked) == (4, (1, ["p2"]))

    def test_a_restore_moves_all_others(self, clock: str) -> None:
        set_clock("p2", clock)
        ended = call(REVERSE, "--force", "--all")
        assert (ended.code, ended.lines[0].partition(" projects")[0]) == (1, "4 of 5")

    def test_a_snapshot_with_such_a_clock_is_left_aside(self, clock: str) -> None:
        if clock.startswith("-") or clock.endswith("BC"):
            pytest.skip("such a snapshot is not the newest")
        sql("""UPDATE "AgentWorkflowRun" SET snapshot_at = %s WHERE id LIKE 'live\\_legacy\\_p2%%'""", clock)
        outcome = reverse()
        assert outcome.counts.written == 4
        (failure,) = outcome.failures
        assert failure.error_class == "UnusableClock"
        run = scalar("""SELECT id FROM "AgentWorkflowRun" WHERE id LIKE 'live\\_legacy\\_p2%%'""")
        assert ("p2", "clock", run) in verify().offenders
        call(VERIFY, "--audit")


@CLOCKS
def test_an_older_snapshot_with_such_a_clock_is_named(clock: str) -> None:
    make_project("p1", facts=1)
    forward()
    save_in_agentkit(facts=3)
    sql("""UPDATE "AgentWorkflowRun" SET legacy_at = %s WHERE workflow_id = 'legacy_snapshot'""", clock)
    change_columns("p1", facts=2)
    forward(prefer="legacy")
    assert verify().problems["clock"] == 1


@pytest.mark.parametrize("created", ["infinity", "-infinity", "57123-04-05", "0044-03-15 BC"])
def test_a_chat_of_a_project_created_at_such_a_time_is_moved(created: str) -> None:
    make_project("p1", chat=CHAT)
    sql('UPDATE "Project" SET "createdAt" = %s', created)
    assert forward().counts.sessions == 1
    assert forward().counts.sessions == 0
    year = {"infinity": 9999, "57123-04-05": 9999}.get(created, 2)
    assert scalar('SELECT extract(year FROM created_at)::int FROM "AgentSession"') == year
    assert scalar("""SELECT transcript_json -> 0 ->> 'at' FROM "AgentSession" """).startswith(f"{year:04}-01-01T")
    assert verify().clean
