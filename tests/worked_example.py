"""A project whose history has five moments: backfilled, a run that saves twice, other writers, another run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agentstate.recording import record
from tests import scenes
from tests.factories import ProjectFactory, write_columns

REQUIREMENTS = [
    {"id": "req_1", "source": "p. 3", "status": "drafted", "weight": 0.3, "risk": "low"},
    {"id": "req_2", "status": "missing", "risk": "high", "need_from_user": "A letter of support", "evidence_rank": 3},
    {"id": "req_3", "status": "stubbed", "weight": 0.2},
    {"id": "req_4", "status": "evidenced", "weight": 0.1},
]
ITEMS = [{"id": "elig_1", "text": "Registered in SAM.gov"}]
FATAL = {"id": "elig_2", "text": "Must be a 501(c)(3)", "fatal": True}


def conflict(key: str, **more: str) -> dict[str, Any]:
    previous = {"source_upload_id": "upl_1", "version": "v1", "release_date": "2025-01-10"}
    later = {"source_upload_id": "upl_2", "version": "v2", "release_date": "2025-03-02"}
    return {"type": "section_conflict", "key": key, "previous": previous, "next": later, **more}


USUAL = {
    "coverage": [{"score": score, "requirements": REQUIREMENTS} for score in (0.2, 0.5)],
    "conflict_log": [
        [conflict("budget"), conflict("timeline")],
        [conflict("budget", resolved="latest"), conflict("timeline")],
    ],
}
ODD = {"coverage": [0.2, 0.5], "conflict_log": ["two conflicts", "one conflict is left"]}


@dataclass
class WorkedExample:
    """The project, and the run that saved each of the five moments."""

    project: str
    runs: list[str]


def worked_example(documents: dict[str, list[Any]] = USUAL, **fields: Any) -> WorkedExample:
    """Make the project, with the usual shapes of coverage and the conflict log or with odd ones."""
    scenes.open_gates(agentkit_writes=True, legacy_writes=True, agentkit_reads=True)
    before = {
        "coverage": documents["coverage"][0],
        "conflictLog": documents["conflict_log"][0],
        "eligibility": {"items": ITEMS},
        "facts": {"org": {"legal_name": "Prairie Seeds"}},
    }
    columns = {key: json.dumps(document) for key, document in before.items()}
    project = ProjectFactory(documents=columns, **fields).id
    scenes.forward(project, sessions=False)
    with record("intake", project) as first:
        first.save(coverage=documents["coverage"][1])
        first.save(conflict_log=documents["conflict_log"][1])
    write_columns(project, {"facts": '{"org": {"legal_name": "Prairie Seeds, Inc."}}'})
    scenes.forward(project, sessions=False)
    with record("review", project) as second:
        second.save(eligibility={"items": [*ITEMS, FATAL]})
    backfilled, taken_in = [
        snapshot.run for snapshot in scenes.homes_of(project).snapshots if snapshot.workflow == "legacy_snapshot"
    ]
    return WorkedExample(project, [backfilled, first.run_id, first.run_id, taken_in, second.run_id])
