"""Offline: a model that is scripted, and no connection but to a local socket's file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("agents")

from agents import set_trace_processors

_is_offline = False


def _refuse_sockets(event: str, arguments: tuple[object, ...]) -> None:
    is_remote = event == "socket.getaddrinfo" or (event == "socket.connect" and not isinstance(arguments[1], str))
    if _is_offline and is_remote:
        raise ConnectionRefusedError(f"A test opened a connection: {event} {arguments[1:]}")


# An audit hook cannot be removed. libpq is C, and raises no such event.
sys.addaudithook(_refuse_sockets)


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """Refuse each connection, and let the SDK send its traces to nobody."""
    global _is_offline
    set_trace_processors([])
    _is_offline = True
    yield
    _is_offline = False
