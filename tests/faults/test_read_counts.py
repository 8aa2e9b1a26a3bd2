"""Counts of processes that end, fork and are killed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from agentstate.models import ReadCount
from tests import scenes
from tests.factories import ProjectFactory
from tests.faults.processes import database_url, others_on_the_server, wait_until
from tests.forked import Forked
from tests.project.processes import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

# Reads as often as each line that it is told says; "fork" has a child read once and end.
READER = """
import os, sys
from django.db import connection
from agentstate import state

for line in sys.stdin:
    if line.strip() == "fork":
        connection.close()
        if not os.fork():
            state.load(sys.argv[1])
            sys.exit()
        os.wait()
    else:
        for _ in range(int(line)):
            state.load(sys.argv[1])
    print("done", flush=True)
"""


@pytest.fixture
def reader() -> Iterator[Forked]:
    """A process that reads a project in sync with the gate of shadow reads on."""
    project = ProjectFactory(documents={"facts": "1"}).id
    scenes.forward(project)
    scenes.open_gates(agentkit_shadow_reads=True)
    environment = {**ENVIRONMENT, "DATABASE_URL": database_url()}
    process = Forked(project, environment=environment, program=READER, stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def tell(process: Forked, order: str) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{order}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def counted() -> int:
    return sum(ReadCount.objects.filter(finding="compared").values_list("count", flat=True))


def test_a_process_that_exits_loses_no_count(reader: Forked) -> None:
    tell(reader, "3")
    reader.communicate()
    assert (reader.returncode, counted()) == (0, 3)


def test_a_forked_process_counts_its_own_reads(reader: Forked) -> None:
    tell(reader, "2")
    tell(reader, "fork")
    tell(reader, "1")
    reader.communicate()
    assert (reader.returncode, counted()) == (0, 4)


def test_a_killed_process_loses_at_most_the_last_second(reader: Forked) -> None:
    tell(reader, "7")
    wait_until(lambda: counted() == 7)
    tell(reader, "5")
    reader.kill()
    reader.wait()
    wait_until(lambda: not others_on_the_server())
    assert 7 <= counted() <= 12  # a second may have ended between two of the reads
