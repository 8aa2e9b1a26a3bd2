"""A chat behind a real ASGI server, in a thread of the tests' process: one a module."""

from __future__ import annotations

import gc
import socket
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import uvicorn
from django.core.asgi import get_asgi_application
from django.test import override_settings

from tests.integrations.chatkit.client import PATIENCE, Chat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integrations.chatkit.site import Scene

# Not importorskip: importing ChatKit takes seconds.
collect_ignore_glob = [] if find_spec("chatkit") else ["test_*.py"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from agents import set_trace_processors

    set_trace_processors([])
    listening = socket.create_server(("127.0.0.1", 0))
    with override_settings(ROOT_URLCONF="tests.integrations.chatkit.site", ALLOWED_HOSTS=["127.0.0.1"]):
        config = uvicorn.Config(get_asgi_application(), lifespan="off", log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        host, port = listening.getsockname()
        yield f"http://{host}:{port}"
        server.should_exit = True
        thread.join(PATIENCE)
    listening.close()
    assert not thread.is_alive()


@pytest.fixture
def scene(address: str) -> Iterator[Scene]:
    from tests.integrations.chatkit import site

    site.scene = site.Scene()
    yield site.scene
    assert not site.scene.models, "an answer was not asked for"


@pytest.fixture
def chat(
    address: str, scene: Scene, transactional_db: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Chat]:
    from tests.factories import ProjectFactory

    ProjectFactory(id="p1")
    ProjectFactory(id="p2")
    with override_settings(MEDIA_ROOT=tmp_path):
        client = Chat(address)
        yield client
        client.close()
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
