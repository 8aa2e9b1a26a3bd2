"""Locks between processes. The kernel releases those of a process that ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Locks:
    """The lock files of one server. The package's docstring describes each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.users = folder / "users"
        self.keeper = folder / "keeper"
        self.transition = folder / "transition"

    def create(self) -> None:
        self.folder.mkdir(exist_ok=True)
        for path in (self.users, self.keeper, self.transition):
            path.touch()


def share(path: Path) -> int:
    """Share the lock until the returned file descriptor is closed, at the latest when the process ends."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def try_to_own(descriptor: int) -> bool:
    """Take the lock exclusively if no other process holds or shares it; return whether that succeeded."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Hold the lock exclusively. Waits for the processes that hold or share it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
