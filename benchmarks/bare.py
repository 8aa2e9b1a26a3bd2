"""A site with the API, and beside it bare Django views that send the same SQL and answer with the same text."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from agentstate.isolation import READ_COMMITTED
from agentstate.models.fields import new_id
from agentstate.recording import events
from agentstate.rounds import run

# What the API sent for one read of a state, and answered; set by the benchmark.
STATEMENTS: list[tuple[str, Any]] = []
ANSWER = b""


@transaction.non_atomic_requests
def read_state(request: HttpRequest) -> HttpResponse:
    for sql, parameters in STATEMENTS:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            cursor.fetchall()
    return HttpResponse(ANSWER, content_type="application/json")


@csrf_exempt
@transaction.non_atomic_requests
def append_events(request: HttpRequest, run_id: str) -> HttpResponse:
    given = json.loads(request.body)["events"]
    ids = [new_id() for _ in given]
    rows = [[each, event["type"], event["payload"], None] for each, event in zip(ids, given, strict=True)]
    if len(rows) == 1:
        ((event_id, type_, payload, parent),) = rows
        one = {"id": event_id, "type": type_, "payload": json.dumps(payload), "parent": parent}
        run(events.NEW, {"run": run_id, "late": "{}", **one}, alone=READ_COMMITTED)
    else:
        given = {"run": run_id, "late": "{}", "events": json.dumps(rows)}
        run(events.LISTED, given, alone=READ_COMMITTED)
    return HttpResponse(json.dumps({"ids": ids, "skipped": []}), content_type="application/json")


urlpatterns = [
    path("api/v1/", include("agentstate.api.urls")),
    path("bare/state", read_state),
    path("bare/<run_id>/events", append_events),
]
