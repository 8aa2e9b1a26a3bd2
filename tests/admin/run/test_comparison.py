"""Two runs side by side."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.urls import reverse as url_of

from agentstate.admin.run.comparison import Call, aligned
from tests.admin.viewers import superuser, viewer
from tests.factories import EventFactory, RunFactory

if TYPE_CHECKING:
    from agentstate.models import AgentWorkflowRun

pytestmark = pytest.mark.django_db

MOMENT = datetime(2024, 5, 1, 12, tzinfo=UTC)


def address(run: str) -> str:
    return url_of("admin:agentstate_agentworkflowrun_compare", args=[run])


def call(run: AgentWorkflowRun, number: int, tool: str, seconds: float, **result: object) -> None:
    at = MOMENT + timedelta(minutes=number)
    payload = {"call_id": f"call-{number}", "tool": tool, "arguments": {"page": number}}
    EventFactory(run=run, type="tool.invocation", payload=payload, created_at=at)
    done = {"call_id": f"call-{number}", "tool": tool, "status": "ok", "duration_ms": seconds * 1000, **result}
    EventFactory(run=run, type="tool.result", payload=done, created_at=at + timedelta(seconds=seconds))


def test_documents_and_calls_of_two_runs_are_compared() -> None:
    left = RunFactory(
        id="left", state={"coverage": {"score": 0.5}, "facts": 1}, input={"a": [1, 2]}, started_at=MOMENT
    )
    right = RunFactory(
        id="right",
        state={"coverage": {"score": 0.7}, "facts": 1},
        input={"a": [1, 3]},
        started_at=MOMENT,
        usage={"input_tokens": 1_200, "output_tokens": 34, "cost_usd": 0.25},
    )
    for number, tool in enumerate(("search", "read", "write")):
        call(left, number, tool, 2)
    call(right, 0, "search", 5)
    call(right, 1, "write", 1, status="error", error="denied")

    response = superuser().get(address("left"), {"other": " right "})

    values = {document.name: document.values for document in response.context["documents"]}
    assert values["input"] == [("a[1]", "2", "3")]
    assert values["state"] == [("coverage.score", "0.5", "0.7")]
    assert values["output"] == []
    pairs = [(pair.left and pair.left.tool, pair.right and pair.right.tool) for pair in response.context["pairs"]]
    assert pairs == [("search", "search"), ("read", None), ("write", "write")]
    assert [pair.longer for pair in response.context["pairs"]] == [timedelta(seconds=3), None, timedelta(seconds=-1)]
    assert 'data-status="failed">failed' in response.text
    assert "<td>\N{EN DASH}</td><td>1,234 tokens, $0.25</td>" in response.text


def test_without_another_run_those_of_its_workflow_are_offered() -> None:
    RunFactory(id="left", workflow_id="draft")
    other = RunFactory(id="a/b", workflow_id="draft")
    RunFactory(id="else", workflow_id="intake")
    page = superuser().get(address("left"))
    assert page.context["others"] == [other]
    assert 'href="?other=a%2Fb"' in page.text


@pytest.mark.parametrize("other", ["nothing", "\0", "x" * 4_000], ids=["unknown", "NUL", "long"])
def test_a_run_that_is_none_is_refused(other: str) -> None:
    RunFactory(id="left")
    page = superuser().get(address("left"), {"other": other})
    assert page.status_code == 200
    assert "agentstate-filter-error" in page.text


def test_large_documents_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentstate.admin.run.comparison.LARGEST", 10)
    RunFactory(id="left", input={"a": "b" * 20})
    RunFactory(id="right")
    page = superuser().get(address("left"), {"other": "right"})
    assert "Too large to compare here" in page.text


def test_others_do_not_see_it() -> None:
    RunFactory(id="left")
    assert viewer("project").get(address("left")).status_code == 403
    assert superuser().get(address("nothing")).status_code in (302, 404)


def test_calls_are_aligned_by_their_tools() -> None:
    left, right = ([Call("", tool, "", "ok", None) for tool in tools] for tools in ("abcd", "acbd"))
    pairs = [(pair.left and pair.left.tool, pair.right and pair.right.tool) for pair in aligned(left, right)]
    assert [one for one, _ in pairs if one] == list("abcd")
    assert [other for _, other in pairs if other] == list("acbd")
    assert all(one == other for one, other in pairs if one and other)
