"""Approvals on a run's page: what waits is shown to all who see runs, and decided by those who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse as url_of
from django.utils.http import urlencode

from agentstate.approvals import decide, waiting_calls
from agentstate.models import AgentWorkflowRunEvent
from tests.admin.run.run_pages import NASTY, address, text_of
from tests.admin.viewers import superuser, viewer
from tests.factories import RunFactory, WaitingRunFactory

if TYPE_CHECKING:
    from agentstate.models import AgentWorkflowRun

pytestmark = pytest.mark.django_db


def approver(name: str = "ada", **options: bool) -> Client:
    """Return the client of a member of staff who may see runs and decide."""
    user = User.objects.create_user(name, is_staff=True)
    may = Permission.objects.filter(codename__in=["view_agentworkflowrun", "decide_approvals"])
    user.user_permissions.set(may)
    client = Client(**options)
    client.force_login(user)
    return client


def decision_page(run: AgentWorkflowRun, decision: str = "approved", call: str = "call-1") -> str:
    return f"{address(run, 'approval')}?{urlencode({'call': call, 'decision': decision})}"


def asked(run: AgentWorkflowRun, message: str = "") -> dict[str, str]:
    (call, *_) = waiting_calls(run.pk)
    return {"version": call.version, "message": message}


def decided(run: AgentWorkflowRun) -> list[dict[str, str]]:
    return list(
        AgentWorkflowRunEvent.objects.filter(run=run, type="approval.decided").values_list("payload", flat=True)
    )


def test_a_call_is_approved_after_a_confirmation() -> None:
    run, client = WaitingRunFactory(calls=["call-1", "call-2"]), approver()
    page = text_of(client.get(decision_page(run)))
    assert "The tool runs with these arguments when the run is resumed." in page
    assert "recorded with your name, and it is final. 1 other call still lacks a decision" in page
    assert decided(run) == [], "a page that is only shown decides nothing"
    page = text_of(client.post(decision_page(run), asked(run, "It is ours."), follow=True))
    assert "Approved: send_mail. 1 other call still lacks a decision; the run waits for it." in page
    assert "Approved by ada" in page
    assert decided(run) == [{"call_id": "call-1", "decision": "approved", "by": "ada", "message": "It is ours."}]


def test_a_rejection_needs_a_reason() -> None:
    run, client = WaitingRunFactory(), approver()
    page = text_of(client.post(decision_page(run, "rejected"), asked(run, " ")))
    assert "This field is required" in page
    assert decided(run) == []
    page = text_of(client.post(decision_page(run, "rejected"), asked(run, "Not now."), follow=True))
    assert "Every call has a decision now; the application can resume the run." in page
    assert decided(run)[0]["decision"] == "rejected"


def test_viewers_see_the_whole_call_without_a_form() -> None:
    run = WaitingRunFactory()
    arguments = f"no JSON: {NASTY} {'x' * 300_000}"
    run.result["interrupted"]["approvals"][0]["arguments"] = arguments
    run.save()
    client = viewer("agentworkflowrun")
    response = client.get(address(run))
    assert "Waits for approval" in text_of(response)
    assert "x" * 300_000 in response.content.decode()
    assert NASTY not in response.content.decode()
    assert address(run, "approval") not in response.content.decode()
    assert client.get(decision_page(run)).status_code == 403
    assert client.post(decision_page(run), asked(run)).status_code == 403
    assert decided(run) == []


def test_a_decision_also_needs_the_permission_to_view_runs() -> None:
    run, client = WaitingRunFactory(), approver()
    User.objects.get(username="ada").user_permissions.set(Permission.objects.filter(codename="decide_approvals"))
    assert client.post(decision_page(run), asked(run)).status_code == 403


def test_a_post_without_the_token_is_refused() -> None:
    run, client = WaitingRunFactory(), approver(enforce_csrf_checks=True)
    assert client.post(decision_page(run), asked(run)).status_code == 403
    assert decided(run) == []


def test_a_second_decision_names_the_first_ones_author() -> None:
    run, client = WaitingRunFactory(), approver("grace")
    seen = asked(run)
    decide(run.pk, "call-1", approved=False, message="No", by="ada")
    for response in (client.get(decision_page(run), follow=True), client.post(decision_page(run), seen, follow=True)):
        assert "Call 'call-1' was rejected by ada" in text_of(response)
    assert len(decided(run)) == 1


def test_a_resumed_run_takes_no_decision() -> None:
    run, client = WaitingRunFactory(), approver()
    run.resume()
    assert "does not wait for approval now" in text_of(client.get(decision_page(run), follow=True))


def test_an_unknown_decision_is_not_found() -> None:
    assert approver().get(decision_page(WaitingRunFactory(), "maybe")).status_code == 404


def test_the_list_of_runs_can_be_filtered_for_waiting_runs() -> None:
    WaitingRunFactory(id="waits"), RunFactory(id="queued", status="pending"), RunFactory(id="done")
    client, runs = superuser(), url_of("admin:agentstate_agentworkflowrun_changelist")
    for query, ids in (({}, ["waits"]), ({"status": "pending"}, ["waits"]), ({"status": "failed"}, [])):
        response = client.get(runs, {"approval": "waits", **query})
        assert [run.pk for run in response.context["cl"].result_list] == ids
