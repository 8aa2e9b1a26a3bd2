"""Read files in child processes with limits on time and memory: a hostile file ends its reader, not the run."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from agentstate.intake.reading import MAX_BYTES, ReadFile, SourceFile, read, unread

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What reading one file may take.

    Attributes:
        seconds: of wall-clock time, and of CPU time.
        megabytes: of address space, beyond what the process has at its start.
    """

    seconds: float = 30
    megabytes: int = 600


def load(path: Path) -> SourceFile:
    """Load a file, up to one byte more than may be read. Raise OSError where the system does.

    Bytes of its name that are not UTF-8 become question marks.
    """
    with path.open("rb") as file:
        return SourceFile(path.name.encode("utf-8", "replace").decode(), file.read(MAX_BYTES + 1))


def read_files(
    sources: Iterable[SourceFile], limits: Limits | None = None, progress: Callable[[ReadFile], None] | None = None
) -> list[ReadFile]:
    """Read files, each within the limits. One that cannot be read has an error, and the others are read.

    Args:
        sources: the files, in any order, asked for one by one.
        limits: of each file.
        progress: called with each result as it comes.

    Returns:
        One result for each file, in the same order.
    """
    results = []
    with _Reader(limits or Limits()) as reader:
        for source in sources:
            result = reader.read(source)
            results.append(result)
            if progress is not None:
                progress(result)
    return results


class _Reader:
    """A child process that reads one file after another, and is replaced when one ends it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # Spawned: a fork of a process with threads or database connections would take them along.
        self.context = multiprocessing.get_context("spawn")
        self.child: BaseProcess | None = None
        self.pipe: Connection | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def read(self, source: SourceFile) -> ReadFile:
        if len(source.data) > MAX_BYTES:
            return read(source)  # it is refused before it is parsed
        if self.child is None:
            self._start()
        assert self.pipe is not None  # noqa: S101 - _start has made it
        try:
            self.pipe.send(source)
            if self.pipe.poll(self.limits.seconds):
                result = self.pipe.recv()
                if isinstance(result, ReadFile):
                    return result
            reason = f"Reading it took more than {self.limits.seconds:g} s. Save it again, or as text."
        except (EOFError, OSError):
            reason = f"Reading it ended the reader: it needs more than {self.limits.megabytes} MB, or is damaged."
        self._end()
        return unread(source, reason)

    def _start(self) -> None:
        self.pipe, theirs = self.context.Pipe()
        self.child = self.context.Process(target=_serve, args=(theirs, self.limits), daemon=True)
        self.child.start()
        theirs.close()
        # Starting is not reading: the child says when it is ready.
        if self.pipe.poll(60):
            self.pipe.recv()

    def _end(self) -> None:
        if self.pipe is not None:
            self.pipe.close()
        if self.child is not None:
            self.child.join(0.2)
            if self.child.is_alive():
                self.child.kill()
            self.child.join()
        self.child = self.pipe = None


def _serve(pipe: Connection, limits: Limits) -> None:
    """Read what comes through the pipe until it is closed. Whoever started this may have been killed."""
    _limit_memory(limits.megabytes)
    with suppress(BrokenPipeError, ConnectionResetError):
        pipe.send("ready")
        _answer(pipe)


def _answer(pipe: Connection) -> None:
    for source in _received(pipe):
        try:
            result = read(source)
        except (MemoryError, RecursionError) as error:
            result = unread(source, f"Reading it failed: {type(error).__name__}. Save it again, or as text.")
        except Exception as error:
            result = unread(source, f"Reading it failed: {type(error).__name__}: {error}"[:300])
        pipe.send(result)


def _received(pipe: Connection) -> Iterator[SourceFile]:
    while True:
        try:
            yield pipe.recv()
        except (EOFError, OSError):
            return


def _limit_memory(megabytes: int) -> None:
    """Bound the address space. Where the system has no such limit, time alone bounds the reader."""
    if not sys.platform.startswith("linux"):
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    bound = pages * resource.getpagesize() + megabytes * MEGABYTE
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
