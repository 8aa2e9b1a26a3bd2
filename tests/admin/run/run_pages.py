"""A run's pages as tests look at them: their addresses, and what a person reads there."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import quote
from django.urls import reverse as url_of

from tests.admin.viewers import superuser

if TYPE_CHECKING:
    from agentstate.models import AgentWorkflowRun

NASTY = '<script>alert(1)</script></textarea></pre>"\u202e&amp;'


def address(run: AgentWorkflowRun | str, view: str = "change", *more: str) -> str:
    run_id = run if isinstance(run, str) else run.pk
    return url_of(f"admin:agentstate_agentworkflowrun_{view}", args=[quote(run_id), *map(quote, more)])


def text_of(response: Any) -> str:
    """Return what a person reads on a page, in one line."""
    assert response.status_code == 200
    body = re.sub(r"<[^>]+>", " ", response.content.decode())
    return html.unescape(" ".join(body.split()))


def lines(response: Any) -> list[str]:
    """Return the rows of a page's timeline: offset, kind and what happened."""
    found = re.findall(r"<summary>\s*<span class=\"agentstate-at\".*?</summary>", response.content.decode(), re.DOTALL)
    return [html.unescape(" ".join(re.sub(r"<[^>]+>", " ", each).split())) for each in found]


def get(run: AgentWorkflowRun | str, **query: str) -> Any:
    return superuser().get(address(run), query)
