"""The rollout's page as tests look at it."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.models import RolloutStep
from tests.admin.viewers import superuser

if TYPE_CHECKING:
    pass

PAGE = "/admin/agentstate/rollout/"
PROJECTS = url_of("admin:agentstate_project_changelist")
STAGES = ["legacy", "dual_write", "shadow_read", "agentkit_read", "agentkit_only", "frozen", "contracted"]
NASTY = "<script>alert('a')</script>"


def get(client: Client | None = None) -> Any:
    response = (client or superuser()).get(PAGE)
    assert response.status_code == 200
    return response


def text_of(response: Any) -> str:
    """Return the content as a reader sees it."""
    main = response.content.decode().partition('id="content-main"')[2].partition("</main>")[0].partition(">")[2]
    return re.sub(r" (?=[.,:;])", "", " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split()))


def section(response: Any, name: str) -> str:
    """Return the markup of a section."""
    found = re.search(rf'<section[^>]* id="agentstate-{name}".*?</section>', response.content.decode(), re.DOTALL)
    assert found, name
    return found[0]


def standings(response: Any) -> dict[str, int]:
    return {part.standing: part.count for part in response.context["parts"] if part.count}


def step(**values: Any) -> RolloutStep:
    now = timezone.now()
    defaults = {
        "at": now,
        "from_stage": "legacy",
        "from_percent": 0,
        "to_stage": "dual_write",
        "to_percent": 0,
        "requested_by": "ada@app-1",
        "completed_at": now,
    }
    made: RolloutStep = RolloutStep.objects.create(**{**defaults, **values})
    return made
