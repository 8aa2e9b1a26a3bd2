"""Since when a gate has been as it is, told by the kept changes of its flag."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentstate import gates
from agentstate.actors import acting_as
from agentstate.gates import AGENTKIT_WRITES, LEGACY_WRITES
from agentstate.models import Flag, FlagChange
from agentstate.rollout.flag_history import FlagHistory
from tests.asking import BY_BUCKET
from tests.flags import turn

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.django_db

LOW, MIDDLE, HIGH = BY_BUCKET[5], BY_BUCKET[200], BY_BUCKET[900]


def toggle(name: str = "agentkit_writes", **settings: Any) -> datetime:
    """Change some settings of a flag, and return when."""
    flag, _ = Flag.objects.get_or_create(name=name)
    for setting, value in settings.items():
        setattr(flag, setting, value)
    flag.save()
    return FlagChange.objects.latest("pk").changed_at


def since_everyone() -> datetime | None:
    return FlagHistory.load().since(AGENTKIT_WRITES, lambda share: share.is_everything)


def reached(project: str) -> datetime | None:
    found = FlagHistory.load().reached(AGENTKIT_WRITES)
    if project in found.named:
        return found.named[project]
    return next((moment for buckets, moment in found.ranges if gates.bucket(project) in buckets), None)


def test_a_gate_is_on_since_it_was_last_switched_on() -> None:
    toggle(everyone=True)
    toggle(everyone=False)
    assert since_everyone() is None

    switched_on = toggle(everyone=True)
    toggle(note="Only a note")
    toggle(everyone=None, percent=100)

    assert since_everyone() == switched_on


def test_a_deleted_row_counts_as_the_initial_value() -> None:
    toggle(everyone=True)
    toggle("legacy_writes", everyone=False)
    Flag.objects.all().delete()
    deleted = FlagChange.objects.latest("pk").changed_at

    history = FlagHistory.load()
    assert since_everyone() is None
    assert history.since(LEGACY_WRITES, lambda share: share.is_everything) == deleted


def test_without_history_nothing_is_known() -> None:
    FlagChange.objects.all().delete()

    history = FlagHistory.load()
    assert history.since(LEGACY_WRITES, lambda share: share.is_everything) is None
    assert history.last_change(LEGACY_WRITES) is None
    assert history.reached(AGENTKIT_WRITES).earliest is None


def test_the_change_that_gave_a_gate_its_value_is_named_with_its_author() -> None:
    with acting_as("ada"):
        made = toggle(percent=20)
    toggle(note="Only a note")

    change = FlagHistory.load().last_change(AGENTKIT_WRITES)
    assert change is not None
    assert (change.at, change.by, len(change.share.buckets)) == (made, "ada", 200)


def test_each_bucket_is_reached_when_the_share_first_has_it() -> None:
    first = toggle(percent=10)
    second = toggle(percent=50)
    assert (reached(LOW), reached(MIDDLE), reached(HIGH)) == (first, second, None)

    third = toggle(everyone=True, percent=None)
    assert (reached(LOW), reached(MIDDLE), reached(HIGH)) == (first, second, third)


def test_a_bucket_that_was_left_out_in_between_counts_from_when_it_was_last_reached() -> None:
    first = toggle(percent=50)
    toggle(percent=10)
    again = toggle(percent=50)

    assert (reached(LOW), reached(MIDDLE)) == (first, again)


def test_a_named_project_is_reached_by_its_name_or_its_bucket_whichever_came_first() -> None:
    named = toggle(project_ids=[HIGH])
    toggle(percent=10, project_ids=[HIGH, LOW])
    assert reached(HIGH) == named

    toggle(everyone=True, project_ids=[])
    assert reached(HIGH) == named

    toggle(everyone=False)
    assert (reached(HIGH), reached(LOW)) == (None, None)


def test_one_toggle_for_everyone_is_one_range() -> None:
    turn("agentkit_writes", everyone=True)

    found = FlagHistory.load().reached(AGENTKIT_WRITES)

    assert [buckets for buckets, _ in found.ranges] == [range(gates.BUCKETS)]
    assert found.earliest is not None
    assert found.earliest - FlagChange.objects.latest("pk").changed_at == timedelta(0)
