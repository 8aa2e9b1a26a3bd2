"""Ctrl-C and SIGTERM: a command stops when its running batches have ended."""

from __future__ import annotations

import _thread
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED = 130  # the exit code


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Request a graceful stop on the first Ctrl-C or SIGTERM; a second has its usual effect."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request_stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        # By another thread: the signal may have interrupted this one while it holds the event's own lock.
        _thread.start_new_thread(stop.set, ())

    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        for number in before:
            signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        if in_main_thread:
            for number, handler in before.items():
                signal.signal(number, handler)
