"""A signal requests a stop, whatever it interrupts."""

from __future__ import annotations

import signal

import pytest

from agentstate.management.interrupts import stopped_by_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_look_at_the_event_sets_it(number: signal.Signals) -> None:
    with stopped_by_signals() as stop:
        with stop._cond:  # as ``stop.wait`` holds it
            signal.raise_signal(number)
        assert stop.wait(60)
