"""Prisma's usual address behind PgBouncer in transaction mode: ``?schema=app&pgbouncer=true``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.migrations.databases import Database, new_database
from tests.pooler import Pooler, needs_pooler, pooler
from tests.project.processes import CLONE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.django_db, needs_pooler]

SCHEMA = "My 50% app"
PRISMA = (CLONE / "tests" / "migrations" / "prisma.sql").read_text()


@pytest.fixture
def database() -> Iterator[Database]:
    """A migrated database whose tables are in a schema that no search path of its own names."""
    with new_database() as database:
        database.execute(f'CREATE SCHEMA "{SCHEMA}"; SET search_path = "{SCHEMA}"; {PRISMA}')
        result = database.manage("migrate", "--verbosity", "0", schema=SCHEMA)
        assert result.code == 0, result.err
        # Settings that a statement sets on whatever connection it reaches.
        database.execute(f"ALTER DATABASE \"{database.name}\" SET DateStyle = 'SQL, DMY'")
        yield database


def run(database: Database, script: str, pool: Pooler) -> str:
    url = pool.url(database.name, schema=SCHEMA, pgbouncer="true")
    result = database.manage("shell", "-v0", "-c", script, settings={"DATABASE_URL": url})
    assert result.code == 0, result.err
    return result.out.strip()


RUNTIME = """
import threading
from django.db import connections, transaction
from agentstate import sessions, state
from agentstate.models import Project
from agentstate.recording import record

def work(project_id):
    with record("wf", project_id) as run:
        with run.tool("t", {"a": "100%"}) as call:
            call.output = 1
        run.save(coverage={"score": 0.5})
    sessions.append(sessions.open_for(project_id, run=run.run_id), "user", "50 %")
    with transaction.atomic():
        state.save(project_id, facts=[1])
    state.save(project_id, facts=[2])
    assert state.load(project_id).coverage == {"score": 0.5}
    assert Project.objects.get(id=project_id).created_at.year >= 1970
    connections.close_all()

threads = [threading.Thread(target=work, args=(f"p{i}",)) for i in range(1, 7)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum(state.load(f"p{i}").facts == [2] for i in range(1, 7)))
"""


def test_the_runtime_finds_its_schema_on_every_connection(database: Database) -> None:
    with pooler(size=2) as pool:
        assert run(database, RUNTIME, pool) == "6"


def test_no_setting_stays_on_the_connections_of_others(database: Database) -> None:
    with pooler(size=1) as pool:
        for project in ("p1", "p2"):
            assert run(database, f"from agentstate import state; print(state.load({project!r}).standing)", pool)
        with pool.connect(database.name) as other:
            assert other.execute("SHOW search_path").fetchone() == ('"$user", public',)
            assert other.execute("SHOW DateStyle").fetchone() == ("SQL, DMY",)


@pytest.mark.parametrize("parameters", [{"pgbouncer": "true"}, {}], ids=str)
def test_the_address_says_whether_there_is_a_pooler(database: Database, parameters: dict[str, str]) -> None:
    script = "from django.db import connection as c; print(c.settings_dict['DISABLE_SERVER_SIDE_CURSORS'])"
    result = database.manage("shell", "-v0", "-c", script, **parameters)
    assert result.out.strip() == str(bool(parameters))
