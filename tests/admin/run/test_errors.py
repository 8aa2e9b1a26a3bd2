"""The page of failed runs by error."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.admin.run import errors
from tests.admin.viewers import superuser, viewer
from tests.factories import RunFactory

pytestmark = pytest.mark.django_db

ERRORS = url_of("admin:agentstate_agentworkflowrun_errors")


def fail(run_id: str, error: str, hours: float, **fields: object) -> None:
    RunFactory(id=run_id, status="failed", error=error, started_at=timezone.now() - timedelta(hours=hours), **fields)


def test_failed_runs_are_grouped_by_error() -> None:
    fail("old", "TimeoutError: call 7 took 30 s", 100)
    for hours in (1, 3, 2):
        state = {} if hours == 2 else None
        fail(f"run-{hours}", f"TimeoutError: call {hours} took 3{hours} s\nTraceback", hours, state=state)
    fail("other", "<b>ValueError</b>", 5)
    fail("silent", "", 6)
    RunFactory(status="succeeded", error="ValueError")

    response = superuser().get(ERRORS)

    first, *others = response.context["errors"].shown
    assert (first.pattern, first.number, first.newest) == ("TimeoutError: call # took # s", 3, "run-1")
    assert timedelta(hours=99) < timezone.now() - first.first_seen < timedelta(hours=101)
    assert sum(first.buckets) == 3
    assert [(group.pattern, group.number) for group in others] == [("", 1), ("<b>ValueError</b>", 1)]
    assert "<b>ValueError" not in response.text
    runs = superuser().get(first.address).context["cl"].result_list
    assert [run.pk for run in runs] == ["run-1", "run-2", "run-3", "old"][: len(runs)]


def test_the_time_is_chosen_and_the_default_is_a_day() -> None:
    fail("old", "ValueError", 30)
    client = superuser()
    assert client.get(ERRORS).context["errors"].groups == []
    assert len(client.get(ERRORS, {"started_at-within": "7d"}).context["errors"].groups) == 1
    assert len(client.get(ERRORS, {"started_at-since": "2000-01-01"}).context["errors"].groups) == 1
    assert client.get(ERRORS, {"started_at-since": "2200-01-01"}).status_code == 200
    assert client.get(ERRORS, {"started_at-until": "0001-01-03"}).status_code == 200


def test_a_search_that_is_stopped_says_how_far_it_got(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "SECONDS", 0)
    fail("run", "ValueError", 1)
    page = superuser().get(ERRORS)
    assert "Go on from there" in page.text


def test_many_failed_runs_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "FIRST_LOOK", 2)
    moment = timezone.now() - timedelta(hours=1)
    for number in range(11):
        RunFactory(status="failed", error=f"E {number}", started_at=moment, state={} if number % 2 else None)
    (group,) = superuser().get(ERRORS).context["errors"].groups
    assert group.number == 11


def test_viewers_of_runs_alone_see_it() -> None:
    assert viewer("project").get(ERRORS).status_code == 403
    assert viewer("agentworkflowrun").get(ERRORS).status_code == 200
