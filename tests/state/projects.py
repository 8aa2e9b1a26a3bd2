"""Projects of every standing, as a save meets them, and the gates that it goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstate.models import Project
from tests import scenes
from tests.factories import ProjectFactory, RunFactory, write_columns

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = {"facts": '"base"', "coverage": f'{{"big": 1{"0" * 400}, "score": 0.10}}', "eligibility": "null"}


def empty() -> str:
    return ProjectFactory().id


def legacy_ahead() -> str:
    return ProjectFactory(documents=BASE).id


def in_sync() -> str:
    project = legacy_ahead()
    scenes.forward(project, sessions=False)
    return project


def legacy_ahead_of_a_snapshot() -> str:
    project = in_sync()
    write_columns(project, {"facts": '"columns"'})
    return project


def agentkit_ahead() -> str:
    project = in_sync()
    scenes.save(project, "facts", '"snapshot"', legacy=False)
    return project


def forked() -> str:
    """Make a project that merges: facts changed in one home, the RFP in the other."""
    project = agentkit_ahead()
    write_columns(project, {"rfpNorm": '"columns"'})
    return project


def forked_with_clock_set_back() -> str:
    project = agentkit_ahead()
    scenes.write_with_clock_set_back(project, {"rfpNorm": '"columns"'})
    return project


def clashing() -> str:
    project = agentkit_ahead()
    write_columns(project, {"facts": '"columns"', "rfpNorm": '"columns"'})
    return project


SNAPSHOT = BASE | {"facts": '"snapshot"'}
COLUMNS = BASE | {"facts": '"columns"'}
MERGED = SNAPSHOT | {"rfpNorm": '"columns"'}
# A project, its standing, and its state brought together: where both changed a document, as each reader sees it.
SCENES: list[tuple[Callable[[], str], str, dict[bool, dict[str, str]]]] = [
    (empty, "empty", {False: {}, True: {}}),
    (legacy_ahead, "legacy_ahead", {False: BASE, True: BASE}),
    (legacy_ahead_of_a_snapshot, "legacy_ahead", {False: COLUMNS, True: COLUMNS}),
    (in_sync, "in_sync", {False: BASE, True: BASE}),
    (agentkit_ahead, "agentkit_ahead", {False: SNAPSHOT, True: SNAPSHOT}),
    (forked, "forked", {False: MERGED, True: MERGED}),
    (forked_with_clock_set_back, "forked", {False: MERGED, True: MERGED}),
    (clashing, "forked", {False: MERGED | {"facts": '"columns"'}, True: MERGED}),
]
GATES = {
    "both": {"agentkit_writes": True, "legacy_writes": True},
    "agentkit": {"agentkit_writes": True, "legacy_writes": False},
    "legacy": {"agentkit_writes": False, "legacy_writes": True},
}


def open_gates(writes: str = "both", *, reads_agentkit: bool = False) -> None:
    scenes.open_gates(**GATES[writes], agentkit_reads=reads_agentkit)


def rows_as_they_lie() -> list[tuple[str, str, str]]:
    """Return every row, and where it lies: a row that is written again moves."""
    return [
        row
        for table in scenes.everything()
        for row in scenes.rows(f"SELECT '{table}', ctid::text, t::text FROM \"{table}\" t ORDER BY id")
    ]


def run_of(project: str, status: str = "running", **fields: Any) -> str:
    return RunFactory(
        project=Project.objects.get(pk=project), status=status, workflow_id="draft", completed_at=None, **fields
    ).pk
