"""Everything works without the columns."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse as url_of

from agentstate import gates, state
from agentstate.backfill.errors import ColumnsDropped
from agentstate.backfill.verification import verify
from agentstate.contract.columns import drop
from agentstate.models import AgentSession, AgentWorkflowRun, Flag
from agentstate.recording import record
from agentstate.state import ABSENT, StateWriteDisabled
from tests import scenes
from tests.contract.scenes import columns_return, freeze_columns, projects

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dropped() -> Iterator[dict[str, str]]:
    """A database without the columns: its projects by the standing that they had."""
    with columns_return():
        made = projects()
        freeze_columns()
        drop()
        yield made


def documents(loaded: Any) -> dict[str, Any]:
    names = ("rfp_norm", "facts", "coverage", "conflict_log", "eligibility")
    return {name: getattr(loaded, name) for name in names if getattr(loaded, name) is not ABSENT}


@pytest.mark.parametrize("agentkit_reads", [True, False])
@pytest.mark.parametrize("shadow", [True, False])
def test_the_snapshots_answer_for_every_gate(dropped: dict[str, str], agentkit_reads: bool, shadow: bool) -> None:
    scenes.open_gates(agentkit_reads=agentkit_reads, agentkit_shadow_reads=shadow)

    found = state.load_many(list(dropped.values()))

    in_sync, ahead, empty = (found[dropped[name]] for name in ("in_sync", "agentkit_ahead", "empty"))
    assert documents(in_sync) == {
        "rfp_norm": {"meta": {"title": "A"}},
        "facts": {"amount": Decimal("0.10"), "huge": Decimal("1e400"), "none": None},
        "coverage": {"score": 0.30000000000000004},
        "eligibility": None,
    }
    assert (in_sync.source, in_sync.fell_back, in_sync.behind) == ("agentkit", None, False)
    assert documents(ahead) == {"facts": {"new": Decimal("0.20")}, "coverage": 2}
    assert (empty.source, documents(empty)) == ("none", {})


@pytest.mark.usefixtures("lasting_flags")
def test_a_read_takes_one_query(dropped: dict[str, str], django_assert_num_queries: Any) -> None:
    state.load(dropped["in_sync"])

    with django_assert_num_queries(1):
        state.load(dropped["in_sync"])


def test_a_read_without_a_usable_snapshot_fails(dropped: dict[str, str]) -> None:
    scenes.run_sql('ALTER TABLE "AgentWorkflowRun" RENAME TO "Gone"')
    try:
        with pytest.raises(DatabaseError, match="AgentWorkflowRun"):
            state.load(dropped["in_sync"])
    finally:
        scenes.run_sql('ALTER TABLE "Gone" RENAME TO "AgentWorkflowRun"')


@pytest.mark.parametrize("legacy_writes", [True, False])
@pytest.mark.parametrize("standing", ["in_sync", "agentkit_ahead", "empty"])
def test_a_save_writes_snapshots_for_every_value_of_legacy_writes(
    dropped: dict[str, str], standing: str, legacy_writes: bool
) -> None:
    project = dropped[standing]
    before = documents(state.load(project))
    scenes.open_gates(legacy_writes=legacy_writes)

    saved = state.save(project, conflict_log=[{"key": "budget"}])

    assert documents(state.load(project)) == {**before, "conflict_log": [{"key": "budget"}]}
    assert documents(state.at(project, saved.at)) == documents(state.load(project))
    assert scenes.standing_of(project) == "agentkit_ahead"
    assert state.history(project)[-1].at == saved.at
    assert not state.save(project, conflict_log=[{"key": "budget"}]).changed


def test_a_save_is_refused_where_agentkit_writes_is_off(dropped: dict[str, str]) -> None:
    scenes.open_gates(agentkit_writes=False, legacy_writes=True)

    with pytest.raises(StateWriteDisabled, match="the legacy columns have been dropped"):
        state.save(dropped["in_sync"], facts=1)


@pytest.mark.usefixtures("lasting_flags")
def test_a_save_uses_the_present_value_of_agentkit_writes(dropped: dict[str, str]) -> None:
    scenes.open_gates(agentkit_writes=False, legacy_writes=True)
    assert not gates.agentkit_writes(dropped["in_sync"]), "which this process remembers from now on"
    scenes.run_sql("""UPDATE "AgentStateFlag" SET everyone = true WHERE name = 'agentkit_writes'""")

    assert state.save(dropped["in_sync"], facts=1).run_id


def test_a_new_project_is_saved_and_loaded(dropped: dict[str, str]) -> None:
    scenes.run_sql("""INSERT INTO "Project" (id, "userId", name) VALUES ('new', 'u1', 'New')""")

    with record("wf", "new") as run:
        run.save(facts={"a": 1})

    assert documents(state.load("new")) == {"facts": {"a": 1}}
    assert AgentWorkflowRun.objects.get(pk=run.run_id).snapshot_at is not None


def test_the_legacy_application_keeps_using_its_other_columns(dropped: dict[str, str]) -> None:
    (clock,) = scenes.one('SELECT "stateUpdatedAt" FROM "Project" WHERE id = %s', dropped["in_sync"])

    scenes.run_sql("""UPDATE "Project" SET name = 'Renamed', "stateUpdatedAt" = now()""")

    assert scenes.one('SELECT name, "stateUpdatedAt" FROM "Project" WHERE id = %s', dropped["in_sync"]) == (
        "Renamed",
        clock,
    )
    scenes.run_sql('DELETE FROM "Project" WHERE id = %s', dropped["empty"])


def test_a_forward_pass_still_makes_sessions(dropped: dict[str, str]) -> None:
    scenes.run_sql(
        """UPDATE "Project" SET meta = '{"chat": [{"role": "user", "content": "Hello"}]}' WHERE id = %s""",
        dropped["in_sync"],
    )

    outcome = scenes.forward()

    assert (outcome.counts.written, outcome.counts.sessions, outcome.left_aside) == (0, 1, 0)
    assert AgentSession.objects.get().project_id == dropped["in_sync"]


def test_passes_that_write_the_columns_are_refused(dropped: dict[str, str]) -> None:
    before = scenes.everything()
    with pytest.raises(ColumnsDropped, match="migrate agentstate_contract zero brings them back"):
        scenes.reverse()
    with pytest.raises(ColumnsDropped):
        scenes.forward(dropped["in_sync"], prefer="agentkit")
    assert scenes.everything() == before


def test_verification_counts_standings_and_compares_nothing(dropped: dict[str, str]) -> None:
    found = verify()
    assert (found.clean, found.has_columns) == (True, False)
    assert {standing: count for standing, count in found.standing.items() if count} == {
        "in_sync": 1,
        "agentkit_ahead": 1,
        "empty": 1,
    }
    out = StringIO()
    call_command("verify_agentkit_state", stdout=out)
    assert "The legacy columns have been dropped, so nothing is compared." in out.getvalue()


def test_the_checks_have_no_findings(dropped: dict[str, str]) -> None:
    call_command("check", databases=["default"], fail_level="WARNING")


@pytest.mark.parametrize(
    ("gate", "is_open", "says"),
    [
        ("legacy_writes", True, "legacy_writes is on, without effect: the legacy columns have been dropped"),
        ("agentkit_reads", False, "agentkit_reads is off for some, without effect"),
        ("agentkit_shadow_reads", True, "agentkit_shadow_reads is on, without effect"),
        ("agentkit_writes", False, "agentkit_writes is off for some projects, .* saving is refused there"),
    ],
)
def test_the_checks_name_flags_without_effect(dropped: dict[str, str], gate: str, is_open: bool, says: str) -> None:
    scenes.open_gates(**{gate: is_open})

    with pytest.raises(SystemCheckError, match=says):
        call_command("check", databases=["default"], fail_level="WARNING")


def test_the_page_of_a_flag_without_effect_says_so(dropped: dict[str, str]) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    for flag in Flag.objects.all():
        page = client.get(url_of("admin:agentstate_flag_change", args=[flag.pk]))
        assert ("This flag has no effect" in page.content.decode()) == (flag.name != "agentkit_writes")
