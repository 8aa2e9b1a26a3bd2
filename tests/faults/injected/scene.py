"""The server, and what was run on it undisturbed: what a disturbed run is held against."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.faults.injected.faults import wait_until_rolled_back
from tests.faults.injected.subjects import SUBJECTS
from tests.faults.storms.weather import TURNED_CLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.injected.faults import Fault
    from tests.faults.injected.server import Database, Server
    from tests.faults.injected.subjects import Subject
    from tests.migrations.databases import Result

PROJECTS = 60


class Undisturbed(NamedTuple):
    """A subject on a template of its own: how it ended, how long it took, and what it left."""

    template: Database
    code: int
    seconds: float
    outcome: Any


class Scene:
    """The server, and the subjects that have run on it undisturbed."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self._call, self._archive = server, folder / "call", folder / "archive"
        self._undisturbed: dict[str, Undisturbed] = {}
        self.base = server.database()
        for command in (("migrate", "-v0"), ("seed_legacy_projects", "--count", str(PROJECTS), "--seed", "1")):
            self._do(self.base, command)
        self.base.execute(TURNED_CLOCK)
        self.base.execute("GRANT USAGE ON SCHEMA turned TO PUBLIC; GRANT SELECT ON turned.clock TO PUBLIC")
        self._do(self.base, ("make_sample_call", str(self._call)))

    def undisturbed(self, name: str) -> Undisturbed:
        if name not in self._undisturbed:
            subject, template = SUBJECTS[name], self.server.database(self.base.name)
            for step in subject.prepare:
                if step[0] == "sql":
                    template.execute(step[1])
                else:
                    self._do(template, step)
            with self.copy(template) as database:
                began = time.monotonic()
                result = self.run(subject, database)
                seconds = time.monotonic() - began
                assert "Traceback" not in result.err, result.err
                self._undisturbed[name] = Undisturbed(template, result.code, seconds, subject.outcome(database))
        return self._undisturbed[name]

    @contextmanager
    def copy(self, template: Database, tablespace: str = "pg_default") -> Iterator[Database]:
        wait_until_rolled_back(template)
        database = self.server.database(template.name, tablespace)
        # New tables go into the first of these, and there is no other function of that name in it.
        database.execute(f"ALTER DATABASE {database.name} SET search_path = public, turned, pg_catalog")
        try:
            yield database
        finally:
            self.server.drop(database)

    def run(self, subject: Subject, database: Database) -> Result:
        return database.manage(*self.words(subject.command))

    def words(self, command: tuple[str, ...]) -> list[str]:
        """Return the words of a command, with the files that it names in their place."""
        places = {"{archive}": [self._archive], "{archives}": self._archive.glob("*"), "{call}": self._call.glob("*")}
        return [word for part in command for word in (map(str, sorted(places[part])) if part in places else [part])]

    def _do(self, database: Database, command: tuple[str, ...]) -> None:
        done = database.manage(*self.words(command))
        assert (done.code, done.err.count("Traceback")) == (0, 0), done.err

    def disturb(self, name: str, fault: Fault, tablespace: str = "pg_default") -> None:
        """Run a subject, let the fault strike, and check what must hold then and after a repetition."""
        subject, undisturbed = SUBJECTS[name], self.undisturbed(name)
        with self.copy(undisturbed.template, tablespace) as database:
            moment = random.uniform(0, undisturbed.seconds)
            disturbed = fault(database, lambda: database.start(*self.words(subject.command)), moment)
            wait_until_rolled_back(database)

            story = f"{name}, after {moment:.3f} s: {disturbed.code} {disturbed.err}"
            if not subject.is_application:
                assert "Traceback" not in disturbed.err, story
                is_explained = disturbed.err or disturbed.out or disturbed.code < 0
                assert is_explained or disturbed.code == undisturbed.code, story
            subject.holds(database, disturbed)
            repeated = self.run(subject, database)
            assert repeated.code in (undisturbed.code, subject.when_done), (story, repeated.err)
            assert "Traceback" not in repeated.err, (story, repeated.err)
            assert subject.outcome(database) == undisturbed.outcome, story
