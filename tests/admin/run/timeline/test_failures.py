"""A run's failures: they are counted, a failed run opens around the last, and the page links to the first."""

from __future__ import annotations

import re

import pytest

from agentstate.admin.run.timeline import failures_of
from tests.admin.run.run_pages import get, text_of
from tests.admin.run.timeline.scenes import add_call, add_event, add_events, make_run, moment
from tests.admin.run.timeline.test_bounds import MANY, looked_at
from tests.sql import sql, tell_planner

pytestmark = pytest.mark.django_db


def test_a_failed_run_opens_around_its_last_failure() -> None:
    run = make_run(status="failed", error="TimeoutError: no answer")
    add_events(run, 500)
    for number in (1, 2):
        add_call(run, f"call-{number}", 200 + number * 100.2, 200 + number * 100.4, status='"error"')
    page = get(run)
    said = text_of(page)
    assert "2 failures, first at +5:00.4 , last at +6:40.8 . Show them all" in said
    assert "Failures only 2" in said
    body = page.content.decode()
    assert f'href="?event={run.pk}-300.4#chosen"' in body
    (chosen,) = re.findall(r"<li [^>]*id=\"chosen\"[^>]*>.*?</li>", body, re.DOTALL)
    assert "+6:40.4" in chosen
    from_list = get(run, _changelist_filters="status=failed").content.decode()
    kept = "&amp;_changelist_filters=status%3Dfailed"
    assert f'href="?event={run.pk}-300.4{kept}#chosen"' in from_list
    assert f'href="?failures=1{kept}"' in from_list
    assert "<details open>" in chosen


def test_a_failed_run_without_a_failed_event_opens_at_its_end() -> None:
    run = make_run(status="failed", error="killed")
    add_events(run, 150)
    assert "+2:30.0" in text_of(get(run))
    assert failures_of(run.pk) is None


def test_a_canceled_call_is_no_failure() -> None:
    run = make_run(status="failed", error="killed")
    add_call(run, "a", 1, 2, status='"canceled"')
    add_event(run, "draft.failed", "{}", 3)
    found = failures_of(run.pk)
    assert found is not None
    assert (found.number, found.first_at, found.last_at) == (1, moment(3), moment(3))


def test_failures_of_a_long_run_come_from_their_index() -> None:
    run = make_run()
    add_events(run, MANY)
    sql('UPDATE "AgentWorkflowRunEvent" SET payload = \'{"status": "error"}\' WHERE id LIKE \'%%777\'')
    tell_planner("AgentWorkflowRunEvent")
    found = failures_of(run.pk)
    assert found is not None
    assert found.words == "100 failures"
    ((_, rows, _),) = looked_at(lambda: failures_of(run.pk))
    assert rows <= 200
