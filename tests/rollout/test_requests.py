"""A requested step whose web process is killed or ends in the middle: nothing breaks, and it continues."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from agentstate.lock_spaces import REQUESTS
from agentstate.models import StepRequest
from agentstate.rollout import requests
from agentstate.rollout.stages import Position, Stage
from tests import scenes
from tests.faults.processes import Command, wait_until
from tests.rollout.ladder import position, saved_in_agentkit_only
from tests.sql import second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("thawed", "impatient")]

# What the page does for a request; then the process lives on, as that of a web server.
PAGE = """
import signal, sys, threading
from agentstate.lock_spaces import REQUESTS
from agentstate.models import StepRequest
from agentstate.rollout.requests import take_in_background
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as web servers end their workers
take_in_background(StepRequest(action="retreat", stage="agentkit_only", percent=100), 0)
while True:
    signal.pause()
"""

END_SESSION = """
    SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND locktype = 'advisory' AND classid = %s AND objid = %s"""


def retreat() -> StepRequest:
    assert position() == ("agentkit_read", 100), "the flags were set first, so that no save is lost"
    now = Position(Stage.AGENTKIT_READ, StepRequest.objects.latest("pk").percent)
    request = StepRequest(action="retreat", stage=now.stage, percent=now.percent)
    return requests.take_in_background(request, 60)


@pytest.mark.parametrize("outcome", ["taken", "refused", "failed"])
def test_a_step_has_its_outcome_before_its_process_counts_as_gone(
    monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    monkeypatch.setattr(requests, "BEGINS_WITHIN", requests.timedelta())
    saved_in_agentkit_only()
    let_go, seen = requests.release, []
    if outcome == "failed":
        monkeypatch.delattr(requests, "retreat")

    def look_meanwhile(unlock: str, key: tuple[int, int]) -> None:
        let_go(unlock, key)
        newest = requests.newest_request()
        seen.append(newest and newest.outcome)

    monkeypatch.setattr(requests, "release", look_meanwhile)
    percent = 50 if outcome == "refused" else 100
    requests.take_in_background(StepRequest(action="retreat", stage="agentkit_only", percent=percent), 60)

    assert seen == [outcome]


def test_a_step_whose_session_is_ended_has_failed_although_the_server_takes_no_connection_for_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(requests, "STORE_AGAIN_AFTER", (0.05,) * 1000)
    saved_in_agentkit_only()
    with second_connection() as other, other.transaction():
        other.execute("SELECT 1")
        request = StepRequest(action="retreat", stage="agentkit_only", percent=100)
        requests.take_in_background(request, 0)
        wait_until(lambda: StepRequest.objects.filter(message__startswith="Waiting for older").exists())
        with no_new_connections():
            sql(END_SESSION, REQUESTS, request.pk)
            wait_until(lambda: "its outcome could not be stored" in caplog.text)
        wait_until(lambda: not StepRequest.objects.get().is_running)
    left = StepRequest.objects.get()
    assert left.outcome == "failed"
    assert left.message.startswith("OperationalError: terminating connection due to administrator command")


@pytest.mark.parametrize(
    ("end", "outcome"), [(signal.SIGKILL, "killed"), (signal.SIGTERM, "interrupted")], ids=["killed", "ended"]
)
def test_the_next_request_continues_what_a_process_left(
    monkeypatch: pytest.MonkeyPatch, end: signal.Signals, outcome: str
) -> None:
    monkeypatch.setattr(requests, "BEGINS_WITHIN", requests.timedelta())
    projects = saved_in_agentkit_only()
    with second_connection() as other, other.transaction():
        other.execute("SELECT 1")
        process = Command("shell", "-v0", "-c", PAGE)
        wait_until(lambda: StepRequest.objects.filter(message__startswith="Waiting for older").exists())
        process.signal(end)
        process.end()
    wait_until(lambda: (newest := requests.newest_request()) and not newest.is_running)
    left = StepRequest.objects.get()
    assert left.outcome == outcome
    assert left.step is None

    assert retreat().outcome == "taken"
    assert {scenes.homes_of(project).columns["facts"] for project in projects} == {"2"}


@contextmanager
def no_new_connections() -> Iterator[None]:
    """Let the server refuse connections to the tests' database until the end of the block, as while it starts."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            yield
        finally:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
