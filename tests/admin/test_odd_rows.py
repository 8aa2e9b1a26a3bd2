"""Rows of our own tables that others wrote, of whatever shape, never break a page."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.backfill.expectation import Expectation
from agentstate.models import BackfillPass, FlagChange, LeftAside, ReadCount, RolloutStep
from tests import scenes
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory

if TYPE_CHECKING:
    from django.db.models import Model

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENTS = [None, 5, "text", {}, [], [None, 5, "text", [], {}], {"what": {"at": [1]}}, [{"name": 5, "holds": "x"}]]


@pytest.fixture(autouse=True)
def nothing_is_known() -> None:
    cache.clear()


def read(view: str, *args: object) -> str:
    response = superuser().get(url_of(f"admin:agentstate_{view}", args=args))
    assert response.status_code == 200, view
    return unescape(response.content.decode())


def read_all(row: Model) -> str:
    """Return the text of a row's list, of its page and of the rollout's page."""
    name = row._meta.model_name
    return read(f"{name}_changelist") + read(f"{name}_change", row.pk) + read("rollout_changelist")


def make_step(**values: Any) -> RolloutStep:
    defaults = {"from_stage": "legacy", "from_percent": 0, "to_stage": "dual_write", "to_percent": 0}
    return RolloutStep.objects.create(
        at=timezone.now(), requested_by="ada", completed_at=timezone.now(), **{**defaults, **values}
    )


@pytest.mark.parametrize("stage", ["", "half_way", "Legacy", "<b>"])
def test_an_unknown_stage_is_shown_as_it_is(stage: str) -> None:
    text = read_all(make_step(from_stage=stage, to_stage=f"to {stage}", to_percent="12.5"))

    assert f"{stage} → to {stage}" in text


def test_a_percent_that_is_no_number_is_shown_as_it_is() -> None:
    step = make_step(to_stage="agentkit_read")
    scenes.run_sql("""UPDATE "AgentStateRolloutStep" SET to_percent = 'NaN'""")

    assert "agentkit_read at NaN percent" in read_all(step)


@pytest.mark.parametrize("conditions", DOCUMENTS)
def test_conditions_of_any_shape_are_shown(conditions: Any) -> None:
    scenes.open_gates(agentkit_writes=True)
    read_all(make_step(override="we know", conditions=[] if conditions is None else conditions))


@pytest.mark.parametrize("decisions", DOCUMENTS)
def test_decisions_of_any_shape_are_shown(decisions: Any) -> None:
    now = timezone.now()
    entry = LeftAside.objects.create(
        project_id=ProjectFactory().pk,
        direction="sideways",
        error_class="",
        error="",
        first_seen_at=now,
        last_seen_at=now,
        decisions=[] if decisions is None else decisions,
    )
    read_all(entry)
    read("leftaside_accept", entry.pk)


def test_a_decision_without_its_parts_is_shown_as_it_is() -> None:
    now = timezone.now()
    entry = LeftAside.objects.create(
        project_id="p",
        direction="forward",
        error_class="E",
        error="e",
        first_seen_at=now,
        last_seen_at=now,
        decisions=[
            {"what": "accepted", "note": "half a decision"},
            {"at": "yesterday", "by": "bob"},
            {"at": "9999-12-31T23:59:59-10:00"},
        ],
    )
    text = read("leftaside_change", entry.pk)

    assert "half a decision" in text
    assert "yesterday" in text
    assert "bob" in text


SETTINGS = [
    *DOCUMENTS,
    {"percent": "much"},
    {"percent": 5000, "everyone": "yes"},
    {"percent": [1], "project_ids": "all", "users": 5},
    {"project_ids": [None, 5, {}]},
    {"project_ids": {"a": 1}, "groups": None, "new": {"deep": [1]}},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("gate", ["agentkit_writes", "agentkit_reads"])
def test_settings_of_any_shape_are_shown(settings: Any, gate: str) -> None:
    change = FlagChange.objects.create(
        flag=gate, before=settings, after=settings, changed_at=timezone.now(), changed_by=""
    )
    read_all(change)


WHOLE = Expectation(seconds=(1, 2)).as_json()
EXPECTATIONS = [
    *DOCUMENTS,
    {**WHOLE, "projects": None},
    {**WHOLE, "disk": 1.5},
    {**WHOLE, "seconds": [1, "2"]},
    {**WHOLE, "seconds": [-1, 10**300]},
    {**WHOLE, "took": {}},
]


@pytest.mark.parametrize("expected", EXPECTATIONS)
def test_an_expectation_of_another_shape_is_none(expected: Any) -> None:
    assert Expectation.recorded(expected) is None
    assert Expectation.recorded({**WHOLE, "of a later version": 1}) == Expectation(seconds=(1, 2))


def test_passes_with_odd_values_are_shown() -> None:
    now = timezone.now()
    entry = BackfillPass.objects.create(
        direction="sideways",
        outcome="bored",
        requested_by="",
        started_at=now,
        seen_at=now,
        options=[1],
        candidates=-5,
        written=7,
        runs=-1,
        expected=["much"],
    )
    text = read_all(entry)

    assert "sideways" in text
    assert "bored" in text


def test_findings_with_unknown_words_are_left_out() -> None:
    ReadCount.objects.create(hour=timezone.now(), finding="surprise", reason="r", count=-3)
    ReadCount.objects.create(hour=timezone.now(), finding="difference", reason="no key", count=4)

    assert "no key" in read("rollout_changelist")
