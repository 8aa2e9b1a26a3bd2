"""One writer of a storm: does random things with a few projects until it is killed, and reports what succeeded.

Runs in a process of its own. Each line that it prints says what it is about to write, or acknowledges what the
database must hold from then on. Documents are unique strings, so that each can be found again.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse as url_of

from agentstate import sessions, state
from agentstate.backfill import OtherDirectionRunning, PassOptions, run_pass
from agentstate.models.passes import Direction
from agentstate.recording import record
from agentstate.state import ProjectNotFound
from agentstate.state.keys import STATE_KEYS
from tests.flags import turn

if TYPE_CHECKING:
    from collections.abc import Callable

# By the homes that their saves go into. Of each kind, the last project is deleted and restored again and again.
BOTH, AGENTKIT, LEGACY = (tuple(f"{kind}-{number}" for number in range(3)) for kind in ("both", "agentkit", "legacy"))
PROJECTS = (*BOTH, *AGENTKIT, *LEGACY)
RESTORED = (BOTH[-1], AGENTKIT[-1], LEGACY[-1])
LASTING = tuple(project for project in PROJECTS if project not in RESTORED)
MEMORY = "storm"

# Seconds that the server's clock may be ahead, once the storm turns it.
MOST_AHEAD = 3600


def prepare() -> None:
    """Make the projects, and open for each kind the gates that it is named for."""
    with connection.cursor() as cursor:
        for project in PROJECTS:
            cursor.execute(
                'INSERT INTO "Project" (id, "userId", name) VALUES (%s, %s, %s)', [project, "user", project]
            )
    turn("agentkit_writes", project_ids=[*BOTH, *AGENTKIT])
    turn("legacy_writes", percent=0, project_ids=[*BOTH, *LEGACY])
    turn("agentkit_reads", project_ids=[*AGENTKIT])


def work(seed: int, acts: tuple[str, ...]) -> None:
    """Do what the names in ``acts`` say, at random, for ever."""
    worker = Worker(seed)
    by_name: dict[str, Callable[[], None]] = {name: getattr(worker, name) for name in acts}
    while True:
        by_name[worker.chance.choice(acts)]()


class Worker:
    """What a writer can do."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._name, self._documents = f"w{seed}", 0

    def save(self) -> None:
        """Save a document as the runtime does."""
        project, document = self.chance.choice(PROJECTS), self._document()
        key = self.chance.choice(STATE_KEYS)
        _report("tries", document, project, key.name)
        try:
            saved = state.save(project, **{key.attribute: document})
        except ProjectNotFound:
            return  # it is being restored
        _report("kept" if saved.run_id else "written", document, project, key.name, str(saved.at))

    def record(self) -> None:
        """Record a run that saves, and an event of it."""
        project, first, second = self.chance.choice([*BOTH, *AGENTKIT]), self._document(), self._document()
        key = self.chance.choice(STATE_KEYS)
        try:
            with record("storm", project) as run:
                run.event("storm.blew", {"document": first})
                _report("kept", first)
                _report("tries", second, project, key.name)
                saved = run.save(**{key.attribute: second})
                _report("kept", second, project, key.name, str(saved.at))
        except (ProjectNotFound, state.UnsuitableRun) as error:
            if project not in RESTORED:
                raise AssertionError(f"{project} was never deleted") from error

    def append(self) -> None:
        """Add an entry to a conversation."""
        project, document = self.chance.choice(LASTING), self._document()
        sessions.append(sessions.open_for(project, memory_id=MEMORY), "user", document)
        _report("kept", document)

    def browse(self) -> None:
        """Open a list and a search of the admin, which have time limits."""
        client = Client(SERVER_NAME="localhost")
        client.force_login(get_user_model().objects.get_or_create(username="ada", is_superuser=True, is_staff=True)[0])
        for query in ({}, {"q": "storm"}):
            assert client.get(url_of("admin:agentstate_agentworkflowrun_changelist"), query).status_code == 200

    def write(self) -> None:
        """Write a column as the legacy application does."""
        project, document = self.chance.choice(PROJECTS), self._document()
        key = self.chance.choice(STATE_KEYS)
        _report("tries", document, project, key.name)
        with connection.cursor() as cursor:
            cursor.execute(
                f'UPDATE "Project" SET "{key.column}" = to_jsonb(%s::text) WHERE id = %s RETURNING "stateUpdatedAt"',
                [document, project],
            )
            written = cursor.fetchone()
        if written:
            _report("written", document, project, key.name, str(written[0]))

    def restore(self) -> None:
        """Delete a project and put its row back as it was, clock included: its runs become orphans."""
        project = self.chance.choice(RESTORED)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                'CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM "Project" WHERE id = %s FOR UPDATE', [project]
            )
            # Where another writer has just restored it, the row that was waited for is gone, and nothing is kept.
            cursor.execute('DELETE FROM "Project" WHERE id IN (SELECT id FROM kept)')
            cursor.execute('INSERT INTO "Project" SELECT * FROM kept')

    def move(self) -> None:
        """Run a pass of either direction."""
        try:
            run_pass(PassOptions(self.chance.choice(list(Direction)), batch_size=4))
        except OtherDirectionRunning:
            return

    def rest(self) -> None:
        """Keep the connection open."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        _report("kept", "")
        time.sleep(600)

    def turn_clock(self) -> None:
        """Set the server's clock ahead, or back to what it was ahead before."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE turned.clock SET ahead = make_interval(secs => %s)", [self.chance.randint(0, MOST_AHEAD)]
            )

    def _document(self) -> str:
        self._documents += 1
        return f"{self._name}:{self._documents}"


def _report(*words: str) -> None:
    print("\t".join(words), flush=True)  # noqa: T201
