"""Restoring: what was marked because the database refuses it comes back equal."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentstate.recording.storable import MARK, restored, storable
from agentstate.state.documents import decode
from tests.sql import scalar

pytestmark = pytest.mark.django_db

TEXT = st.one_of(st.text(st.characters(codec=None, categories=None), max_size=5), st.just(MARK), st.just("value"))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(1, 4_000).map(lambda digits: 10**digits),
    # jsonb keeps a whole float from 1e16 on as an integer
    st.floats(-1e15, 1e15),
    st.sampled_from([math.inf, -math.inf]),
    TEXT,
)
KEYS = st.one_of(TEXT, st.none(), st.integers())
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def round_trip(value: object) -> Any:
    """Store a value as jsonb, and return it as it was read back."""
    text = scalar("SELECT %s::jsonb::text", storable(value))
    try:
        return restored(json.loads(text))
    except ValueError:  # an integer of more digits than Python converts
        return restored(decode(text))


@given(VALUES)
@example("\0")
@example('\ud83d\ude00\\u0000\\"\n')
@example({"\ud800": {"\0": ["\udfff\0"]}})
@example({MARK: "string", "value": "\\u0000"})
@example({MARK: {MARK: {MARK: 1}}, "value": [["a", 1]]})
@example({None: 1, 1: 2})
@example(-(10**140_000))
@example(Decimal("1E+200000"))
def test_json_from_python_comes_back_equal(value: object) -> None:
    assert round_trip(value) == value


def test_nan_is_restored() -> None:
    assert math.isnan(round_trip([math.nan])[0])
    assert math.isnan(round_trip({"\0": Decimal("NaN")})["\0"])


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", Decimal, [[]] * 3], ids=repr)
def test_other_marks_are_kept(value: object) -> None:
    text = scalar("SELECT %s::jsonb::text", storable(value))
    assert restored(json.loads(text)) == json.loads(text)


@pytest.mark.parametrize(
    "mark",
    [
        {MARK: "number", "value": "many"},
        {MARK: "number", "value": None},
        {MARK: "string", "value": 5},
        {MARK: "string", "value": "\\u00"},
        {MARK: "object", "value": [[[1], 2]]},
        {MARK: "object", "value": 7},
        {MARK: ["string"], "value": "x"},
        {MARK: "string", "value": "x", "more": 1},
        {MARK: "string"},
    ],
    ids=repr,
)
def test_a_mark_without_meaning_is_kept(mark: dict[str, object]) -> None:
    assert restored([mark]) == [mark]


def test_what_was_read_is_left_alone_and_any_depth_is_restored() -> None:
    value: Any = "\0"
    for _ in range(490):
        value = [value, {"\0": 1}]
    read = decode(storable(value))
    before = storable(read)
    assert storable(restored(read)) == storable(value)
    assert storable(read) == before
