"""The embedded PostgreSQL, in real processes."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from project.embedded.postgres import PORT, server_account, socket_folder_for, socket_folder_of_running
from tests.project.processes import (
    ASK,
    CLONE,
    ENVIRONMENT,
    SERVER,
    Manage,
    ask,
    is_gone,
    processes_of,
    wait_until,
)
from tests.project.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Iterator


def pid_of_server(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def keepers_of(data_dir: Path) -> list[int]:
    return [each.pid for each in processes_of(data_dir) if "project.embedded.keeper" in each.info["cmdline"]]


@pytest.fixture(scope="module")
def folders_of_the_gone() -> Iterator[list[Path]]:
    folders: list[Path] = []
    yield folders
    assert [folder for folder in folders if not is_gone(folder)] == []


@pytest.fixture
def gone_later(data_dir: Path, folders_of_the_gone: list[Path]) -> None:
    """Expect this test's server to end, while other tests run."""
    folders_of_the_gone.append(data_dir)


def test_starts_nothing_for_a_command_without_a_database(manage: Manage, data_dir: Path) -> None:
    assert manage("check").returncode == 0
    assert manage("--help").returncode == 0
    assert not data_dir.exists()


def test_is_made_on_the_first_connection_and_gone_soon_after_the_last_process(manage: Manage, data_dir: Path) -> None:
    assert ask(manage).startswith("agentstate ")
    assert is_gone(data_dir)
    assert (data_dir / "postgres" / "PG_VERSION").exists()


@pytest.mark.usefixtures("made", "gone_later")
def test_is_shared_and_survives_the_exit_of_one_process(manage: Manage, data_dir: Path) -> None:
    first, second = Session(data_dir), Session(data_dir)
    assert first.server == second.server == ask(manage)
    second.leave()
    assert not wait_until(lambda: not processes_of(data_dir), seconds=2.5)
    assert first.ask() == first.server
    first.leave()


@pytest.mark.usefixtures("made")
def test_is_gone_after_its_only_process_is_killed(data_dir: Path) -> None:
    Session(data_dir).kill()
    assert is_gone(data_dir)


@pytest.mark.usefixtures("made", "gone_later")
def test_survives_the_killing_of_one_process(data_dir: Path) -> None:
    first, second = Session(data_dir), Session(data_dir)
    first.kill()
    assert not wait_until(lambda: not processes_of(data_dir), seconds=2.5)
    assert second.ask() == second.server
    second.leave()


@pytest.mark.usefixtures("made", "gone_later")
def test_survives_ctrl_c_in_the_terminal_of_the_process_that_started_it(data_dir: Path) -> None:
    first, second = Session(data_dir), Session(data_dir)
    first.interrupt()
    assert second.ask() == second.server
    second.leave()


@pytest.mark.usefixtures("made", "gone_later")
def test_has_a_new_keeper_after_the_killing_of_the_old_one(manage: Manage, data_dir: Path) -> None:
    session = Session(data_dir)
    [keeper] = keepers_of(data_dir)
    os.kill(keeper, signal.SIGKILL)
    session.leave()
    assert ask(manage) == session.server


@pytest.mark.usefixtures("made", "gone_later")
def test_starts_again_after_the_server_was_killed(manage: Manage, data_dir: Path) -> None:
    session = Session(data_dir)
    os.kill(pid_of_server(data_dir), signal.SIGKILL)
    session.leave()
    assert ask(manage) not in ("", session.server)


@pytest.mark.usefixtures("made")
def test_starts_after_a_power_cut_when_its_process_id_is_used_again(manage: Manage, data_dir: Path) -> None:
    session = Session(data_dir)
    pid_file = data_dir / "postgres" / "postmaster.pid"
    before = pid_file.read_text().splitlines()
    session.leave()
    assert is_gone(data_dir)
    with ExitStack() as stack:
        stranger = subprocess.Popen(["sleep", "600"], **server_account().subprocess_options())
        stack.callback(stranger.wait)
        stack.callback(stranger.kill)
        for left in (pid_file, pid_file.with_name(".s.PGSQL.5432.lock")):
            left.write_text("\n".join([str(stranger.pid), *before[1:]]) + "\n")
        assert ask(manage).startswith("agentstate ")
        assert stranger.poll() is None


def test_is_made_once_by_processes_that_start_together(data_dir: Path) -> None:
    together = Session.several(4, data_dir)
    assert len({session.server for session in together}) == 1
    assert together[0].server.startswith("agentstate ")
    for session in together:
        session.leave()


def test_is_created_again_after_an_interrupted_creation(manage: Manage, data_dir: Path) -> None:
    half = data_dir / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert ask(manage).startswith("agentstate ")


@pytest.mark.parametrize("name", ["with a space", "täglich", "l" + "o" * 100 + "ng"])
def test_works_in_a_folder_whose_path_is_odd_or_too_long_for_a_socket(
    manage: Manage, data_dir: Path, name: str
) -> None:
    odd = data_dir.with_name(name)
    socket_folder = socket_folder_for(odd / "postgres")
    # While it is in use: soon after, the server and the folder are gone.
    look = f"{ASK}\nimport os\nprint(oct(os.stat({str(socket_folder)!r}).st_mode & 0o777))"
    result = manage("shell", "-v0", "-c", look, AGENTSTATE_DATA_DIR=str(odd))
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.splitlines()[1:] == ["0o700"]
    assert is_gone(odd)
    assert not socket_folder.exists()


@pytest.mark.usefixtures("made")
def test_works_in_a_folder_that_was_moved(manage: Manage, data_dir: Path) -> None:
    ask(manage)
    assert is_gone(data_dir)
    moved = data_dir.with_name("moved")
    shutil.move(data_dir, moved)
    assert manage("shell", "-v0", "-c", ASK, AGENTSTATE_DATA_DIR=str(moved)).stdout.startswith("agentstate ")


def test_is_found_without_a_connection_for_which_it_would_fork(scratch: Path) -> None:
    pgdata = Path(tempfile.mkdtemp(dir=scratch))
    (pgdata / "postmaster.pid").write_text(f"1\n{pgdata}\n0\n{PORT}\n{pgdata}\n\n0\nready\n")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(pgdata / f".s.PGSQL.{PORT}"))
        server.listen()
        assert socket_folder_of_running(pgdata) == pgdata
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert socket_folder_of_running(pgdata) is None


@pytest.mark.usefixtures("made")
def test_a_copy_of_the_folder_is_not_taken_for_the_running_original(
    manage: Manage, data_dir: Path, made_before: Path
) -> None:
    session = Session(data_dir)
    copy = data_dir.with_name("copy")
    # The data as they were before the server ran, which writes and removes files all the time.
    subprocess.run(["cp", "-a", made_before, copy], check=True)
    running = [file for file in (data_dir / "postgres").iterdir() if file.name.startswith(("postmaster.pid", ".s."))]
    subprocess.run(["cp", "-a", *running, copy / "postgres"], check=True)
    result = manage("shell", "-v0", "-c", ASK, AGENTSTATE_DATA_DIR=str(copy))
    assert result.stdout.strip() != session.server
    session.leave()


@pytest.mark.usefixtures("made", "gone_later")
def test_a_forked_child_may_outlive_its_parent(manage: Manage, data_dir: Path) -> None:
    result = manage(
        "shell",
        "-v0",
        "-c",
        f"""
import os, time
{SERVER}
server()
connection.close()
if os.fork() == 0:
    time.sleep(3)
    print(*server(), flush=True)
""",
    )
    assert (result.stdout[:11], result.stderr, result.returncode) == ("agentstate ", "", 0)


@pytest.mark.usefixtures("made")
def test_opens_a_database_shell(manage: Manage) -> None:
    result = manage("dbshell", "--", "-Atc", "SELECT 6 * 7, current_database()")
    assert (result.stdout, result.stderr, result.returncode) == ("42|agentstate\n", "", 0)


@pytest.fixture
def pgdata(data_dir: Path) -> Path:
    """What is left of a server's folder: its version."""
    folder = data_dir / "postgres"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "PG_VERSION").write_text("18\n")
    os.chown(folder, *server_account())
    return folder


def refusal(manage: Manage, data_dir: Path) -> str:
    result = manage("migrate")
    assert (result.stdout, result.returncode) == ("", 1)
    assert result.stderr.count("\n") == 1
    assert is_gone(data_dir)
    return result.stderr


def test_is_refused_for_data_of_another_version(manage: Manage, data_dir: Path, pgdata: Path) -> None:
    (pgdata / "PG_VERSION").write_text("12\n")
    assert "was made by PostgreSQL 12, and this is 18: move it away" in refusal(manage, data_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_is_refused_for_data_of_another_user(manage: Manage, data_dir: Path, pgdata: Path) -> None:
    os.chown(pgdata, pwd.getpwnam("nobody").pw_uid, -1)
    assert "belongs to the user with id" in refusal(manage, data_dir)


def test_reports_in_one_sentence_why_it_does_not_start(manage: Manage, data_dir: Path, pgdata: Path) -> None:
    sentence = refusal(manage, data_dir)
    assert sentence.startswith("The embedded PostgreSQL's pg_ctl failed: ")
    assert "postgresql.conf" in sentence


def python_for(uid: int) -> Path:
    """Return a Python of our version that this user may run with our packages, or skip the test."""
    for python in (Path(sys.executable), Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")):
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([python, "-c", "import project.embedded.base"], check=True, **as_plain_user(uid))
            return python
    pytest.skip("no Python with our packages that a plain user may run")


def as_plain_user(uid: int) -> dict[str, Any]:
    packages = os.pathsep.join([str(CLONE), *filter(None, sys.path)])
    environment = {**ENVIRONMENT, "DJANGO_SETTINGS_MODULE": "project.settings", "PYTHONPATH": packages}
    return {"user": uid, "extra_groups": [], "cwd": "/", "env": environment, "capture_output": True, "text": True}


@pytest.mark.skipif(os.geteuid() != 0, reason="all these tests run as a plain user already")
@pytest.mark.usefixtures("gone_later")
def test_works_for_a_plain_user(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    python = python_for(nobody)
    os.chown(data_dir.parent, nobody, -1)
    options = as_plain_user(nobody)
    options["env"]["AGENTSTATE_DATA_DIR"] = str(data_dir)
    look = f"{ASK}\n{USERS}"
    result = subprocess.run([python, CLONE / "manage.py", "shell", "-v0", "-c", look], check=False, **options)
    assert (result.stdout[:11], result.stderr, result.returncode) == ("agentstate ", "", 0)
    users = result.stdout.splitlines()[1].split()
    assert len(users) > 1, "the server and its keeper"
    assert set(users) == {str(nobody)}


# The users whose processes have to do with the server, while it is in use.
USERS = """
import os
from tests.project.processes import processes_of
print(*(each.info["uids"].effective for each in processes_of(os.environ["AGENTSTATE_DATA_DIR"])))
"""
