"""The form of a flag that others change meanwhile: it overwrites nothing unseen, and names who was first."""

from __future__ import annotations

import html
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from agentstate.models import Flag, FlagChange
from agentstate.rollout import flag_lock, waiting
from agentstate.rollout.steps import advance
from tests.admin.races import at_once
from tests.rollout.ladder import position, stand_at
from tests.sql import second_connection

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)

LOCK = 'SELECT FROM "AgentStateFlag" FOR UPDATE'


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each wait for the lock until the other does, however busy the machine is."""
    monkeypatch.setattr(flag_lock, "TIMEOUT", "120s")


def opened_by(user: str, name: str) -> Callable[..., str]:
    """Open a flag's form as a user, and return a function that submits it with other settings."""
    client = Client()
    client.force_login(User.objects.get_or_create(username=user, is_staff=True, is_superuser=True)[0])
    address = reverse("admin:agentstate_flag_change", args=[Flag.objects.get(name=name).pk])
    form = client.get(address).context["adminform"].form
    shown = {"everyone": form["everyone"].value(), "seen": form["seen"].value()}

    def submit(**settings: Any) -> str:
        return html.unescape(client.post(address, {**shown, **settings}, follow=True).content.decode())

    return submit


def test_of_two_opposite_changes_at_once_the_second_names_the_first() -> None:
    stand_at("dual_write")
    before = FlagChange.objects.count()
    ada, grace = opened_by("ada", "agentkit_shadow_reads"), opened_by("grace", "agentkit_shadow_reads")
    share = {"everyone": "unknown", "confirmed": "on"}
    answers = at_once(LOCK, partial(ada, percent="10", **share), partial(grace, percent="90", **share))

    change = FlagChange.objects.latest("pk")
    assert FlagChange.objects.count() == before + 1
    winner = ("ada", "grace").index(change.changed_by)
    assert "was changed successfully" in answers[winner]
    assert f"{change.changed_by} changed agentkit_shadow_reads after this page was shown: " in answers[1 - winner]
    assert "Nothing was saved." in answers[1 - winner]


def test_two_changes_that_together_refuse_saves_do_not_pass_each_other_by() -> None:
    stand_at("dual_write")
    off = {"everyone": "false", "confirmed": "on"}
    answers = at_once(
        LOCK, partial(opened_by("ada", "agentkit_writes"), **off), partial(opened_by("grace", "legacy_writes"), **off)
    )

    both = Flag.objects.filter(name__in=["agentkit_writes", "legacy_writes"], everyone=True)
    assert both.count() == 1
    assert sum("after this page was shown" in answer for answer in answers) == 1


def test_a_form_that_is_sent_twice_at_once_changes_the_flag_once() -> None:
    stand_at("dual_write")
    before = FlagChange.objects.count()
    submit = partial(opened_by("ada", "agentkit_shadow_reads"), everyone="true", confirmed="on")
    at_once(LOCK, submit, submit)

    assert FlagChange.objects.count() == before + 1


def test_a_tick_is_not_taken_for_consequences_that_came_later() -> None:
    stand_at("dual_write")
    submit = opened_by("ada", "legacy_writes")
    opened_by("grace", "agentkit_writes")(everyone="false")
    refused = submit(everyone="false", confirmed="on")

    assert "grace changed agentkit_writes after this page was shown: everyone: yes → no." in refused
    assert 'name="confirmed" id="id_confirmed" checked' not in refused
    assert Flag.objects.get(name="legacy_writes").everyone is True


def test_a_change_that_no_page_showed_counts_as_none() -> None:
    stand_at("dual_write")
    refused = opened_by("ada", "agentkit_shadow_reads")(everyone="true", seen="9" * 5000)

    assert "after this page was shown" in refused


def test_a_step_and_the_form_do_not_undo_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 0)
    stand_at("legacy")
    submit = opened_by("ada", "agentkit_writes")
    advance()

    assert "changed agentkit_writes after this page was shown: everyone: no → yes." in submit(everyone="false")
    assert position() == ("dual_write", 0)


def test_a_flag_that_a_transaction_keeps_locked_is_not_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flag_lock, "TIMEOUT", "50ms")
    stand_at("dual_write")
    submit = opened_by("ada", "agentkit_shadow_reads")
    with second_connection() as other, other.transaction():
        other.execute(LOCK)
        assert "Another transaction has kept a flag locked for 50ms. Nothing was changed." in submit(everyone="true")
