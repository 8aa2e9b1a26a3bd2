"""Steps that are requested at the same instant: by two operators, and by one whose form is sent twice."""

from __future__ import annotations

import html
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from agentstate.admin.rollout import actions
from agentstate.models import StepRequest
from agentstate.rollout import waiting
from tests.admin.rollout.page import PAGE, get
from tests.rollout.ladder import position, stand_at, steps_taken

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two requests, each of which found that its step can be taken, ask for it at once; and wait for the end."""
    barrier, take = Barrier(2), actions.take_in_background

    def take_at_once(request: StepRequest, wait: float) -> StepRequest:
        barrier.wait(timeout=60)
        return take(request, 60)

    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 0)
    monkeypatch.setattr(actions, "take_in_background", take_at_once)


def requesting(user: str, action: str) -> Callable[[], str]:
    """Open a step's confirmation as a user, and return what submits it."""
    client = Client()
    client.force_login(User.objects.get_or_create(username=user, is_staff=True, is_superuser=True)[0])
    address = f"{PAGE}{action}/"
    form = {"seen": client.get(address).context["form"].initial["seen"], "reason": f"As {user} says"}

    def submit() -> str:
        try:
            return html.unescape(client.post(address, form, follow=True).content.decode())
        finally:
            connection.close()

    return submit


@pytest.mark.parametrize(
    ("one", "other"),
    [(("ada", "advance"), ("grace", "retreat")), (("ada", "advance"),) * 2, (("ada", "retreat"),) * 2],
    ids=["opposite", "advance twice", "retreat twice"],
)
def test_of_two_steps_requested_at_once_one_is_taken(one: Any, other: Any) -> None:
    stand_at("dual_write")
    get()  # counts
    acts = [requesting(*one), requesting(*other)]
    with ThreadPoolExecutor(2) as threads:
        answers = [each.result() for each in [threads.submit(act) for act in acts]]

    taken, refused = StepRequest.objects.order_by("-outcome")
    assert (taken.outcome, refused.outcome) == ("taken", "refused")
    assert len(steps_taken()) == 1
    assert position() == ({"advance": "shadow_read", "retreat": "legacy"}[taken.action], 0)
    assert taken.reason == f"As {taken.requested_by} says"
    assert any(
        fact in refused.message for fact in ("Another operator is taking a step", "The stage has just changed from")
    )
    assert any(refused.message in answer for answer in answers)
