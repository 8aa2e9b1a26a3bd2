"""After any fault no state is lost, no row is half written, the error is clear, and a retry completes the work."""

from __future__ import annotations

import random
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.faults.injected.faults import FAULTS, full_disk, wait_until_rolled_back
from tests.faults.injected.server import Server
from tests.faults.injected.subjects import SUBJECTS
from tests.faults.storms.conftest import profile
from tests.faults.storms.weather import TURNED_CLOCK
from tests.migrations.databases import Result
from tests.project.conftest import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.injected.faults import Fault
    from tests.faults.injected.server import Database
    from tests.faults.injected.subjects import Subject
    from tests.faults.storms.conftest import Profile
    from tests.forked import Forked

__all__ = ["profile", "scratch"]

PROJECTS = 60
DISK = 96  # megabytes
FULL = "disk full"


class Undisturbed(NamedTuple):
    """A subject on a template of its own: how it ended, how long it took, and what it left."""

    template: Database
    code: int
    seconds: float
    outcome: Any


class Scene:
    """The server, and the subjects that have run on it undisturbed."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self._folder = server, folder
        self._undisturbed: dict[str, Undisturbed] = {}
        self._base = server.database()
        for command in (("migrate", "-v0"), ("seed_legacy_projects", "--count", str(PROJECTS), "--seed", "1")):
            self._do(self._base, command)
        self._base.execute(TURNED_CLOCK)
        self._base.execute("GRANT USAGE ON SCHEMA turned TO PUBLIC; GRANT SELECT ON turned.clock TO PUBLIC")
        self.call = folder / "call"
        self._do(self._base, ("make_sample_call", str(self.call)))

    def undisturbed(self, name: str) -> Undisturbed:
        if name not in self._undisturbed:
            subject, template = SUBJECTS[name], self.server.database(self._base.name)
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
        database.execute(f"ALTER DATABASE {database.name} SET search_path = turned, pg_catalog, public")
        try:
            yield database
        finally:
            self.server.drop(database)

    def command(self, subject: Subject) -> list[str]:
        """Return the command, with the files of a call for proposals in their place."""
        files = [str(path) for path in sorted(self.call.iterdir())]
        return [word for part in subject.command for word in (files if part == "{call}" else [part])]

    def run(self, subject: Subject, database: Database) -> Result:
        return database.manage(*self.command(subject))

    def _do(self, database: Database, command: tuple[str, ...]) -> None:
        done = database.manage(*command)
        assert (done.code, done.err.count("Traceback")) == (0, 0), done.err

    def disturb(self, name: str, fault: Fault, tablespace: str = "pg_default") -> None:
        """Run a subject, let the fault strike, and check what must hold then and after a repetition."""
        subject, undisturbed = SUBJECTS[name], self.undisturbed(name)
        with self.copy(undisturbed.template, tablespace) as database:
            moment = random.uniform(0, undisturbed.seconds)
            disturbed = fault(database, lambda: database.start(*self.command(subject)), moment)
            wait_until_rolled_back(database)

            story = f"{name}, after {moment:.3f} s: {disturbed.code} {disturbed.err}"
            if not subject.is_application:
                assert "Traceback" not in disturbed.err, story
                is_explained = disturbed.err or disturbed.out or disturbed.code < 0
                assert is_explained or disturbed.code == undisturbed.code, story
            subject.holds(database, disturbed)
            repeated = self.run(subject, database)
            assert (repeated.code, repeated.err.count("Traceback")) == (undisturbed.code, 0), (story, repeated.err)
            assert subject.outcome(database) == undisturbed.outcome, story


@pytest.fixture(scope="module")
def scene(scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    server = Server(scratch / "injected")
    yield Scene(server, tmp_path_factory.mktemp("injected"))
    server.stop("fast")


@pytest.fixture(scope="module")
def small_disk(scene: Scene, scratch: Path) -> Iterator[Path]:
    """A disk of its own, with the tablespace ``small``. The server's log of transactions is on another one."""
    folder = scratch / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("No file system can be mounted here: run as root.")
    try:
        place = folder / "space"
        place.mkdir()
        subprocess.run(["chown", f"{scene.server.account.uid}:{scene.server.account.gid}", place], check=True)
        scene.server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        scene.server.execute("GRANT CREATE ON TABLESPACE small TO PUBLIC")
        yield folder
        scene.server.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", folder], check=True)


def some(profile: Profile, number: int) -> list[str]:
    """Return the names of all subjects several times, or of a few by chance."""
    return [*SUBJECTS] * number if profile.every else [random.Random(profile.seed).choice([*SUBJECTS])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault" in metafunc.fixturenames:
        is_long = metafunc.config.getoption("storms") == "long"
        metafunc.parametrize("fault", [*FAULTS] if is_long else [*FAULTS][:3])


def test_a_fault_loses_nothing(scene: Scene, fault: str, profile: Profile) -> None:
    for name in some(profile, 3):
        scene.disturb(name, FAULTS[fault])
        profile.report({f"faults: {fault}": 1})


def test_a_full_disk_loses_nothing(scene: Scene, small_disk: Path, profile: Profile) -> None:
    def fill(database: Database, start: Callable[[], Forked], moment: float) -> Result:
        with full_disk(small_disk):
            return Result.of(start())

    for name in some(profile, 2):
        scene.disturb(name, fill, tablespace="small")
        profile.report({f"faults: {FULL}": 1})
