"""Offline: a model that is scripted, and no connection that leaves this machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("agents")

from agents import set_trace_processors


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse each connection, and keep the SDK from exporting traces. libpq is C, and connects by itself."""
    set_trace_processors([])
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _here_alone(getattr(socket.socket, name)))
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        _refuse_others(host)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)


def _here_alone(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def connect_here(this: socket.socket, address: Any) -> Any:
        if not isinstance(address, str):  # the path of a local socket
            _refuse_others(address[0])
        return connect(this, address)

    return connect_here


def _refuse_others(host: Any) -> None:
    if host not in ("127.0.0.1", "localhost"):
        raise ConnectionRefusedError(f"A test would have opened a connection to {host}.")
