"""Two people who act on one pass, or on one project that was left aside, at once; and forms that are sent twice."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.backfill import batches
from agentstate.backfill.given_up import given_up
from agentstate.lock_spaces import PASSES
from agentstate.models import BackfillPass, LeftAside
from tests import scenes
from tests.admin.races import at_once
from tests.factories import ProjectFactory
from tests.sql import second_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpResponse

pytestmark = pytest.mark.django_db(transaction=True)

LATER = timezone.now() + timedelta(days=1)  # a pass that did not report for a while counts as lost
LOCK_PASS = 'SELECT FROM "AgentStatePass" FOR UPDATE'
LOCK_ENTRY = 'SELECT FROM "AgentStateLeftAside" FOR UPDATE'
PACING = {"target_seconds": "0.5", "sleep_ratio": "2"}
DONE = {"pause": "The pass waits", "resume": "The pass continues", "cancel": "The pass ends", "set": "The new pacing"}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each wait for the lock until the other does, however busy the machine is."""
    monkeypatch.setattr(batches, "LOCK_TIMEOUT", "SET LOCAL lock_timeout = '120s'")


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


@pytest.fixture
def entry() -> Iterator[BackfillPass]:
    """A pass that a process is at."""
    now = timezone.now()
    made = BackfillPass.objects.create(direction="forward", requested_by="x", started_at=now, seen_at=LATER)
    with second_connection() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", [PASSES, made.pk])
        yield made


@pytest.fixture
def left_aside() -> LeftAside:
    project = ProjectFactory(documents={"facts": "[1]"})
    scenes.forward()
    scenes.empty_columns(project.id)
    scenes.forward()
    return LeftAside.objects.get()


def asking(client: Client, entry: BackfillPass, what: str) -> Callable[[], str]:
    """Return what submits a confirmation that was shown before anything was asked."""
    address = url_of(f"admin:agentstate_backfillpass_{what}", args=[entry.pk])
    return lambda: messages_of(client.post(address, {"seen": "0", **PACING}, follow=True))


def messages_of(response: HttpResponse) -> str:
    """Return what the page tells, on top and in its form. The response's context may be another thread's."""
    lists = re.findall(r'<ul class="(?:messagelist|errorlist nonfield)".*?</ul>', response.content.decode(), re.DOTALL)
    return html.unescape(" ".join(lists))


@pytest.mark.parametrize(("one", "other"), [("pause", "resume"), ("pause", "cancel"), ("cancel", "set")])
def test_of_two_requests_at_once_one_is_recorded(
    entry: BackfillPass, ada: Client, grace: Client, one: str, other: str
) -> None:
    answers = at_once(LOCK_PASS, asking(ada, entry, one), asking(grace, entry, other))

    entry.refresh_from_db()
    (request,) = entry.requests
    winner = ("ada", "grace").index(request["by"])
    assert DONE[(one, other)[winner]] in answers[winner]
    assert DONE[(one, other)[1 - winner]] not in answers[1 - winner]
    assert "Nothing was changed." in answers[1 - winner]
    refusal = "is canceled and ends" if entry.wanted == "cancel" else f"{request['what']} by {request['by']}"
    assert refusal in answers[1 - winner]


@pytest.mark.parametrize("what", list(DONE))
def test_a_request_that_is_sent_twice_at_once_is_recorded_once(entry: BackfillPass, ada: Client, what: str) -> None:
    at_once(LOCK_PASS, *[asking(ada, entry, what)] * 2)

    entry.refresh_from_db()
    assert [each["by"] for each in entry.requests] == ["ada"]


def accepting(client: Client, entry: LeftAside, note: str, seen: str = "0") -> str:
    """Submit an acceptance from a page that was shown before any decision."""
    address = url_of("admin:agentstate_leftaside_accept", args=[entry.pk])
    values = {"note": note, "version": given_up(entry).version, "seen": seen}
    return messages_of(client.post(address, values, follow=True))


def test_of_two_acceptances_at_once_one_is_recorded(left_aside: LeftAside, ada: Client, grace: Client) -> None:
    answers = at_once(
        LOCK_ENTRY, partial(accepting, ada, left_aside, "By ada"), partial(accepting, grace, left_aside, "By grace")
    )

    left_aside.refresh_from_db()
    (decision,) = left_aside.decisions
    winner = ("ada", "grace").index(decision["by"])
    assert (left_aside.note, left_aside.decided_by) == (f"By {decision['by']}", decision["by"])
    assert "Accepted. The content below is given up." in answers[winner]
    assert "was accepted or retried after the page was shown. Nothing was recorded." in answers[1 - winner]
    assert accepting(ada, left_aside, "Again").count("after the page was shown") == 1


@pytest.mark.parametrize("seen", ["", "x", "9" * 5000], ids=["nothing", "no number", "too long"])
def test_a_number_of_requests_or_decisions_that_no_page_showed_is_refused(
    entry: BackfillPass, left_aside: LeftAside, ada: Client, seen: str
) -> None:
    address = url_of("admin:agentstate_backfillpass_pause", args=[entry.pk])
    assert "Nothing was changed." in messages_of(ada.post(address, {"seen": seen}, follow=True))
    assert "Nothing was recorded." in accepting(ada, left_aside, "Not needed", seen=seen)


def test_a_retry_that_fails_does_not_take_back_what_was_accepted_meanwhile(
    left_aside: LeftAside, ada: Client, grace: Client
) -> None:
    retry = url_of("admin:agentstate_leftaside_retry", args=[left_aside.pk])
    answers = at_once(
        LOCK_ENTRY,
        partial(accepting, ada, left_aside, "Not needed"),
        lambda: messages_of(grace.post(retry, follow=True)),
    )

    left_aside.refresh_from_db()
    assert (left_aside.status, left_aside.decided_by) == ("accepted", "ada")
    assert "Accepted. The content below is given up." in answers[0]
    stays = "While the retry ran, ada accepted this entry. It stays accepted."
    assert any(text in answers[1] for text in (stays, "Failed again; the entry is open"))  # whichever came first


def test_a_retry_that_is_sent_twice_at_once_moves_the_project_once(left_aside: LeftAside, ada: Client) -> None:
    scenes.change_columns(left_aside.project_id, facts=[2])
    address = url_of("admin:agentstate_leftaside_retry", args=[left_aside.pk])
    answers = at_once('SELECT FROM "Project" FOR UPDATE', *[lambda: messages_of(ada.post(address, follow=True))] * 2)

    left_aside.refresh_from_db()
    assert left_aside.status == "closed"
    assert all("Closed: the project was moved, or nothing was left to move." in answer for answer in answers)
    assert scenes.standing_of(left_aside.project_id) == "in_sync"
