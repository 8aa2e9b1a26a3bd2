"""Offline: a model that is scripted, and no connection that leaves this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("agents")

from agents import set_trace_processors

_is_offline = False


def _refuse_connections(event: str, arguments: tuple[Any, ...]) -> None:
    if not _is_offline or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    address = arguments[1] if event == "socket.connect" else arguments
    if not isinstance(address, str) and address[0] not in ("127.0.0.1", "localhost"):
        raise ConnectionRefusedError(f"A test would have opened a connection to {address[0]}.")


# An audit hook cannot be removed. libpq is C, and raises no such event.
sys.addaudithook(_refuse_connections)


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """Refuse each connection, and keep the SDK from exporting traces."""
    global _is_offline
    set_trace_processors([])
    _is_offline = True
    yield
    _is_offline = False
