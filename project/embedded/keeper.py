"""The keeper: a process that outlives the users of the server, then stops it.

It imports little, so it starts fast.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from project.embedded.account import Account
from project.embedded.locks import Locks, owned, try_to_own

if TYPE_CHECKING:
    from collections.abc import Callable

# Commands that follow one another use the same server.
LINGER_SECONDS = 1.5


def ensure_keeper(locks: Locks, account: Account, socket_folder: Path, stop_command: list[str]) -> None:
    """Start a keeper if there is none. The caller holds the transition lock."""
    descriptor = os.open(locks.keeper, os.O_RDONLY)
    try:
        if try_to_own(descriptor):
            _spawn(descriptor, *map(str, (locks.folder, *account, socket_folder, *stop_command)))
    finally:
        os.close(descriptor)


def _spawn(keeper_lock: int, *arguments: str) -> None:
    """Run this module in a session of its own, which Ctrl-C does not reach.

    The child inherits the lock: it belongs to the open file, not to the process.
    """
    subprocess.run(
        [sys.executable, "-m", "project.embedded.keeper", str(keeper_lock), *arguments],
        check=True,
        cwd=Path(__file__).parents[2],
        pass_fds=[keeper_lock],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stop_when_unused(locks: Locks, keeper_lock: int, stop: Callable[[], None]) -> None:
    while True:
        with owned(locks.users):
            pass
        time.sleep(LINGER_SECONDS)
        with owned(locks.transition):
            users_lock = os.open(locks.users, os.O_RDONLY)
            if try_to_own(users_lock):
                stop()
                # Before the transition ends, or the next process would find a keeper that is about to exit.
                os.close(keeper_lock)
                return
            os.close(users_lock)


def main() -> None:
    keeper_lock, locks_folder, uid, gid, socket_folder, *stop_command = sys.argv[1:]
    if os.fork():
        os._exit(0)  # The process that started the keeper goes on, and has no child to wait for.
    os.chdir("/")

    def stop() -> None:
        subprocess.run(stop_command, check=False, **Account(int(uid), int(gid)).subprocess_options())
        with suppress(OSError):
            Path(socket_folder).rmdir()  # Empty unless it is the data folder: then it was made for the socket.

    stop_when_unused(Locks(Path(locks_folder)), int(keeper_lock), stop)


if __name__ == "__main__":
    main()
