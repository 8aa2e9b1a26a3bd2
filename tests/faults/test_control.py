"""A running pass obeys what operators ask of its entry in the ledger, from another process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from agentstate.models import BackfillPass
from tests.faults.processes import FORWARD, OTHERS, Command, others_on_the_server, wait_until
from tests.management.commands import call
from tests.scenes import forward, make_samples
from tests.sql import count, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)
# Each batch is one project, and the pass sleeps a hundred times as long after it: there is half a minute to ask.
SLOW = ("--batch-size", "1", "--sleep-ratio", "100", "--no-sessions")


def entry() -> Any:
    return BackfillPass.objects.with_state().latest("pk")


def ask(*arguments: object, by: str = "ada") -> None:
    call_command("agentkit_pass", *map(str, arguments), "--by", by, verbosity=0)


def stops_between_transactions(command: Command) -> bool:
    """Stop a process, and return whether it holds no lock of a row; else let it go on."""
    command.signal(signal.SIGSTOP)
    wait_until(lambda: not sql(f"{OTHERS} AND state = 'active'"))
    if sql(f"{OTHERS} AND state = 'idle in transaction'"):
        command.signal(signal.SIGCONT)
        return False
    return True


@pytest.fixture
def under_way() -> Iterator[Command]:
    make_samples(150)
    command = Command(FORWARD, *SLOW)
    wait_until(lambda: count("AgentWorkflowRun") > 0)
    yield command
    command.process.kill()
    command.end()
    wait_until(lambda: not others_on_the_server())  # the next test has the tables to itself


def test_a_pass_pauses_resumes_and_changes_its_pacing(under_way: Command) -> None:
    number = entry().pk
    ask("pause", number)
    wait_until(lambda: entry().held == "paused by ada")
    assert (entry().state, entry().outcome) == ("paused", "running")
    assert call("agentkit_pass", "list").stdout.count("paused by ada") == 1
    moved = count("AgentWorkflowRun")

    ask("set", number, "--sleep-ratio", 0, "--target-seconds", 2, by="bob")
    # Its heartbeat counts the time that it waits, while it waits.
    throttled = entry().throttled_seconds
    wait_until(lambda: entry().throttled_seconds > throttled)
    assert entry().held == "paused by ada"
    assert count("AgentWorkflowRun") == moved
    ask("resume", number)
    assert under_way.end() == 0
    assert entry().options["pacing"] == {"target_seconds": 2, "sleep_ratio": 0, "max_lag": None}
    assert [(each["what"], each["by"]) for each in entry().requests] == [
        ("paused", "ada"),
        ("set target_seconds 2, sleep_ratio 0", "bob"),
        ("resumed", "ada"),
    ]
    assert (entry().state, entry().held) == ("finished", "")


def test_a_canceled_pass_ends_after_its_batch_and_the_next_one_continues(under_way: Command) -> None:
    ask("cancel", entry().pk)
    assert under_way.end() == 130
    assert under_way.stdout.splitlines()[-1] == "Canceled by ada. Run the command again to continue."
    canceled = entry()
    assert (canceled.state, 0 < canceled.written < canceled.candidates) == ("canceled", True)
    with pytest.raises(CommandError, match="has ended"):
        ask("pause", entry().pk)
    assert forward().counts.written + canceled.written == canceled.candidates


def test_a_pass_whose_process_died_is_lost(under_way: Command) -> None:
    under_way.kill()
    wait_until(lambda: entry().state == "lost")
    assert (entry().outcome, entry().waits_for) == ("running", "")
    with pytest.raises(CommandError, match="its process died"):
        ask("pause", entry().pk)


def test_a_pass_that_does_not_report_any_more_is_lost_although_its_connection_is_open(under_way: Command) -> None:
    wait_until(lambda: stops_between_transactions(under_way))
    assert entry().state == "running"
    sql("""UPDATE "AgentStatePass" SET seen_at = seen_at - interval '1 minute'""")
    assert entry().state == "lost"
    under_way.signal(signal.SIGCONT)
    wait_until(lambda: entry().state == "running")


def test_an_unknown_pass_and_an_empty_change_are_refused() -> None:
    with pytest.raises(CommandError, match="There is no pass 5"):
        ask("pause", 5)
    with pytest.raises(CommandError, match="Name what to change"):
        ask("set", 5)
    assert call("agentkit_pass", "list").stdout == "No pass has run yet.\n"
