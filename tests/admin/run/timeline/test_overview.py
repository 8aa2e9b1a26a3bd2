"""The strip of a whole run, the position of a page in it, and jumps to an offset or a time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest

from agentstate.admin.run.timeline import Window, moment_in, overview, overview_of
from tests.admin.run.run_pages import address, get, text_of
from tests.admin.run.timeline.scenes import START, add_call, add_event, add_events, make_run, moment
from tests.admin.viewers import superuser

pytestmark = pytest.mark.django_db


def test_the_strip_shows_density_failures_and_the_page() -> None:
    run = make_run()
    add_events(run, 1000)
    add_call(run, "a", 500.2, 500.4, status='"error"')
    found = overview_of(run.pk, Window(moment(101), moment(200), 100))
    assert found is not None
    assert (found.total, found.first, found.last) == (1002, 101, 200)
    assert sum(bucket.events for bucket in found.buckets) == 1002
    assert [bucket.x for bucket in found.buckets if bucket.failures] == ["49%"]
    assert (found.x, found.width) == ("10.01%", "9.91%")


def test_the_strip_of_one_moment_holds_all_its_events() -> None:
    run = make_run()
    add_event(run, "note")
    found = overview_of(run.pk, Window(moment(1), moment(1), 1))
    assert found is not None
    assert (found.total, found.first, found.last) == (1, 1, 1)
    assert overview_of(make_run().pk, None) is None


def test_a_run_that_cannot_be_counted_in_time_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    add_events(run, 4_000)
    add_call(run, "a", 2_000.2, 2_000.4, status='"error"')
    monkeypatch.setattr(overview, "_BUCKETS", "SELECT pg_sleep(60)")
    monkeypatch.setattr(overview, "_SAMPLES", overview._SAMPLES.replace(str(overview.SAMPLE), "5"))
    monkeypatch.setattr(overview, "SECONDS", 0.1)
    monkeypatch.setattr(overview, "ESTIMATE_SECONDS", 60)
    found = overview_of(run.pk, Window(moment(101), moment(200), 100))
    assert found is not None
    assert found.is_estimate
    assert 3_600 < found.total < 4_600
    assert [bucket.x for bucket in found.buckets if bucket.failures] == ["49%"]
    assert {30 <= bucket.events <= 60 for bucket in found.buckets} == {True}
    assert (found.first, found.last, found.x) == (0, 0, "2.50%")

    page = text_of(superuser().get(address(run, "overview")))
    assert re.search(r"About [34],\d\d\d events: estimated from samples, since counting takes longer than 2 s\.", page)


def test_the_position_of_a_page_is_shown() -> None:
    run = make_run()
    add_events(run, 250)
    url = get(run, after=str(int(moment(60).timestamp() * 1_000_000))).context["overview_url"]
    client = superuser()
    assert "Events 61\N{EN DASH}160 of 250. The strip shows +1.00 s to +4:10.0." in text_of(client.get(f"{url}&part"))
    assert "Back to the run" in text_of(client.get(url))
    picked = get(run, kind="tool").context["overview_url"]
    assert "250 events. The strip shows" in text_of(client.get(picked))
    assert "250 events. The strip shows" in text_of(
        client.get(address(run, "overview"), {"first": "x", "last": "1", "number": "²"})
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("+13:20", 800),
        ("13:20.5", 800.5),
        ("2:46:30", 9990),
        ("3 d 02:46:30", 269190),
        ("+350 ms", 0.35),
        ("2.35 s", 2.35),
        ("3 min 5 s", 185),
        ("+3\N{NO-BREAK SPACE}min 5\N{NO-BREAK SPACE}s", 185),
        ("2025-06-07 08:10:10", 60),
        ("2025-06-07T08:10:10Z", 60),
        ("2025-06-07 10:10:10+02:00", 60),
        ("2025-06-07 08:10:10 UTC", 60),
        ("soon", None),
        ("2025-99-99 08:10", None),
    ],
)
def test_an_offset_or_a_time_is_a_moment(text: str, seconds: float | None) -> None:
    expected: datetime | None = None if seconds is None else START + timedelta(seconds=seconds)
    assert moment_in(text, START) == expected


def test_a_jump_leads_to_the_next_event_or_to_the_last() -> None:
    run = make_run()
    add_events(run, 300)
    body = get(run, to="+3:19.5").content.decode()
    assert f'id="chosen" data-key="{run.pk}-200"' in body
    assert f'id="chosen" data-key="{run.pk}-300"' in get(run, to="9:00:00").content.decode()
    assert "“soon” is neither an offset" in text_of(get(run, to="soon"))
    assert "This run has no events." in text_of(get(make_run(), to="+1:00"))
