"""The addresses of a project's pages, and what answers there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import quote
from django.urls import reverse as url_of

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.test import Client


def address(project: str, view: str = "change", **more: str) -> str:
    return url_of(f"admin:agentstate_project_{view}", kwargs={"object_id": quote(project), **more})


def page_of(client: Client, project: str, view: str = "change", **query: Any) -> Any:
    page = client.get(address(project, view), query)
    assert page.status_code == 200
    return page


def text_of(page: HttpResponse) -> str:
    return page.content.decode()
