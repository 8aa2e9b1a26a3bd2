"""The command that resumes what people have decided about."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from agentstate.approvals import decide
from agentstate.integrations.agents import run_workflow_sync
from tests.factories import WaitingRunFactory
from tests.integrations.agents.mailing import mailing_agent, resumed_agent
from tests.integrations.agents.scenes import agent_of, call, payloads, run_of
from tests.management.commands import Ended
from tests.management.commands import call as command

if TYPE_CHECKING:
    from agents import Agent

SENT: list[str] = []
TOGETHER = Barrier(2, timeout=60)
AGENTS: dict[str, Agent[Any]] = {}
NO_AGENTS = 7


@pytest.fixture(autouse=True)
def agents() -> None:
    SENT.clear()
    AGENTS.clear()


def together(workflow_id: str) -> Agent[Any]:
    """Return the agent once two ask for it: both have seen the run wait."""
    TOGETHER.wait()
    return resumed_agent(SENT)


def resume(agents: str = "AGENTS") -> Ended:
    return command("resume_waiting_runs", "--agents", f"{__name__}.{agents}")


def decided(workflow_id: str) -> str:
    """Return the id of a run that waits with a decision for both of its calls."""
    run_id = run_workflow_sync(mailing_agent(sent=[]), "Mail them.", workflow_id=workflow_id).run_id
    decide(run_id, "c2", approved=True, by="ada")
    decide(run_id, "c3", approved=False, message="Not to Bob.", by="eve")
    return run_id


@pytest.mark.django_db
def test_runs_with_all_decisions_are_resumed_and_reported_each() -> None:
    one, again, failing, unknown = map(decided, ["mail", "again", "failing", "unknown"])
    undecided = WaitingRunFactory()
    AGENTS["mail"] = resumed_agent(SENT)
    AGENTS["again"] = mailing_agent([call("send", "c4", to="Eve")], sent=SENT)
    AGENTS["failing"] = agent_of(RuntimeError("no answer"), tools=AGENTS["mail"].tools, name="Mailer")

    ended = resume()

    assert ended.lines == [
        f"{one}: mail, succeeded",
        f"{again}: again, waits again for approval of 1 call",
        f"{failing}: failing, RuntimeError: no answer",
        f"{unknown}: unknown, There is no agent for the workflow 'unknown'; the run still waits.",
        "2 runs resumed, 2 failed.",
    ]
    assert (ended.code, ended.stderr) == (1, "2 runs failed or could not be resumed.\n")
    statuses = [run_of(run_id).status for run_id in (one, again, failing, unknown, undecided.pk)]
    assert statuses == ["succeeded", "pending", "failed", "pending", "pending"]
    assert SENT == ["Ada"] * 3
    assert {each["by"] for each in payloads(one, "approval.decided")} == {"ada", "eve"}


@pytest.mark.django_db
def test_nothing_to_resume_is_a_success() -> None:
    assert resume()[:2] == (0, "0 runs resumed, 0 failed.\n")


@pytest.mark.django_db(transaction=True)
def test_one_of_two_concurrent_commands_resumes_the_run() -> None:
    run_id = decided("mail")

    def act(_: int) -> Ended:
        try:
            return resume("together")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        endings = list(threads.map(act, range(2)))

    assert [ended.code for ended in endings] == [0, 0]
    assert sorted(ended.lines[0] for ended in endings) == [
        f"{run_id}: mail, another process resumed it",
        f"{run_id}: mail, succeeded",
    ]
    assert SENT == ["Ada"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere.AGENTS", "cannot be imported: No module named 'nowhere'"),
        ("nonsense", "cannot be imported"),
        (f"{__name__}.NO_AGENTS", "is neither a mapping nor a function from workflow ids to agents"),
    ],
)
def test_a_path_to_no_agents_is_refused(path: str, said: str) -> None:
    ended = command("resume_waiting_runs", "--agents", path)
    assert (ended.code, ended.stdout) == (1, "")
    assert said in ended.stderr


def test_a_missing_sdk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("resuming", "waiting_runs"):
        monkeypatch.delitem(sys.modules, f"agentstate.integrations.agents.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "agents", None)
    ended = resume()
    assert (ended.code, ended.stderr) == (
        1,
        'The OpenAI Agents SDK is missing (agents). Install it: pip install "agentstate[agents]".\n',
    )
