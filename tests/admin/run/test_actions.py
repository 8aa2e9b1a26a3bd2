"""Canceling a run and closing stale ones: who may, what is recorded, and what happens in a race."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.models import AgentWorkflowRunEvent
from agentstate.recording import enqueue
from tests.admin.run.run_pages import address, text_of
from tests.factories import RunFactory

pytestmark = pytest.mark.django_db

STALE = url_of("admin:agentstate_agentworkflowrun_stale")
LIST = url_of("admin:agentstate_agentworkflowrun_changelist")


def operator(*permissions: str, name: str = "ada") -> Client:
    user = User.objects.create_user(name, is_staff=True)
    names = ["view_agentworkflowrun", *permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client


def running(hours: float = 0, **values: Any) -> Any:
    return RunFactory(
        status="running", completed_at=None, started_at=timezone.now() - timedelta(hours=hours), **values
    )


class TestCancel:
    def test_a_viewer_has_no_button_and_no_page(self) -> None:
        run, client = running(), operator()

        assert "Cancel run" not in text_of(client.get(address(run)))
        assert client.get(address(run, "cancel")).status_code == 403
        assert client.post(address(run, "cancel"), {"status": "running", "reason": "x"}).status_code == 403
        run.refresh_from_db()
        assert run.status == "running"

    @pytest.mark.parametrize("status", ["running", "pending"])
    def test_a_run_is_canceled_with_who_and_why(self, status: str) -> None:
        run, client = running(), operator("cancel_runs")
        if status == "pending":
            run.pk = enqueue("intake")
        assert "Cancel run…" in text_of(client.get(address(run)))
        assert "The status becomes canceled, which is final." in text_of(client.get(address(run, "cancel")))
        assert "This field is required" in text_of(client.post(address(run, "cancel"), {"status": status}))
        form = {"status": status, "reason": "It loops."}
        shown = text_of(client.post(address(run, "cancel"), form, follow=True))

        assert "The run is canceled. Its process gets an error at its next event." in shown
        assert "Canceled by ada: It loops." in shown
        run.refresh_from_db()
        assert run.status == "canceled"
        assert AgentWorkflowRunEvent.objects.get(run=run).payload == {"by": "ada", "reason": "It loops."}
        assert LogEntry.objects.get().get_change_message() == "Canceled. It loops."

        again = text_of(client.post(address(run, "cancel"), form, follow=True))
        assert "The run is canceled now. It changed after the page was shown, so nothing was done." in again
        assert AgentWorkflowRunEvent.objects.filter(run=run).count() == 1

    def test_a_run_that_was_resumed_after_the_page_was_shown_is_left_alone(self) -> None:
        run, client = running(), operator("cancel_runs")
        form = {"status": "pending", "reason": "Nobody approves it."}

        assert "The run is running now" in text_of(client.post(address(run, "cancel"), form, follow=True))
        run.refresh_from_db()
        assert run.status == "running"


class TestCloseStale:
    def test_it_needs_its_own_permission(self) -> None:
        client = operator("cancel_runs")

        assert "Close stale runs" not in text_of(client.get(LIST))
        assert client.get(STALE).status_code == client.post(STALE, {"reason": "x"}).status_code == 403

    def test_the_silent_ones_are_listed_and_closed_and_the_others_left(self) -> None:
        silent, alive = running(hours=2, workflow_id="silent"), running(workflow_id="alive")
        client = operator("close_stale_runs")
        assert "Close stale runs…" in text_of(client.get(LIST))
        shown = text_of(client.get(STALE))
        assert "silent" in shown
        assert "alive" not in shown
        assert "No running run was silent" in text_of(client.get(STALE, {"minutes": "360"}))
        form = {"runs": [silent.pk, alive.pk], "reason": "The worker was killed."}
        done = text_of(client.post(STALE, form, follow=True))

        assert "1 run closed as stale. 1 left alone: ended, or alive again." in done
        for run in (silent, alive):
            run.refresh_from_db()
        assert (silent.status, silent.closed_as_stale, alive.status) == ("failed", True, "running")
        assert silent.error.startswith("Closed by ada: The worker was killed. Closed as stale: there was no event")
        assert LogEntry.objects.get().object_id == silent.pk
        assert "0 runs closed as stale." in text_of(client.post(STALE, form, follow=True))
