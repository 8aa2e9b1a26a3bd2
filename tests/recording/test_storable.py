"""Anything at all becomes JSON that PostgreSQL takes."""

from __future__ import annotations

import json
import time
import uuid
from collections import OrderedDict, UserDict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstate.recording import storable as module
from agentstate.recording.storable import MARK, storable, storable_text
from tests.sql import scalar

pytestmark = pytest.mark.django_db


def stored(value: object) -> str:
    """Return the text of what jsonb makes of a value."""
    return str(scalar("SELECT %s::jsonb::text", storable(value)))


def marked(kind: str, value: object) -> dict[str, object]:
    return {MARK: kind, "value": value}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        0.1,
        1e22,
        5e-324,
        "",
        "a\nb \u2028 \x7f 😀 äöü",
        "a backslash and u0000: \\u0000",
        {},
        [],
        {"": [{"a": None}, [], {}]},
        {"a": {"b": [1, "2", 3.5, False]}},
        [[[]]] * 3,
        {str(number): [number] for number in range(600)},
    ],
)
def test_json_is_stored_as_it_is(value: object) -> None:
    assert json.loads(stored(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.10"), "0.10"),
        (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
        (Decimal("1E+5"), "100000"),
        (Decimal("1E+400"), "1" + "0" * 400),
        (10**4000, "1" + "0" * 4000),
        (-(10**5000), "-1" + "0" * 5000),
        ([1, Decimal("2.50")], "[1, 2.50]"),
    ],
    ids=["tenth", "long", "exponent", "large exponent", "large", "larger than Python prints", "in a list"],
)
def test_numbers_keep_their_digits(value: object, text: str) -> None:
    assert stored(value) == text


class Colour(Enum):
    RED = "red"
    ODD = frozenset({1})


class Level(IntEnum):
    HIGH = 3


@dataclass
class Finding:
    page: int
    text: str


class Model:
    """As Pydantic's models are."""

    model_fields: dict[str, object] = {"page": int}

    def model_dump(self) -> dict[str, object]:
        return {"page": 7, "when": date(2025, 1, 2)}


class Text(str):
    __slots__ = ()


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


class HostileClass(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


class OfHostileClass(metaclass=HostileClass):
    def __repr__(self) -> str:
        return "an odd one"


class OfHostileClassItself(metaclass=HostileClass):
    def __repr__(self) -> str:
        raise ValueError


class FailingList(list[int]):
    def __iter__(self) -> Any:
        raise RuntimeError


class OddName:
    def __repr__(self) -> str:
        return "odd"


OddName.__qualname__ = "Odd\0\ud800"
OddName.__module__ = 7  # type: ignore[assignment]

HERE = "tests.recording.test_storable"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\0b", marked("string", "a\\u0000b")),
        ("half \ud83d", marked("string", "half \\ud83d")),
        ('"\0ä\\', marked("string", '\\"\\u0000ä\\\\')),
        (float("nan"), marked("number", "NaN")),
        (float("-inf"), marked("number", "-Infinity")),
        (Decimal("sNaN"), marked("number", "sNaN")),
        (Decimal("Infinity"), marked("number", "Infinity")),
        (Decimal("1E+200000"), marked("number", "1E+200000")),
        (Decimal("1E-20000"), marked("number", "1E-20000")),
        ({1: "a", "1": "b"}, marked("object", [[1, "a"], ["1", "b"]])),
        ({None: 1, (1, 2): 2}, marked("object", [[None, 1], [[1, 2], 2]])),
        ({"a\0": 1}, marked("object", [[marked("string", "a\\u0000"), 1]])),
        ({MARK: "mine"}, marked("object", [[MARK, "mine"]])),
        ({"set": {1}}, {"set": marked("set", [1])}),
        (frozenset({1}), marked("frozenset", [1])),
        (b"\0\xff", marked("bytes", "AP8=")),
        (bytearray(b"a"), marked("bytearray", "YQ==")),
        (memoryview(b"a"), marked("memoryview", "YQ==")),
        ((1, (2,)), [1, [2]]),
        (OrderedDict(b=1, a={2}), {"b": 1, "a": marked("set", [2])}),
        (uuid.UUID(int=1), marked("uuid.UUID", "UUID('00000000-0000-0000-0000-000000000001')")),
        (datetime(2025, 1, 2, 3, tzinfo=UTC), marked("datetime.datetime", "2025-01-02T03:00:00+00:00")),
        (Colour.RED, marked(f"{HERE}.Colour", "red")),
        (Colour.ODD, marked(f"{HERE}.Colour", marked("frozenset", [1]))),
        ([Level.HIGH, {1}], [3, marked("set", [1])]),
        ([Text("text"), {1}], ["text", marked("set", [1])]),
        (Finding(7, "a\0"), marked(f"{HERE}.Finding", {"page": 7, "text": marked("string", "a\\u0000")})),
        (Model(), marked(f"{HERE}.Model", {"page": 7, "when": marked("datetime.date", "2025-01-02")})),
        (UserDict(a=1), marked("collections.UserDict", "{'a': 1}")),
        (int, marked("builtins.type", "<class 'int'>")),
        (Finding, marked("builtins.type", f"<class '{HERE}.Finding'>")),
        ([Hostile()], [marked(f"{HERE}.Hostile", "<Hostile that raises RuntimeError>")]),
        (
            {"a": OfHostileClass(), "b": {1}},
            {"a": marked(f"{HERE}.OfHostileClass", "an odd one"), "b": marked("set", [1])},
        ),
        (
            OfHostileClassItself(),
            marked(f"{HERE}.OfHostileClassItself", "<OfHostileClassItself that raises ValueError>"),
        ),
        ([FailingList([1]), {1}], [marked(f"{HERE}.FailingList", "[1]"), marked("set", [1])]),
        (OddName(), marked("?.Odd\\u0000\\ud800", "odd")),
    ],
)
def test_what_is_not_json_is_kept_and_marked(value: object, expected: object) -> None:
    assert json.loads(stored(value)) == expected


def test_a_marked_text_can_be_read_back() -> None:
    text = 'a "quoted" \\ back\0slash, \ud800 half, ä and 😀'
    kept = json.loads(stored(text))["value"]
    assert json.loads(f'"{kept}"') == text


def test_a_cycle_is_cut_and_marked() -> None:
    inner: dict[str, Any] = {"name": "inner"}
    outer = {"list": [inner]}
    inner["outer"] = outer
    inner["self"] = inner
    assert json.loads(stored(outer)) == {
        "list": [{"name": "inner", "outer": marked("cycle", 3), "self": marked("cycle", 1)}]
    }


def test_the_same_object_twice_is_not_a_cycle() -> None:
    shared = [float("nan")]
    assert json.loads(stored([shared, shared])) == [[marked("number", "NaN")]] * 2


@pytest.mark.parametrize("levels", [501, 900, 5_000, 50_000])
def test_excessive_depth_is_kept_as_text(levels: int) -> None:
    value: object = "the bottom"
    for _ in range(levels):
        value = [value]
    text = stored(value)
    assert text.count("[") == levels
    assert text.count("]") == levels
    assert "the bottom" in text
    assert '"$unstorable": "depth"' in text


def test_the_greatest_depth_is_stored() -> None:
    value: object = {}
    for _ in range(499):
        value = [value]
    assert MARK not in stored(value)


def test_a_large_value_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1000)
    monkeypatch.setattr(module, "CUT_TO", 10)
    assert json.loads(stored("ä" * 490)) == "ä" * 490
    assert json.loads(stored("ä" * 500)) == marked("size", '"' + "ä" * 9)


def test_many_small_values_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VALUES", 1000)
    monkeypatch.setattr(module, "CUT_TO", 5)
    assert json.loads(stored([0] * 999)) == [0] * 999
    assert json.loads(stored([0] * 1000)) == [0] * 1000
    assert json.loads(stored([0] * 1001)) == marked("size", "[0,0,")
    assert json.loads(stored([{}] * 501)) == marked("size", "[{},{")
    assert json.loads(stored([{1}] * 1001)) == marked("size", '[{"$u')
    assert json.loads(stored([{"a": {1}}] * 10**5)) == marked("size", '[{"a"')


def test_thirty_four_megabytes_of_zeros_take_seconds() -> None:
    began = time.process_time()
    kept = json.loads(stored([0] * 17_000_000))
    assert kept == marked("size", "[" + "0," * 49_999 + "0")
    assert time.process_time() - began < 60


def test_a_member_that_is_too_large_is_cut_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1000)
    monkeypatch.setattr(module, "CUT_TO", 2)
    assert json.loads(module.storable_members({"a": "x" * 2000, "b": {1}})) == {
        "a": marked("size", '"x'),
        "b": marked("set", [1]),
    }


def test_an_error_of_an_odd_class_is_described() -> None:
    class OddError(Exception, metaclass=HostileClass):
        pass

    assert module.described(OddError("no page")) == "OddError: no page"


def test_text_is_made_storable() -> None:
    assert storable_text("a\0\ud800ä") == "a\\u0000\\ud800ä"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs", "Cc"]))
    | st.binary()
    | st.dates(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters()) | st.integers() | st.none() | st.just(MARK), inner)
    ),
    max_leaves=20,
)


@given(anything)
def test_nothing_is_refused(value: object) -> None:
    json.loads(stored(value))


@given(anything)
def test_the_fast_and_the_slow_path_agree(value: object) -> None:
    short = module._plain(value)
    if short is not None:
        assert json.loads("".join(module._Writer().write(value))) == json.loads(short)
