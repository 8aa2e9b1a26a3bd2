"""What was recorded, and silence."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.models import AgentWorkflowRun
from agentstate.recording import (
    close_stale_runs,
)
from tests.sql import sql

if TYPE_CHECKING:
    from collections.abc import Callable


def events_of(run_id: str) -> list[tuple[str, Any]]:
    rows = sql('SELECT type, payload::text FROM "AgentWorkflowRunEvent" WHERE run_id = %s ORDER BY created_at', run_id)
    return [(type_, json.loads(payload)) for type_, payload in rows]


def the_run() -> AgentWorkflowRun:
    return AgentWorkflowRun.objects.get()


def silence(run_id: str, hours: float) -> None:
    """Let a run have begun and written its events so long ago."""
    shift = f"interval '{hours} hours'"
    sql(f'UPDATE "AgentWorkflowRun" SET started_at = started_at - {shift} WHERE id = %s', run_id)
    sql(f'UPDATE "AgentWorkflowRunEvent" SET created_at = created_at - {shift} WHERE run_id = %s', run_id)


def close_as_stale(run_id: str) -> None:
    silence(run_id, 2)
    assert [run.run_id for run in close_stale_runs(timedelta(hours=1))] == [run_id]


def in_threads(act: Callable[[int], Any], number: int) -> list[Any]:
    """Act in so many threads at once, each with its own connection."""
    barrier = threading.Barrier(number)

    def act_and_close(place: int) -> Any:
        barrier.wait()
        try:
            return act(place)
        finally:
            connection.close()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(act_and_close, range(number)))


def read_page(number: int) -> None:
    raise ValueError(f"no page {number}\nin this document")
