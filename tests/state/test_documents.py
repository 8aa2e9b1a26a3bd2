"""Documents between Python and jsonb: what was read is written with the same digits, or refused with its path."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from agentstate import state
from agentstate.state import ABSENT, UnsuitableDocument
from agentstate.state.documents import decode, encode
from tests import scenes
from tests.factories import ProjectFactory

DIGITS = [
    "0",
    "-1",
    "0.1",
    "0.10",
    "0.0",
    "0.00",
    "0.30000000000000004",
    "0.300000000000000040",
    "3.0",
    "1" + "0" * 22,
    "1" + "0" * 400,
    "1234567890" * 4,
    "-" + "1234567890" * 4 + ".5",
    "9" * 5000,
    "0." + "0" * 322 + "5",
    "100000000000000000000.5",
]


class Size(IntEnum):
    SMALL = 1


class Colour(StrEnum):
    RED = "red"


# -- from jsonb


def test_no_text_is_absent_and_null_is_none() -> None:
    assert decode(None) is ABSENT
    assert decode("null") is None


def test_absent_is_false_and_one_of_a_kind() -> None:
    assert not ABSENT
    assert repr(ABSENT) == str(ABSENT) == "ABSENT"
    assert ABSENT is not None


@pytest.mark.parametrize("text", DIGITS, ids=lambda text: text[:40])
def test_a_number_keeps_its_digits(text: str) -> None:
    assert Decimal(encode(decode(text), "facts")).as_tuple() == Decimal(text).as_tuple()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("0.30000000000000004", 0.30000000000000004),
        ("0.10", Decimal("0.10")),
        ("0.1000000000000000055", Decimal("0.1000000000000000055")),
        ("1234567890123456789012345678901234567890", 1234567890123456789012345678901234567890),
    ],
)
def test_a_number_is_a_decimal_only_where_python_would_write_it_otherwise(text: str, number: object) -> None:
    assert decode(text) == number
    assert type(decode(text)) is type(number)


# -- to jsonb


@pytest.mark.parametrize(
    "document",
    [None, True, False, 0, -3, 2.5, "", "é😀\u2028", [], {}, [1, [None]], {"a": {"b": [True, "x"]}}, {"": 1}],
    ids=repr,
)
def test_json_is_written_as_json(document: object) -> None:
    assert json.loads(encode(document, "facts")) == document


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ((1, 2), "[1,2]"),
        (Size.SMALL, "1"),
        (Colour.RED, '"red"'),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("0.10"), "0.10"),
        (1e22, "1e+22"),
        (-0.0, "-0.0"),
    ],
    ids=repr,
)
def test_what_is_nearly_json_is_written_too(document: object, text: str) -> None:
    assert encode(document, "facts") == text


def test_an_integer_of_more_digits_than_python_prints() -> None:
    assert encode(10**5000, "facts") == "1" + "0" * 5000


@pytest.mark.parametrize("depth", [1, 50, 150])
def test_nesting_is_kept(depth: int) -> None:
    text = '{"a":[' * depth + "1" + "]}" * depth

    assert encode(decode(text), "facts") == text


def containing_itself() -> list[Any]:
    itself: list[Any] = [1]
    itself.append({"again": itself})
    return itself


UNSUITABLE = [
    (math.nan, "facts", "nan"),
    (math.inf, "facts", "inf"),
    ([0, -math.inf], "facts[1]", "-inf"),
    (Decimal("NaN"), "facts", "NaN"),
    (Decimal("sNaN"), "facts", "sNaN"),
    (Decimal("-Infinity"), "facts", "Infinity"),
    ({"team": [{"age": math.nan}]}, "facts.team[0].age", "nan"),
    ({"tags": {1}}, "facts.tags", "set"),
    ([b"bytes"], "facts[0]", "bytes"),
    ({"who": object()}, "facts.who", "object"),
    ({"name": "a\0b"}, "facts.name", "NUL"),
    ({"a\0b": 1}, "facts", "NUL"),
    (["\ud800"], "facts[0]", "surrogate"),
    ({"\udfff": 1}, "facts", "surrogate"),
    ({"one": {1: 2}}, "facts.one", "the key 1"),
    ({None: 2}, "facts", "the key None"),
    ([ABSENT], "facts[0]", "is ABSENT; only a whole document can be"),
    (containing_itself(), "facts[1].again", "contains itself"),
    ({"big": Decimal("1E+131073")}, "facts.big", "digits"),
    ({"small": [Decimal("1E-16384")]}, "facts.small[0]", "digits"),
    (10**131073, "facts", "digits"),
]


@pytest.mark.parametrize(("document", "path", "fact"), UNSUITABLE, ids=[f"{each[1]}-{each[2]}" for each in UNSUITABLE])
def test_what_is_not_json_is_refused_with_its_path(document: object, path: str, fact: str) -> None:
    with pytest.raises(UnsuitableDocument) as refused:
        encode(document, "facts")

    assert refused.value.path == path
    assert str(refused.value).startswith(f"{path} ")
    assert fact in str(refused.value)
    assert isinstance(refused.value, ValueError)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "number", [10**131071, Decimal("1E-16383"), Decimal("-1.5E+131071"), 5e-324, 1e308], ids=range(5)
)
def test_the_longest_numbers_that_the_database_takes(number: object) -> None:
    assert scenes.one("SELECT %s::jsonb IS NOT NULL", encode(number, "facts")) == (True,)


# -- there and back, through both homes

# Numbers as anybody may write them; the database prints them its own way.
numbers = st.one_of(
    st.integers(),
    st.integers(10**30, 10**45),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: -400 < number.adjusted() < 400),
).map(str)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
strings = texts.map(lambda text: json.dumps(text, ensure_ascii=False))
json_texts = st.recursive(
    st.one_of(st.sampled_from(["null", "true", "false"]), numbers, strings, st.sampled_from(DIGITS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(strings, inner, max_size=4).map(
            lambda members: f"{{{','.join(f'{key}:{value}' for key, value in members.items())}}}"
        ),
    ),
    max_leaves=15,
)


@pytest.mark.django_db
@given(text=json_texts, reads_agentkit=st.booleans())
def test_any_json_comes_back_as_it_was(text: str, reads_agentkit: bool) -> None:
    """From a column, loaded from either home, saved to the other project's homes, read from its column."""
    scenes.forget_everything()
    one, other = ProjectFactory(documents={"facts": text}), ProjectFactory()
    scenes.open_gates(agentkit_writes=True, legacy_writes=True, agentkit_reads=reads_agentkit)
    scenes.forward(one.id, sessions=False)

    state.save(other.id, coverage=state.load(one.id).facts)

    homes = scenes.all_homes()
    assert homes[other.id].columns["coverage"] == homes[one.id].columns["facts"]
    assert homes[other.id].newest.state["coverage"] == homes[one.id].columns["facts"]
    assert connection.in_atomic_block
