"""The HTTP API beside bare Django views with the same SQL, on one server in one run; and streams that wait."""

from __future__ import annotations

import http.client
import json
import secrets
import statistics
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection
from django.test import Client
from django.test.utils import override_settings

from agentstate.backfill import PassOptions, run_pass
from agentstate.models import AgentWorkflowRun, ApiToken
from agentstate.models.passes import Direction
from agentstate.recording import record
from agentstate.samples import make_projects
from benchmarks import bare
from benchmarks.databases import benchmark_database

if TYPE_CHECKING:
    from collections.abc import Iterator

BULK, STREAMS = 1_000, 200
EVENT = {"type": "draft.progress", "payload": {"step": 7, "text": "Normalized the request for proposals"}}


def run(repeats: int, rounds: int, out: TextIO) -> None:
    """Measure on sample projects in a new database, which is dropped at the end."""
    settings.SECRET_KEY = secrets.token_hex()  # a clone may have none yet
    with benchmark_database(), override_settings(ROOT_URLCONF="benchmarks.bare"):
        make_projects(20, 2025)
        run_pass(PassOptions(Direction.FORWARD, sessions=False))
        project = AgentWorkflowRun.objects.exclude(snapshot_at=None).values_list("project_id", flat=True)[0]
        token = ApiToken.objects.issue("benchmark", ["read", "write"])
        state = f"/api/v1/projects/{project}/state"
        _capture(state, token)
        with record("benchmark") as recorder, _server() as port:
            client = _Client(port, token)
            one, many = json.dumps({"events": [EVENT]}), json.dumps({"events": [EVENT] * BULK})
            ours, theirs = f"/api/v1/runs/{recorder.run_id}/events", f"/bare/{recorder.run_id}/events"
            for name, count, per, api, plain in (
                ("state reads", repeats, 1, ("GET", state, None), ("GET", "/bare/state", None)),
                ("events one at a time", repeats, 1, ("POST", ours, one), ("POST", theirs, one)),
                (
                    f"events in bulk of {BULK:,}",
                    max(repeats // 50, 3),
                    BULK,
                    ("POST", ours, many),
                    ("POST", theirs, many),
                ),
            ):
                _compare(client, name, count, per, rounds, api, plain, out)
            _wait_in_streams(port, token, recorder.run_id, out)


def _compare(client: _Client, name: str, count: int, per: int, rounds: int, api: Any, plain: Any, out: TextIO) -> None:
    times: dict[str, list[float]] = {"api": [], "bare": []}
    for each in (api, plain):
        client.ask(*each)
    for _ in range(rounds * count):
        for kind, request in (("api", api), ("bare", plain)):  # in turns: the machine has other work
            times[kind].append(client.ask(*request))
    ratio = statistics.median(times["api"]) / statistics.median(times["bare"])
    ranks = statistics.quantiles(times["api"], n=100)
    rate = per / statistics.median(times["api"])
    out.write(
        f"{name}: {rate:,.0f}/s, p50 {ranks[49] * 1000:.1f} ms, p99 {ranks[98] * 1000:.1f} ms, "
        f"{ratio:.2f} times the bare view\n"
    )


def _wait_in_streams(port: int, token: str, run_id: str, out: TextIO) -> None:
    """Open many streams, and count the database's connections while they wait."""
    last = connection_value('SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = %s', run_id)
    place = int(last.timestamp() * 1_000_000) + 1
    opened = []
    for _ in range(STREAMS):
        one = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        one.request("GET", f"/api/v1/runs/{run_id}/events?after={place}", headers=headers)
        assert one.getresponse().readline() == b"retry: 1000\n"  # noqa: S101 - a stream, and no refusal
        opened.append(one)
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    counts = []
    for _ in range(50):
        time.sleep(0.1)
        counts.append(connection_value(query))
    out.write(
        f"{STREAMS} streams that wait: at most {max(counts)} database connections, the benchmark's own included\n"
    )
    for one in opened:
        one.close()


def connection_value(query: str, *parameters: object) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


def _capture(state: str, token: str) -> None:
    """Keep the statements that the API sends for a read of a state, and its answer."""
    client = Client(headers={"Authorization": f"Bearer {token}", "Host": "localhost"})
    client.get(state)  # looks the token and the flags up, which are remembered then

    def keep(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        bare.STATEMENTS.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(keep):
        answer = client.get(state)
    if answer.status_code != 200 or not bare.STATEMENTS:
        raise RuntimeError(f"GET {state} answered {answer.status_code}.")
    bare.ANSWER = answer.content


@contextmanager
def _server() -> Iterator[int]:
    config = uvicorn.Config(get_asgi_application(), host="127.0.0.1", port=0, lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(timeout=60)


class _Client:
    """Sends requests over one connection, and returns the seconds that each took."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, address: str, body: str | None) -> float:
        began = time.perf_counter()
        self._connection.request(method, address, body, self._headers)
        response = self._connection.getresponse()
        response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {address} answered {response.status}.")
        return time.perf_counter() - began
