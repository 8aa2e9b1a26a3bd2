"""The history of the flags: every change by any writer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.connection import ConnectionDoesNotExist

from agentstate.actors import acting_as, actor, process_owner
from agentstate.models import Flag, FlagChange
from tests.faults.processes import wait_until
from tests.flags import rolled_back, turn
from tests.sql import WAITING_FOR_LOCKS, sql

pytestmark = pytest.mark.django_db

NO_ACTOR = "SELECT set_config('agentstate.actor', '', true)"


def execute(statement: str) -> None:
    """Execute a statement as a client that sets no actor."""
    with connection.cursor() as cursor:
        cursor.execute(NO_ACTOR)
        cursor.execute(statement)


def role() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user::text")
        return str(cursor.fetchone()[0])


@pytest.fixture
def flag() -> Flag:
    """A flag with some settings. Its newest entry is its creation."""
    return turn("agentkit_reads", percent=10, note="reads")


def entries_since(flag: Flag) -> list[FlagChange]:
    """Return the entries of all flags since this one was created."""
    made = FlagChange.objects.filter(flag=flag.name, before__isnull=True, after__note="reads").latest("pk")
    return list(FlagChange.objects.filter(pk__gt=made.pk).order_by("pk"))


def changes(flag: Flag) -> list[tuple[str, dict[str, tuple[Any, Any]]]]:
    return [(change.changed_by, change.differences()) for change in entries_since(flag)]


def test_a_new_row_is_recorded_with_all_its_settings(flag: Flag) -> None:
    change = FlagChange.objects.latest("pk")

    assert (change.flag, change.before, change.changed_by) == ("agentkit_reads", None, process_owner())
    assert change.after == {
        "authenticated": False,
        "everyone": None,
        "groups": [],
        "languages": "",
        "note": "reads",
        "percent": 10.0,
        "project_ids": [],
        "rollout": False,
        "staff": False,
        "superusers": False,
        "testing": False,
        "users": [],
    }
    assert timezone.now() - change.changed_at < timedelta(seconds=30)


def test_a_save_is_recorded(flag: Flag) -> None:
    flag.percent, flag.everyone, flag.project_ids = None, True, ["p1"]
    flag.save()

    expected = {"percent": (10.0, None), "everyone": (None, True), "project_ids": ([], ["p1"])}
    assert changes(flag) == [(process_owner(), expected)]


def test_a_save_without_a_change_is_not_recorded(flag: Flag) -> None:
    flag.save()
    Flag.objects.get(name=flag.name).save()
    Flag.objects.update(modified=timezone.now(), created=timezone.now())

    assert changes(flag) == []


def test_the_command_is_recorded_with_the_systems_user_and_host(
    flag: Flag, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("waffle_flag", "agentkit_reads", "--percent", "20")

    assert changes(flag) == [(process_owner(), {"percent": (10.0, 20.0)})]
    assert "@" in process_owner()


def test_a_bulk_update_makes_one_entry_a_flag(flag: Flag) -> None:
    turn("legacy_writes", percent=30)
    start = FlagChange.objects.latest("pk").pk

    with acting_as("ada"):
        Flag.objects.filter(percent__gt=0).update(percent=F("percent") + 1)

    found = FlagChange.objects.filter(pk__gt=start).order_by("pk")
    assert [(change.flag, change.changed_by, change.differences()) for change in found] == [
        ("agentkit_reads", "ada", {"percent": (10.0, 11.0)}),
        ("legacy_writes", "ada", {"percent": (30.0, 31.0)}),
    ]


def test_plain_sql_is_recorded_with_its_role(flag: Flag) -> None:
    execute("""UPDATE "AgentStateFlag" SET staff = true WHERE name = 'agentkit_reads'""")

    assert changes(flag) == [(role(), {"staff": (False, True)})]


def test_deleting_a_flag_and_making_it_again_are_recorded(flag: Flag) -> None:
    with acting_as("ada"):
        flag.delete()
    with acting_as("ben"):
        Flag.objects.create(name="agentkit_reads", note="again")

    deleted, made = entries_since(flag)
    assert (deleted.changed_by, deleted.after, deleted.before["percent"]) == ("ada", None, 10.0)
    assert (made.changed_by, made.before, made.after["note"]) == ("ben", None, "again")


def test_bulk_deletes_and_truncation_are_recorded(flag: Flag) -> None:
    with acting_as("ada"):
        Flag.objects.filter(name=flag.name).delete()
    Flag.objects.create(name="agentkit_reads")
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute('TRUNCATE "AgentStateFlag" CASCADE')

    found = [change for change in entries_since(flag) if change.flag == "agentkit_reads"]
    assert [(change.changed_by, change.after is None) for change in found] == [
        ("ada", True),
        (process_owner(), False),
        (role(), True),
    ]


def test_deleting_all_flags_must_be_explicit() -> None:
    assert not hasattr(Flag.objects, "delete")


def test_renaming_a_flag_is_recorded_as_a_deletion_and_a_creation(flag: Flag) -> None:
    execute("""UPDATE "AgentStateFlag" SET name = 'other' WHERE name = 'agentkit_reads'""")

    assert [(change.flag, change.before is None, change.after is None) for change in entries_since(flag)] == [
        ("agentkit_reads", False, True),
        ("other", True, False),
    ]


def test_changes_of_users_and_groups_are_recorded(flag: Flag) -> None:
    ada, ben = (User.objects.create(username=name).pk for name in ("ada", "ben"))
    testers = Group.objects.create(name="testers").pk

    with acting_as("cy"):
        flag.users.add(ada, ben)
        flag.groups.set([testers])
        flag.users.remove(ada)
        flag.users.clear()
    execute(f'INSERT INTO "AgentStateFlag_users" (flag_id, user_id) VALUES ({flag.pk}, {ada})')
    execute(f'UPDATE "AgentStateFlag_users" SET user_id = {ben}')

    assert changes(flag) == [
        ("cy", {"users": ([], [ada, ben])}),
        ("cy", {"groups": ([], [testers])}),
        ("cy", {"users": ([ada, ben], [ben])}),
        ("cy", {"users": ([ben], [])}),
        (role(), {"users": ([], [ada])}),
        (role(), {"users": ([ada], [ben])}),
    ]


def test_deleting_a_user_of_a_flag_is_recorded(flag: Flag) -> None:
    ada = User.objects.create(username="ada")
    flag.users.add(ada)
    number = ada.pk

    ada.delete()

    assert [differences for _, differences in changes(flag)] == [{"users": ([], [number])}, {"users": ([number], [])}]


def test_a_change_that_is_rolled_back_is_not_recorded(flag: Flag) -> None:
    with rolled_back():
        flag.percent = 50
        flag.save()

    assert changes(flag) == []


def test_the_innermost_actor_counts_and_none_outlasts_its_block() -> None:
    with acting_as("ada"):
        with acting_as("ben"):
            assert actor() == "ben"
        assert actor() == "ada"
    assert actor() == process_owner()


@pytest.mark.django_db(transaction=True)
def test_an_actor_does_not_outlast_the_transaction() -> None:
    with acting_as("ada"):
        flag = turn("agentkit_reads", note="reads")
        Flag.objects.filter(name="agentkit_reads").update(percent=5)
    with connection.cursor() as cursor:
        cursor.execute("""UPDATE "AgentStateFlag" SET percent = 6 WHERE name = 'agentkit_reads'""")

    assert changes(flag) == [("ada", {"percent": (None, 5.0)}), (role(), {"percent": (5.0, 6.0)})]


@pytest.mark.django_db(transaction=True)
def test_concurrent_changes_of_users_form_one_chain() -> None:
    flag = turn("agentkit_reads", note="reads")
    ada, ben = (User.objects.create(username=name).pk for name in ("ada", "ben"))
    added, may_commit = threading.Event(), threading.Event()

    def add(user: int, is_first: bool) -> None:
        try:
            with transaction.atomic():
                flag.users.add(user)
                if is_first:
                    added.set()
                    may_commit.wait(30)
        finally:
            connections.close_all()

    with ThreadPoolExecutor() as threads:
        first = threads.submit(add, ada, True)
        added.wait(30)
        second = threads.submit(add, ben, False)
        wait_until(lambda: sql(WAITING_FOR_LOCKS))
        may_commit.set()
        first.result(30)
        second.result(30)

    assert [differences for _, differences in changes(flag)] == [
        {"users": ([], [ada])},
        {"users": ([ada], [ada, ben])},
    ]


@pytest.mark.parametrize(
    ("before", "after", "summary"),
    [
        ({"percent": 10.0, "everyone": True}, {"percent": 12.5}, "everyone: yes → unset, percent: 10.0 → 12.5"),
        ({"everyone": False}, {"everyone": None}, "everyone: no → unset"),
        ({"project_ids": []}, {"project_ids": ["p1", "p2"]}, "project_ids: unset → p1, p2"),
        (None, {"percent": 5.0, "staff": False}, "made, percent: unset → 5.0"),
        ({"staff": True}, None, "deleted, staff: yes → no"),
        (None, {"percent": None}, "made"),
        ({"forgotten": 1}, {"unknown": "x"}, "forgotten: 1 → unset, unknown: unset → x"),
    ],
)
def test_a_change_is_summarized_in_one_line(before: Any, after: Any, summary: str) -> None:
    assert FlagChange(flag="agentkit_reads", before=before, after=after).summary == summary


@pytest.mark.django_db
def test_a_queryset_of_another_database_does_not_touch_this_one() -> None:
    with CaptureQueriesContext(connection) as here:
        for change in (lambda flags: flags.update(percent=7), lambda flags: flags.delete()):
            with pytest.raises(ConnectionDoesNotExist):
                change(Flag.objects.using("elsewhere"))
    assert not here.captured_queries
