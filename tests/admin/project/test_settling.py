"""Settling projects from their page: what it says, who may, who was first, and what is recorded."""

from __future__ import annotations

import re
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse as url_of

from agentstate.backfill.settling import dispute_of
from agentstate.lock_spaces import DECISIONS
from agentstate.models import BackfillPass
from agentstate.state.documents import ABSENT
from agentstate.state.loading import load
from tests import scenes
from tests.admin.project.project_pages import address, page_of, text_of
from tests.admin.races import at_once
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory
from tests.sql import second_connection

if TYPE_CHECKING:
    from django.http import HttpResponse

pytestmark = pytest.mark.django_db

SETTLE = "settle_project"
RESTORE = "restore_project"
REASON = "It was wrong"


def operator(*permissions: str) -> Client:
    """Return the client of a member of staff who may view projects, and what is named."""
    user = User.objects.create_user(f"operator-{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_project", *permissions]))
    client = Client()
    client.force_login(user)
    return client


def forked() -> str:
    """Make a fork in which both homes changed coverage, and each one another document."""
    project = ProjectFactory(documents={"coverage": "1", "facts": "1", "eligibility": "1"}).id
    scenes.forward(project, sessions=False)
    scenes.save(project, "coverage", "2", legacy=False)
    scenes.save(project, "facts", "2", legacy=False)
    scenes.change_columns(project, coverage=3, eligibility=3)
    return project


def unequal() -> str:
    project = ProjectFactory(documents={"coverage": "1"}).id
    scenes.forward(project, sessions=False)
    scenes.damage(project, coverage="3")
    return project


def emptied() -> str:
    project = ProjectFactory(documents={"coverage": "1"}).id
    scenes.forward(project, sessions=False)
    scenes.empty_columns(project)
    return project


def confirmation(client: Client, project: str, choice: str, **query: str) -> Any:
    return client.get(address(project, "settle"), {"choice": choice, **query})


def decide(client: Client, project: str, choice: str, seen: str, reason: str = REASON) -> HttpResponse:
    return client.post(f"{address(project, 'settle')}?choice={choice}", {"seen": seen, "reason": reason}, follow=True)


def seen(project: str) -> str:
    dispute = dispute_of(project)
    assert dispute
    return dispute.seen


def coverage_of(project: str) -> Any:
    return load(project, counts=False).coverage


# -- what the page says


def test_a_fork_says_why_a_person_must_decide_and_what_each_choice_loses() -> None:
    project = forked()
    text = text_of(page_of(superuser(), project))
    assert "A person must decide: both homes changed coverage since they were equal." in text
    assert "coverage: 1 byte of the newest snapshot give way to 1 byte of the columns." in text
    assert "facts: the document of the snapshot is taken either way." in text
    assert "eligibility: the document of the columns is taken either way." in text
    for home in ("legacy", "agentkit"):
        assert f"manage.py backfill_agentkit_state --no-sessions --prefer {home} --project {project}" in text


def test_a_fork_without_a_clash_says_that_the_next_pass_merges_it() -> None:
    project = ProjectFactory(documents={"coverage": "1", "facts": "1"}).id
    scenes.forward(project, sessions=False)
    scenes.save(project, "coverage", "2", legacy=False)
    scenes.change_columns(project, facts=3)
    text = text_of(page_of(superuser(), project))
    assert "The next forward backfill merges this fork" in text
    assert "It takes facts from the columns and coverage from the snapshot." in text
    assert "Keep the columns" not in text
    assert confirmation(superuser(), project, "columns").status_code == 302


def test_an_emptied_project_offers_the_snapshots_state() -> None:
    text = text_of(page_of(superuser(), emptied()))
    assert "every pass leaves this project aside" in text
    assert "Restore the snapshot&#x27;s state" in text
    assert "coverage: the columns hold nothing, the newest snapshot 1 byte; afterwards both hold 1 byte." in text
    assert 'data-standing="emptied">emptied<' in text
    assert "coverage: removed. It is absent in the columns; 1 byte of the newest snapshot give way." in text


def test_a_project_in_sync_has_nothing_to_decide() -> None:
    project = ProjectFactory(documents={"coverage": "1"}).id
    scenes.forward(project, sessions=False)
    assert "agentstate-settle" not in text_of(page_of(superuser(), project))


# -- what is done


@pytest.mark.parametrize(
    ("make", "choice", "coverage", "standing"),
    [
        (forked, "columns", 3, "agentkit_ahead"),
        (forked, "snapshot", 2, "agentkit_ahead"),
        (unequal, "columns", 3, "in_sync"),
        (unequal, "snapshot", 1, "agentkit_ahead"),
        (emptied, "restore", 1, "in_sync"),
    ],
)
def test_a_decision_is_carried_out_and_recorded(make: Any, choice: str, coverage: int, standing: str) -> None:
    project, client = make(), operator(SETTLE, RESTORE)
    scenes.open_gates(agentkit_reads=True)
    page = confirmation(client, project, choice)
    token = re.search(r'name="seen" value="([^"]*)"', text_of(page))
    assert token
    answer = decide(client, project, choice, token[1], "The export was stale")
    assert ": done." in text_of(answer)
    assert (coverage_of(project), scenes.standing_of(project)) == (coverage, standing)
    entry = BackfillPass.objects.latest("pk")
    assert (entry.requested_by, entry.options["reason"]) == ("operator-0", "The export was stale")


def test_keeping_emptied_columns_takes_them_in() -> None:
    project = emptied()
    decide(operator(SETTLE), project, "columns", seen(project))
    assert scenes.standing_of(project) == "in_sync"
    assert dispute_of(project).kind == ""  # type: ignore[union-attr]


def test_the_state_of_any_moment_can_be_restored() -> None:
    project = ProjectFactory(documents={"coverage": "1"}).id
    scenes.forward(project, sessions=False)
    scenes.save(project, "coverage", "2")
    client = operator(RESTORE)
    page = page_of(client, project, moment=1)
    address_ = page.context["restore_url"]
    text = text_of(client.get(address_))
    assert "--as-of" in text
    assert "coverage: the columns hold 1 byte, the newest snapshot 1 byte; afterwards both hold 1 byte." in text
    client.post(address_, {"seen": seen(project), "reason": "As it was"})
    assert coverage_of(project) == 1
    assert "restore_url" not in page_of(client, project).context


# -- who may


@pytest.mark.parametrize(
    ("make", "choice", "permission"),
    [(forked, "columns", RESTORE), (forked, "snapshot", RESTORE), (emptied, "restore", SETTLE)],
)
def test_a_decision_needs_its_own_permission(make: Any, choice: str, permission: str) -> None:
    project, client = make(), operator(permission)
    assert "choice=" + choice not in text_of(page_of(client, project))
    before = scenes.everything()
    assert confirmation(client, project, choice).status_code == 403
    assert decide(client, project, choice, seen(project)).status_code == 403
    assert scenes.everything() == before


@pytest.mark.parametrize("reason", ["", "no", " \n "])
def test_a_decision_needs_a_reason(reason: str) -> None:
    project = forked()
    before = scenes.everything()
    assert decide(superuser(), project, "columns", seen(project), reason).status_code == 200
    assert scenes.everything() == before


def test_an_unknown_decision_is_not_found() -> None:
    assert confirmation(superuser(), forked(), "both").status_code == 404


# -- who was first


@pytest.mark.parametrize(
    ("make", "choice"), [(forked, "columns"), (forked, "snapshot"), (unequal, "snapshot"), (emptied, "restore")]
)
def test_a_reload_in_the_middle_does_nothing_twice(make: Any, choice: str) -> None:
    project, client = make(), superuser()
    token = seen(project)
    decide(client, project, choice, token)
    before = scenes.everything()
    again = decide(client, project, choice, token)
    assert "Nothing is left to decide here. Nothing was changed." in text_of(again)
    assert scenes.everything() == before


def test_a_decision_about_another_version_is_refused() -> None:
    project, client = forked(), superuser()
    token = seen(project)
    scenes.change_columns(project, coverage=4)
    before = scenes.everything()
    answer = decide(client, project, "columns", token)
    assert "the project has changed since the page was shown" in text_of(answer)
    assert scenes.everything() == before
    token = re.search(r'name="seen" value="([^"]*)"', text_of(answer))[1]  # type: ignore[index]
    assert ": done." in text_of(decide(client, project, "columns", token))


def lock_of(project: str) -> str:
    """Return the statement that takes the lock for which decisions about a project wait."""
    return f"SELECT pg_advisory_xact_lock({DECISIONS}, {zlib.crc32(project.encode()) - 2**31})"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("make", "choice"), [(forked, "columns"), (unequal, "snapshot"), (emptied, "restore")], ids=["f", "u", "e"]
)
def test_a_decision_that_is_sent_twice_at_once_is_carried_out_once(make: Any, choice: str) -> None:
    project, client = make(), superuser()
    token = seen(project)
    answers = at_once(lock_of(project), *[lambda: text_of(decide(client, project, choice, token))] * 2)

    assert sum(": done." in answer for answer in answers) == 1
    assert sum("root-0 decided about this project at " in answer for answer in answers) == 1
    assert BackfillPass.objects.filter(options__reason=REASON).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("make", "choices"),
    [
        (forked, {"columns": 3, "snapshot": 2}),
        (unequal, {"columns": 3, "snapshot": 1}),
        (emptied, {"restore": 1, "columns": ABSENT}),
    ],
)
def test_of_two_opposite_decisions_at_once_one_is_carried_out(make: Any, choices: dict[str, Any]) -> None:
    project = make()
    token, clients = seen(project), (superuser(), superuser())
    answers = at_once(
        lock_of(project),
        *[
            partial(lambda *args: text_of(decide(*args)), client, project, choice, token)
            for client, choice in zip(clients, choices, strict=True)
        ],
    )
    done = [choice for choice, answer in zip(choices, answers, strict=True) if ": done." in answer]
    (done_choice,) = done
    (refused,) = (answer for answer in answers if ": done." not in answer)
    winner = ("root-0", "root-1")[list(choices).index(done_choice)]
    assert f"{winner} decided about this project at " in refused
    assert f": {REASON}" in refused
    scenes.open_gates(agentkit_reads=True)
    assert coverage_of(project) == choices[done_choice]
    assert sum(entry.written + entry.merged > 0 for entry in BackfillPass.objects.filter(options__reason=REASON)) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_a_decision_does_not_wait_longer_than_the_host_lets_it(limit: str) -> None:
    project, client = forked(), superuser()
    shown = seen(project)
    with second_connection() as other, other.transaction():
        other.execute(lock_of(project))
        with connection.execute_wrapper(_limited(limit)):
            page = decide(client, project, "columns", shown)
    assert "another decision about this project is being carried out" in text_of(page)
    assert scenes.standing_of(project) == "forked"


def _limited(limit: str) -> Any:
    def execute(execute: Any, sql: str, *rest: Any) -> Any:
        if "pg_advisory_lock" not in sql:
            return execute(sql, *rest)
        connection.connection.execute(f"SET {limit} = '100ms'")
        try:
            return execute(sql, *rest)
        finally:
            connection.connection.execute(f"RESET {limit}")

    return execute


def test_the_ledger_shows_the_reason() -> None:
    project = forked()
    decide(superuser(), project, "columns", seen(project), "The export was stale")
    entry = BackfillPass.objects.latest("pk")
    page = superuser().get(url_of("admin:agentstate_backfillpass_change", args=[entry.pk]))
    assert "The export was stale" in page.content.decode()


def test_the_projects_page_leads_to_the_decisions_about_it() -> None:
    project, client = forked(), operator(SETTLE)
    decide(client, project, "snapshot", seen(project), "The export was stale")
    decisions = url_of("admin:agentstate_project_history", args=[project])
    assert decisions in text_of(page_of(client, project))
    text = client.get(decisions).content.decode()
    for part in ("operator-0", "Keep the snapshot. The export was stale"):
        assert part in text
