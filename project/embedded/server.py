"""Share the server of a data folder between processes."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from project.embedded import postgres
from project.embedded.errors import EmbeddedPostgresError
from project.embedded.folders import open_folders_above
from project.embedded.keeper import ensure_keeper
from project.embedded.locks import Locks, owned, share

if TYPE_CHECKING:
    from pathlib import Path

_memberships: dict[Path, int] = {}
_one_thread = threading.Lock()


def use_server(data_dir: Path, *, may_open_folders: bool) -> Path:
    """Return the folder of the server's socket. The server runs until this process has ended.

    Raises:
        EmbeddedPostgresError: no server is running, and none can be started.
    """
    data_dir = data_dir.resolve()
    pgdata = data_dir / "postgres"
    with _one_thread:
        running = postgres.socket_folder_of_running(pgdata) if data_dir in _memberships else None
        return running or _join(data_dir, pgdata, may_open_folders)


def _join(data_dir: Path, pgdata: Path, may_open_folders: bool) -> Path:
    """Register as a user of the server, then start the keeper and the server if they are missing."""
    if os.geteuid() == 0:
        open_folders_above([pgdata, postgres.PROGRAMS], may_open_homes=may_open_folders)
    locks = Locks(data_dir / "locks")
    try:
        _make_folder(data_dir)
        locks.create()
        with owned(locks.transition):
            if data_dir not in _memberships:
                _memberships[data_dir] = share(locks.users)
            account = postgres.server_account()
            ensure_keeper(locks, account, postgres.socket_folder_for(pgdata), postgres.stop_command(pgdata))
            return postgres.socket_folder_of_running(pgdata) or postgres.start(pgdata, account)
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL may not use {error.filename or data_dir}: "
            "set AGENTSTATE_DATA_DIR to a folder of your own, or DATABASE_URL to use another server."
        ) from error


def _make_folder(data_dir: Path) -> None:
    if not data_dir.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        # Whatever the umask is: the server may run as another user. Private files have modes of their own.
        data_dir.chmod(0o755)
