"""What is done to a server or to a process in the middle of its work."""

from __future__ import annotations

import os
import random
import shutil
import signal
from contextlib import ExitStack, contextmanager, suppress
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

import psycopg

from tests.faults.injected.server import ROLE
from tests.faults.processes import wait_until
from tests.migrations.databases import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.injected.server import Database
    from tests.forked import Forked

    Fault = Callable[["Database", Callable[[], Forked], float], Result]


def at_the_moment(strike: Callable[[Database, Forked], None]) -> Fault:
    """Return the fault that strikes so many seconds after the start, unless the process has ended before."""

    def fault(database: Database, start: Callable[[], Forked], moment: float) -> Result:
        process = start()
        with suppress(TimeoutExpired):
            process.wait(moment)
        strike(database, process)
        return Result.of(process)

    return fault


def crash(database: Database, process: Forked) -> None:
    database.server.stop("immediate")
    database.server.start()


def restart(database: Database, process: Forked) -> None:
    database.server.stop("fast")
    database.server.start()


def cut(database: Database, process: Forked) -> None:
    database.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")


def cancel(database: Database, process: Forked) -> None:
    database.rows(f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")


def kill(database: Database, process: Forked) -> None:
    process.kill()


def terminate(database: Database, process: Forked) -> None:
    process.send_signal(signal.SIGTERM)


def pause(database: Database, process: Forked) -> None:
    """Stop the process, cut its connections meanwhile, and let it go on."""
    process.send_signal(signal.SIGSTOP)
    cut(database, process)
    process.send_signal(signal.SIGCONT)


def set_clock_back(database: Database, process: Forked) -> None:
    """Set the clock that our statements read back by an hour. The system's own clock stays."""
    database.execute("UPDATE turned.clock SET ahead = interval '-1 hour'")


def statement_timeout(database: Database, start: Callable[[], Forked], moment: float) -> Result:
    with database.set_for_role("statement_timeout", f"{random.randint(1, 40)}ms"):
        return Result.of(start())


def lock_timeout(database: Database, start: Callable[[], Forked], moment: float) -> Result:
    """Keep two projects locked for a while, and let the role wait for locks for a moment only.

    A pass waits for a project that another transaction keeps locked, however long that takes.
    """
    with database.set_for_role("lock_timeout", "30ms"), database.server.connect(database.name) as other:
        with other.transaction():
            other.execute("""SELECT FROM "Project" ORDER BY id DESC LIMIT 2 FOR UPDATE""")
            process = start()
            with suppress(TimeoutExpired):
                process.wait(2 * moment)
        return Result.of(process)


def no_connection_left(database: Database, start: Callable[[], Forked], moment: float) -> Result:
    """Take every connection that the role can have, before the start or in its middle."""
    with ExitStack() as held:
        process = start() if random.random() < 0.7 else None
        if process:
            with suppress(TimeoutExpired):
                process.wait(moment)
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(database.server.connect(database.name, user=ROLE))
        return Result.of(process or start())


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Fill the disk of a folder but for up to half a megabyte, until the end of the block."""
    filler = folder / "filler"
    free = max(shutil.disk_usage(folder).free - random.randint(0, 500_000), 0)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free, 1))
    try:
        yield
    finally:
        filler.unlink()


FAULTS: dict[str, Fault] = {
    "server crashed": at_the_moment(crash),
    "connections cut": at_the_moment(cut),
    "process killed": at_the_moment(kill),
    "process terminated": at_the_moment(terminate),
    "process stopped and cut off": at_the_moment(pause),
    "server restarted": at_the_moment(restart),
    "statements canceled": at_the_moment(cancel),
    "clock set back": at_the_moment(set_clock_back),
    "statement_timeout of the role": statement_timeout,
    "lock_timeout of the role": lock_timeout,
    "max_connections reached": no_connection_left,
}


def wait_until_rolled_back(database: Database) -> None:
    """Wait until the server has noticed the end of the processes."""
    wait_until(lambda: not database.rows(f"SELECT FROM pg_stat_activity WHERE usename = '{ROLE}'"))
