"""What the admin asks of a running pass, and who may."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.lock_spaces import PASSES
from agentstate.models import BackfillPass
from tests.admin.viewers import superuser, viewer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

pytestmark = pytest.mark.django_db

LATER = timezone.now() + timedelta(days=1)  # a pass that did not report for a while counts as lost


@pytest.fixture
def entry() -> Iterator[BackfillPass]:
    """A pass that a process is at: this one."""
    now = timezone.now()
    entry = BackfillPass.objects.create(
        direction="forward", requested_by="ada@host", started_at=now, seen_at=LATER, options={"pacing": {}}
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [PASSES, entry.pk])
        yield entry
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [PASSES, entry.pk])


def address(entry: BackfillPass, what: str = "change") -> str:
    return url_of(f"admin:agentstate_backfillpass_{what}", args=[entry.pk])


def page(entry: BackfillPass) -> str:
    return superuser().get(address(entry)).content.decode()


def ask(client: Client, entry: BackfillPass, what: str, **values: Any) -> Any:
    """Submit the confirmation as the page shows it."""
    seen = re.search(r'name="seen" value="(\d+)"', client.get(address(entry, what)).content.decode())
    assert seen
    return client.post(address(entry, what), {"seen": seen[1], **values}, follow=True)


@pytest.mark.parametrize("what", ["pause", "resume", "cancel"])
def test_a_pass_is_asked_after_a_confirmation(entry: BackfillPass, what: str) -> None:
    client = superuser()
    assert "Your name is recorded" in client.get(address(entry, what)).content.decode()
    entry.refresh_from_db()
    assert entry.requests == []
    ask(client, entry, what)
    entry.refresh_from_db()
    assert entry.wanted == {"pause": "pause", "resume": "", "cancel": "cancel"}[what]
    assert entry.requests[0]["by"] == LogEntry.objects.get().user.get_username()


def test_the_page_offers_what_is_possible(entry: BackfillPass) -> None:
    assert all(f'href="{address(entry, what)}"' in page(entry) for what in ("pause", "cancel", "set"))
    entry.pause("ada")
    assert f'href="{address(entry, "resume")}"' in page(entry)
    assert "paused by" in page(entry)
    BackfillPass.objects.update(outcome="finished")
    assert address(entry, "cancel") not in page(entry)
    refused = superuser().post(address(entry, "cancel"), follow=True)
    assert "has ended (finished). Nothing was changed." in refused.content.decode()


@pytest.mark.parametrize(
    ("ranges", "resumes"),
    [
        ({"status": "running"}, True),  # lost: no worker holds its lock
        ({"status": "waiting", "error": "ConnectionError"}, True),
        ({"status": "waiting"}, False),  # as its last worker left it when the pass was paused
    ],
)
def test_a_shared_pass_can_be_resumed_when_a_range_failed_or_is_lost(
    entry: BackfillPass, ranges: dict[str, str], resumes: bool
) -> None:
    entry.ranges.create(number=1, up_to="x", attempts=1, **ranges)
    assert (f'href="{address(entry, "resume")}"' in page(entry)) is resumes


def test_a_shared_pass_whose_workers_died_takes_another_pacing() -> None:
    now = timezone.now()
    entry = BackfillPass.objects.create(direction="forward", started_at=now, seen_at=now, options={"pacing": {}})
    entry.ranges.create(number=1, up_to="x", attempts=1, status="running")
    ask(superuser(), entry, "set", target_seconds="1", sleep_ratio="7")
    entry.refresh_from_db()
    assert entry.options["pacing"]["sleep_ratio"] == 7


@pytest.mark.parametrize("later", ["pause", "resume"])
def test_a_page_that_was_opened_before_does_not_take_a_cancellation_back(entry: BackfillPass, later: str) -> None:
    client = superuser()
    ask(client, entry, "cancel")
    refused = client.post(address(entry, later), {"seen": 0}, follow=True).content.decode()
    entry.refresh_from_db()
    assert (entry.wanted, len(entry.requests)) == ("cancel", 1)
    assert "is canceled and ends after its current batches. Nothing was changed." in refused


def test_the_pacing_is_set(entry: BackfillPass) -> None:
    values: dict[str, Any] = {"target_seconds": 0.5, "sleep_ratio": 2, "max_lag": ""}
    ask(superuser(), entry, "set", **values | {"sleep_ratio": -1})
    entry.refresh_from_db()
    assert entry.options["pacing"] == {}
    ask(superuser(), entry, "set", **values)
    entry.refresh_from_db()
    assert entry.options["pacing"] == {"target_seconds": 0.5, "sleep_ratio": 2, "max_lag": None}
    said = re.search(
        r"<li>set target_seconds 0.5, sleep_ratio 2, max_lag off by <bdi>[^<]*</bdi>, <time ", page(entry)
    )
    assert said
    assert f"Change the pacing of {entry}" in superuser().get(address(entry, "set")).content.decode()


def test_a_viewer_sees_no_button_and_is_refused(entry: BackfillPass) -> None:
    client = viewer("backfillpass")
    assert address(entry, "pause") not in client.get(address(entry)).content.decode()
    assert client.post(address(entry, "pause")).status_code == 403


@pytest.mark.parametrize("pacing", [None, 5, "slow", [1], {"speed": 1, "sleep_ratio": "much", "max_lag": True}])
def test_a_pass_whose_options_another_version_wrote_can_be_asked(entry: BackfillPass, pacing: Any) -> None:
    BackfillPass.objects.update(options={"pacing": pacing})
    client = superuser()
    for what in ("pause", "resume", "set"):
        assert client.get(address(entry, what)).status_code == 200
    assert "The pass waits" in ask(client, entry, "pause").content.decode()
