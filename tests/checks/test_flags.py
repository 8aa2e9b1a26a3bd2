"""Contradicting flags are reported by ``manage.py check --database default``, others are not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.checks import Tags, run_checks
from django.core.management import call_command

from agentstate import gates
from agentstate.checks import flags as checks
from agentstate.models import Flag
from tests.asking import HIGH, LOW
from tests.factories import ProjectFactory, RunFactory
from tests.flags import turn

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def initial_rows() -> None:
    for gate in gates.GATES.values():
        turn(gate.name, everyone=gate.initially or None)


def reported() -> dict[str, str]:
    """Return what the checks say, by their ids' last part."""
    messages = run_checks(databases=["default"], tags=[Tags.database])
    assert all(message.hint and message.id for message in messages)
    return {str(message.id).removeprefix("agentstate."): str(message.msg) for message in messages}


def ahead(**fields: Any) -> str:
    """Make a project whose newest state is in the AgentKit home only."""
    project = ProjectFactory(**fields)
    clock = project.state_updated_at
    RunFactory(project=project, state={}, started_at=clock + timedelta(seconds=1), legacy_at=clock)
    return str(project.id)


# Flags, as they are beside the initial rows, and what the checks say about them.
ROLLOUTS: dict[str, tuple[dict[str, dict[str, Any]], set[str]]] = {
    "everything legacy": ({}, set()),
    "a share writes to both": ({"agentkit_writes": {"percent": 10}}, set()),
    "and reads are shadowed": (
        {"agentkit_writes": {"percent": 10}, "agentkit_shadow_reads": {"percent": 10}},
        set(),
    ),
    "and some of it reads": ({"agentkit_writes": {"percent": 10}, "agentkit_reads": {"percent": 5}}, set()),
    "one project is first": (
        {name: {"project_ids": [HIGH]} for name in ("agentkit_writes", "agentkit_reads", "agentkit_shadow_reads")},
        set(),
    ),
    "everything AgentKit": (
        {"agentkit_writes": {"everyone": True}, "agentkit_reads": {"everyone": True}, "legacy_writes": {}},
        set(),
    ),
    "legacy fades out": (
        {"agentkit_writes": {"percent": 40}, "agentkit_reads": {"percent": 40}, "legacy_writes": {"percent": 60}},
        set(),
    ),
    "shares add up to more": (
        {"agentkit_writes": {"percent": 50}, "agentkit_reads": {"percent": 50}, "legacy_writes": {"percent": 60}},
        set(),
    ),
    "staff reads first": ({"agentkit_reads": {"staff": True}}, set()),
    # W001
    "reads without writes": ({"agentkit_reads": {"everyone": True}}, {"W001"}),
    "more reads than writes": ({"agentkit_writes": {"percent": 10}, "agentkit_reads": {"percent": 10.1}}, {"W001"}),
    "a named project reads only": (
        {"agentkit_writes": {"percent": 10}, "agentkit_reads": {"project_ids": [HIGH]}},
        {"W001"},
    ),
    "a named project within the share reads": (
        {"agentkit_writes": {"percent": 10}, "agentkit_reads": {"project_ids": [LOW]}},
        set(),
    ),
    # W002
    "no home at all": ({"legacy_writes": {}}, {"W002"}),
    "shares with a gap": (
        {"agentkit_writes": {"percent": 40}, "agentkit_reads": {"percent": 40}, "legacy_writes": {"percent": 59.9}},
        {"W002"},
    ),
    "a gap but for named projects": (
        {"agentkit_writes": {"project_ids": [LOW, HIGH]}, "legacy_writes": {"everyone": False}},
        {"W002", "W005"},
    ),
    # W004
    "shadows without writes": ({"agentkit_shadow_reads": {"percent": 1}}, {"W004"}),
    "a named project is shadowed only": ({"agentkit_shadow_reads": {"project_ids": [LOW]}}, {"W004"}),
    # W005
    "legacy is closed too early": ({"agentkit_writes": {"everyone": True}, "legacy_writes": {}}, {"W005"}),
    "legacy is closed too early for some": (
        {"agentkit_writes": {"everyone": True}, "agentkit_reads": {"percent": 10}, "legacy_writes": {"percent": 80}},
        {"W005"},
    ),
    # W007
    "users on a gate of writes": ({"agentkit_writes": {"staff": True}}, {"W007"}),
    "languages": ({"agentkit_reads": {"languages": "en"}}, {"W007"}),
    "testing": ({"agentkit_shadow_reads": {"testing": True}}, {"W007"}),
}


@pytest.mark.parametrize(("flags", "ids"), ROLLOUTS.values(), ids=ROLLOUTS.keys())
def test_only_contradictions_are_reported(flags: dict[str, dict[str, Any]], ids: set[str]) -> None:
    for name, settings in flags.items():
        turn(name, **settings)

    assert reported().keys() == ids


def test_members_of_a_write_gate_are_named() -> None:
    turn("legacy_writes", everyone=True, users=[User.objects.create(username="ada")])
    turn("agentkit_reads", groups=[Group.objects.create(name="testers")])

    assert reported() == {"W007": "legacy_writes has settings that this gate does not read: users."}


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"everyone": True}, "for all projects:"),
        ({"percent": 100, "project_ids": [LOW]}, "for all projects:"),
        ({"percent": 12.5}, "for 12.5 % of the projects:"),
        ({"project_ids": ["b", "a"]}, "for the named a, b:"),
        ({"percent": 50, "project_ids": [HIGH]}, f"for 50 % of the projects and the named {HIGH}:"),
        ({"project_ids": list("abcdefg")}, "for the named a, b, c, d, e, …:"),
    ],
    ids=str,
)
def test_the_projects_are_named(settings: dict[str, Any], where: str) -> None:
    turn("agentkit_reads", **settings)

    assert where in reported()["W001"]


def test_state_hidden_from_readers_is_reported() -> None:
    turn("agentkit_writes", everyone=True)
    project = ahead()

    assert f"such as {project}:" in reported()["W003"]


@pytest.mark.parametrize("reads", [{"everyone": True}, {"percent": 0.1}, {"project_ids": [LOW]}], ids=str)
def test_state_visible_to_readers_is_not_reported(reads: dict[str, Any]) -> None:
    turn("agentkit_writes", everyone=True)
    turn("agentkit_reads", **reads)
    ahead(id=LOW)

    assert "W003" not in reported()
    if reads != {"everyone": True}:
        ahead(id=HIGH)
        assert f"such as {HIGH}:" in reported()["W003"]


def test_projects_of_other_standings_are_not_reported() -> None:
    clock = timedelta(seconds=1)
    ProjectFactory()
    ProjectFactory(documents={"facts": "[]"})
    in_sync, legacy_ahead, forked = ProjectFactory(), ProjectFactory(), ProjectFactory()
    RunFactory(project=in_sync, state={}, started_at=in_sync.state_updated_at)
    RunFactory(project=legacy_ahead, state={}, started_at=legacy_ahead.state_updated_at - clock)
    before = forked.state_updated_at - clock
    RunFactory(project=forked, state={}, started_at=forked.state_updated_at + clock, legacy_at=before)

    assert reported() == {}


def test_missing_rows_are_named_with_the_command_that_creates_them(capsys: pytest.CaptureFixture[str]) -> None:
    Flag.objects.filter(name__in=["agentkit_reads", "legacy_writes"]).delete()

    messages = run_checks(databases=["default"], tags=[Tags.database])

    assert [(message.id, message.msg) for message in messages] == [
        ("agentstate.W006", "The flag legacy_writes has no row, so it is on for everyone."),
        ("agentstate.W006", "The flag agentkit_reads has no row, so it is off."),
    ]
    for message in messages:
        assert message.hint
        call_command(*message.hint.removeprefix("Run manage.py ").removesuffix(" to make it.").split())
    assert reported() == {}
    assert gates.legacy_writes("p1")
    assert not gates.agentkit_reads("p1")


def test_other_flags_are_ignored() -> None:
    turn("another", everyone=True, testing=True)

    assert reported() == {}


def test_the_checks_take_few_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    # a savepoint and its release, flags, users, groups, whether the columns are there, projects
    with django_assert_num_queries(7):
        checks.check_flags(databases=["default"])


def test_without_a_database_the_checks_are_silent(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    Flag.objects.all().delete()

    with django_assert_num_queries(0):
        assert run_checks() == []
        assert checks.check_flags() == []


# -- the cache that the flags are remembered in

LOCAL, SHARED = (f"django.core.cache.backends.{name}" for name in ("locmem.LocMemCache", "db.DatabaseCache"))


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ({"BACKEND": LOCAL, "TIMEOUT": 1}, ""),
        ({"BACKEND": LOCAL}, "for 300 s"),
        ({"BACKEND": LOCAL, "TIMEOUT": None}, "for ever"),
        ({"BACKEND": SHARED, "LOCATION": "t"}, ""),
    ],
)
def test_a_cache_that_hides_toggles_is_reported(settings: SettingsWrapper, cache: dict[str, Any], said: str) -> None:
    settings.CACHES = {"default": {"BACKEND": LOCAL}, "flags": cache}
    messages = run_checks(tags=[Tags.caches])
    assert [message.id for message in messages] == (["agentstate.W009"] if said else [])
    assert all(said in message.msg and message.hint for message in messages)


def test_a_missing_cache_is_reported(settings: SettingsWrapper) -> None:
    settings.CACHES = {"default": {"BACKEND": LOCAL}}
    (message,) = run_checks(tags=[Tags.caches])
    assert message.id == "agentstate.E009"
    assert message.msg == "WAFFLE_CACHE_NAME is 'flags', and CACHES has no such cache."
