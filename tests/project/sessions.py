"""A process of `manage.py` that stays connected."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from tests.forked import Forked
from tests.project.processes import ENVIRONMENT, SERVER

if TYPE_CHECKING:
    from pathlib import Path

# Answers a line with a line, for as long as it is asked.
STAY = f"""
import os, sys
{SERVER}
os.setsid()
print(*server(), flush=True)
for line in sys.stdin:
    connection.close()
    print(*server(), flush=True)
"""


class Session:
    """A `manage.py` that stays connected until a test ends it.

    Attributes:
        server: what it first said of its server.
    """

    def __init__(self, data_dir: Path) -> None:
        environment = {**ENVIRONMENT, "AGENTSTATE_DATA_DIR": str(data_dir)}
        self.process = Forked("shell", "-v0", "-c", STAY, environment=environment, stdin=subprocess.PIPE)
        self.server = self._answer()

    @classmethod
    def several(cls, number: int, data_dir: Path) -> list[Session]:
        """Start so many at once."""
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(cls, [data_dir] * number))

    def ask(self) -> str:
        stdin = self._open(self.process.stdin)
        stdin.write("\n")
        stdin.flush()
        return self._answer()

    def leave(self) -> None:
        self._open(self.process.stdin).close()
        self._end()

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        self._end()

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def _answer(self) -> str:
        answer = self._open(self.process.stdout).readline().strip()
        assert answer, self._open(self.process.stderr).read()
        return answer

    def _end(self) -> None:
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            self._open(stream).close()

    def _open(self, stream: IO[str] | None) -> IO[str]:
        assert stream
        return stream
