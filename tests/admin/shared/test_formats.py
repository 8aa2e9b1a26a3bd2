"""How values read on our pages."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from agentstate.admin.shared.formats import indented, length_of_time, offset, pretty_json, tick
from agentstate.state import ABSENT
from agentstate.state.documents import decode


def test_json_is_indented_and_otherwise_the_same() -> None:
    text = r'{"a": [1, {"b": "x, {y}: \"z\" [\\"}], "empty": {}, "none": [ ], "n": 0.10, "big": 1e400}'
    assert indented(text) == (
        '{\n  "a": [\n    1,\n    {\n      "b": "x, {y}: \\"z\\" [\\\\"\n    }\n  ],\n'
        '  "empty": {},\n  "none": [ ],\n  "n": 0.10,\n  "big": 1e400\n}'
    )


def test_no_digit_is_lost() -> None:
    assert pretty_json(decode("[0.10, 12345678901234567890123.5]")) == "[\n  0.10,\n  12345678901234567890123.5\n]"


def test_absent_is_named() -> None:
    assert pretty_json(ABSENT) == "absent"
    assert pretty_json(None) == "null"


def test_deep_documents_are_shown() -> None:
    text = "[" * 5000 + "]" * 5000
    assert json.dumps(indented(text)).count("[") == 5000


def unbroken(text: str) -> str:
    """Return a text with ``~`` as the space that no line breaks at."""
    return text.replace("~", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0~ms"),
        (0.000001, "1~µs"),
        (0.35, "350~ms"),
        (1.24, "1.2~s"),
        (60, "1~min"),
        (185, "3~min 5~s"),
        (7440, "2~h 4~min"),
        (187_200, "2~d 4~h"),
        (-2, "\N{MINUS SIGN}2.0~s"),
    ],
)
def test_durations_are_formatted(seconds: float, text: str) -> None:
    assert length_of_time(timedelta(seconds=seconds)) == unbroken(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "+0~ms"),
        (0.000001, "+1~µs"),
        (0.35, "+350~ms"),
        (2.346, "+2.35~s"),
        (59.994, "+59.99~s"),
        (59.999, "+1:00.0"),
        (185.12, "+3:05.1"),
        (6_779.96, "+1:53:00.0"),
        (269_190.25, "+3~d~02:46:30.2"),
        (-3.2, "\N{MINUS SIGN}3.20~s"),
    ],
)
def test_offsets_distinguish_neighbours(seconds: float, text: str) -> None:
    assert offset(timedelta(seconds=seconds)) == unbroken(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (0.5, "500~ms"),
        (10, "10~s"),
        (1.5, "1.5~s"),
        (265, "4:25"),
        (262.2, "4:22.2"),
        (-5, "\N{MINUS SIGN}5~s"),
    ],
)
def test_labels_of_an_axis_are_short(seconds: float, text: str) -> None:
    assert tick(timedelta(seconds=seconds)) == unbroken(text)
