"""The host redacts what is recorded before it is stored."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from agentstate.recording import enqueue, record, waiting_state
from tests.recording.recorded import events_of, the_run
from tests.sql import sql

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db

SECRET = "sk-1234"


def redact(kind: str, payload: Any) -> Any:
    """Replace the secret in every text, in place where there is one."""
    if isinstance(payload, str):
        return payload.replace(SECRET, f"[{kind}]")
    members = payload.items() if isinstance(payload, dict) else enumerate(payload) if isinstance(payload, list) else ()
    for place, member in list(members):
        payload[place] = redact(kind, member)
    return payload


def fail(kind: str, payload: Any) -> Any:
    raise ValueError(f"cannot redact {payload}")


def return_odd_things(kind: str, payload: Any) -> Any:
    return {"text": "a\0b", "number": float("nan"), "object": uuid.UUID(int=1)}


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.fixture
def redacting(settings: SettingsWrapper) -> None:
    settings.AGENTSTATE_REDACT = f"{__name__}.redact"


@dataclass
class Login:
    name: str
    key: str


@pytest.mark.usefixtures("redacting")
def test_events_input_output_and_error_are_redacted() -> None:
    arguments = {"key": SECRET}

    def work() -> None:
        with record("intake", input=[SECRET]) as run:
            run.event("note", {"text": f"the key is {SECRET}"})
            run.events([("a", SECRET), ("b", None)])
            with run.tool("login", arguments) as call:
                call.output = Login("me", SECRET)
            run.usage(model=SECRET)
            run.set_output({"key": SECRET})
            run.set_result(last=SECRET)
            raise ValueError(SECRET)

    with pytest.raises(ValueError, match=SECRET):
        work()
    run = the_run()
    (_, note), (_, text), (_, nothing), (_, invocation), (_, result), (_, usage) = events_of(run.pk)
    assert (note, text, nothing) == ({"text": "the key is [note]"}, "[a]", {})
    assert invocation["arguments"] == {"key": "[tool.invocation]"}
    assert result["output"]["value"] == {"name": "me", "key": "[tool.result]"}
    assert usage["model"] == "[model.usage]"
    assert (run.input, run.result) == (["[run.input]"], {"output": {"key": "[run.output]"}, "last": "[run.last]"})
    assert run.error.startswith("ValueError: [run.error]")
    assert arguments == {"key": SECRET}


def test_without_a_redaction_values_are_stored_unchanged(settings: SettingsWrapper) -> None:
    odd = {
        "nul": "a\0b",
        "nan": float("nan"),
        "set": {1},
        "pairs": {1: 2},
        "deep": nested(600),
        "exact": Decimal("0.10"),
    }
    with record("intake") as run:
        for path in (None, f"{__name__}.redact"):
            settings.AGENTSTATE_REDACT = path
            run.events(
                [("note", odd), ("note", {"$unstorable": "mine", **odd}), ("note", {"number": 12345678901234567890})]
            )
    texts = [text for (text,) in sql('SELECT payload::text FROM "AgentWorkflowRunEvent" ORDER BY created_at')]
    assert texts[:3] == texts[3:]


@pytest.mark.usefixtures("redacting")
def test_a_queued_runs_input_is_redacted_and_its_waiting_state_is_not() -> None:
    enqueue("intake", input=SECRET)
    assert the_run().input == "[run.input]"
    the_run().cancel()
    with record("other") as run:
        run.interrupt({"run_state": f"{SECRET}\0"}, [("approval.requested", {"arguments": SECRET})])
    assert waiting_state(run.run_id) == {"run_state": f"{SECRET}\0"}
    assert events_of(run.run_id) == [("approval.requested", {"arguments": "[approval.requested]"})]


@pytest.mark.parametrize("path", [f"{__name__}.fail", "no.such.function"])
def test_a_redaction_that_fails_stores_nothing_and_the_run_goes_on(
    settings: SettingsWrapper, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    settings.AGENTSTATE_REDACT = path

    def work() -> None:
        with record("intake", input=SECRET) as run:
            run.event("note", {"text": SECRET})
            run.usage(model="a", input_tokens=7)
            run.set_output(SECRET)
            raise ValueError(SECRET)

    with pytest.raises(ValueError, match=SECRET):
        work()
    nothing = {"$unstorable": "redaction", "value": None}
    run = the_run()
    assert events_of(run.pk) == [("note", nothing), ("model.usage", nothing)]
    assert (run.status, run.input, run.result) == ("failed", nothing, {"output": nothing})
    assert run.error == "The error's text is not stored, since AGENTSTATE_REDACT failed on it."
    assert run.usage["input_tokens"] == 7
    assert SECRET not in caplog.text
    assert caplog.text.count("AGENTSTATE_REDACT failed on note, which is not stored: ") == 1


def test_a_redaction_may_return_anything(settings: SettingsWrapper) -> None:
    settings.AGENTSTATE_REDACT = f"{__name__}.return_odd_things"
    with record("intake") as run:
        run.event("note", {"text": "a"})
    assert events_of(run.run_id)[0][1] == {
        "text": {"$unstorable": "string", "value": "a\\u0000b"},
        "number": {"$unstorable": "number", "value": "NaN"},
        "object": {"$unstorable": "uuid.UUID", "value": "UUID('00000000-0000-0000-0000-000000000001')"},
    }
