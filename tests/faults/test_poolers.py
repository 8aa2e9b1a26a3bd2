"""Passes through PgBouncer: refused in transaction mode, with no lock left behind; done in session mode."""

from __future__ import annotations

import pytest
from django.db import connection

from agentstate.models import BackfillPass
from tests.faults.processes import FORWARD, REVERSE, VERIFY, Command
from tests.pooler import Pooler, needs_pooler, pooler
from tests.scenes import make_project
from tests.sql import scalar

pytestmark = [pytest.mark.django_db(transaction=True), needs_pooler]

REFUSED = "CommandError: This connection goes through a pooler in transaction mode ("
WAY_OUT = "Give DATABASE_URL the server's own address and port, without pgbouncer=true, for this command"


def run(pool: Pooler, *arguments: str, **parameters: str) -> Command:
    command = Command(*arguments, database=pool.url(connection.settings_dict["NAME"], **parameters))
    command.end()
    return command


def advisory_locks() -> int:
    return int(
        scalar(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE locktype = 'advisory' AND datname = current_database()"
        )
    )


@pytest.fixture(autouse=True)
def project() -> None:
    make_project("p1", facts=[1], chat=[{"role": "user", "content": "Hello"}])


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize(
    "command", [[FORWARD], [FORWARD, "--workers", "2"], [REVERSE], ["agentkit_rollout", "advance"]]
)
def test_a_pass_through_a_transaction_pooler_is_refused(command: list[str], size: int) -> None:
    with pooler(size=size) as pool:
        ended = run(pool, *command)
        assert (ended.process.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith(REFUSED)
        assert WAY_OUT in ended.stderr
        assert advisory_locks() == 0
    assert not BackfillPass.objects.exists()


def test_an_address_with_pgbouncer_true_is_refused_without_a_pooler() -> None:
    with pooler(mode="session") as pool:
        ended = run(pool, FORWARD, pgbouncer="true")
    assert ended.process.returncode == 1
    assert ended.stderr.startswith(f"{REFUSED}the address says pgbouncer=true)")


def test_reading_commands_work_through_it() -> None:
    with pooler() as pool:
        assert run(pool, FORWARD, "--dry-run").process.returncode == 0
        assert run(pool, VERIFY).process.returncode == 1
        assert run(pool, VERIFY, "--audit", pgbouncer="true").process.returncode == 1


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_session_pooler_works_like_the_server(workers: str) -> None:
    with pooler(mode="session", size=8) as pool:
        ended = run(pool, FORWARD, "--workers", workers, "--batch-size", "1")
        assert (ended.process.returncode, ended.stdout.partition(" project ")[0]) == (0, "1 of 1")
        assert run(pool, VERIFY).process.returncode == 0
    assert advisory_locks() == 0
