"""The progress of a pass in plain lines: why it waits, its rate, and how long the rest takes."""

from __future__ import annotations

import io

import pytest

from agentstate.backfill import Progress
from agentstate.management.progress import ProgressReport, in_range

WAITING = Progress("projects", 1, 3, held="paused by ada", throttled=1e9)


def test_a_reason_to_wait_is_shown_once_a_line_is_due_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentstate.management.progress.LINE_EVERY", 3600)
    report = ProgressReport(stream := io.StringIO(), verbosity=1)
    report(Progress("projects", 0, 3))
    report(WAITING)
    assert stream.getvalue() == ""
    monkeypatch.setattr("agentstate.management.progress.LINE_EVERY", 0)
    for _ in range(3):
        report(WAITING)
    # No rate: the time that it waited, which is longer than the test took, does not count.
    assert stream.getvalue() == "projects: 1 of 3; waits: paused by ada\n"
    report(WAITING._replace(held=""))
    assert stream.getvalue().splitlines()[1:] == ["projects: 1 of 3"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ((3, 3.2), "3 s"),
        ((0, 119), "0-119 s"),
        ((22, 130), "22 s - 2 min"),
        ((125, 300), "2-5 min"),
        ((600, 7300), "10 min - 2 h"),
    ],
)
def test_each_end_of_a_range_of_time_has_a_fitting_unit(seconds: tuple[float, float], words: str) -> None:
    assert in_range(seconds).replace("\N{EN DASH}", "-") == words
