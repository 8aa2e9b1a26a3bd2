"""Locks between processes, which the kernel takes from a process that ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Locks:
    """The lock files of one server; the package says what each is for."""

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
    """Take a part in the lock. It ends with the returned file descriptor, so with the process at the latest."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def try_to_own(descriptor: int) -> bool:
    """Take the lock alone, if nobody else has a part in it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Hold the lock alone, after waiting for those who have it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
