"""The intake as an agent: a model takes its steps, and the state is as without one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from agents.testing import ScriptedModel

from agentstate import state
from agentstate.intake.reading import SourceFile, read
from agentstate.intake.state import STEPS
from agentstate.models import AgentWorkflowRun, Project
from agentstate.orchestrator import Ingested, ingest
from agentstate.samples.call import sample_call
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.integrations.agents.scenes import agent_of, call, payloads, run_of, says, types_of
from tests.management.commands import call as command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db

PROJECT = "project-1"
NAMES = [step.name for step in STEPS]
# Read once, in this process.
TEXTS = [read(SourceFile(name, content)) for name, content in sample_call().items()]


@pytest.fixture(autouse=True)
def project() -> Project:
    turn("agentkit_writes", everyone=True)
    return ProjectFactory(id=PROJECT)


def model_of(*steps: Any) -> Any:
    return agent_of(*steps).model


def calls(*names: str, **arguments: Any) -> list[Any]:
    return [call(name, f"{name}-{number}", **arguments) for number, name in enumerate(names)]


def take_in(model: Any = None) -> Ingested:
    return ingest(PROJECT, texts=TEXTS, model=model)


def settled(run_id: str) -> list[str]:
    """Return the tools whose calls ended well, in the order of their results."""
    return [result["tool"] for result in payloads(run_id, "tool.result") if result["status"] == "ok"]


def assert_state_is_as_without_a_model() -> None:
    """Take the same documents in without a model, which records nothing if the state is as it would leave it."""
    assert state.load(PROJECT).rfp_norm["sections"]
    assert take_in().run_id is None


def test_a_model_takes_the_steps_in_one_run() -> None:
    ingested = take_in(model_of(*(calls(name) for name in NAMES), [says("Two conflicts.")]))

    assert (ingested.fallback, run_of(ingested.run_id).status) == (None, "succeeded")
    assert settled(ingested.run_id) == NAMES
    assert run_of(ingested.run_id).input["agent"] == "ScriptedModel"
    by_model = set(types_of(ingested.run_id))
    assert_state_is_as_without_a_model()
    assert take_in(ScriptedModel([])).run_id is None, "a model is not asked where nothing is new"

    ProjectFactory(id="another")
    plain = ingest("another", texts=TEXTS)
    assert by_model - set(types_of(plain.run_id)) == {"model.response", "model.usage"}
    assert set(types_of(plain.run_id)) < by_model
    outputs = [
        [each["output"] for each in payloads(run_id, "tool.result")] for run_id in (ingested.run_id, plain.run_id)
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("answers", "left_out", "reason"),
    [
        ([TimeoutError("no answer")], NAMES, "TimeoutError: no answer"),
        ([[says("Nothing to do.")]], NAMES, "ended before the last step"),
        ([calls(*NAMES[:2]), [says("Done.")]], NAMES[2:], "ended before the last step"),
        ([calls(NAMES[0]), calls("invented")], NAMES[1:], "invented"),
        ([calls(NAMES[4], NAMES[1], NAMES[0]), [says("Done.")]], NAMES[1:], "ended before the last step"),
        ([calls(NAMES[0]) for _ in range(20)], NAMES[1:], "MaxTurnsExceeded"),
        ([calls(*NAMES), OSError("gone")], [], "OSError: gone"),
    ],
    ids=["fails", "does nothing", "stops early", "invents a tool", "skips", "goes round", "fails at the end"],
)
def test_the_fixed_order_completes_what_a_model_leaves_out(
    answers: list[Any], left_out: list[str], reason: str
) -> None:
    ingested = take_in(model_of(*answers))

    assert ingested.fallback is not None
    assert ingested.fallback.steps == tuple(left_out)
    assert reason in ingested.fallback.reason
    assert payloads(ingested.run_id, "intake.fallback")[0]["steps"] == left_out
    assert list(dict.fromkeys(settled(ingested.run_id))) == NAMES
    assert run_of(ingested.run_id).status == "succeeded"
    assert_state_is_as_without_a_model()


def test_a_model_cannot_write_state() -> None:
    invented = {"score": 1.0, "state": {"coverage": {"score": 1.0}}, "documents": ["invented.md"]}
    take_in(model_of(*(calls(name, **invented) for name in NAMES), [says("All is covered: score 1.0.")]))
    assert state.load(PROJECT).coverage["score"] == 0
    assert_state_is_as_without_a_model()


def test_a_step_that_fails_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no such number")

    monkeypatch.setattr("agentstate.intake.state.score_coverage", fail)
    with pytest.raises(ZeroDivisionError):
        take_in(model_of(calls(*NAMES), [says("A tool failed.")]))
    run = AgentWorkflowRun.objects.get(workflow_id="rfp_intake")
    assert run.status == "failed"
    statuses = [(each["tool"], each["status"]) for each in payloads(run.pk, "tool.result")]
    assert statuses[-2:] == [("score_coverage", "error")] * 2
    assert state.load(PROJECT).source == "none"


def test_the_command_names_the_steps_that_the_model_left_out(tmp_path: Path) -> None:
    (tmp_path / "call.md").write_text("# Call\n\nThe narrative must not exceed 7 pages.\n")
    model = model_of(calls(*NAMES[:4]), [says("Enough.")])
    ended = command("ingest_rfp", PROJECT, str(tmp_path / "call.md"), agent=model)
    assert ended.code == 0
    assert (
        "The model left out score_coverage, taken in the fixed order instead: The model ended before the last step."
        in ended.lines
    )


def test_the_command_names_what_a_model_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ask = ("ingest_rfp", "new", "call.md", "--create", "New", "--agent", "gpt-5")
    ended = command(*ask)
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr == ("OPENAI_API_KEY is not set, which the model 'gpt-5' needs. Set it, or omit the model.\n")
    monkeypatch.setitem(sys.modules, "agents", None)
    assert command(*ask).stderr == (
        'The OpenAI Agents SDK is missing (agents). Install it: pip install "agentstate[agents]".\n'
    )
    assert not Project.objects.filter(pk="new").exists()
