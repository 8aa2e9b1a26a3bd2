"""Every standing, reached and left by every command.

Each project starts with facts 1, taken in by a first forward pass, and facts 2, saved into both homes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from agentstate.backfill.verification import Offender, verify
from tests import scenes
from tests.factories import ProjectFactory, write_columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentstate.backfill import Outcome

pytestmark = pytest.mark.django_db

PROJECT = "the-project"

COMMANDS: dict[str, Callable[[datetime], Outcome]] = {
    "forward": lambda _: scenes.forward(),
    "forward --prefer legacy": lambda _: scenes.forward(prefer="legacy"),
    "forward --prefer agentkit": lambda _: scenes.forward(prefer="agentkit"),
    "reverse": lambda _: scenes.reverse(),
    "reverse --prefer legacy": lambda _: scenes.reverse(prefer="legacy"),
    "reverse --prefer agentkit": lambda _: scenes.reverse(prefer="agentkit"),
    "reverse --force": lambda _: scenes.reverse(force=True),
    "reverse --force --as-of": lambda first: scenes.reverse(force=True, as_of=first),
}
FORWARD = ("forward", "forward --prefer legacy", "forward --prefer agentkit")
REVERSE = ("reverse", "reverse --prefer legacy", "reverse --prefer agentkit")
SETTLING = ("reverse --prefer legacy", "reverse --prefer agentkit")


# -- how each standing comes about


def empty() -> None:
    ProjectFactory(id=PROJECT)


def never_moved() -> None:
    ProjectFactory(id=PROJECT, documents={"facts": "1"})


def in_sync() -> None:
    never_moved()
    scenes.forward()
    scenes.save(PROJECT, "facts", "2")


def legacy_ahead() -> None:
    in_sync()
    write_columns(PROJECT, {"facts": "3"})


def legacy_ahead_with_its_clock_turned_back() -> None:
    legacy_ahead()
    with scenes.behind_the_trigger():
        scenes.run_sql("""UPDATE "Project" SET "stateUpdatedAt" = "stateUpdatedAt" - interval '1 day'""")


def agentkit_ahead() -> None:
    in_sync()
    scenes.save(PROJECT, "facts", "4", legacy=False)


def forked_in_different_keys() -> None:
    agentkit_ahead()
    write_columns(PROJECT, {"coverage": "3"})


def forked_while_the_clock_was_set_back() -> None:
    agentkit_ahead()
    scenes.write_with_clock_set_back(PROJECT, {"coverage": "3"})


def forked_in_the_same_key() -> None:
    agentkit_ahead()
    write_columns(PROJECT, {"facts": "3", "coverage": "3"})


def forked_to_the_same() -> None:
    agentkit_ahead()
    write_columns(PROJECT, {"facts": "4"})


def unequal() -> None:
    in_sync()
    scenes.damage(PROJECT, facts="9")


def emptied() -> None:
    in_sync()
    scenes.empty_columns(PROJECT)


def emptied_and_forked() -> None:
    agentkit_ahead()
    scenes.empty_columns(PROJECT)


def emptied_behind_the_trigger() -> None:
    in_sync()
    scenes.damage(PROJECT, facts=None)


# -- what the commands make of them


class After(NamedTuple):
    """What a command leaves: a standing, both homes' documents, and the workflows of the runs that it made."""

    standing: str
    columns: scenes.Documents
    state: scenes.Documents
    made: list[str]


KEPT = "legacy_snapshot"
MERGED = "legacy_merge"
RESTORED = "legacy_restore"


def settled(made: list[str], **documents: str) -> After:
    return After("in_sync", documents, documents, made)


def each(commands: tuple[str, ...], after: After) -> dict[str, After]:
    return dict.fromkeys(commands, after)


# A command that is not named changes nothing.
TABLE: dict[Callable[[], None], tuple[str, dict[str, After]]] = {
    empty: ("empty", {}),
    never_moved: ("legacy_ahead", each(FORWARD, settled([KEPT], facts="1"))),
    in_sync: ("in_sync", {"reverse --force --as-of": settled([RESTORED], facts="1")}),
    legacy_ahead: (
        "legacy_ahead",
        each(FORWARD, settled([KEPT], facts="3"))
        | {
            "reverse --force": settled([KEPT, RESTORED], facts="2"),
            "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
        },
    ),
    legacy_ahead_with_its_clock_turned_back: (
        "legacy_ahead",
        each(FORWARD + SETTLING, settled([KEPT], facts="3"))
        | {
            "reverse --force": settled([KEPT, RESTORED], facts="2"),
            "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
        },
    ),
    agentkit_ahead: (
        "agentkit_ahead",
        each(REVERSE, settled([], facts="4"))
        | {
            "reverse --force": settled([RESTORED], facts="4"),
            "reverse --force --as-of": settled([RESTORED], facts="1"),
        },
    ),
    **dict.fromkeys(
        (forked_in_different_keys, forked_while_the_clock_was_set_back),
        (
            "forked",
            each(
                FORWARD,
                After(
                    "agentkit_ahead",
                    {"facts": "2", "coverage": "3"},
                    {"facts": "4", "coverage": "3"},
                    [KEPT, MERGED],
                ),
            )
            | each(SETTLING, settled([KEPT, MERGED], facts="4", coverage="3"))
            | {
                "reverse --force": settled([KEPT, RESTORED], facts="4"),
                "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
            },
        ),
    ),
    forked_in_the_same_key: (
        "forked",
        {
            "forward --prefer legacy": After(
                "agentkit_ahead", {"facts": "3", "coverage": "3"}, {"facts": "3", "coverage": "3"}, [KEPT, MERGED]
            ),
            "forward --prefer agentkit": After(
                "agentkit_ahead", {"facts": "3", "coverage": "3"}, {"facts": "4", "coverage": "3"}, [KEPT, MERGED]
            ),
            "reverse --prefer legacy": settled([KEPT, MERGED], facts="3", coverage="3"),
            "reverse --prefer agentkit": settled([KEPT, MERGED], facts="4", coverage="3"),
            "reverse --force": settled([KEPT, RESTORED], facts="4"),
            "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
        },
    ),
    forked_to_the_same: (
        "forked",
        each(FORWARD, After("agentkit_ahead", {"facts": "4"}, {"facts": "4"}, [KEPT, MERGED]))
        | each(SETTLING, settled([KEPT, MERGED], facts="4"))
        | {
            "reverse --force": settled([KEPT, RESTORED], facts="4"),
            "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
        },
    ),
    unequal: (
        "in_sync",
        {
            "forward --prefer legacy": settled([KEPT], facts="9"),
            "forward --prefer agentkit": After("agentkit_ahead", {"facts": "9"}, {"facts": "2"}, [KEPT, MERGED]),
            "reverse --prefer legacy": settled([KEPT], facts="9"),
            "reverse --prefer agentkit": settled([KEPT, MERGED], facts="2"),
            "reverse --force": settled([KEPT, RESTORED], facts="2"),
            "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
        },
    ),
    emptied: (
        "legacy_ahead",
        {
            "forward --prefer legacy": settled([KEPT]),
            "forward --prefer agentkit": After("agentkit_ahead", {}, {"facts": "2"}, [KEPT, MERGED]),
            "reverse --prefer agentkit": settled([KEPT, MERGED], facts="2"),
            "reverse --force": settled([KEPT, RESTORED], facts="2"),
            "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
        },
    ),
    emptied_and_forked: (
        "forked",
        {
            "forward --prefer legacy": After("agentkit_ahead", {}, {}, [KEPT, MERGED]),
            "forward --prefer agentkit": After("agentkit_ahead", {}, {"facts": "4"}, [KEPT, MERGED]),
            "reverse --prefer legacy": settled([KEPT, MERGED]),
            "reverse --prefer agentkit": settled([KEPT, MERGED], facts="4"),
            "reverse --force": settled([KEPT, RESTORED], facts="4"),
            "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
        },
    ),
    emptied_behind_the_trigger: (
        "in_sync",
        {
            "forward --prefer legacy": settled([KEPT]),
            "forward --prefer agentkit": After("agentkit_ahead", {}, {"facts": "2"}, [KEPT, MERGED]),
            "reverse --prefer legacy": settled([KEPT]),
            "reverse --prefer agentkit": settled([KEPT, MERGED], facts="2"),
            "reverse --force": settled([KEPT, RESTORED], facts="2"),
            "reverse --force --as-of": settled([KEPT, RESTORED], facts="1"),
        },
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("scene", TABLE, ids=lambda scene: scene.__name__)
def test_every_command_leads_from_every_standing_to_the_expected_one(scene: Callable[[], None], command: str) -> None:
    standing, table = TABLE[scene]
    scene()
    before, rows = scenes.homes_of(PROJECT), scenes.everything()
    assert scenes.standing_of(PROJECT) == standing
    first = before.snapshots[0].at if before.snapshots else before.clock

    outcome = COMMANDS[command](first)

    after = scenes.homes_of(PROJECT)
    if command not in table:
        assert scenes.everything() == rows
        assert (outcome.counts.written, outcome.counts.merged) == (0, 0)
        return
    expected = table[command]
    assert scenes.standing_of(PROJECT) == expected.standing
    assert after.columns == expected.columns
    assert after.newest.state == expected.state
    assert after.workflows == before.workflows + expected.made
    assert after.in_sync == (expected.standing == "in_sync")
    assert outcome.counts.runs == len(expected.made)
    # What was overwritten, in either home, is in some run's snapshot.
    states = [snapshot.state for snapshot in after.snapshots]
    assert before.columns in states
    assert all(snapshot.state in states for snapshot in before.snapshots)

    rows = scenes.everything()
    COMMANDS[command](first)
    assert scenes.everything() == rows


@pytest.mark.parametrize("scene", [emptied, emptied_and_forked])
def test_forward_leaves_an_emptied_project_aside_and_names_it(scene: Callable[[], None]) -> None:
    scene()

    (failure,) = scenes.forward().counts.failures

    assert (failure.project, failure.error_class) == (PROJECT, "Emptied")
    assert "reverse_backfill_agentkit_state --force --project" in failure.error
    assert "--prefer legacy --project" in failure.error
    assert scenes.forward(prefer="legacy").counts.failures == []


@pytest.mark.parametrize("command", ["forward", "reverse"])
def test_a_pass_names_projects_that_stay_forked(command: str) -> None:
    forked_in_the_same_key()
    ProjectFactory(documents={"facts": "1"})

    assert COMMANDS[command](scenes.homes_of(PROJECT).clock).forked == (1, [PROJECT])


def test_a_forward_pass_does_not_name_merged_forks() -> None:
    forked_in_different_keys()

    assert scenes.forward().forked == (0, [])


@pytest.mark.parametrize("scene", [empty, never_moved])
def test_a_forced_restore_names_projects_without_an_earlier_snapshot(scene: Callable[[], None]) -> None:
    scene()

    outcome = scenes.reverse(force=True)

    assert outcome.without_snapshot == (1, [PROJECT])
    assert outcome.candidates == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("scene", "kind", "path"),
    [
        (never_moved, "legacy_ahead", ""),
        (legacy_ahead, "legacy_ahead", "facts"),
        (forked_in_different_keys, "forked", "coverage"),
        (forked_in_the_same_key, "forked", "coverage"),
        (unequal, "unequal", "facts"),
        (emptied, "legacy_ahead", "facts"),
        (emptied_behind_the_trigger, "unequal", "facts"),
    ],
)
def test_verification_names_unsettled_projects(scene: Callable[[], None], kind: str, path: str) -> None:
    scene()

    found = verify()

    assert not found.clean
    assert found.offenders == [Offender(PROJECT, kind, path)]
    assert {problem: count for problem, count in found.problems.items() if count} == {kind: 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scene", [empty, in_sync, agentkit_ahead])
def test_verification_is_clean_for_all_other_standings(scene: Callable[[], None]) -> None:
    scene()

    assert verify().clean
