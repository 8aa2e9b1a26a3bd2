"""Saving writes the given documents into the homes whose gates are open, and leaves the others exactly as they are."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from django.core.cache import caches

from agentstate import gates, state
from agentstate.models import AgentWorkflowRun
from agentstate.state import (
    ABSENT,
    Saved,
    StateWriteDisabled,
)
from tests import scenes
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.state.projects import (
    BASE,
    GATES,
    MERGED,
    SCENES,
    SNAPSHOT,
    agentkit_ahead,
    clashing,
    forked,
    in_sync,
    legacy_ahead,
    open_gates,
    rows_as_they_lie,
    run_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# -- standings and gates


@pytest.mark.django_db
@pytest.mark.parametrize("reads_agentkit", [False, True], ids=["reads legacy", "reads agentkit"])
@pytest.mark.parametrize("writes", GATES)
@pytest.mark.parametrize(("make", "standing", "together"), SCENES, ids=[each[0].__name__ for each in SCENES])
def test_the_gates_decide_which_homes_are_written(
    make: Callable[[], str],
    standing: str,
    together: dict[bool, dict[str, str]],
    writes: str,
    reads_agentkit: bool,
) -> None:
    project = make()
    assert scenes.standing_of(project) == standing
    open_gates(writes, reads_agentkit=reads_agentkit)
    before = scenes.homes_of(project)

    saved = state.save(project, conflict_log=[Decimal("0.10")])

    homes = scenes.homes_of(project)
    was, is_now = together[reads_agentkit], together[reads_agentkit] | {"conflictLog": "[0.10]"}
    assert saved.changed == ("conflict_log",)
    if writes == "both":
        assert scenes.standing_of(project) == "in_sync"
        assert homes.in_sync
        assert homes.columns == is_now
        assert saved == Saved(homes.clock, ("conflict_log",), homes.newest.run)
    elif writes == "agentkit":
        assert scenes.standing_of(project) == "agentkit_ahead"
        assert homes.columns == before.columns
        assert (homes.newest.state, homes.newest.at, homes.newest.run) == (is_now, saved.at, saved.run_id)
    else:
        assert scenes.standing_of(project) == "legacy_ahead"
        assert (homes.columns, homes.clock, saved.run_id) == (is_now, saved.at, None)
        if before.snapshots and standing != "legacy_ahead":
            assert homes.newest.state == was
    assert saved.at is not None
    assert all(saved.at >= moment for moment in [before.clock, *(each.at for each in before.snapshots)])
    # What either home held is in the history still, unless the columns were ahead and no snapshot was asked for.
    kept = [each.state for each in homes.snapshots]
    assert all(each.state in kept for each in before.snapshots)
    assert before.columns in kept or (writes, standing) in {("legacy", "empty"), ("legacy", "legacy_ahead")}


@pytest.mark.django_db
@pytest.mark.parametrize(("make", "standing", "together"), SCENES, ids=[each[0].__name__ for each in SCENES])
def test_with_both_gates_closed_a_save_is_refused(
    make: Callable[[], str], standing: str, together: dict[bool, dict[str, str]]
) -> None:
    project = make()
    scenes.open_gates(agentkit_writes=False, legacy_writes=False)
    before = rows_as_they_lie()

    with pytest.raises(StateWriteDisabled, match="agentkit_writes and legacy_writes are both off") as refused:
        state.save(project, facts=1)

    assert refused.value.project_id == project
    assert rows_as_they_lie() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("lasting_flags")
@pytest.mark.parametrize(("home", "other"), [("agentkit", "legacy"), ("legacy", "agentkit")])
def test_a_half_known_switch_of_homes_refuses_no_save(home: str, other: str) -> None:
    project = in_sync()
    open_gates(other)
    caches["flags"].clear()
    assert not gates.GATES[f"{home}_writes"].is_on(project), "which this process remembers from now on"
    scenes.run_sql("""UPDATE "AgentStateFlag" SET everyone = NOT everyone WHERE name LIKE '%%_writes'""")

    saved = state.save(project, facts=1)

    assert saved.changed == ("facts",)
    assert scenes.standing_of(project) == {"agentkit": "agentkit_ahead", "legacy": "legacy_ahead"}[home]


@pytest.mark.django_db
def test_the_gates_are_read_for_the_project() -> None:
    one, other = in_sync(), in_sync()
    turn("agentkit_writes", project_ids=[one])
    turn("legacy_writes", project_ids=[other])

    state.save(one, facts=1)
    state.save(other, facts=1)

    assert (scenes.standing_of(one), scenes.standing_of(other)) == ("agentkit_ahead", "legacy_ahead")


@pytest.mark.django_db
def test_without_flags_only_the_columns_are_written() -> None:
    project = legacy_ahead()

    assert state.save(project, facts=1).run_id is None

    assert scenes.homes_of(project).columns == BASE | {"facts": "1"}
    assert not AgentWorkflowRun.objects.exists()


# -- forks


@pytest.mark.django_db
def test_a_merge_is_recorded() -> None:
    project = forked()
    open_gates()

    state.save(project, conflict_log=[])

    merge = scenes.homes_of(project).snapshots[-2]
    assert (merge.workflow, merge.state) == ("legacy_merge", MERGED)
    assert scenes.events_of(merge.run) == [("fork.merged", '{"from": "legacy", "keys": ["rfpNorm"]}')]


@pytest.mark.django_db
@pytest.mark.parametrize("writes", GATES)
@pytest.mark.parametrize(("reads_agentkit", "home"), [(False, "legacy"), (True, "agentkit")])
def test_a_clash_is_decided_for_the_home_that_is_read(writes: str, reads_agentkit: bool, home: str) -> None:
    project = clashing()
    before = scenes.homes_of(project)
    open_gates(writes, reads_agentkit=reads_agentkit)

    state.save(project, conflict_log=[])

    homes = scenes.homes_of(project)
    (merge,) = [each for each in homes.snapshots if each.workflow == "legacy_merge"]
    assert merge.state["facts"] == ('"snapshot"' if reads_agentkit else '"columns"')
    assert scenes.events_of(merge.run) == [
        ("fork.merged", '{"from": "legacy", "keys": ["rfpNorm"]}'),
        ("fork.settled", f'{{"from": "{home}", "keys": ["facts"]}}'),
    ]
    # The other home's content is kept, whichever that is.
    assert state.at(project, before.newest.at).facts == "snapshot"
    assert state.at(project, before.clock).facts == "columns"


@pytest.mark.django_db
def test_a_clash_over_the_saved_document_is_settled() -> None:
    project = clashing()
    open_gates(reads_agentkit=True)

    state.save(project, facts="saved")

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert homes.columns == MERGED | {"facts": '"saved"'}
    assert scenes.events_of(homes.snapshots[-2].run)[-1][0] == "fork.settled"


@pytest.mark.django_db
@pytest.mark.parametrize(("reads_agentkit", "was"), [(False, {}), (True, SNAPSHOT)])
def test_a_fork_with_emptied_columns_is_saved(reads_agentkit: bool, was: dict[str, str]) -> None:
    project = agentkit_ahead()
    scenes.empty_columns(project)
    open_gates(reads_agentkit=reads_agentkit)

    state.save(project, rfp_norm=1)

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert homes.columns == was | {"rfpNorm": "1"}
    assert SNAPSHOT in [each.state for each in homes.snapshots]


@pytest.mark.django_db
def test_emptied_columns_are_the_base_of_a_save_and_nothing_is_lost() -> None:
    project = in_sync()
    scenes.empty_columns(project)
    open_gates()

    state.save(project, rfp_norm=1)

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert homes.columns == {"rfpNorm": "1"}
    assert [each.state for each in homes.snapshots][:2] == [BASE, {}]


@pytest.mark.django_db
def test_an_unequal_project_is_not_repaired_by_a_save() -> None:
    project = in_sync()
    scenes.damage(project, coverage='"damaged"')
    open_gates()

    state.save(project, facts=1)

    homes = scenes.homes_of(project)
    assert homes.clock == homes.newest.at == homes.newest.legacy_at
    assert homes.columns == BASE | {"facts": "1", "coverage": '"damaged"'}
    assert homes.newest.state == BASE | {"facts": "1"}


# -- what was not given, and what was


@pytest.mark.django_db
@pytest.mark.parametrize("writes", GATES)
def test_other_documents_are_carried_over_exactly(writes: str) -> None:
    documents = {
        "rfpNorm": '{"a": [0.10, 0.30000000000000004, 1.00], "b": -0.5, "c": 123456789012345678901234567890.10}',
        "coverage": "null",
        "eligibility": f'"{"é" * 100_000}"',
    }
    project = ProjectFactory(documents=documents).id
    open_gates(writes)

    state.save(project, conflict_log=[None])

    homes = scenes.homes_of(project)
    written = homes.columns if writes == "legacy" else homes.newest.state
    assert written == documents | {"conflictLog": "[null]"}
    assert homes.columns == (documents if writes == "agentkit" else written)


@pytest.mark.django_db
@pytest.mark.parametrize("writes", GATES)
def test_several_documents_share_one_clock_value(writes: str) -> None:
    project = in_sync()
    open_gates(writes)

    saved = state.save(project, eligibility={"items": []}, rfp_norm=None, facts="base", coverage=ABSENT)

    assert saved.changed == ("rfp_norm", "coverage", "eligibility")
    homes = scenes.homes_of(project)
    written = homes.columns if writes == "legacy" else homes.newest.state
    assert written == {"facts": '"base"', "eligibility": '{"items": []}', "rfpNorm": "null"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Decimal("0.10"), "0.10"),
        (0.30000000000000004, "0.30000000000000004"),
        (Decimal("1e400"), "1" + "0" * 400),
        (1234567890123456789012345678901234567890, "1234567890" * 4),
        (10**5000, "1" + "0" * 5000),
        (-0.0, "0.0"),
        (1e22, "1" + "0" * 22),
        (5e-324, "0." + "0" * 323 + "5"),
    ],
    ids=lambda value: str(value)[:12] if isinstance(value, str) else "",
)
def test_numbers_keep_their_digits(number: object, text: str) -> None:
    project = in_sync()
    open_gates()

    state.save(project, facts={"n": number})

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert homes.columns["facts"] == f'{{"n": {text}}}'
    assert not state.save(project, facts=state.load(project).facts).changed


@pytest.mark.django_db
@pytest.mark.parametrize("writes", GATES)
def test_absent_removes_a_document(writes: str) -> None:
    project = in_sync()
    open_gates(writes)

    saved = state.save(project, coverage=ABSENT)

    homes = scenes.homes_of(project)
    without = {key: document for key, document in BASE.items() if key != "coverage"}
    assert homes.columns == (BASE if writes == "agentkit" else without)
    assert homes.newest.state == (BASE if writes == "legacy" else without)
    assert saved.changed == ("coverage",)
    if writes != "legacy":
        assert saved.at is not None
        assert state.at(project, saved.at).coverage is ABSENT
        assert state.at(project, saved.at - timedelta(microseconds=1)).coverage is not ABSENT


@pytest.mark.django_db
@pytest.mark.parametrize("writes", ["both", "agentkit"])
def test_absent_in_a_run_that_saves_again_is_in_the_history(writes: str) -> None:
    project = in_sync()
    open_gates(writes)
    run = run_of(project)

    away = state.save(project, run=run, facts=ABSENT)
    back = state.save(project, run=run, facts="back")

    assert away.at is not None
    assert back.at is not None
    assert state.at(project, away.at).facts is ABSENT
    assert state.at(project, back.at).facts == "back"


@pytest.mark.django_db
@pytest.mark.parametrize("in_a_run", [False, True])
@pytest.mark.parametrize("writes", GATES)
def test_unchanged_documents_write_nothing(writes: str, in_a_run: bool) -> None:
    project = in_sync()
    run = run_of(project) if in_a_run else None
    open_gates(writes)
    before = rows_as_they_lie()

    assert state.save(project, run=run, facts="base", eligibility=None, rfp_norm=ABSENT) == Saved()
    assert state.save(project, run=run, coverage={"big": 10**400, "score": 0.1}) == Saved()

    assert rows_as_they_lie() == before


@pytest.mark.django_db
def test_null_and_absent_are_distinguished() -> None:
    project = in_sync()
    open_gates()

    assert state.save(project, eligibility=ABSENT).changed == ("eligibility",)
    assert state.save(project, rfp_norm=None).changed == ("rfp_norm",)

    homes = scenes.homes_of(project)
    assert "eligibility" not in homes.columns
    assert homes.columns["rfpNorm"] == "null"
    assert homes.in_sync
