"""The documents point at things that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from agentstate.admin.run.timeline.summaries import _SUMMARIES
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.recording import record
from agentstate.samples import make_projects
from tests.flags import turn
from tests.scenes import forward

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
# A path of the repository in backticks: with a folder, and without a placeholder.
PATH = re.compile(r"`((?:agentstate|benchmarks|docs|project|templates|tests)/[\w./-]*|scripts/[\w.-]+)`")
CODE = re.compile(r"`([^`]+)`")
TARGET = re.compile(r"^\s*(?:\$ )?make ([a-z-]+)", re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        there = (document.parent / target).resolve() if target else document
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), f"{target}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_is_there(document: Path) -> None:
    missing = [path for path in PATH.findall(document.read_text()) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_exists(document: Path) -> None:
    for target in TARGET.findall(document.read_text()):
        found = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert "No rule to make target" not in found.stderr, target


def test_the_glossary_has_every_event_of_the_timeline() -> None:
    glossary = (ROOT / "docs" / "events.md").read_text()
    documented = {type_ for row in re.findall(r"^\|([^|]+)\|", glossary, re.MULTILINE) for type_ in CODE.findall(row)}
    assert _SUMMARIES.keys() <= documented


@pytest.mark.django_db
def test_the_glossary_has_every_member_that_the_recorder_writes() -> None:
    with record("wf_glossary") as run:
        run.settle(run.invoke("search"))
        run.usage(model="m")
    rows = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)`", (ROOT / "docs" / "events.md").read_text(), re.MULTILINE))
    for event in AgentWorkflowRunEvent.objects.all():
        members = re.sub(r":[^,}]*", "", rows[event.type].replace("\\|", ""))
        assert event.payload.keys() == set(re.findall(r'"(\w+)"', members)), event.type


def test_there_are_documents() -> None:
    assert {"README.md", "architecture.md", "runbook.md"} <= {document.name for document in DOCUMENTS}


@pytest.mark.django_db
def test_the_python_examples_run() -> None:
    make_projects(20, 1)
    forward()
    turn("agentkit_writes", everyone=True)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL):
        exec(block, names)
    assert AgentWorkflowRun.objects.get(workflow_id="wf_normalize").status == "succeeded"
    assert names["now"].source == "legacy"  # type: ignore[attr-defined]
