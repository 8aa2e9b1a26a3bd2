"""A project's state as it was at any moment, and the moments at which it changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstate import state
from agentstate.models import AgentWorkflowRun, Project
from agentstate.state import ABSENT, ProjectNotFound
from agentstate.state.documents import encode
from agentstate.state.history import around
from agentstate.state.keys import STATE_KEYS
from agentstate.state.loading import Documents
from tests import scenes
from tests.factories import KEYS, ProjectFactory, RunFactory, write_columns

pytestmark = pytest.mark.django_db

MICROSECOND = timedelta(microseconds=1)


def as_text(documents: Documents) -> dict[str, str]:
    """Return documents as JSON text by state key, so that each digit counts."""
    found = {key.name: getattr(documents, key.attribute) for key in STATE_KEYS}
    return {name: encode(document, name) for name, document in found.items() if document is not ABSENT}


def live_run(project: str) -> str:
    return RunFactory(
        project=Project.objects.get(pk=project), status="running", workflow_id="live", completed_at=None
    ).pk


# -- at and history


def test_before_any_save_there_is_no_history() -> None:
    project = ProjectFactory(documents={"facts": "1"}).id

    past = state.at(project, datetime(2020, 1, 1, tzinfo=UTC))

    assert (past.project_id, past.as_of, past.run_id) == (project, None, None)
    assert as_text(past) == {}
    assert past.facts is ABSENT
    assert state.history(project) == []


def test_an_unknown_project_has_no_history() -> None:
    with pytest.raises(ProjectNotFound, match="'nobody'"):
        state.at("nobody", datetime.now(UTC))
    with pytest.raises(ProjectNotFound, match="'nobody'"):
        state.history("nobody")


def test_a_time_without_a_zone_is_refused() -> None:
    project = ProjectFactory().id
    for act in (lambda when: state.at(project, when), lambda when: around(project, when=when)):
        with pytest.raises(ValueError, match="is naive"):
            act(datetime(2025, 3, 4))  # noqa: DTZ001


def test_a_time_in_any_zone_is_the_same_moment() -> None:
    project = ProjectFactory().id
    scenes.open_gates(agentkit_writes=True)
    saved = state.save(project, facts=1).at
    assert saved is not None
    elsewhere = saved.astimezone(timezone(timedelta(hours=-7)))
    assert state.at(project, elsewhere) == state.at(project, saved)
    assert state.at(project, elsewhere - MICROSECOND).facts is ABSENT


def test_a_time_between_two_moments_gives_the_earlier_state() -> None:
    project = ProjectFactory(documents={"facts": "0.10", "coverage": "null"}).id
    scenes.forward(project, sessions=False)
    scenes.open_gates(agentkit_writes=True)
    saved = state.save(project, facts=ABSENT, eligibility=[])

    assert saved.at is not None
    before, after = state.at(project, saved.at - MICROSECOND), state.at(project, saved.at)

    kept = scenes.homes_of(project).snapshots[0]
    assert (as_text(before), before.as_of, before.run_id) == (
        {"facts": "0.10", "coverage": "null"},
        kept.at,
        kept.run,
    )
    assert (as_text(after), after.as_of, after.run_id) == (
        {"coverage": "null", "eligibility": "[]"},
        saved.at,
        saved.run_id,
    )
    assert as_text(state.at(project, saved.at + timedelta(days=1))) == as_text(after)
    assert state.at(project, saved.at + timedelta(days=1)).as_of == saved.at


def test_each_save_of_a_run_is_a_moment_of_it() -> None:
    project = ProjectFactory().id
    scenes.open_gates(agentkit_writes=True)
    one, other = live_run(project), live_run(project)

    moments = [state.save(project, run=run, facts=number).at for number, run in enumerate([one, other, one, one])]

    found = state.history(project)
    assert [(moment.at, moment.run_id, moment.workflow_id) for moment in found[1:]] == [
        (moment, run, "live") for moment, run in zip(moments, [one, other, one, one], strict=True)
    ]
    assert found[0].workflow_id == "legacy_snapshot"
    assert [state.at(project, moment.at).run_id for moment in found] == [moment.run_id for moment in found]


def test_another_projects_history_is_its_own() -> None:
    project, other = ProjectFactory().id, ProjectFactory().id
    scenes.open_gates(agentkit_writes=True)
    state.save(project, facts=1)
    state.save(other, facts=2)

    assert len(state.history(project)) == 2
    assert state.at(project, datetime.now(UTC) + timedelta(days=1)).facts == 1


@pytest.mark.parametrize("writes", ["both", "agentkit"])
def test_backed_up_columns_are_not_a_second_moment(writes: str) -> None:
    """What a live run saved in both homes, and saved over in one, is kept again before the columns are seeded."""
    project = ProjectFactory().id
    run = live_run(project)
    scenes.open_gates(agentkit_writes=True, legacy_writes=True)
    first = state.save(project, run=run, facts=1)
    scenes.open_gates(legacy_writes=False)
    second = state.save(project, run=run, facts=2)
    if writes == "both":
        scenes.reverse(project)

    found = state.history(project)

    assert [(moment.at, moment.run_id) for moment in found[1:]] == [(first.at, run), (second.at, run)]
    assert [state.at(project, moment.at).run_id for moment in found] == [moment.run_id for moment in found]


# -- the worked example of a project's page


CONFLICTS = [{"key": "budget", "next": {"version": 2}}, {"key": "timeline", "next": {"version": 2}}]
RESOLVED = [CONFLICTS[0] | {"resolved": "latest"}, CONFLICTS[1]]
FATAL = {"items": [{"id": "us", "text": "must be in the US", "fatal": True}]}


@pytest.mark.parametrize(
    ("coverage", "conflicts", "later_coverage", "later_conflicts"),
    [
        ({"score": 0.2}, CONFLICTS, {"score": 0.5}, RESOLVED),
        (0.2, "two conflicts", 0.5, "one conflict"),
    ],
    ids=["usual shapes", "odd shapes"],
)
def test_five_moments_are_returned(coverage: Any, conflicts: Any, later_coverage: Any, later_conflicts: Any) -> None:
    documents = {"coverage": encode(coverage, ""), "conflictLog": encode(conflicts, "")}
    project = ProjectFactory(documents=documents).id
    scenes.forward(project, sessions=False)
    scenes.open_gates(agentkit_writes=True)
    one = live_run(project)
    state.save(project, run=one, coverage=later_coverage)
    state.save(project, run=one, conflict_log=later_conflicts)
    write_columns(project, {"facts": '"by another application"'})
    scenes.forward(project, sessions=False)
    other = live_run(project)
    state.save(project, run=other, eligibility=FATAL)

    moments = state.history(project)

    first, fourth = moments[0].run_id, moments[3].run_id
    assert [moment.run_id for moment in moments] == [first, one, one, fourth, other]
    assert [moment.workflow_id for moment in moments] == [
        "legacy_snapshot",
        "live",
        "live",
        "legacy_snapshot",
        "live",
    ]
    shown = [state.at(project, moment.at) for moment in moments]
    assert [past.run_id for past in shown] == [moment.run_id for moment in moments]
    assert [past.as_of for past in shown] == [moment.at for moment in moments]
    assert [past.coverage for past in shown] == [coverage, *[later_coverage] * 4]
    assert [past.conflict_log for past in shown] == [*[conflicts] * 2, *[later_conflicts] * 3]
    assert [past.facts for past in shown] == [*[ABSENT] * 3, *["by another application"] * 2]
    assert [past.eligibility for past in shown] == [*[ABSENT] * 4, FATAL]


# -- any sequence

# No two are equal numbers of other digits, which are one and the same document to the database.
texts = st.sampled_from(
    ["1", "2", "null", "0.10", '{"score": 0.30000000000000004}', "[[], {}]", '"é"', "1" + "0" * 400]
)
keys = st.sampled_from(KEYS)
runs = st.sampled_from([None, 0, 1, 2])


@dataclass
class Watched:
    """A project, its live runs, and what load gave at each clock value."""

    project: str
    runs: list[str]
    seen: dict[datetime, dict[str, str]] = field(default_factory=dict)

    def look(self) -> None:
        scenes.open_gates(agentkit_reads=True)
        loaded = state.load(self.project)
        assert loaded.fell_back in (None, "no_snapshot")
        if loaded.as_of is not None and loaded.source == "agentkit":
            assert self.seen.setdefault(loaded.as_of, as_text(loaded)) == as_text(loaded)
        scenes.open_gates(agentkit_reads=False)
        if loaded.standing == "in_sync":
            other = state.load(self.project)
            assert (other.source, other.as_of, as_text(other)) == ("legacy", loaded.as_of, as_text(loaded))

    def assert_history(self) -> None:
        for moment, documents in self.seen.items():
            assert as_text(state.at(self.project, moment)) == documents
            assert state.at(self.project, moment).as_of == moment
        moments = [moment.at for moment in state.history(self.project)]
        assert moments == sorted(set(moments))
        assert set(self.seen) <= set(moments)
        for before, after in pairwise(moments):
            assert state.at(self.project, before) == state.at(self.project, after - MICROSECOND)
        for moment in state.history(self.project):
            assert state.at(self.project, moment.at).run_id == moment.run_id


@dataclass(frozen=True)
class Save:
    documents: dict[str, str | None]
    legacy: bool
    reads_agentkit: bool
    run: int | None

    def act(self, watched: Watched) -> None:
        scenes.open_gates(agentkit_writes=True, legacy_writes=self.legacy, agentkit_reads=self.reads_agentkit)
        given = {
            key.attribute: state.documents.decode(self.documents[key.name])
            for key in STATE_KEYS
            if key.name in self.documents
        }
        state.save(watched.project, run=None if self.run is None else watched.runs[self.run], **given)


@dataclass(frozen=True)
class ForeignWrite:
    documents: dict[str, str | None]
    clock_set_back: bool
    prefer: str | None

    def act(self, watched: Watched) -> None:
        write = scenes.write_with_clock_set_back if self.clock_set_back else write_columns
        if {**scenes.homes_of(watched.project).columns, **self.documents} != scenes.homes_of(watched.project).columns:
            write(watched.project, self.documents)
        scenes.forward(watched.project, prefer=self.prefer, sessions=False)
        if scenes.standing_of(watched.project) in ("legacy_ahead", "empty"):  # emptied: somebody says that it is meant
            scenes.forward(watched.project, prefer="legacy", sessions=False)


@dataclass(frozen=True)
class Reverse:
    def act(self, watched: Watched) -> None:
        scenes.reverse(watched.project)


steps = st.one_of(
    st.builds(
        Save, st.dictionaries(keys, st.none() | texts, min_size=1, max_size=3), st.booleans(), st.booleans(), runs
    ),
    st.builds(
        ForeignWrite,
        st.dictionaries(keys, st.none() | texts, min_size=1, max_size=2),
        st.booleans(),
        st.sampled_from([None, "legacy", "agentkit"]),
    ),
    st.just(Reverse()),
)


@given(start=st.none() | st.dictionaries(keys, texts), steps=st.lists(steps, min_size=1, max_size=12))
def test_at_gives_what_load_gave_then(start: dict[str, str] | None, steps: list[Any]) -> None:
    scenes.forget_everything()
    project = ProjectFactory(documents=start).id
    watched = Watched(project, [live_run(project) for _ in range(3)])
    scenes.forward(project, sessions=False)

    for step in steps:
        step.act(watched)
        watched.look()

    watched.assert_history()
    assert AgentWorkflowRun.objects.filter(status="running").count() == 3
