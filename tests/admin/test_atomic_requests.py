"""The pages work where the host wraps each request in a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache
from django.db import connection
from django.urls import reverse as url_of

from agentstate.models import StepRequest
from tests import scenes
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def atomic_requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("agentstate.admin.rollout.admin.WAIT", 30)
    monkeypatch.setattr("agentstate.admin.rollout.actions.WAIT", 30)
    cache.clear()
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.parametrize("model", ["agentworkflowrun", "project", "leftaside", "flag", "rollout"])
def test_each_list_is_shown(model: str) -> None:
    ProjectFactory()
    assert superuser().get(url_of(f"admin:agentstate_{model}_changelist")).status_code == 200


def test_the_rollout_page_verifies_outside_of_the_request_s_transaction() -> None:
    scenes.open_gates(agentkit_writes=True)
    page = url_of("admin:agentstate_rollout_changelist")
    response = superuser().post(page, {"count": "conditions"}, follow=True)

    assert response.context["counted"].kept is not None


def test_a_step_is_taken_outside_of_the_request_s_transaction() -> None:
    scenes.open_gates(agentkit_writes=True)
    address = url_of("admin:agentstate_rollout_retreat")
    client = superuser()
    client.post(address, {"seen": client.get(address).context["form"].initial["seen"]})

    assert StepRequest.objects.get().outcome == "taken"
