"""The commands of the intake: output, errors and exit codes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agentstate import state
from agentstate.models import Project
from agentstate.samples.call import sample_call
from tests import scenes
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.management.commands import call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db

PROJECT = "project-1"


@pytest.fixture(autouse=True)
def project() -> Project:
    turn("agentkit_writes", everyone=True)
    return ProjectFactory(id=PROJECT)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, content in sample_call().items():
        (tmp_path / name).write_bytes(content)
    return [str(tmp_path / name) for name in sample_call()]


def run_id() -> str:
    return scenes.one("""SELECT id FROM "AgentWorkflowRun" WHERE workflow_id = 'rfp_intake'""")[0]


def test_people_get_a_summary(files: list[str]) -> None:
    ended = call("ingest_rfp", PROJECT, *files)
    assert ended.code == 0
    assert ended.lines[-3:] == [
        "8 sections, deadline 2027-04-15T17:00-04:00, 2 conflicts, 4 eligibility items (4 fatal), score 0.0.",
        f"Run {run_id()} changed rfpNorm, facts, coverage, conflictLog, eligibility.",
        f"To see it, open Projects, {PROJECT} in the admin.",
    ]
    assert "healthy-rivers-call.docx" in ended.stdout
    assert ended.stderr.splitlines() == [f"{name}: 1 page" for name in sample_call()]


def test_options_may_come_before_the_files(files: list[str]) -> None:
    ended = call("ingest_rfp", "another", "--create", "Another project", *files)
    assert ended.code == 0
    assert Project.objects.get(pk="another").name == "Another project"


def test_a_file_name_that_is_not_utf_8_is_taken_in(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"bad\xff.md")
    path.write_text("# Request for proposals\n\nProposals are due June 1, 2026.\n", encoding="utf-8")
    ended = call("ingest_rfp", PROJECT, str(path))
    assert (ended.code, ended.stderr) == (0, "bad?.md: 1 page\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ingest_rfp", "p\udcff", "x.md"),
        ("ingest_rfp", "p", "x.md", "--create", "N\udcff"),
        ("resolve_conflict", "p", "key\udcff", "latest"),
        ("resolve_conflict", "p", "key", "latest", "--by", "N\udcff"),
        ("override_eligibility", "p", "item", "--fatal", "yes", "--note", "N\udcff"),
    ],
)
def test_arguments_that_cannot_be_stored_are_refused(arguments: tuple[str, ...]) -> None:
    ended = call(*arguments)
    assert ended.code == 1
    assert "has characters that cannot be stored" in ended.stderr


def test_machines_get_json(files: list[str]) -> None:
    ended = call("ingest_rfp", PROJECT, *files, "--format", "json", "--verbosity", "0")
    assert ended.stderr == ""
    assert ended.json == {
        "run": run_id(),
        "documents": [
            {
                "name": name,
                "family": "call",
                "role": role,
                "version": version,
                "date": date,
                "pages": 1,
                "error": None,
            }
            for name, role, version, date in (
                ("healthy-rivers-call.docx", "base", None, "2027-01-12"),
                ("healthy-rivers-addendum-1.pdf", "amendment", "Addendum 1", "2027-02-03"),
                ("healthy-rivers-faq.html", "faq", None, "2027-02-20"),
            )
        ],
        "conflicts": 2,
        "eligibility": 4,
        "fatal": 4,
        "score": 0.0,
        "changed": ["rfpNorm", "facts", "coverage", "conflictLog", "eligibility"],
        "fallback": None,
    }


def test_the_same_files_again_record_nothing(files: list[str]) -> None:
    call("ingest_rfp", PROJECT, *files)
    again = call("ingest_rfp", PROJECT, *files)
    assert (again.code, again.lines[-1]) == (0, "Nothing is new: the state is unchanged, and no run was recorded.")


def test_files_that_cannot_be_read_are_named(files: list[str], tmp_path: Path) -> None:
    empty, missing = tmp_path / "empty.md", tmp_path / "missing.md"
    empty.touch()
    ended = call("ingest_rfp", PROJECT, *files, str(empty), str(missing), "--format", "json")
    assert ended.code == 1
    assert ended.stderr.splitlines()[-1] == f"2 files could not be read: {missing}, empty.md."
    errors = {each["name"]: each["error"] for each in ended.json["documents"] if each["error"]}
    assert errors == {"empty.md": "The file is empty.", str(missing): "No such file or directory"}
    assert ended.json["conflicts"] == 2


def test_wrong_usage_is_refused() -> None:
    ended = call("ingest_rfp", PROJECT)
    assert (ended.code, ended.stderr) == (2, "No document is named. Name files, or give --uploads.\n")


def test_an_unknown_project_is_refused(files: list[str]) -> None:
    ended = call("ingest_rfp", "nowhere", *files)
    assert (ended.code, ended.stdout) == (1, "")
    assert "nowhere" in ended.stderr


def test_a_project_is_created_once(files: list[str]) -> None:
    for _ in range(2):
        assert call("ingest_rfp", "new", *files, "--create", "Healthy Rivers").code == 0
    assert Project.objects.get(pk="new").name == "Healthy Rivers"


def test_closed_gates_are_named(files: list[str]) -> None:
    turn("agentkit_writes")
    turn("legacy_writes", everyone=False)
    ended = call("ingest_rfp", PROJECT, *files)
    assert (ended.code, ended.stdout) == (1, "")
    assert "agentkit_writes" in ended.stderr


def test_uploads_of_the_legacy_application_are_read() -> None:
    scenes.run_sql('CREATE TABLE "Upload" (id text, "projectId" text, kind text, filename text, text text)')
    scenes.run_sql(
        """INSERT INTO "Upload" VALUES
           ('u1', %s, 'rfp', 'call.md', '# Call\n\nThe narrative must not exceed 7 pages.'),
           ('u2', %s, 'rfp', 'scan.pdf', NULL), ('u3', 'other', 'rfp', 'other.md', 'Other')""",
        PROJECT,
        PROJECT,
    )
    ended = call("ingest_rfp", PROJECT, "--uploads", "--format", "json")
    assert (ended.code, ended.stderr.splitlines()[-1]) == (1, "1 file could not be read: scan.pdf.")
    assert {each["name"]: each["error"] for each in ended.json["documents"]} == {
        "call.md": None,
        "scan.pdf": "The upload has no text.",
    }


def test_a_database_without_uploads_says_so() -> None:
    ended = call("ingest_rfp", PROJECT, "--uploads")
    assert ended.code == 1
    assert ended.stderr == 'This database has no table "Upload". Name files instead of --uploads.\n'


def test_a_conflict_is_resolved(files: list[str]) -> None:
    call("ingest_rfp", PROJECT, *files)
    ended = call("resolve_conflict", PROJECT, "project_narrative_pages", "previous")
    assert (ended.code, ended.stdout) == (0, "project_narrative_pages: previous. Changed: rfpNorm, conflictLog.\n")
    unknown = call("resolve_conflict", PROJECT, "nothing", "latest")
    assert unknown.code == 1
    assert unknown.stderr.startswith("No conflict has the key 'nothing'. Choose of: ")


def test_an_item_is_overridden(files: list[str]) -> None:
    call("ingest_rfp", PROJECT, *files)
    item = state.load(PROJECT).eligibility["items"][0]["id"]
    ended = call("override_eligibility", PROJECT, item, "--fatal", "no", "--note", "A fiscal sponsor applies.")
    assert ended.code == 0
    assert ended.stdout.startswith(f"{item}: not fatal. Changed: ")
    assert call("override_eligibility", PROJECT, "nothing", "--fatal", "no", "--note", "Why").code == 1
