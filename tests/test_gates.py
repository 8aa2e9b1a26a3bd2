"""Both sides of each gate, for every setting of its flag."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from agentstate import gates
from agentstate.models import Flag
from tests.asking import (
    ALL,
    ASK,
    BY_BUCKET,
    EDGES,
    HIGH,
    LOW,
    PERCENTS,
    PROJECTS,
    READS,
    WRITES,
    request_of,
    share_of,
)
from tests.factories import ProjectFactory
from tests.flags import turn

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.django_db


def test_there_is_a_project_of_each_bucket() -> None:
    assert sorted(BY_BUCKET) == list(range(gates.BUCKETS))


def test_buckets_never_change() -> None:
    # A project must not change homes with a release of ours.
    found = [gates.bucket(name) for name in ("", "p1", "cjld2cjxh0000qzrmn831i7rn", "Größe/項目")]

    assert found == [610, 108, 855, 826]


def test_buckets_are_about_equally_full() -> None:
    counts = [0] * 10
    for number in range(20_000):
        counts[gates.bucket(f"project-{number}") // 100] += 1

    assert all(1800 < count < 2200 for count in counts)


def test_sql_knows_the_same_buckets() -> None:
    names = ["", "x" * 300, "Größe/項目", *(f"p{number}" for number in range(100))]
    for name in names:
        ProjectFactory(id=name)

    with connection.cursor() as cursor:
        cursor.execute(f'SELECT id, {gates.BUCKET_IN_SQL} FROM "Project" p')
        found = dict(cursor.fetchall())

    assert found == {name: gates.bucket(name) for name in names}


@pytest.mark.parametrize(
    "share",
    [gates.NOTHING, gates.EVERYTHING, gates.Share(range(250)), gates.Share(range(900, 1000), ["p1", "p2", "gone"])],
)
def test_a_share_is_the_same_in_sql(share: gates.Share) -> None:
    projects = [ProjectFactory().id for _ in range(40)] + [ProjectFactory(id=name).id for name in ("p1", "p2")]
    condition, parameters = share.in_sql()

    with connection.cursor() as cursor:
        cursor.execute(f'SELECT id FROM "Project" p WHERE {condition}', parameters)
        found = {name for (name,) in cursor.fetchall()}

    assert found == {project for project in projects if share.has(project)}


@pytest.mark.parametrize(("name", "initially"), [(name, name == "legacy_writes") for name in ALL])
def test_a_missing_row_means_its_initial_value(name: str, initially: bool) -> None:
    Flag.objects.all().delete()

    assert {ASK[name](LOW), ASK[name](HIGH)} == {initially}


@pytest.mark.parametrize("name", ALL)
def test_a_row_with_nothing_set_is_off(name: str) -> None:
    turn(name)

    assert share_of(name) == set()


@pytest.mark.parametrize("percent", PERCENTS)
@pytest.mark.parametrize("name", ALL)
def test_percent_is_a_share_of_projects(name: str, percent: str) -> None:
    turn(name, percent=Decimal(percent))

    size = round(float(percent) * 10)
    expected = range(1000 - size, 1000) if name == "legacy_writes" else range(size)
    assert share_of(name) == EDGES & {*expected}


@pytest.mark.parametrize(("agentkit", "legacy"), [("0", "100"), ("12.5", "87.5"), ("40", "60"), ("100", "0")])
def test_shares_that_add_up_to_100_give_each_project_one_home(agentkit: str, legacy: str) -> None:
    turn("agentkit_writes", percent=Decimal(agentkit))
    turn("legacy_writes", percent=Decimal(legacy))

    homes = {gates.agentkit_writes(project) + gates.legacy_writes(project) for project in PROJECTS.values()}

    assert homes == {1}


def test_a_larger_share_holds_the_smaller_one_and_all_agentkit_gates_share_it() -> None:
    shares = []
    for percent, name in zip((5, 40, 50), ("agentkit_shadow_reads", "agentkit_reads", "agentkit_writes"), strict=True):
        turn(name, percent=percent)
        shares.append(share_of(name))

    assert shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize("name", ALL)
def test_named_projects_are_in_at_any_percent(name: str) -> None:
    outside = LOW if name == "legacy_writes" else HIGH
    turn(name, percent=10, project_ids=[outside])

    share = range(900, 1000) if name == "legacy_writes" else range(100)
    assert share_of(name) == EDGES & {*share, gates.bucket(outside)}


@pytest.mark.parametrize("everyone", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_everyone_overrides_all_other_settings(name: str, everyone: bool) -> None:
    ada = User.objects.create(username="ada", is_staff=True, is_superuser=True)
    kinds = {"staff": True, "superusers": True, "authenticated": True, "users": [ada]}
    named = [] if everyone else [LOW, HIGH]
    turn(name, everyone=everyone, percent=0 if everyone else 100, project_ids=named, **kinds)

    assert {ASK[name](project) for project in PROJECTS.values()} == {everyone}
    if name in READS:
        assert ASK[name](LOW, request_of(ada)) is everyone


KINDS: dict[str, dict[str, Any]] = {
    "anybody": {},
    "staff": {"is_staff": True},
    "a superuser": {"is_superuser": True},
}


@pytest.mark.parametrize(
    ("settings", "let_in"),
    [
        ({"authenticated": True}, {"anybody", "staff", "a superuser"}),
        ({"staff": True}, {"staff"}),
        ({"superusers": True}, {"a superuser"}),
        ({"staff": True, "superusers": True}, {"staff", "a superuser"}),
        ({}, set()),
    ],
    ids=lambda value: "-".join(sorted(value)) or "nobody",
)
@pytest.mark.parametrize("name", READS)
def test_kinds_of_users_count_for_reads(name: str, settings: dict[str, bool], let_in: set[str]) -> None:
    turn(name, **settings)
    users = {kind: User.objects.create(username=kind, **fields) for kind, fields in KINDS.items()}

    assert {kind for kind, user in users.items() if ASK[name](HIGH, request_of(user))} == let_in
    assert not ASK[name](HIGH)
    assert not ASK[name](HIGH, request_of(AnonymousUser()))
    assert not ASK[name](HIGH, request_of(None))


@pytest.mark.parametrize("name", READS)
def test_users_by_name_and_by_group_count_for_reads(name: str) -> None:
    ada, ben, cy = (User.objects.create(username=username) for username in ("ada", "ben", "cy"))
    testers, others = (Group.objects.create(name=group) for group in ("testers", "others"))
    ben.groups.add(testers, others)
    cy.groups.add(others)
    turn(name, users=[ada], groups=[testers])

    assert [ASK[name](HIGH, request_of(user)) for user in (ada, ben, cy, AnonymousUser())] == [
        True,
        True,
        False,
        False,
    ]
    assert not ASK[name](HIGH)


@pytest.mark.parametrize("name", READS)
def test_a_user_who_is_not_named_reads_by_the_project(name: str) -> None:
    turn(name, percent=10, staff=True)
    reader = request_of(User.objects.create(username="ada"))

    assert ASK[name](LOW, reader)
    assert not ASK[name](HIGH, reader)


@pytest.mark.parametrize("name", WRITES)
def test_users_never_decide_where_a_save_goes(name: str) -> None:
    ada = User.objects.create(username="ada", is_staff=True, is_superuser=True)
    turn(name, staff=True, superusers=True, authenticated=True, users=[ada])

    with pytest.raises(TypeError):
        ASK[name](LOW, request_of(ada))
    assert not gates.GATES[name].is_on(LOW, request_of(ada))


@pytest.mark.parametrize("on", list(itertools.product([True, False], repeat=4)), ids=str)
def test_no_gate_depends_on_another(on: tuple[bool, ...]) -> None:
    for name, everyone in zip(ALL, on, strict=True):
        turn(name, everyone=everyone)

    assert tuple(ask(LOW) for ask in ASK.values()) == on
    rollout = gates.Shares.of(Flag.objects.all())
    assert rollout.for_project(LOW) == rollout.in_bucket(999) == on


COMMANDS = [
    (["agentkit_reads", "--percent", "10"], set(range(100))),
    (["agentkit_reads", "--percent", "100"], set(range(1000))),
    (["agentkit_writes", "--everyone"], set(range(1000))),
    (["agentkit_writes", "--deactivate"], set()),
    (["agentkit_writes"], set()),
    (["legacy_writes", "--percent", "40"], set(range(600, 1000))),
    (["legacy_writes", "--percent", "100"], set(range(1000))),
    (["legacy_writes", "--percent", "0"], set()),
    (["legacy_writes", "--deactivate"], set()),
    (["legacy_writes"], set()),
    (["agentkit_shadow_reads", "--percent", "5"], set(range(50))),
]


@pytest.mark.parametrize("before", [True, False, None])
@pytest.mark.parametrize(
    ("arguments", "buckets"),
    COMMANDS,
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(len(value)),
)
def test_the_command_sets_the_gate(
    arguments: list[str], buckets: set[int], before: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    turn(arguments[0], everyone=before, percent=70)

    call_command("waffle_flag", *arguments)

    assert share_of(arguments[0]) == EDGES & buckets


def test_the_command_lets_users_and_groups_read(capsys: pytest.CaptureFixture[str]) -> None:
    ada = User.objects.create(username="ada")
    ben = User.objects.create(username="ben")
    ben.groups.add(Group.objects.create(name="testers"))
    cy = User.objects.create(username="cy", is_superuser=True)
    turn("agentkit_reads")

    call_command("waffle_flag", "agentkit_reads", "--user", "ada", "--group", "testers")

    assert [gates.agentkit_reads(HIGH, request_of(user)) for user in (ada, ben, cy)] == [True, True, False]


def test_the_command_keeps_named_projects(capsys: pytest.CaptureFixture[str]) -> None:
    turn("agentkit_reads", project_ids=[HIGH])

    call_command("waffle_flag", "agentkit_reads", "--percent", "10")

    assert gates.agentkit_reads(HIGH)


@pytest.mark.parametrize("percent", [-1, 101])
def test_the_command_refuses_an_invalid_percent(percent: int) -> None:
    turn("agentkit_reads", percent=30)

    with pytest.raises(
        CommandError, match=f"--percent {percent} is not a percentage of the projects. Use a number from 0 to 100."
    ):
        call_command("waffle_flag", "agentkit_reads", f"--percent={percent}")

    assert Flag.objects.get(name="agentkit_reads").percent == 30


@pytest.mark.parametrize("percent", [-1, 101])
def test_an_invalid_percent_is_refused(percent: int) -> None:
    with pytest.raises(IntegrityError, match="AgentStateFlag_percent_check"), transaction.atomic():
        turn("agentkit_reads", percent=percent)
