"""The examples of docs/integrations.md run."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import pytest
from agents.testing import ScriptedModel
from asgiref.sync import async_to_sync

from tests.factories import ProjectFactory
from tests.faults.processes import CLONE
from tests.flags import turn
from tests.integrations.agents.scenes import answers, call, calls_of, newest_run, payloads, run_of, says


@pytest.mark.django_db(transaction=True)
def test_the_examples_of_the_document_run() -> None:
    turn("agentkit_writes", everyone=True)
    turns = [
        [call("note_deadline", "c1", date="2027-04-15")],
        [says("Noted.")],
        [says("On 15 April.")],
        [says("The director.")],
        [call("send_mail", "c2", to="Ada")],
        [says("Sent.")],
        [call("ask_expert", "c3", input="?")],
        [says("I know.")],
        [says("The expert knows.")],
        [says("Again.")],
    ]
    names: dict[str, Any] = {"project_id": ProjectFactory().id}
    for block in re.findall(r"```python\n(.*?)```", (CLONE / "docs" / "integrations.md").read_text(), re.DOTALL):
        code = compile(block, "docs/integrations.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if inspect.iscoroutine(awaited := eval(code, names)):
            async_to_sync(_wait_for)(awaited)
        if names["agent"].model is None:
            names["agent"].model = ScriptedModel([answers(*each) for each in turns])
    names["agent"].model.assert_complete()
    assert names["outcome"].output == "Noted."
    assert payloads(names["outcome"].run_id, "deadline.found") == [{"date": "2027-04-15"}]
    assert run_of(names["outcome"].run_id).result["state"] == {"facts": {"deadline": "2027-04-15"}}
    assert (names["waiting"].status, names["done"].status, names["retried"].output) == (
        "pending",
        "succeeded",
        "Again.",
    )
    assert names["stream"].outcome.output == "The director."
    of_framework = newest_run()
    assert (of_framework.workflow_id, of_framework.result["output"]) == ("tide_tables", "At nine.")
    assert calls_of(of_framework.pk) == {"call_1": ("error", "TimeoutError: no answer"), "call_2": ("ok", "")}
    assert of_framework.usage["input_tokens"] == 120


async def _wait_for(awaited: Any) -> None:
    await awaited
