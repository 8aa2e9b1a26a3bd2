"""The pages of what passes and people did cost as many queries for few rows as for many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.models import BackfillPass, FlagChange, LeftAside, RolloutStep
from tests.admin.viewers import superuser

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db


def add_pass(number: int) -> None:
    BackfillPass.objects.create(
        direction="forward",
        requested_by="ada@ops",
        outcome="finished",
        started_at=timezone.now(),
        seen_at=timezone.now(),
    )


def add_left_aside(number: int) -> None:
    now = timezone.now()
    LeftAside.objects.create(
        project_id=f"p{number}",
        direction="forward",
        error_class="Emptied",
        error="…",
        first_seen_at=now,
        last_seen_at=now,
    )


def add_change(number: int) -> None:
    FlagChange.objects.create(flag="agentkit_reads", after={"percent": number}, changed_at=timezone.now())


def add_step(number: int) -> None:
    RolloutStep.objects.create(
        at=timezone.now(),
        from_stage="legacy",
        from_percent=0,
        to_stage="dual_write",
        to_percent=0,
        requested_by="ada@ops",
        completed_at=timezone.now(),
    )


def queries_of(client: Client, address: str) -> int:
    client.get(address)  # what is looked up once is known now
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return len(queries)


@pytest.mark.parametrize(
    ("model", "add"),
    [
        ("backfillpass", add_pass),
        ("leftaside", add_left_aside),
        ("flagchange", add_change),
        ("rolloutstep", add_step),
    ],
)
def test_the_number_of_queries_does_not_depend_on_the_rows(model: str, add: Callable[[int], None]) -> None:
    client, address = superuser(), url_of(f"admin:agentstate_{model}_changelist")
    for number in range(2):
        add(number)
    few = queries_of(client, address)
    for number in range(2, 40):
        add(number)

    assert queries_of(client, address) == few
