from __future__ import annotations

from typing import Any

import pytest

from project.database import BadDatabaseURLError, database_from_url

LOGIN = {"NAME": "db", "USER": "u", "PASSWORD": "p", "HOST": "h", "PORT": ""}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@h/db", LOGIN),
        ("postgresql://u:p@h:5433/db", {**LOGIN, "PORT": "5433"}),
        ("postgres://u:p%40%2F%25%3A@h/db", {**LOGIN, "PASSWORD": "p@/%:"}),
        ("postgres://u:p?x@h/db?schema=s", {**LOGIN, "PASSWORD": "p?x"}),
        ("postgres://u:p@[::1]:5433/db", {**LOGIN, "HOST": "::1", "PORT": "5433"}),
        ("postgres://u:p@h1:1,h2:2/db", {**LOGIN, "HOST": "h1,h2", "PORT": "1,2"}),
        ("postgres:///db?host=/var/run/postgresql", {"NAME": "db", "USER": "", "HOST": "/var/run/postgresql"}),
        ("postgres://u:p@localhost/db?host=/run/pg", {**LOGIN, "HOST": "/run/pg"}),
        ("postgres://u:p@%2Frun%2Fpg/db", {**LOGIN, "HOST": "/run/pg"}),
        ("postgres://h/my%20db", {"NAME": "my db", "USER": "", "PASSWORD": ""}),
    ],
)
def test_reads_the_forms_that_people_have(url: str, expected: dict[str, Any]) -> None:
    settings = database_from_url(url).settings
    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"connect_timeout": "10"}),
        ("sslmode=require&connect_timeout=3", {"sslmode": "require", "connect_timeout": "3"}),
        ("application_name=a%20b", {"application_name": "a b", "connect_timeout": "10"}),
        ("ssl=true", {"sslmode": "require", "connect_timeout": "10"}),
        ("schema=app", {"options": '-c search_path="app"', "connect_timeout": "10"}),
        ("schema=My%20App", {"options": '-c search_path="My\\ App"', "connect_timeout": "10"}),
        ("schema=a%22b%5C", {"options": '-c search_path="a""b\\\\"', "connect_timeout": "10"}),
        ("schema=", {"connect_timeout": "10"}),
        ("options=-c%20jit%3Doff&schema=app", {"options": '-c jit=off -c search_path="app"', "connect_timeout": "10"}),
    ],
)
def test_passes_on_what_postgresql_knows_and_makes_the_schema_the_search_path(
    query: str, options: dict[str, str]
) -> None:
    database = database_from_url(f"postgres://u:p@h/db?{query}")
    assert database.settings["OPTIONS"] == options
    assert database.dropped == ()


def test_leaves_out_what_only_prisma_knows() -> None:
    database = database_from_url("postgres://u:p@h/db?schema=app&connection_limit=5&pool_timeout=2&sslaccept=strict")
    assert database.dropped == ("connection_limit", "pool_timeout", "sslaccept")
    assert database.settings["OPTIONS"].keys() == {"options", "connect_timeout"}


def test_keeps_no_cursor_on_the_server_behind_pgbouncer() -> None:
    assert database_from_url("postgres://h/db?pgbouncer=true").settings["DISABLE_SERVER_SIDE_CURSORS"]
    assert not database_from_url("postgres://h/db?pgbouncer=false").settings["DISABLE_SERVER_SIDE_CURSORS"]


def test_sends_no_search_path_as_an_option_through_pgbouncer() -> None:
    settings = database_from_url("postgres://h/db?schema=a%22b&pgbouncer=true").settings
    assert settings["OPTIONS"] == {"connect_timeout": "10"}
    assert settings["SEARCH_PATH"] == '"a""b"'
    assert "SEARCH_PATH" not in database_from_url("postgres://h/db?schema=app").settings


def test_an_empty_url_stands_for_the_embedded_server() -> None:
    assert database_from_url("").settings["ENGINE"] == "project.embedded"


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("nonsense", "is not a URL such as postgres://"),
        ("mysql://u:hidden@h/db", "does not start with postgres:// or postgresql://"),
        ("postgresql+psycopg://u:hidden@h/db", "does not start with postgres:// or postgresql://"),
        ("postgres://u:hidden@h:no/db", "has a port that is not a number from 1 to 65535"),
        ("postgres://u:hidden@h:70000/db", "has a port that is not a number from 1 to 65535"),
        ("postgres://u:hidden@h", "names no database"),
        ("postgres://u:hidden@h/", "names no database"),
        ("postgres://u:hidden@[::1/db", "cannot be read"),
        ("postgres://u:hidden%zz@h/db", "with a % in the password written as %25"),
        ("postgres://u:hid@den@h/db", "which must be written as %40 or %2F"),
        ("postgres://u:1/hidden@h/db", "which must be written as %40 or %2F"),
        ("postgres://u:1/2?hidden@h/db", "which must be written as %40 or %2F"),
    ],
)
def test_refuses_a_bad_url_without_repeating_it(url: str, fact: str) -> None:
    with pytest.raises(BadDatabaseURLError) as caught:
        database_from_url(url)
    message = str(caught.value)
    assert message.startswith("DATABASE_URL ")
    assert fact in message
    assert "hid" not in message
    assert "\n" not in message
