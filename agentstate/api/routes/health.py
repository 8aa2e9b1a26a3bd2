"""For load balancers, without a token: does the process answer, and can it serve?"""

from __future__ import annotations

import time
from typing import Literal

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from ninja import Router

from agentstate.api.documented import Answer
from agentstate.api.exact import answer
from agentstate.api.problems import RETRY_SECONDS, Problem

router = Router(tags=["health"], auth=None)

# Looking for migrations reads a hundred files.
SECONDS_REMEMBERED = 30.0
_applied_until = 0.0


class Health(Answer):
    status: Literal["ok"]


class Ready(Answer):
    status: Literal["ready"]


@router.get("/health", response={200: Health}, operation_id="health")
def health(request: HttpRequest) -> HttpResponse:
    """Say that the process answers. Asks nothing else, so a database that is away restarts no process."""
    return answer({"status": "ok"})


@router.get("/ready", response={200: Ready}, operation_id="ready")
def ready(request: HttpRequest) -> HttpResponse:
    """Say whether the database answers and all migrations are applied; 503 if not."""
    has_database, is_migrated = False, False
    try:
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute("SELECT 1")
        has_database = True
        is_migrated = _is_migrated()
    except DatabaseError:
        pass
    if has_database and is_migrated:
        return answer({"status": "ready"})
    fact = "Migrations are missing" if has_database else "The database cannot be used now"
    raise Problem(
        503,
        "not-ready",
        f"{fact}.",
        "Send no requests yet. The operator runs manage.py migrate." if has_database else "Send no requests yet.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def _is_migrated() -> bool:
    """Tell whether all migrations of agentstate are applied. Once they are, that is remembered for a while."""
    global _applied_until
    if time.monotonic() > _applied_until:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        if executor.migration_plan(executor.loader.graph.leaf_nodes("agentstate")):
            return False
        _applied_until = time.monotonic() + SECONDS_REMEMBERED
    return True
