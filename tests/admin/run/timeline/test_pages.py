"""Pages of a run's events: all of them, once each, however one goes through them."""

from __future__ import annotations

import pytest

from agentstate.admin.run.timeline import EventNotFound, EventPage, Filter, counts_of
from agentstate.admin.run.timeline.kinds import CAP
from agentstate.recording.following import pulses_of
from tests.admin.run.timeline.scenes import add_call, add_event, add_events, make_run, moment, page
from tests.sql import sql

pytestmark = pytest.mark.django_db


def numbers(shown: EventPage) -> list[int]:
    return [int(row.event.id.rpartition("-")[2]) for row in shown.rows]


def test_later_pages_follow_one_another() -> None:
    run = make_run()
    add_events(run, 25)
    first = page(run, size=10)
    second = page(run, size=10, after=first.later)
    third = page(run, size=10, after=second.later)
    assert numbers(first) + numbers(second) + numbers(third) == list(range(1, 26))
    assert (first.earlier, third.later) == (None, None)


def test_earlier_pages_lead_back() -> None:
    run = make_run()
    add_events(run, 25)
    last = page(run, size=10, is_last=True)
    middle = page(run, size=10, before=last.earlier)
    assert numbers(last) == list(range(16, 26))
    assert numbers(middle) == list(range(6, 16))
    assert (last.later, middle.later) == (None, moment(15))


def test_a_page_around_an_event_has_both_sides() -> None:
    run = make_run()
    add_events(run, 50)
    shown = page(run, size=10, event=f"{run.pk}-25")
    assert numbers(shown) == list(range(20, 30))
    assert [row.event.id for row in shown.rows if row.is_chosen] == [f"{run.pk}-25"]
    assert (shown.earlier, shown.later) == (moment(20), moment(29))


def test_an_event_of_another_run_is_not_found() -> None:
    run, other = make_run(), make_run()
    event = add_event(other, "draft.progress")
    with pytest.raises(EventNotFound):
        page(run, event=event)


def test_beyond_the_ends_the_page_links_back() -> None:
    run = make_run()
    add_events(run, 3)
    assert (page(run, after=moment(99)).rows, page(run, after=moment(99)).earlier) == ([], moment(99))
    assert (page(run, before=moment(0)).rows, page(run, before=moment(0)).later) == ([], moment(0))


def test_a_run_without_events_has_an_empty_page() -> None:
    shown = page(make_run())
    assert (shown.rows, shown.axis, shown.earlier, shown.later) == ([], None, None, None)


# -- filters


def test_a_kind_is_filtered_across_pages() -> None:
    run = make_run()
    add_events(run, 100)
    wanted = Filter(kinds=("tool",))
    first = page(run, wanted, size=4)
    second = page(run, wanted, size=4, after=first.later)
    third = page(run, wanted, size=4, after=second.later)
    assert [numbers(each) for each in (first, second, third)] == [[10, 20, 30, 40], [50, 60, 70, 80], [90, 100]]
    assert (first.earlier, third.later) == (None, None)
    back = page(run, wanted, size=4, before=third.earlier)
    assert numbers(back) == [50, 60, 70, 80]
    assert numbers(page(run, wanted, size=4, is_last=True)) == [70, 80, 90, 100]


def test_failures_are_filtered_with_the_whole_call() -> None:
    run = make_run()
    add_call(run, "a", 1, 2)
    add_call(run, "b", 3, 4, status='"error"')
    add_call(run, "c", 5, 6, status='"canceled"')
    add_event(run, "draft.failed", "null", 7)
    add_event(run, "draft.progress", '"error"', 8)
    call, event = page(run, Filter(failures=True)).rows
    assert [each.id for each in call.events] == [f"{run.pk}-3", f"{run.pk}-4"]
    assert event.event.type == "draft.failed"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("río", [1]),
        ("RÍO", [1]),
        ('say "hi"', [2]),
        ('"n": 0.10', [3]),
        ("100%", [4]),
        ("a_b", [4]),
        ("axb", []),
        ("back\\slash", [4]),
        ("0.1", [3]),
    ],
)
def test_a_search_finds_text_as_it_is_decoded(text: str, found: list[int]) -> None:
    run = make_run()
    add_event(run, "note", '{"name": "Río Verde"}', 1)
    add_event(run, "note", '{"text": "They say \\"hi\\"."}', 2)
    add_event(run, "note", '{"n": 0.10}', 3)
    add_event(run, "note", '"100% a_b back\\\\slash"', 4)
    assert numbers(page(run, Filter(text=text))) == found


def test_filters_combine() -> None:
    run = make_run()
    add_call(run, "a", 1, 2, status='"error"', error='"no page 7"')
    add_call(run, "b", 3, 4, status='"error"', error='"no page 8"')
    add_event(run, "note", '"no page 7"', 5)
    assert numbers(page(run, Filter(kinds=("tool",), failures=True, text="page 7"))) == [1]


def test_calls_of_one_tool_are_filtered() -> None:
    run = make_run()
    add_call(run, "a", 1, 2)
    add_event(run, "tool.invocation", '{"call_id": "b", "tool": "parse", "arguments": {}}', 3)
    add_event(run, "note", '{"tool": 7}', 4)
    assert numbers(page(run, Filter(tool="fetch"))) == [1]
    assert numbers(page(run, Filter(tool="parse"))) == [3]


# -- counts


def test_kinds_are_counted_and_a_call_counts_once() -> None:
    run = make_run()
    add_call(run, "a", 1, 2)
    add_call(run, "b", 3, None)
    add_event(run, "draft.progress", at=5)
    assert [(count.kind, str(count)) for count in counts_of(run.pk)] == [("tool", "2"), ("draft.progress", "1")]


def test_counts_are_capped() -> None:
    run = make_run()
    add_events(run, CAP * 2)
    assert [(count.kind, str(count)) for count in counts_of(run.pk)] == [("draft.progress", "1,000+"), ("tool", "200")]


def test_a_very_long_run_is_counted_at_its_ends() -> None:
    run = make_run()
    add_events(run, 5_000)
    sql("UPDATE \"AgentWorkflowRunEvent\" SET type = 'rare' WHERE id = %s", f"{run.pk}-4999")
    assert [(count.kind, str(count)) for count in counts_of(run.pk)] == [
        ("draft.progress", "1,000+"),
        ("tool", "400+"),
        ("rare", "1+"),
    ]


# -- the pulse


def test_the_pulse_changes_with_the_run() -> None:
    run = make_run(status="running")
    pulses = [pulses_of([run.pk])]
    add_event(run, "note", at=1)
    pulses.append(pulses_of([run.pk]))
    sql('UPDATE "AgentWorkflowRunEvent" SET created_at = %s', moment(2))
    pulses.append(pulses_of([run.pk]))
    run.succeed()
    pulses.append(pulses_of([run.pk]))
    assert len({pulse for each in pulses for pulse in each.values()}) == 4
    assert pulses_of([run.pk]) == pulses[-1]
