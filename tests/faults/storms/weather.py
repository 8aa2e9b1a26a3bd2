"""A storm: writers in processes of their own, which are killed, and what they were promised."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.faults.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.forked import Forked
    from tests.migrations.databases import Result

# The server's clock as a storm may turn it: a function that every unqualified call finds before PostgreSQL's own.
TURNED_CLOCK = """
    CREATE SCHEMA turned;
    CREATE TABLE turned.clock AS SELECT interval '0' AS ahead;
    CREATE FUNCTION turned.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        RETURN (SELECT pg_catalog.clock_timestamp() + ahead FROM turned.clock)"""

# Every text that stands anywhere in our tables or in the columns.
EVERY_DOCUMENT = """
    SELECT document FROM "Project", LATERAL (VALUES
        ("rfpNormJson" #>> '{}'), ("factsJson" #>> '{}'), ("coverageJson" #>> '{}'), ("conflictLogJson" #>> '{}'),
        ("eligibilityJson" #>> '{}')) columns (document) WHERE document IS NOT NULL
    UNION
    SELECT value #>> '{}' FROM "AgentWorkflowRun", jsonb_each(result -> 'state')
    UNION
    SELECT value #>> '{}' FROM "AgentWorkflowRunEvent", jsonb_each(payload)
    WHERE type IN ('state.changed', 'storm.blew')
    UNION
    SELECT entry ->> 'content' FROM "AgentSession", jsonb_array_elements(transcript_json) entry"""

# A row for each other connection of the database that does something.
BUSY = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND state <> 'idle'"""


class Place(NamedTuple):
    """A document of a project."""

    project: str
    key: str


@dataclass
class Promises:
    """What writers were acknowledged, and what they were about to write when they were killed."""

    count: int = 0
    _lines: dict[str, str] = field(default_factory=dict)  # by document: the line that acknowledged that it is kept
    _tried: dict[str, Place] = field(default_factory=dict)  # by document: where it was about to be written
    _newest: dict[Place, tuple[str, str]] = field(default_factory=dict)  # by place: the newest clock, its document
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, line: str) -> None:
        """Take a line that a worker printed."""
        kind, document, *more = line.rstrip("\n").split("\t")
        with self._lock:
            if kind == "tries":
                self._tried[document] = Place(*more)
                return
            self.count += 1
            if kind == "kept" and document:
                self._lines[document] = line.strip()
            if more:
                place = Place(*more[:2])
                self._tried.pop(document, None)
                self._newest[place] = max(self._newest.get(place, ("", "")), (more[2], document))

    def assert_kept(self, documents: set[str]) -> None:
        """Check that every acknowledged document is somewhere.

        What only the columns held, and the next writer of the columns overwrote, no application ever promised to keep.
        That writer may have been killed before it could say so.
        """
        lost = [line for document, line in self._lines.items() if document not in documents]
        in_doubt = set(self._tried.values())
        lost += [
            f"{place} {newest}"
            for place, newest in self._newest.items()
            if newest[1] not in documents and place not in in_doubt
        ]
        assert not lost, "\n".join(["lost:", *lost])


class Writer:
    """A process that writes until it is killed, and a thread that takes what it acknowledges."""

    def __init__(self, process: Forked, take: Callable[[str], None]) -> None:
        self._process = process
        self._listener = threading.Thread(target=self._listen, args=(take,))
        self._listener.start()

    def _listen(self, take: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # half a line is no acknowledgement
                take(line)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> str:
        """End it as a crash would, and return what it wrote to standard error."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.kill()
        self._process.wait(timeout=30)
        self._listener.join(timeout=30)
        with self._process.stdout, self._process.stderr as stderr:
            return stderr.read()


class Storm:
    """Writers of a database.

    Args:
        start: starts ``manage.py`` on the database.
        seed: of everything that is left to chance.
    """

    def __init__(self, start: Callable[..., Forked], seed: int) -> None:
        self.promises, self.faults = Promises(), Counter[str]()
        self._start, self._chance = start, random.Random(seed)
        self._seeds = itertools.count(seed * 10_000)
        self._writers: list[Writer] = []

    def add_writer(self, *acts: str) -> None:
        """Start a writer that does these things at random; see the methods of ``worker.Worker``."""
        program = f"from tests.faults.storms.worker import work; work({next(self._seeds)}, {acts!r})"
        self._writers.append(Writer(self._start("shell", "-v0", "-c", program), self.promises.take))

    def kill_one(self) -> None:
        """End one of the writers as a crash would."""
        self._writers.pop(self._chance.randrange(len(self._writers))).kill()
        self.faults["killed writers"] += 1

    def wait_for_promises(self, number: int) -> None:
        """Wait until so many more writes were acknowledged, while no writer fails."""
        wanted = self.promises.count + number
        wait_until(lambda: self.promises.count >= wanted or any(writer.has_ended for writer in self._writers), 120)
        for writer in [writer for writer in self._writers if writer.has_ended]:
            self._writers.remove(writer)
            raise AssertionError(writer.kill())

    def kill_all(self) -> None:
        """End all writers as a crash would, and take what they have said."""
        while self._writers:
            self._writers.pop().kill()


PREPARE = "from tests.faults.storms.worker import prepare; prepare()"


@contextmanager
def storm_over(start: Callable[..., Forked], seed: int) -> Iterator[Storm]:
    """Let a storm loose on a database; its writers are gone in the end."""
    storm = Storm(start, seed)
    try:
        yield storm
    finally:
        storm.kill_all()


def assert_all_is_well(
    rows: Callable[[str], list[tuple[str, ...]]], manage: Callable[..., Result], promises: Promises
) -> None:
    """Check that nothing was lost, that both homes agree, and that passes have nothing left to do."""

    def documents() -> set[str]:
        return {document for (document,) in rows(EVERY_DOCUMENT)}

    # What a killed writer had begun to write may end only now.
    wait_until(lambda: not rows(BUSY), 120)
    promises.assert_kept(documents())
    for command in (
        ("backfill_agentkit_state", "--prefer", "agentkit", "--all"),
        ("reverse_backfill_agentkit_state",),
    ):
        settled = manage(*command)
        assert (settled.code, settled.err.count("Traceback")) == (0, 0), settled.err
    promises.assert_kept(documents())
    verified = manage("verify_agentkit_state")
    assert (verified.code, verified.out.splitlines()[-1]) == (0, "Clean."), verified.out
    again = manage("backfill_agentkit_state", "--format", "json")
    assert (again.code, json.loads(again.out)["candidates"]) == (0, 0)
