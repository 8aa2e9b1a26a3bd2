"""Where two documents differ."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstate.state import ABSENT
from agentstate.state.differences import differences
from agentstate.state.documents import decode
from tests import scenes


def paths(one: str, other: str) -> list[str]:
    return [difference.path for difference in differences(decode(one), decode(other))]


def test_every_difference_is_named_with_both_values() -> None:
    one = decode('{"requirements": [{}, {"status": "drafted"}], "a b": {"x": 1}, "score": 0.1}')
    other = decode('{"requirements": [{}, {"status": "missing"}, 7], "a b": [], "score": 0.10}')
    assert [tuple(difference) for difference in differences(one, other, "coverage")] == [
        ('coverage["a b"]', {"x": 1}, []),
        ("coverage.requirements[1].status", "drafted", "missing"),
        ("coverage.requirements[2]", ABSENT, 7),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.10", "0.1"),
        ("1", "1.0"),
        ("1e400", "1" + "0" * 400),
        ("12345678901234567890.5", "12345678901234567890.50"),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
    ],
)
def test_values_equal_as_jsonb_are_equal(one: str, other: str) -> None:
    assert paths(one, other) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "true"), ("0", "false"), ("null", "false"), ('"1"', "1"), ("[]", "{}"), ("0.1", "0.10000000000000001")],
)
def test_values_equal_only_in_python_differ(one: str, other: str) -> None:
    assert paths(one, other) == [""]


def test_depth_does_not_matter() -> None:
    deep = "[" * 5_000 + "{}" + "]" * 5_000
    assert paths(deep, deep) == []
    assert paths(deep, deep.replace("{}", "1")) == ["[0]" * 5_000]


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "", "c d"]), inner),
    max_leaves=6,
)


@pytest.mark.django_db
@given(one=DOCUMENTS, other=DOCUMENTS)
def test_the_database_agrees_on_what_differs(one: object, other: object) -> None:
    (differ,) = scenes.one("SELECT %s::jsonb <> %s::jsonb", json.dumps(one), json.dumps(other))
    assert bool(list(differences(one, other))) == differ
