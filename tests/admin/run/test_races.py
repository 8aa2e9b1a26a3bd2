"""Two people who act on one run at once, and forms that are sent twice."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse as url_of
from django.utils import timezone
from django.utils.http import urlencode

from agentstate.approvals import waiting_calls
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.runs import IllegalStatusChange
from tests.admin.races import at_once
from tests.admin.run.run_pages import address
from tests.factories import RunFactory, WaitingRunFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse

pytestmark = pytest.mark.django_db(transaction=True)

LOCK = 'SELECT FROM "AgentWorkflowRun" FOR UPDATE'
TOLD = {"cancel": "The run is canceled. Its process gets an error", "approved": "Approved: ", "rejected": "Rejected: "}


@pytest.fixture
def ada() -> Client:
    return superuser("ada")


@pytest.fixture
def grace() -> Client:
    return superuser("grace")


def superuser(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser(name))
    return client


def messages_of(response: HttpResponse) -> str:
    """Return what the page tells. The response's context may be another thread's."""
    return html.unescape(
        " ".join(re.findall(r'<ul class="messagelist">.*?</ul>', response.content.decode(), re.DOTALL))
    )


def canceling(client: Client, run: AgentWorkflowRun) -> Callable[[], str]:
    form = {"status": run.status, "reason": "It loops."}
    return lambda: messages_of(client.post(address(run, "cancel"), form, follow=True))


def deciding(client: Client, run: AgentWorkflowRun, decision: str) -> Callable[[], str]:
    (call,) = waiting_calls(run.pk)
    page = f"{address(run, 'approval')}?{urlencode({'call': call.call_id, 'decision': decision})}"
    form = {"version": call.version, "message": "Why"}
    return lambda: messages_of(client.post(page, form, follow=True))


def events_of(run: AgentWorkflowRun, type_: str) -> list[str]:
    return [each["by"] for each in run.events.filter(type=type_).values_list("payload", flat=True)]


def test_of_two_cancellations_at_once_one_is_recorded(ada: Client, grace: Client) -> None:
    run = RunFactory(status="running", completed_at=None)
    answers = at_once(LOCK, canceling(ada, run), canceling(grace, run))

    (by,) = events_of(run, "run.canceled")
    run.refresh_from_db()
    assert run.error == f"Canceled by {by}: It loops."
    winner = ("ada", "grace").index(by)
    assert TOLD["cancel"] in answers[winner]
    assert "The run is canceled now. It changed after the page was shown" in answers[1 - winner]


def test_a_run_that_is_resumed_at_the_same_instant_is_not_canceled_as_if_it_waited(ada: Client) -> None:
    run = WaitingRunFactory()

    def resume_it() -> str:
        with transaction.atomic():
            AgentWorkflowRun.objects.select_for_update().get(pk=run.pk).resume()
        return "resumed"

    told, _ = at_once(LOCK, canceling(ada, run), _or_refused(resume_it))

    run.refresh_from_db()
    assert run.status in ("running", "canceled")
    assert (run.status == "canceled") == (TOLD["cancel"] in told)
    assert events_of(run, "run.canceled") == (["ada"] if run.status == "canceled" else [])
    if run.status == "running":
        assert "The run is running now. It changed after the page was shown" in told


def _or_refused(act: Callable[[], str]) -> Callable[[], str]:
    def acting() -> str:
        try:
            return act()
        except IllegalStatusChange:
            return "refused"

    return acting


@pytest.mark.parametrize("other", ["rejected", "approved"])
def test_of_two_decisions_at_once_one_is_recorded(ada: Client, grace: Client, other: str) -> None:
    run = WaitingRunFactory()
    answers = at_once(LOCK, deciding(ada, run, "approved"), deciding(grace, run, other))

    (by,) = events_of(run, "approval.decided")
    winner = ("ada", "grace").index(by)
    assert TOLD[("approved", other)[winner]] in answers[winner]
    assert f"was {('approved', other)[winner]} by {by} at" in answers[1 - winner]


def test_a_decision_and_a_cancellation_at_once_leave_one_canceled_run(ada: Client, grace: Client) -> None:
    run = WaitingRunFactory()
    decided, canceled = at_once(LOCK, deciding(ada, run, "approved"), canceling(grace, run))

    run.refresh_from_db()
    assert run.status == "canceled"
    assert TOLD["cancel"] in canceled
    recorded = events_of(run, "approval.decided") == ["ada"]
    assert (TOLD["approved"] if recorded else "does not wait for approval now") in decided


def test_of_two_that_close_a_stale_run_at_once_one_closes_it(ada: Client, grace: Client) -> None:
    run = RunFactory(status="running", completed_at=None, started_at=timezone.now() - timedelta(hours=2))
    form = {"runs": [run.pk], "reason": "The worker was killed."}
    page = url_of("admin:agentstate_agentworkflowrun_stale")

    def close(client: Client) -> str:
        return messages_of(client.post(page, form, follow=True))

    # Only what locks rows waits for this.
    answers = at_once('LOCK TABLE "AgentWorkflowRun" IN EXCLUSIVE MODE', partial(close, ada), partial(close, grace))

    run.refresh_from_db()
    closed = [answer for answer in answers if "1 run closed as stale." in answer]
    assert len(closed) == 1
    assert sum("0 runs closed as stale. 1 left alone: ended, or alive again." in answer for answer in answers) == 1
    assert run.error.startswith(f"Closed by {('ada', 'grace')[answers.index(closed[0])]}: The worker was killed.")
    assert not AgentWorkflowRunEvent.objects.filter(run=run, type="run.canceled").exists()
