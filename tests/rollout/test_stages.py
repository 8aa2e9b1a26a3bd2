"""Which stage the flags and the catalog are, and what is one step away."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from agentstate.contract import columns
from agentstate.models import Flag
from agentstate.rollout.errors import UnsuitablePercent
from agentstate.rollout.freeze import freeze, thaw
from agentstate.rollout.stages import Position, RolloutState, Stage, above, below
from tests.flags import turn
from tests.rollout.ladder import FLAGS, position, stand_at

pytestmark = pytest.mark.django_db


def at(stage: str, percent: float) -> Position:
    return Position(Stage(stage), Decimal(str(percent)))


def drop_columns() -> None:
    """Drop them as the contract does."""
    thaw()
    with connection.cursor() as cursor:
        cursor.execute(columns._DROP)


LADDER = [
    at("legacy", 0),
    at("dual_write", 0),
    at("shadow_read", 0),
    at("agentkit_read", 1),
    at("agentkit_read", 10),
    at("agentkit_read", 50),
    at("agentkit_read", 100),
    at("agentkit_only", 100),
    at("frozen", 100),
    at("contracted", 100),
]


# -- where we are


@pytest.mark.parametrize("stage", FLAGS)
def test_the_flags_and_the_freeze_are_the_stage(stage: str) -> None:
    stand_at(stage)

    assert position() == (stage, 100 if FLAGS[stage]["agentkit_reads"] else 0)
    assert RolloutState.read().pilots == []


def test_without_rows_the_flags_are_as_they_were_initially() -> None:
    Flag.objects.all().delete()

    assert position() == ("legacy", 0)


@pytest.mark.parametrize("percent", [0.1, 1, 12.5, 99.9])
def test_a_share_of_the_reads_is_part_of_the_stage(percent: float) -> None:
    stand_at("agentkit_read", percent)

    assert position() == ("agentkit_read", percent)


def test_one_hundred_percent_is_everyone() -> None:
    stand_at("agentkit_only")
    turn("agentkit_writes", percent=100)
    turn("agentkit_reads", percent=100)
    turn("legacy_writes", percent=0)

    assert position() == ("agentkit_only", 100)


@pytest.mark.parametrize("shadow", [{"everyone": True}, {"everyone": False}, {"percent": 30}])
def test_shadow_reads_do_not_matter_once_legacy_writes_are_off(shadow: dict[str, Any]) -> None:
    stand_at("agentkit_only")
    turn("agentkit_shadow_reads", **shadow)

    assert position() == ("agentkit_only", 100)


@pytest.mark.parametrize("stage", ["legacy", "frozen"])
def test_without_the_columns_everything_is_contracted_whatever_the_flags_say(stage: str) -> None:
    stand_at(stage)
    drop_columns()

    assert position() == ("contracted", 100)


# -- pilots


def test_named_projects_and_users_of_the_read_gates_are_pilots() -> None:
    stand_at("dual_write")
    turn("agentkit_reads", project_ids=["p1", "p2"], users=[User.objects.create(username="ada")])
    turn("agentkit_shadow_reads", staff=True)

    assert position() == ("dual_write", 0)
    assert RolloutState.read().pilots == [("agentkit_reads", 2, True), ("agentkit_shadow_reads", 0, True)]


def test_a_gate_that_is_on_for_everyone_has_no_pilots() -> None:
    stand_at("dual_write")
    turn("agentkit_reads", everyone=False, project_ids=["p1"], staff=True)
    turn("agentkit_shadow_reads", everyone=True, project_ids=["p1"], staff=True)

    assert RolloutState.read().pilots == []


# -- off the ladder


@pytest.mark.parametrize("gate", ["agentkit_writes", "legacy_writes"])
@pytest.mark.parametrize("settings", [{"percent": 50}, {"percent": 0, "project_ids": ["p1"]}])
def test_a_share_of_the_writes_is_no_stage(gate: str, settings: dict[str, Any]) -> None:
    stand_at("dual_write")
    turn(gate, **settings)

    assert position() is None


def test_a_share_of_the_shadow_reads_is_no_stage() -> None:
    stand_at("shadow_read")
    turn("agentkit_shadow_reads", percent=20)

    assert position() is None
    assert [nearest.position for nearest in RolloutState.read().nearest] == [at("dual_write", 0), at("shadow_read", 0)]


def test_the_nearest_stages_are_named_with_their_commands() -> None:
    stand_at("dual_write")
    turn("agentkit_writes", percent=30, project_ids=["p1"])

    legacy, dual_write = RolloutState.read().nearest
    assert (legacy.position, dual_write.position) == (at("legacy", 0), at("dual_write", 0))
    assert legacy.differences == [
        ("agentkit_writes", "on for 30 percent and 1 by name", "off", "waffle_flag agentkit_writes --deactivate")
    ]
    assert dual_write.differences[0][2:] == ("on for everyone", "waffle_flag agentkit_writes --everyone")


def test_reads_without_shadow_reads_are_near_the_same_share_with_them() -> None:
    stand_at("agentkit_read", 10)
    turn("agentkit_shadow_reads", everyone=False)

    assert [nearest.position for nearest in RolloutState.read().nearest] == [
        at("dual_write", 0),
        at("agentkit_read", 10),
    ]


def test_the_named_command_creates_a_missing_row() -> None:
    stand_at("dual_write")
    Flag.objects.filter(name="legacy_writes").delete()
    turn("agentkit_reads", everyone=True)
    Flag.objects.filter(name="agentkit_shadow_reads").delete()

    commands = {difference.command for nearest in RolloutState.read().nearest for difference in nearest.differences}
    assert commands == {
        "waffle_flag agentkit_reads --deactivate",
        "waffle_flag agentkit_shadow_reads --create --everyone",
        "waffle_flag legacy_writes --create --deactivate",
    }


def test_with_the_freeze_set_only_frozen_is_near_since_a_retreat_from_there_lifts_it() -> None:
    stand_at("legacy")
    freeze()

    (nearest,) = RolloutState.read().nearest
    assert nearest.position == at("frozen", 100)
    assert [difference.gate for difference in nearest.differences] == [
        "agentkit_writes",
        "legacy_writes",
        "agentkit_reads",
    ]


# -- one step


def test_the_ladder_is_climbed_one_rung_at_a_time() -> None:
    climbed = [LADDER[0]]
    while (higher := above(climbed[-1])) is not None:
        climbed.append(higher)

    assert climbed == LADDER


def test_the_way_down_leaves_reads_by_percent_in_one_step() -> None:
    descended = [LADDER[-1]]
    while (lower := below(descended[-1])) is not None:
        descended.append(lower)

    assert descended == [each for each in reversed(LADDER) if each.percent in (0, 100)]


@pytest.mark.parametrize(
    ("here", "percent", "there"),
    [
        (at("shadow_read", 0), 0.5, at("agentkit_read", 0.5)),
        (at("shadow_read", 0), 100, at("agentkit_read", 100)),
        (at("agentkit_read", 10), 12.5, at("agentkit_read", 12.5)),
        (at("agentkit_read", 12.5), None, at("agentkit_read", 50)),
    ],
)
def test_a_larger_share_can_be_asked_for(here: Position, percent: float | None, there: Position) -> None:
    assert above(here, percent and Decimal(str(percent))) == there


@pytest.mark.parametrize(
    ("here", "percent"),
    [
        (at("agentkit_read", 10), 10),
        (at("agentkit_read", 10), 5),
        (at("agentkit_read", 100), 100),
        (at("legacy", 0), 10),
        (at("dual_write", 0), 10),
        (at("agentkit_only", 100), 10),
    ],
)
def test_another_share_is_refused_on_the_way_up(here: Position, percent: float) -> None:
    with pytest.raises(UnsuitablePercent, match=rf"{percent} is not larger than the share|has no share"):
        above(here, Decimal(percent))


def test_a_smaller_share_can_be_asked_for_on_the_way_down() -> None:
    assert below(at("agentkit_read", 50), Decimal(10)) == at("agentkit_read", 10)
    for here, percent in ((at("agentkit_read", 50), 50), (at("agentkit_only", 100), 50), (at("shadow_read", 0), 1)):
        with pytest.raises(UnsuitablePercent, match=r"is not smaller than the share|has no share"):
            below(here, Decimal(percent))
