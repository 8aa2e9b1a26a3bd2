"""A wrong `DATABASE_URL` or a server that cannot be reached: one sentence, no traceback, no password."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.project.processes import CLONE, ENVIRONMENT, Manage
from tests.project.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def failure(manage: Manage, url: str) -> str:
    result = manage("migrate", DATABASE_URL=url)
    assert (result.stdout, result.returncode) == ("", 1)
    assert "hidden" not in result.stderr
    return result.stderr


def test_a_bad_url_is_reported(new_python: Manage) -> None:
    assert failure(new_python, "mysql://u:hidden@h/db") == (
        "DATABASE_URL does not start with postgres:// or postgresql://, "
        "as postgres://user:password@host:5432/name does.\n"
    )


def test_a_bad_url_of_a_replica_is_reported(new_python: Manage) -> None:
    sentence = new_python("check", AGENTSTATE_READ_DATABASE_URL="u@h").stderr
    assert sentence.startswith("AGENTSTATE_READ_DATABASE_URL is not a URL such as ")


def test_a_refused_connection_is_reported(manage: Manage) -> None:
    assert failure(manage, "postgres://u:hidden@127.0.0.1:1/db") == (
        "Could not connect to the database 'db' at 127.0.0.1, port 1: Connection refused. Check DATABASE_URL.\n"
    )


def test_the_variable_of_the_replica_is_named_where_that_is_wrong(manage: Manage) -> None:
    urls = {
        "DATABASE_URL": "postgres://u@127.0.0.1:1/db",
        "AGENTSTATE_READ_DATABASE_URL": "postgres://u@127.0.0.1:2/r",
    }
    assert manage("check", "--database", "replica", **urls).stderr == (
        "Could not connect to the database 'r' at 127.0.0.1, port 2: Connection refused. "
        "Check AGENTSTATE_READ_DATABASE_URL.\n"
    )


def test_a_missing_socket_is_reported(manage: Manage) -> None:
    assert failure(manage, "postgres://u:hidden@localhost/db?host=/nowhere") == (
        "Could not connect to the database 'db' at /nowhere: No such file or directory. Check DATABASE_URL.\n"
    )


def test_an_unknown_host_is_reported(manage: Manage) -> None:
    sentence = failure(manage, "postgres://u:hidden@nowhere.invalid/db")
    assert sentence.startswith("Could not connect to the database 'db' at nowhere.invalid: ")
    assert sentence.count("\n") == 1


@pytest.fixture
def socket_folder(manage: Manage, data_dir: Path, made: None) -> Iterator[Path]:
    """A server that asks one of its users for a password, at its socket."""
    sql = """
        CREATE ROLE guarded LOGIN PASSWORD 'right';
        CREATE SCHEMA "My App" AUTHORIZATION guarded CREATE TABLE here (id int);
        SELECT pg_reload_conf();
    """
    session = Session(data_dir)
    rules = data_dir / "postgres" / "pg_hba.conf"
    rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
    assert manage("dbshell", "--", "-c", sql).returncode == 0
    yield rules.parent
    session.leave()


def test_a_servers_refusal_is_reported(manage: Manage, socket_folder: Path) -> None:
    def url(login: str, database: str) -> str:
        return f"postgres://{login}@localhost/{database}?host={socket_folder}&schema=My%20App"

    def at(database: str) -> str:
        return f"Could not connect to the database '{database}' at {socket_folder}: "

    assert failure(manage, url("guarded:hidden", "agentstate")) == (
        f'{at("agentstate")}password authentication failed for user "guarded". Check DATABASE_URL.\n'
    )
    assert failure(manage, url("postgres", "nothing")) == (
        f'{at("nothing")}database "nothing" does not exist. Check DATABASE_URL.\n'
    )
    assert failure(manage, url("stranger", "agentstate")) == (
        f'{at("agentstate")}role "stranger" does not exist. Check DATABASE_URL.\n'
    )
    tables = manage("inspectdb", "here", DATABASE_URL=url("guarded:right", "agentstate"))
    assert "class Here(models.Model):" in tables.stdout
    assert tables.returncode == 0


@pytest.mark.usefixtures("made")
def test_an_error_of_a_query_keeps_its_traceback(manage: Manage) -> None:
    query = (
        "from django.db import connection as c; c.cursor().execute('SELECT pg_terminate_backend(pg_backend_pid())')"
    )
    result = manage("shell", "-v0", "-c", query)
    assert "Traceback" in result.stderr
    assert result.returncode == 1


@pytest.mark.parametrize("command", [["check", "--database", "default"], ["migrate"]])
def test_the_system_checks_of_a_host_report_it_in_one_line(command: list[str]) -> None:
    # A host's manage.py reports no connection failure by itself.
    result = subprocess.run(
        [sys.executable, "-m", "django", *command],
        cwd=CLONE,
        env={
            **ENVIRONMENT,
            "DATABASE_URL": "postgres://u:hidden@127.0.0.1:1/db",
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SECRET_KEY": "a key for tests only",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "hidden" not in result.stderr
    line = next(line for line in result.stderr.splitlines() if "agentstate.E014" in line)
    assert "The database 'default' cannot be reached: " in line
    assert "Connection refused" in line
