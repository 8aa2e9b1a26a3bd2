"""What changed between two moments, in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from agentstate.admin.project.panels import Change, changes
from agentstate.admin.project.panels.changes import LINES, PATHS
from agentstate.state import ABSENT
from agentstate.state.documents import as_text, decode
from agentstate.state.keys import STATE_KEYS
from agentstate.state.loading import Documents
from tests.admin.project.panels.documents import DOCUMENTS

BUDGET = {"key": "budget", "previous": {"version": "v1"}, "next": {"version": "v2"}}


def state_with(**documents: Any) -> Documents:
    return Documents("p", **{key.attribute: documents.get(key.attribute, ABSENT) for key in STATE_KEYS})


def the_change(name: str, before: Any, after: Any) -> Change:
    (change,) = changes(state_with(**{name: before}), state_with(**{name: after}))
    return change


def test_equal_documents_have_no_change() -> None:
    assert changes(state_with(coverage=decode("0.10")), state_with(coverage=0.1)) == []


def test_documents_are_described_in_their_order() -> None:
    found = changes(
        state_with(facts=1, coverage=1, eligibility=1), state_with(facts=2, eligibility=1, conflict_log=None)
    )
    assert [(change.key, change.verb) for change in found] == [
        ("facts", "changed"),
        ("coverage", "removed"),
        ("conflictLog", "added"),
    ]


@pytest.mark.parametrize(
    ("name", "before", "after", "lines"),
    [
        ("coverage", {"score": 0.2}, {"score": 0.5}, ["score 0.2 → 0.5"]),
        ("coverage", 0.2, {"score": "0.5"}, ["score 0.2 → 0.5"]),
        ("coverage", ABSENT, {"score": 0.5}, ["score none → 0.5"]),
        (
            "coverage",
            {"requirements": [{"id": "r1", "status": "missing"}, {"id": "r2"}]},
            {"requirements": [{"id": "r1", "status": "drafted"}, {"id": "r3", "status": "missing"}]},
            ["new requirement r3: missing", "r1: missing → drafted", "requirement r2 is gone"],
        ),
        ("conflict_log", [], [BUDGET], ["new conflict in budget: v1 → v2"]),
        ("conflict_log", [BUDGET], [{**BUDGET, "resolved": "latest"}], ["conflict in budget resolved: latest"]),
        ("conflict_log", BUDGET, [{**BUDGET, "resolved": "latest"}], ["conflict in budget resolved: latest"]),
        ("conflict_log", [{**BUDGET, "resolved": "latest"}], [BUDGET], ["conflict in budget is open again"]),
        ("conflict_log", [BUDGET, BUDGET], [BUDGET], ["conflict in budget is gone"]),
        ("conflict_log", "none", "deadline moved", ["new entry: deadline moved", "entry is gone: none"]),
        (
            "eligibility",
            {"items": [{"id": "e1", "text": "Two counties"}]},
            {"items": [{"id": "e1", "text": "Two counties"}, {"id": "e2", "text": "A 501(c)(3)", "fatal": True}]},
            ["new fatal item: A 501(c)(3)"],
        ),
        ("eligibility", [{"id": "e1", "text": "A"}], [{"id": "e1", "text": "A", "fatal": True}], ["now fatal: A"]),
        ("eligibility", ["A"], {"items": ["A"], "overrides": {"e1": {}}}, ["e1 is overridden"]),
        ("facts", ["a"], ["b"], []),
    ],
)
def test_known_shapes_are_described_in_words(name: str, before: Any, after: Any, lines: list[str]) -> None:
    assert sorted(the_change(name, before, after).lines) == sorted(lines)


def test_unknown_shapes_are_described_by_their_paths() -> None:
    change = the_change("coverage", {"requirements": [{"weight": 1}]}, {"requirements": [{"weight": 2}], "a b": 1})
    assert change.lines == []
    assert [tuple(path) for path in change.paths] == [
        ('coverage["a b"]', ABSENT, 1),
        ("coverage.requirements[0].weight", 1, 2),
    ]


def test_many_changes_are_cut() -> None:
    items = [f"item {number}" for number in range(100)]
    change = the_change("eligibility", [], items)
    assert (len(change.lines), change.more_lines) == (LINES, 100 - LINES)
    assert (len(change.paths), change.has_more_paths) == (PATHS, True)


@given(before=DOCUMENTS, after=DOCUMENTS)
def test_any_two_documents_have_a_change_exactly_where_they_differ(before: object, after: object) -> None:
    one, other = (
        state_with(**dict.fromkeys(("coverage", "conflict_log", "eligibility"), each)) for each in (before, after)
    )
    assert len(changes(one, other)) in (0, 3)
    if as_text(before) == as_text(after):
        assert changes(one, other) == []


def test_depth_does_not_matter() -> None:
    deep, other = (decode('{"previous": ' * 3_000 + end + "}" * 3_000) for end in "12")
    for name in ("coverage", "conflict_log", "eligibility", "facts"):
        assert the_change(name, deep, other).verb == "changed"
