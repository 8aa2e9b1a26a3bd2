"""docs/commands.md shows what the commands print, and names every option.

``AGENTSTATE_WRITE_COMMANDS=1`` writes what the commands print into the document instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from tests.migrations.databases import new_database
from tests.runbook import normalized, run, steps
from tests.test_runbook import tidy

COMMANDS = Path(__file__).parents[1] / "docs" / "commands.md"
SECONDS = re.compile(r'"seconds": [\d.]+|\b\d+\.\d seconds\b')
OURS = {
    "agentstate": [
        "agentkit_left_aside",
        "agentkit_pass",
        "agentkit_rollout",
        "agentkit_token",
        "backfill_agentkit_state",
        "close_stale_runs",
        "ingest_rfp",
        "load_agentkit_archive",
        "override_eligibility",
        "prune_agentkit_history",
        "resolve_conflict",
        "resume_waiting_runs",
        "reverse_backfill_agentkit_state",
        "verify_agentkit_state",
        "waffle_flag",
    ],
    "agentstate.samples": ["make_live_runs", "make_sample_call", "seed_legacy_projects"],
}


@pytest.mark.django_db
def test_every_command_prints_what_the_document_shows() -> None:
    text = COMMANDS.read_text()
    found = list(steps(text))
    assert len([step for step in found if step.command]) == text.count("```console")
    writes = bool(os.environ.get("AGENTSTATE_WRITE_COMMANDS"))
    with new_database() as database:
        for step in found:
            output = run(step, database)
            if writes and step.command:
                block = f"```console\n$ {step.command}\n"
                text = text.replace(f"{block}{step.output}```", f"{block}{tidy(output)}```", 1)
                COMMANDS.write_text(text)
            elif step.command:
                assert _fixed(output) == _fixed(step.output), step.command


def _fixed(output: str) -> list[str]:
    return normalized(SECONDS.sub("SECONDS", output))


@pytest.mark.parametrize(("app", "name"), [(app, name) for app, names in OURS.items() for name in names])
def test_every_option_is_named(app: str, name: str) -> None:
    text = COMMANDS.read_text()
    assert f"`{name}`" in text
    if name == "waffle_flag":
        return  # waffle documents its own
    command = load_command_class(app, name)
    parser = command.create_parser("manage.py", name)
    common = {option for action in BaseCommand().create_parser("", "")._actions for option in action.option_strings}
    options = {option for action in parser._actions for option in action.option_strings} - common
    for option in options - {"--help", "-h"}:
        assert option in text, f"{name} {option}"


def test_every_command_is_in_the_list() -> None:
    folder = Path(__file__).parents[1] / "agentstate"
    for app, names in OURS.items():
        commands = folder.parent / app.replace(".", "/") / "management" / "commands"
        assert set(names) >= {path.stem for path in commands.glob("[a-z]*.py")}
