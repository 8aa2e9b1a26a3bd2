"""Every command of the runbook does what the runbook says.

``AGENTSTATE_WRITE_RUNBOOK=1`` writes what the commands print into the document instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.migrations.databases import new_database
from tests.runbook import DOCUMENTS, normalized, run, steps

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_command_prints_what_the_runbook_shows(document: Path) -> None:
    text = document.read_text()
    found = list(steps(text))
    assert len([step for step in found if step.command]) == text.count("```console")
    writes = bool(os.environ.get("AGENTSTATE_WRITE_RUNBOOK"))
    with new_database() as database:
        for step in found:
            output = run(step, database)
            if writes and step.command:
                block = f"```console\n$ {step.command}\n"
                text = text.replace(f"{block}{step.output}```", f"{block}{tidy(output)}```", 1)
                document.write_text(text)
            elif step.command:
                assert normalized(output) == normalized(step.output), step.command


def tidy(output: str) -> str:
    """Return output by a made-up operator, without spaces at the ends of lines, which a terminal does not show."""
    output = re.sub(r"[\w.-]+@[\w.-]+\w", "ada@ops", output)
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    return "".join(f"{line}\n" for line in lines)
