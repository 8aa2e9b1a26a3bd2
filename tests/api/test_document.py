"""Every curl of docs/api.md gets the answer that the document shows.

``AGENTSTATE_WRITE_API=1`` writes the answers into the document instead.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from agentstate.api import limits
from agentstate.models import AgentWorkflowRun
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.runbook import normalized

if TYPE_CHECKING:
    import httpx
    from django.test import Client

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
STEP = re.compile(r"```console\n\$ (?P<command>[^\n]*)\n(?P<answer>.*?)```", re.DOTALL)
VARIABLE = re.compile(r"\b[a-z0-9]{24}\b|\b\d{16}\b|\d{4}-\d\d-\d\dT[\d:.]+Z|\b[0-9a-f]{64}\b")


def test_every_curl_of_the_document_gets_the_answer_that_it_shows(client: httpx.Client, tmp_path: Path) -> None:
    for gate in ("agentkit_writes", "agentkit_reads"):
        turn(gate, everyone=True)
    ProjectFactory(id="rfp-7", name="Healthy Rivers")
    text = DOCUMENT.read_text()
    steps = list(STEP.finditer(text))
    assert len(steps) == text.count("```console")
    for step in steps:
        answer = _run(step["command"], client, tmp_path)
        if os.environ.get("AGENTSTATE_WRITE_API"):
            old, command = step[0], step["command"]
            text = text.replace(old, f"```console\n$ {command}\n{answer}```", 1)
            DOCUMENT.write_text(text)
        else:
            assert _fixed(answer) == _fixed(step["answer"]), step["command"]


def _run(command: str, client: httpx.Client, folder: Path) -> str:
    token = client.headers["Authorization"].removeprefix("Bearer ")
    environment = {"PATH": os.environ["PATH"], "TOKEN": token, "API": str(client.base_url).rstrip("/")}
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    answer = re.sub(r"\n{2,}", "\n", done.stdout).strip("\n")
    return f"{answer}\n" if answer else ""


def _fixed(answer: str) -> list[str]:
    return normalized(VARIABLE.sub("VARIABLE", answer))


def test_the_script_of_the_readme_records_a_run_and_shows_its_page(
    client: httpx.Client, admin_client: Client, tmp_path: Path
) -> None:
    printed = _run(f"sh {DOCUMENT.parents[1] / 'scripts' / 'record_run.sh'} run-1", client, tmp_path)
    assert AgentWorkflowRun.objects.get(pk="run-1").status == "succeeded"
    assert "event: end" in printed
    address = printed.rpartition("Its page: ")[2].strip()
    page = admin_client.get(address.removeprefix(str(client.base_url).rstrip("/").removesuffix("/api/v1")))
    assert (page.status_code, "count_words" in page.content.decode()) == (200, True)


def test_the_document_has_every_limit_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(AGENTSTATE_API_\w+)` \| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE))
    assert rows == {limit.name: str(limit.default) for limit in limits.LIMITS}
