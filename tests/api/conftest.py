"""A real server of the site, and clients with tokens."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn
from django.core.asgi import get_asgi_application

from agentstate.api.access import forget_tokens
from agentstate.models import ApiToken
from tests.project.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import TransactionTestCase


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[str]:
    """The address of the API. The server runs in a thread of this process, on the tests' database."""
    running = uvicorn.Server(
        uvicorn.Config(get_asgi_application(), host="127.0.0.1", port=0, lifespan="off", log_config=None)
    )
    thread = threading.Thread(target=running.run, name="uvicorn")
    thread.start()
    assert wait_until(lambda: running.started, seconds=60)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/api/v1"
    running.should_exit = True
    thread.join(timeout=60)


@pytest.fixture
def caller(server: str, transactional_db: TransactionTestCase) -> Iterator[Callable[..., httpx.Client]]:
    """A function that returns a client whose token has the scopes given."""
    forget_tokens()
    clients = []

    def with_scopes(*scopes: str) -> httpx.Client:
        name = f"test-{len(clients)}"
        token = ApiToken.objects.issue(name, scopes)
        clients.append(
            httpx.Client(base_url=server, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False)
        )
        return clients[-1]

    yield with_scopes
    for client in clients:
        client.close()


@pytest.fixture
def client(caller: Callable[..., httpx.Client]) -> httpx.Client:
    """A client that may read and write."""
    return caller("read", "write")
