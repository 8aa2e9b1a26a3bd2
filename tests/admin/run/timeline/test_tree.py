"""The tree of a run's events: rows follow their parents, one level deeper."""

from __future__ import annotations

import pytest

from tests.admin.run.run_pages import get
from tests.admin.run.timeline.scenes import add_call, add_event, make_run, page, rows
from tests.sql import sql

pytestmark = pytest.mark.django_db


def put_inside(child: str, parent: str) -> None:
    sql('UPDATE "AgentWorkflowRunEvent" SET parent_id = %s WHERE id = %s', parent, child)


def test_rows_follow_their_parents() -> None:
    run = make_run()
    add_call(run, "a", 1, 8)
    add_call(run, "b", 2, 9)
    for at, parent in ((3, 1), (4, 2), (5, 3), (6, 1)):
        put_inside(add_event(run, "note", at=at), f"{run.pk}-{parent}")
    shown = [(int(row.event.id.rpartition("-")[2]), row.depth, row.has_inside) for row in rows(run)]
    assert shown == [(1, 0, True), (3, 1, True), (5, 2, False), (6, 1, False), (2, 0, True), (4, 1, False)]
    body = get(run).content.decode()
    assert body.count('data-depth="1"') == 3
    assert f'href="?event={run.pk}-3#chosen">Go to what it happened inside' in body


def test_a_row_keeps_its_depth_where_its_parents_are_on_another_page() -> None:
    run = make_run()
    outer = add_event(run, "note", at=1)
    inner = add_event(run, "note", at=2)
    put_inside(inner, outer)
    put_inside(add_event(run, "note", at=3), inner)
    put_inside(add_event(run, "note", at=4), "pruned")
    assert [row.depth for row in page(run, is_last=True, size=2).rows] == [2, 0]


def test_a_circle_of_parents_loses_no_row() -> None:
    run = make_run()
    first, second = add_event(run, "note", at=1), add_event(run, "note", at=2)
    put_inside(first, second)
    put_inside(second, first)
    assert len(rows(run)) == 2
    assert [row.depth for row in page(run, size=1).rows] == [20]
