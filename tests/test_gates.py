"""Both sides of each gate, for every setting of its flag."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections, transaction
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from agentstate import gates
from agentstate.models import Flag
from tests.factories import ProjectFactory
from tests.flags import rolled_back, turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db

ASK: dict[str, Callable[..., bool]] = {
    "agentkit_writes": gates.agentkit_writes,
    "legacy_writes": gates.legacy_writes,
    "agentkit_reads": gates.agentkit_reads,
    "agentkit_shadow_reads": gates.agentkit_shadow_reads,
}
ALL = list(ASK)
READS = ["agentkit_reads", "agentkit_shadow_reads"]
WRITES = ["agentkit_writes", "legacy_writes"]
BY_BUCKET = {gates.bucket(name): name for name in (f"p{number}" for number in range(12_000))}
LOW, HIGH = BY_BUCKET[0], BY_BUCKET[999]
# Projects on both sides of each percent that is tried here, by bucket.
PERCENTS = ("0", "0.1", "5", "9.9", "10", "12.5", "40", "50", "60", "87.5", "99.9", "100")
SIZES = [round(float(percent) * 10) for percent in PERCENTS]
EDGES = {edge + side for size in SIZES for edge in (size, 1000 - size) for side in (-1, 0)} & BY_BUCKET.keys()
PROJECTS = {number: BY_BUCKET[number] for number in EDGES}


def share_of(name: str) -> set[int]:
    """Return the buckets for whose projects the gate is on."""
    return {number for number, project in PROJECTS.items() if ASK[name](project)}


def request_of(user: User | AnonymousUser | None) -> HttpRequest:
    request = RequestFactory().get("/")
    if user is not None:
        # As Django's middleware gives it.
        request.user = SimpleLazyObject(lambda: user)  # type: ignore[assignment]
    return request


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
def test_a_row_that_is_missing_means_its_initial_value(name: str, initially: bool) -> None:
    Flag.objects.all().delete()

    assert {ASK[name](LOW), ASK[name](HIGH)} == {initially}


@pytest.mark.parametrize("name", ALL)
def test_a_row_with_nothing_on_is_off(name: str) -> None:
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
def test_named_projects_are_in_whatever_the_percent_is(name: str) -> None:
    outside = LOW if name == "legacy_writes" else HIGH
    turn(name, percent=10, project_ids=[outside])

    share = range(900, 1000) if name == "legacy_writes" else range(100)
    assert share_of(name) == EDGES & {*share, gates.bucket(outside)}


@pytest.mark.parametrize("everyone", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_everyone_overrules_all(name: str, everyone: bool) -> None:
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
def test_a_user_who_is_not_meant_reads_by_the_project(name: str) -> None:
    turn(name, percent=10, staff=True)
    reader = request_of(User.objects.create(username="ada"))

    assert ASK[name](LOW, reader)
    assert not ASK[name](HIGH, reader)


@pytest.mark.parametrize("name", WRITES)
def test_users_never_decide_where_state_is_saved(name: str) -> None:
    ada = User.objects.create(username="ada", is_staff=True, is_superuser=True)
    turn(name, staff=True, superusers=True, authenticated=True, users=[ada])

    with pytest.raises(TypeError):
        ASK[name](LOW, request_of(ada))
    assert not gates.GATES[name].is_on(LOW, request_of(ada))


@pytest.mark.parametrize("on", list(itertools.product([True, False], repeat=4)), ids=str)
def test_no_gate_hangs_on_another(on: tuple[bool, ...]) -> None:
    for name, everyone in zip(ALL, on, strict=True):
        turn(name, everyone=everyone)

    assert tuple(ask(LOW) for ask in ASK.values()) == on
    rollout = gates.Rollout.of(Flag.objects.all())
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
def test_the_command_does_what_it_says(
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


def test_the_command_leaves_named_projects_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    turn("agentkit_reads", project_ids=[HIGH])

    call_command("waffle_flag", "agentkit_reads", "--percent", "10")

    assert gates.agentkit_reads(HIGH)


@pytest.mark.parametrize("percent", [-1, 101])
def test_the_command_refuses_a_percent_that_is_none(percent: int) -> None:
    turn("agentkit_reads", percent=30)

    with pytest.raises(CommandError, match=f"--percent {percent} is no share .*: give a number from 0 to 100"):
        call_command("waffle_flag", "agentkit_reads", f"--percent={percent}")

    assert Flag.objects.get(name="agentkit_reads").percent == 30


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_percent_that_is_none_is_refused(percent: int) -> None:
    with pytest.raises(IntegrityError, match="AgentStateFlag_percent_check"), transaction.atomic():
        turn("agentkit_reads", percent=percent)


@pytest.mark.django_db(transaction=True)
def test_a_gate_asks_once(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for name in READS:
        turn(name, percent=10, staff=True)
    with django_assert_num_queries(4):
        for ask in ASK.values():
            ask(LOW)
    reader = request_of(User.objects.create(username="ada"))

    with django_assert_num_queries(0):
        for ask, project in itertools.product(ASK.values(), PROJECTS.values()):
            ask(project)
        for name in READS:
            ASK[name](HIGH, reader)


@pytest.mark.django_db(transaction=True)
def test_a_users_groups_are_asked_for_once_a_request(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    ada = User.objects.create(username="ada")
    testers = Group.objects.create(name="testers")
    ada.groups.add(testers)
    for name in READS:
        turn(name, groups=[testers])
    for name in READS:
        ASK[name](HIGH)
    reader = request_of(User.objects.get(username="ada"))

    with django_assert_num_queries(1):
        assert all(ASK[name](project, reader) for name in READS for project in (LOW, HIGH))


@pytest.mark.django_db(transaction=True)
def test_a_user_is_looked_at_only_where_users_are_meant() -> None:
    turn("agentkit_reads", percent=10)
    request = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: pytest.fail("looked at the user"))  # type: ignore[assignment]

    assert not gates.agentkit_reads(HIGH, request)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_that_sees_the_past_keeps_it_to_itself(isolation: str) -> None:
    flag = turn("agentkit_reads")

    with ThreadPoolExecutor(1) as elsewhere, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        assert not gates.agentkit_reads(HIGH)
        flag.everyone = True
        elsewhere.submit(flag.save).result()
        assert not gates.agentkit_reads(HIGH)
        assert elsewhere.submit(gates.agentkit_reads, HIGH).result()
        assert gates.agentkit_reads(HIGH), "what the others know"
        elsewhere.submit(connections.close_all).result()


@pytest.mark.django_db(transaction=True)
def test_the_stored_answers_are_the_rows_in_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    turn("agentkit_writes", percent=10)
    turn("agentkit_reads", project_ids=[HIGH])
    assert gates.agentkit_writes(LOW), "which this process remembers from now on"
    Flag._base_manager.filter(name="agentkit_writes").update(percent=0)  # unknown to it, as from another process

    with django_assert_num_queries(1):
        assert gates.stored_answers(LOW) == gates.Answers(False, True, False, False)
    assert gates.stored_answers(HIGH).agentkit_reads
    assert gates.agentkit_writes(LOW)


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_changed_no_flag_asks_once(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    turn("agentkit_reads")

    with transaction.atomic():
        with django_assert_num_queries(2):
            gates.agentkit_reads(HIGH)
        with django_assert_num_queries(0):
            gates.agentkit_reads(HIGH)


def by_save(name: str) -> None:
    flag = Flag.objects.get(name=name)
    flag.everyone = True
    flag.save()


def by_update(name: str) -> None:
    Flag.objects.filter(name=name).update(everyone=True)


def by_a_project(name: str) -> None:
    flag = Flag.objects.get(name=name)
    flag.project_ids = [HIGH]
    flag.save(update_fields=["project_ids"])


def by_delete(name: str) -> None:
    Flag.objects.get(name=name).delete()


def by_delete_of_many(name: str) -> None:
    Flag.objects.filter(name=name).delete()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("agentkit_reads", by_save),
        ("agentkit_reads", by_update),
        ("agentkit_reads", by_a_project),
        ("legacy_writes", by_delete),
        ("legacy_writes", by_delete_of_many),
    ],
)
@pytest.mark.parametrize("remembered", [True, False])
def test_a_change_is_seen_in_its_own_process_at_once_and_a_rolled_back_one_never(
    name: str, change: Callable[[str], None], remembered: bool
) -> None:
    turn(name)
    ask = ASK[name]
    if remembered:
        ask(HIGH)

    with rolled_back():
        change(name)
        assert ask(HIGH)
    assert not ask(HIGH)

    with transaction.atomic():
        with rolled_back():
            change(name)
            assert ask(HIGH)
        assert not ask(HIGH)

    change(name)
    assert ask(HIGH)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("field", ["users", "groups"])
def test_changes_of_members_are_seen_at_once_and_rolled_back_ones_never(field: str) -> None:
    ada = User.objects.create(username="ada")
    testers = Group.objects.create(name="testers")
    ada.groups.add(testers)
    member = {"users": ada, "groups": testers}[field]
    members = getattr(turn("agentkit_reads"), field)
    reader = request_of(User.objects.get(username="ada"))
    assert not gates.agentkit_reads(HIGH, reader)

    with rolled_back():
        members.add(member)
        assert gates.agentkit_reads(HIGH, reader)
    assert not gates.agentkit_reads(HIGH, reader)

    members.add(member)
    assert gates.agentkit_reads(HIGH, reader)
    members.clear()
    assert not gates.agentkit_reads(HIGH, reader)
    member.flag_set.add(Flag.objects.get(name="agentkit_reads"))
    assert gates.agentkit_reads(HIGH, reader)
    members.remove(member)
    assert not gates.agentkit_reads(HIGH, reader)
