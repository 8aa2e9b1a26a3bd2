"""PgBouncer before the server of the tests, in transaction mode unless told otherwise."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import psycopg
import pytest
from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 6432
PGBOUNCER = shutil.which("pgbouncer") or next((path for path in ("/usr/sbin/pgbouncer",) if Path(path).exists()), None)
needs_pooler = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")


class Pooler:
    """A PgBouncer.

    Attributes:
        folder: of its socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, database: str, **parameters: str) -> str:
        """Return the address of a database behind it."""
        query = urlencode({"host": str(self.folder), "port": str(PORT), **parameters}, quote_via=quote)
        user = quote(connection.get_connection_params().get("user", ""), safe="")
        return f"postgres://{user}@/{quote(database)}?{query}"

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True)


@contextmanager
def pooler(*, mode: str = "transaction", size: int = 4) -> Iterator[Pooler]:
    """Run PgBouncer until the end of the block.

    Args:
        mode: ``transaction``, ``session`` or ``statement``.
        size: how many connections to the server it has for each database.
    """
    assert PGBOUNCER is not None
    server = connection.get_connection_params()
    with tempfile.TemporaryDirectory(prefix="agentstate-pooler-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        address = " ".join(f"{key}={server[key]}" for key in ("host", "port", "user", "password") if server.get(key))
        (folder / "users.txt").write_text(f'"{server.get("user", "")}" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"""
            [databases]
            * = {address}
            [pgbouncer]
            unix_socket_dir = {folder}
            listen_addr =
            listen_port = {PORT}
            auth_type = any
            auth_file = {folder}/users.txt
            pool_mode = {mode}
            default_pool_size = {size}
            min_pool_size = 0
            server_reset_query =
            logfile = {folder}/log
            """.replace("            ", "")
        )
        process = subprocess.Popen(
            [PGBOUNCER, folder / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_not_as_root(server),
        )
        try:
            _wait_for(process, folder)
            yield Pooler(folder)
        finally:
            process.kill()
            process.wait(timeout=30)


def _not_as_root(server: dict[str, str]) -> dict[str, int]:
    """Return how to run it: it refuses root, and must reach the server's socket, which may be private."""
    if os.geteuid() != 0:
        return {}
    folder = Path(server.get("host") or "/")
    owner = folder.stat() if folder.is_dir() else None
    user = owner.st_uid if owner and owner.st_uid else pwd.getpwnam("nobody").pw_uid
    return {"user": user, "group": pwd.getpwuid(user).pw_gid}


def _wait_for(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not _listens(folder / f".s.PGSQL.{PORT}"):
        log = folder / "log"
        assert process.poll() is None, log.read_text() if log.exists() else "PgBouncer ended, and left no log."
        assert time.monotonic() < deadline, "PgBouncer did not start."
        time.sleep(0.02)


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0
