"""The addresses of sessions' pages, and what is on them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import quote
from django.urls import reverse as url_of

if TYPE_CHECKING:
    from django.test import Client


def address_of(session: Any, view: str = "change", **arguments: Any) -> str:
    return url_of(f"admin:agentstate_agentsession_{view}", args=[quote(session.pk), *arguments.values()])


def text_of(client: Client, address: str, **parameters: str) -> str:
    response = client.get(address, parameters)
    assert response.status_code == 200
    return response.content.decode()


def entries_of(page: str) -> list[str]:
    return re.findall(r'<li id="entry-.*?</li>', page, re.DOTALL)
