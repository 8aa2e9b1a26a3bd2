"""What a process remembers of the flags: a gate asks seldom, and is never wrong about a change of its own."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, connections, transaction
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from agentstate import gates
from agentstate.models import Flag, flags
from tests.asking import (
    ASK,
    HIGH,
    LOW,
    PROJECTS,
    READS,
    request_of,
)
from tests.flags import rolled_back, turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django import DjangoAssertNumQueries

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("lasting_flags")]


@pytest.mark.django_db(transaction=True)
def test_a_gate_is_read_once(django_assert_num_queries: DjangoAssertNumQueries) -> None:
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
def test_a_flag_that_took_long_to_read_is_not_remembered(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "FRESH_SECONDS", 0)

    for _ in range(2):
        with django_assert_num_queries(1):
            gates.agentkit_reads(HIGH)


@pytest.mark.django_db(transaction=True)
def test_a_users_groups_are_read_once_a_request(django_assert_num_queries: DjangoAssertNumQueries) -> None:
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
def test_a_user_is_read_only_where_the_gate_names_users() -> None:
    turn("agentkit_reads", percent=10)
    request = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: pytest.fail("looked at the user"))  # type: ignore[assignment]

    assert not gates.agentkit_reads(HIGH, request)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_repeatable_read_transaction_does_not_share_its_flags(isolation: str) -> None:
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
def test_the_remembered_answers_equal_the_rows(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    turn("agentkit_writes", percent=10)
    turn("agentkit_reads", project_ids=[HIGH])
    assert gates.agentkit_writes(LOW), "which this process remembers from now on"
    Flag._base_manager.filter(name="agentkit_writes").update(percent=0)  # unknown to it, as from another process

    with django_assert_num_queries(1):
        assert gates.stored_answers(LOW) == gates.Answers(False, True, False, False)
    assert gates.stored_answers(HIGH).agentkit_reads
    assert gates.agentkit_writes(LOW)


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_changed_no_flag_reads_once(django_assert_num_queries: DjangoAssertNumQueries) -> None:
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
def test_a_change_is_visible_in_its_process_at_once_and_a_rolled_back_one_never(
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
def test_changed_members_are_visible_at_once_and_rolled_back_ones_never(field: str) -> None:
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
