"""A streaming standby that falls behind: what reads it says so, what decides does not read it, and a pass waits."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.faults.injected.server import Database
from tests.faults.processes import FORWARD, VERIFY, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.injected.scene import Scene
    from tests.faults.injected.server import Server
    from tests.faults.storms.conftest import Profile
    from tests.migrations.databases import Result

# How a standby is held back, and let go on.
WAYS = {
    "replay paused": ("SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"),
    "replay delayed": (
        "ALTER SYSTEM SET recovery_min_apply_delay = '1h'",
        "ALTER SYSTEM RESET recovery_min_apply_delay",
    ),
}
READ = """
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.urls import reverse
from agentstate.background import in_background
from agentstate.rollout.evidence import Evidence
from agentstate.rollout.figures import Figures
client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("root"))
for name in ("project", "agentworkflowrun", "agentsession", "backfillpass"):
    asked = []
    def note(execute, sql, *rest):
        asked.append(sql)
        return execute(sql, *rest)
    with connections["replica"].execute_wrapper(note):
        answer = client.get(reverse(f"admin:agentstate_{name}_changelist"))
    reads = bool(asked) and (name == "backfillpass" or any('FROM "Agent' in s or 'FROM "Project' in s for s in asked))
    print(name, answer.status_code, reads, "This list is from a replica that is" in answer.content.decode())
def claim(cursor):
    cursor.execute("SHOW idle_in_transaction_session_timeout")
    print("claimed for", cursor.fetchone()[0])
counted = Figures.count(claim)
print("counted", counted.verification.standing["legacy_ahead"], counted.seconds_behind > 0)
print("decides", Evidence().verification.standing["legacy_ahead"])
used = []
def use_replica():
    connections["replica"].ensure_connection()
    used.append(connections["replica"].connection)
in_background("reading", use_replica).join()
print("closed", used[0].closed)
"""

READ_WITHOUT = """
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from agentstate.models import AgentWorkflowRun
client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("root"))
for name in ("project", "agentworkflowrun", "agentsession", "backfillpass"):
    answer = client.get(reverse(f"admin:agentstate_{name}_changelist"))
    page = answer.content.decode()
    says = "The replica &#x27;replica&#x27; could not be read, so this list is from the primary server." in page
    print(name, answer.status_code, "/change/" in page, says)
run = reverse("admin:agentstate_agentworkflowrun_change", args=[AgentWorkflowRun.objects.first().pk])
answer = client.get(run, {"_changelist_filters": "backfilled=with"})
print("run", answer.status_code, "in the list" in answer.content.decode())
"""

# The primary changes a table that a list is reading on the standby, which then ends the list's session.
READ_IN_CONFLICT = """
import time
import psycopg
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client
from django.urls import reverse
from agentstate import read_database
read_database.TRY_AGAIN_AFTER = 3600  # however long the next page takes
client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("root"))
replica = connections["replica"]
asked = []
def note(execute, sql, *rest):
    asked.append(sql)
    return execute(sql, *rest)
def conflict(execute, sql, *rest):
    answer = execute(sql, *rest)
    if 'FROM "AgentWorkflowRun"' in sql:
        pid = replica.connection.info.backend_pid
        with connection.cursor() as cursor:
            cursor.execute('ALTER TABLE "AgentWorkflowRun" ADD COLUMN later int')
        with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
            other.execute("SELECT pg_current_xact_id()")  # its commit sends what is uncommitted too, within moments
        with psycopg.connect(**replica.get_connection_params(), autocommit=True) as other:
            while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
                time.sleep(0.01)
    return answer
def look():
    del asked[:]
    with replica.execute_wrapper(note):
        page = client.get(reverse("admin:agentstate_agentworkflowrun_changelist")).content.decode()
    print("/change/" in page, "so this list is from the primary server" in page, bool(asked))
with replica.execute_wrapper(conflict):
    look()
look()
read_database._tried_again_at.clear()  # as after that time
look()
"""


@pytest.fixture(scope="module")
def standby(scene: Scene, scratch: Path) -> Iterator[Server]:
    server = scene.server.standby(scratch / "standby")
    try:
        yield server
    finally:
        server.stop("immediate")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "way" in metafunc.fixturenames:
        is_long = metafunc.config.getoption("storms") == "long"
        metafunc.parametrize("way", [*WAYS] if is_long else [*WAYS][:1])


def test_a_replica_that_falls_behind(scene: Scene, standby: Server, way: str, profile: Profile) -> None:
    with scene.copy(scene.base) as primary:
        replica = Database(standby, primary.name)
        reading = {"AGENTSTATE_READ_DATABASE_URL": replica.url}

        def verified(**settings: str) -> dict[str, Any]:
            found = primary.manage(VERIFY, "--audit", "--format", "json", **settings)
            assert found.out, found.err
            return dict(json.loads(found.out))

        wait_until(lambda: has_rows(replica, "Project"), seconds=120)
        ahead = verified()["standing"]["legacy_ahead"]
        with held_back(replica, way):
            assert primary.manage(FORWARD, "--limit", "1").code == 0
            wait_until(lambda: seconds_behind(replica) > 2, seconds=120)
            now, there = verified(), verified(**reading)
            assert ("replica" in now, there["replica"]["alias"]) == (False, "replica")
            assert there["replica"]["seconds_behind"] >= 2
            assert [each["standing"]["legacy_ahead"] for each in (now, there)] == [ahead - 1, ahead]
            assert [len(each["audit"][0]["rows"]) for each in (now, there)] == [1, 0]
            assert "Read from the replica 'replica', which was " in primary.manage(VERIFY, **reading).out
            with primary.set_for_role("idle_in_transaction_session_timeout", "1h"):
                shown = primary.manage("shell", "-v0", "-c", READ, **reading)
            assert read(shown) == [
                "project 200 True True", "agentworkflowrun 200 True True", "agentsession 200 True True",
                "backfillpass 200 False False", "claimed for 0", f"counted {ahead} True", f"decides {ahead - 1}",
                "closed True",
            ]  # fmt: skip
            checked = primary.manage("check", "--database", "default", "--database", "replica", **reading)
            assert (checked.code, "no issues" in checked.out) == (0, True), checked.err

            away = primary.manage(VERIFY, AGENTSTATE_READ_DATABASE_URL=replica.url.replace(replica.name, "away"))
            assert (away.code, "reads the primary server and the replica 'replica'" in away.err) == (1, True), away.err

            waiting = primary.start(FORWARD, "--batch-size", "5", "--max-lag", "0.3")
            wait_until(lambda: "s behind, more than 0.3 s" in held(primary), seconds=120)
            assert waiting.poll() is None
        _, errors = waiting.communicate(120)
        assert waiting.returncode == 0, errors
        wait_until(lambda: verified(**reading)["standing"] == verified()["standing"], seconds=120)
        profile.report({f"faults: {way}": 1})


def test_the_admin_reads_the_primary_where_the_replica_ends_its_session(scene: Scene, standby: Server) -> None:
    with scene.copy(scene.base) as primary:
        replica = Database(standby, primary.name)
        assert primary.manage(FORWARD, "--limit", "3").code == 0
        wait_until(lambda: has_rows(replica, "AgentWorkflowRun"), seconds=120)
        replica.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
        replica.execute("SELECT pg_reload_conf()")
        found = primary.manage("shell", "-v0", "-c", READ_IN_CONFLICT, AGENTSTATE_READ_DATABASE_URL=replica.url)
        replica.execute("ALTER SYSTEM RESET max_standby_streaming_delay")
        replica.execute("SELECT pg_reload_conf()")
    assert read(found) == ["True True True", "True True False", "True False True"]
    assert "due to conflict with recovery" in found.err


def test_the_admin_reads_the_primary_while_the_replica_is_down(scene: Scene) -> None:
    with scene.copy(scene.base) as primary:
        assert primary.manage(FORWARD, "--limit", "3").code == 0
        down = primary.manage(
            "shell", "-v0", "-c", READ_WITHOUT, AGENTSTATE_READ_DATABASE_URL="postgres://u@127.0.0.1:2/r"
        )
    assert read(down) == [
        "project 200 True True", "agentworkflowrun 200 True True", "agentsession 200 True True",
        "backfillpass 200 True False", "run 200 True",
    ]  # fmt: skip


@contextmanager
def held_back(replica: Database, way: str) -> Iterator[None]:
    """Let a standby receive what the primary writes, and replay none of it until the end of the block."""
    stop, go_on = WAYS[way]
    try:
        replica.execute(stop)
        replica.execute("SELECT pg_reload_conf()")
        yield
    finally:
        replica.execute(go_on)
        replica.execute("SELECT pg_reload_conf()")


def has_rows(replica: Database, table: str) -> bool:
    try:
        return bool(replica.rows(f'SELECT FROM "{table}" LIMIT 1'))
    except psycopg.OperationalError:  # the database has not arrived
        return False


def seconds_behind(replica: Database) -> float:
    ((seconds,),) = replica.rows("SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())")
    return float(seconds)


def held(primary: Database) -> str:
    listed = primary.manage("agentkit_pass", "list", "--format", "json")
    return str(json.loads(read(listed)[0])[0]["held"])


def read(result: Result) -> list[str]:
    assert result.code == 0, result.err
    return result.out.splitlines()
