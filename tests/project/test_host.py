"""The wheel, and what it does in a project of somebody else."""

from __future__ import annotations

import json
import os
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import IsolationLevel

from tests.migrations.databases import Database, new_database, server
from tests.project.host import CRAWL, Host, build_wheel, install, lines_of_the_readme, statements_of_the_readme
from tests.project.processes import CLONE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if "CI" not in os.environ:
    pytest.importorskip("hatchling", reason="the environment is older than requirements-dev.lock")

pytestmark = pytest.mark.django_db

PRISMA = (CLONE / "tests" / "migrations" / "prisma.sql").read_text()
TOUR = (CLONE / "tests" / "faults" / "storms" / "tour.py").read_text() + "\ntour()"
# Actions that the admin does not have, pages that answer a form only, those of a pass that is running, and pages that
# need the extra `intake`.
NOT_OPENED = (
    *("_add", "_approval", "_delete", "_retry"),
    *("_backfillpass_pause", "_backfillpass_resume", "_backfillpass_cancel", "_backfillpass_set"),
    *("_project_conflict", "_project_eligibility"),
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    return install(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as database:
        database.execute(PRISMA)
        yield database


@pytest.fixture
def host(tmp_path: Path, python: Path, database: Database) -> Host:
    """A bare project on a database of the legacy application."""
    host = Host(tmp_path, python)
    host.use_database(parameters_of(database))
    return host


def parameters_of(database: Database) -> dict[str, Any]:
    """Return the settings with which a host reaches a database of the tests."""
    address = {name.upper(): value for name, value in server().items()}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": database.name, **address}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    package = {
        str(file.relative_to(CLONE))
        for file in (CLONE / "agentstate").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == package
    for kind in ("py.typed", "templates/admin/agentstate/page.html", "static/agentstate/shared.css"):
        assert f"agentstate/{kind}" in names


def test_a_bare_project_migrates_backfills_and_shows_every_page(host: Host, database: Database) -> None:
    host.add_settings(lines_of_the_readme())

    host.manage("migrate", "--verbosity", "0")
    assert host.manage("check", "--database", "default", "--fail-level", "WARNING").stdout.startswith("System check")
    assert "305 of 305 projects moved" in host.manage("backfill_agentkit_state").stdout
    assert "Clean." in host.manage("verify_agentkit_state").stdout

    # A step of the rollout, a project that a pass leaves aside, a document, as an intake keeps it, a token, a
    # requested step, and a run that waits for approval.
    host.manage("agentkit_rollout", "advance")
    database.execute("""UPDATE "Project" SET "factsJson" = NULL WHERE id = 'p1'""")
    assert "Emptied" in host.manage("backfill_agentkit_state", check=False).stdout
    database.execute(
        """INSERT INTO "AgentDocument" (id, project_id, name, family, role, sha256, text, size, created_at)
           VALUES ('d1', 'p1', 'call.md', 'call', 'base', 'digest', 'The call', 8, now());
           INSERT INTO "AgentStateApiToken" (name, digest, scopes, created_at)
           VALUES ('front end', 'x', '{read}', now());
           INSERT INTO "AgentStateStepRequest" (action, stage, percent, overrides, reason, requested_by, requested_at,
               ended_at, outcome, message)
           VALUES ('advance', 'legacy', 0, false, '', 'ada', now(), now(), 'refused', 'The step is not open.');
           INSERT INTO "AgentWorkflowRun" (id, workflow_id, status, started_at, result)
           VALUES ('waits', 'agent', 'pending', now(), '{"interrupted": {"run_state": "…", "session_id": null,
               "approvals": [{"call_id": "c1", "tool": "send", "agent": "a", "arguments": "{}"}]}}')"""
    )

    crawled = json.loads(host.manage("shell", "-v0", "-c", CRAWL).stdout)
    assert crawled["wrong"] == []
    assert {name for name in crawled["ours"] if not name.endswith(NOT_OPENED)} - crawled["names"].keys() == set()
    # The project's own admin is as it was.
    assert "<title>Site administration | Django site admin</title>" in crawled["index"]
    assert 'rel="icon"' not in crawled["index"]
    assert "backfill_agentkit_state" in crawled["commands"]
    assert "seed_legacy_projects" not in crawled["commands"]
    assert "shared.css" in crawled["style"]


def test_a_hosts_database_settings_change_no_result(host: Host) -> None:
    host.add_settings(lines_of_the_readme())
    host.add_settings('INSTALLED_APPS += ["agentstate.samples"]')
    tours = []
    for settings in (
        {},
        {
            "ATOMIC_REQUESTS": True,
            "CONN_HEALTH_CHECKS": True,
            "CONN_MAX_AGE": None,
            "DISABLE_SERVER_SIDE_CURSORS": False,
            "OPTIONS": {"server_side_binding": True, "isolation_level": IsolationLevel.SERIALIZABLE.value},
            "TIME_ZONE": "Asia/Kathmandu",
        },
    ):
        with new_database() as database:
            host.use_database(parameters_of(database) | settings)
            host.add_settings('SILENCED_SYSTEM_CHECKS = ["agentstate.W012"]')
            host.manage("migrate", "--verbosity", "0")
            lines = host.manage("shell", "-v0", "-c", TOUR).stdout.splitlines()
            tours.append([line for line in lines if "silenced" not in line])

    assert tours[0]
    assert tours[0] == tours[1]


def test_flags_that_the_project_had_are_reported_and_copied(host: Host, database: Database) -> None:
    host.add_settings('INSTALLED_APPS += ["waffle"]')
    host.manage("migrate", "--verbosity", "0")
    host.manage("shell", "-v0", "-c", "from django.contrib.auth.models import User; User.objects.create(username='a')")
    host.manage("waffle_flag", "new_editor", "--create", "--percent", "12", "--superusers")
    database.execute(
        "INSERT INTO waffle_flag_users (flag_id, user_id) SELECT f.id, u.id FROM waffle_flag f, auth_user u"
    )
    host.add_settings(lines_of_the_readme().replace(', "waffle"', ""))

    before = host.manage("migrate", "--verbosity", "0", check=False)
    assert "(agentstate.W010) The table waffle_flag has 1 flag(s) that waffle does not read any more: new_editor." in (
        before.stderr
    )

    database.execute(statements_of_the_readme())
    assert "W010" not in host.manage("check", "--database", "default").stderr
    assert database.rows(
        """
        SELECT percent, superusers, (SELECT count(*) FROM "AgentStateFlag_users" WHERE flag_id = f.id)
        FROM "AgentStateFlag" f WHERE name = 'new_editor'
        """
    ) == [(12, True, 1)]


def test_a_project_may_have_a_user_model_of_its_own(host: Host) -> None:
    host.manage("startapp", "people")
    (host.folder / "people" / "models.py").write_text(PERSON)
    host.add_settings('AUTH_USER_MODEL = "people.Person"\nINSTALLED_APPS += ["people"]')
    host.add_settings(lines_of_the_readme())
    host.manage("makemigrations", "people", "--verbosity", "0")
    host.manage("migrate", "--verbosity", "0")

    assert host.manage("shell", "-v0", "-c", LET_IN).stdout == "True\n[1]\n"


PERSON = """
import uuid
from django.contrib.auth.models import AbstractUser
from django.db import models

class Person(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
"""
LET_IN = """
from types import SimpleNamespace
from agentstate import gates
from agentstate.models import Flag, FlagChange
from people.models import Person

person = Person.objects.create_user("ada")
Flag.objects.get(name="agentkit_reads").users.add(person)
print(gates.agentkit_reads("p2", SimpleNamespace(user=person)))
print([len(FlagChange.objects.latest("id").after["users"])])
"""
