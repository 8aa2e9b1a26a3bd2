"""Random sequences of writes, saves and passes, held step by step against the rules of the two homes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstate.backfill import Counts
from agentstate.backfill.verification import verify
from tests import scenes
from tests.backfill import rules
from tests.examples import when_quick
from tests.factories import KEYS, ProjectFactory, write_columns

PROJECTS = tuple(f"project-{number}" for number in range(6))

keys = st.sampled_from(KEYS)
# Few, so that two homes often come to hold the same.
documents = st.sampled_from(["1", "2", "null", "[null, 2]", '{"items": [{"id": "a"}], "score": 0.10}'])
columns = st.none() | documents
preferences = st.sampled_from([None, None, "legacy", "agentkit"])


class Pair:
    """One project twice: in the database, and by the rules."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.rules = rules.Project()
        self.live_run: str | None = None
        # Which moment in the database each clock value of the rules stands for.
        self.moments: dict[int, object] = {}
        # What the last writer of each key wrote, or what a person decided for instead. None where damage is about.
        self.last: rules.State | None = dict(rules.NOTHING)
        ProjectFactory(id=project)

    def assert_same(self, homes: scenes.Homes, standing: str) -> None:
        __tracebackhide__ = True
        mine = self.rules
        assert standing == mine.standing
        assert homes.columns == present(mine.columns)
        assert [(snapshot.workflow, snapshot.state) for snapshot in homes.snapshots] == [
            (snapshot.workflow, present(snapshot.state)) for snapshot in mine.snapshots
        ]
        self.assert_same_clocks(homes)

    def assert_same_clocks(self, homes: scenes.Homes) -> None:
        """Each clock stands where it stood, equal ones are equal, and later ones are later."""
        pairs = [(self.rules.clock, homes.clock)]
        for mine, theirs in zip(self.rules.snapshots, homes.snapshots, strict=True):
            pairs += [(mine.at, theirs.at), (mine.legacy_at, theirs.legacy_at)]
        for value, moment in pairs:
            assert self.moments.setdefault(value, moment) == moment
        in_order = [moment for _, moment in sorted(self.moments.items())]
        assert in_order == sorted(set(in_order))

    def assert_nothing_was_lost(self) -> None:
        """The state of the project, wherever it stands, has each key's last write."""
        mine, clashes = self.rules, []
        if self.last is None or mine.emptied:  # somebody has yet to say which home it is
            return
        if mine.standing == "forked":
            state, clashes = mine.merged()
        elif mine.standing in ("empty", "legacy_ahead"):
            state = mine.columns
        else:
            state = mine.newest.state
        assert {key: state[key] for key in KEYS if key not in clashes} == {
            key: self.last[key] for key in KEYS if key not in clashes
        }

    def decide(self, prefer: str | None) -> None:
        """A person settles: what he decides for takes the place of the last write."""
        mine = self.rules
        if prefer and self.last is not None and (mine.standing == "forked" or mine.emptied):
            state, clashes = mine.merged(prefer)
            if mine.standing == "legacy_ahead":
                state, clashes = (mine.columns if prefer == "legacy" else mine.newest.state), list(KEYS)
            self.last |= {key: state[key] for key in clashes}

    def restored(self) -> None:
        if self.last is not None and self.rules.newest:
            self.last = dict(self.rules.columns)


def present(state: rules.State) -> scenes.Documents:
    return {key: document for key, document in state.items() if document is not None}


# -- steps: each does the same to both sides of a pair


@dataclass(frozen=True)
class ForeignWrite:
    documents: rules.State
    clock_set_back: bool = False

    def act(self, pair: Pair) -> None:
        changed = {key: each for key, each in self.documents.items() if each != pair.rules.columns[key]}
        if not changed:
            return
        write = scenes.write_with_clock_set_back if self.clock_set_back else write_columns
        write(pair.project, self.documents)
        pair.rules.foreign_write(self.documents, clock_set_back=self.clock_set_back)
        if pair.last is not None:
            pair.last |= changed


@dataclass(frozen=True)
class Damage:
    key: str
    document: str | None

    def act(self, pair: Pair) -> None:
        scenes.damage(pair.project, **{self.key: self.document})
        pair.rules.damage({self.key: self.document})
        pair.last = None


@dataclass(frozen=True)
class Save:
    key: str
    document: str
    gates: tuple[bool, bool]
    reads_agentkit: bool
    again: bool
    days_ahead: int

    def act(self, pair: Pair) -> None:
        if pair.rules.emptied:  # what a save does over damage is not for the passes to say
            return
        if pair.rules.standing == "forked":
            pair.decide("agentkit" if self.reads_agentkit else "legacy")
        agentkit, legacy = self.gates
        gates = {"agentkit": agentkit, "legacy": legacy, "reads_agentkit": self.reads_agentkit}
        run = scenes.save(
            pair.project,
            self.key,
            self.document,
            **gates,
            run=pair.live_run if self.again else None,
            clock_ahead=timedelta(days=self.days_ahead),
        )
        pair.live_run = run or pair.live_run
        pair.rules.save(self.key, self.document, **gates, again=self.again, clock_ahead=self.days_ahead * rules.DAY)
        if pair.last is not None:
            pair.last[self.key] = self.document


@dataclass(frozen=True)
class RestoreAsOf:
    place: int

    def act(self, pair: Pair) -> None:
        if not pair.rules.saved:
            return
        as_of = pair.rules.saved[self.place % len(pair.rules.saved)].at
        scenes.reverse(pair.project, force=True, as_of=pair.moments[as_of])
        pair.rules.restore(as_of)
        pair.restored()


@dataclass(frozen=True)
class Pass:
    """A pass over all pairs or the first few; between a dry run, and a second one that writes nothing."""

    direction: str
    prefer: str | None = None
    force: bool = False
    pairs: int = len(PROJECTS)
    batch_size: int = 1000

    def act(self, pairs: list[Pair]) -> None:
        run_twice(
            PROJECTS[: self.pairs] if self.pairs < len(PROJECTS) else (),
            direction=self.direction,
            prefer=self.prefer,
            force=self.force,
            batch_size=self.batch_size,
        )
        for pair in pairs[: self.pairs]:
            if self.force:
                pair.rules.restore()
                pair.restored()
            elif self.direction == "forward":
                pair.decide(self.prefer)
                pair.rules.forward(self.prefer)
            else:
                pair.decide(self.prefer)
                pair.rules.reverse(self.prefer)


each_its_own = st.lists(
    st.one_of(
        st.builds(ForeignWrite, st.dictionaries(keys, columns, min_size=1, max_size=2), st.booleans()),
        st.builds(
            Save,
            keys,
            documents,
            gates=st.sampled_from([(True, True), (True, False), (False, True)]),
            reads_agentkit=st.booleans(),
            again=st.booleans(),
            days_ahead=st.sampled_from([0, 0, 0, 1]),
        ),
        st.just(ForeignWrite(rules.NOTHING)),
        st.builds(Damage, keys, columns),
        st.builds(RestoreAsOf, st.integers(0, 20)),
    ),
    min_size=len(PROJECTS),
    max_size=len(PROJECTS),
)
some = {"pairs": st.sampled_from([len(PROJECTS), 3]), "batch_size": st.sampled_from([1000, 1, 2])}
passes = st.one_of(
    st.builds(Pass, st.sampled_from(["forward", "reverse"]), preferences, **some),
    st.builds(Pass, st.just("reverse"), force=st.just(True), **some),
)


def run_twice(projects: tuple[str, ...], *, direction: str, **options: object) -> None:
    """Run a pass, after a dry run that tells what it will do, and before a second one that does nothing."""
    run = scenes.forward if direction == "forward" else scenes.reverse
    before = scenes.everything()
    told = run(*projects, dry_run=True, **options)
    assert scenes.everything() == before
    did = run(*projects, **options)
    after = scenes.everything()
    assert did.counts.runs == len(after["AgentWorkflowRun"]) - len(before["AgentWorkflowRun"])
    assert did.counts.events == len(after["AgentWorkflowRunEvent"]) - len(before["AgentWorkflowRunEvent"])
    assert without_size(told.counts) == without_size(did.counts)
    assert (told.candidates, told.forked) == (did.candidates, did.forked)
    again = run(*projects, **options)
    assert again.counts == Counts(forked=did.counts.forked, failures=did.counts.failures)
    assert scenes.everything() == after


def without_size(counts: Counts) -> Counts:
    return replace(counts, size=0)


@pytest.mark.django_db(transaction=True)
@when_quick(10)
@given(steps=st.lists(st.one_of(each_its_own, passes), min_size=1, max_size=14))
def test_passes_follow_the_rules(steps) -> None:
    scenes.forget_everything()
    pairs = [Pair(project) for project in PROJECTS]

    for step in steps:
        if isinstance(step, list):
            for each, pair in zip(step, pairs, strict=True):
                each.act(pair)
        else:
            step.act(pairs)
        homes, standings = scenes.all_homes(), scenes.standings()
        for pair in pairs:
            pair.assert_same(homes[pair.project], standings[pair.project])
            pair.assert_nothing_was_lost()

    assert_verification_agrees(pairs)
    scenes.forward()
    scenes.reverse()
    for pair in pairs:
        pair.rules.forward()
        pair.rules.reverse()
        mine = pair.rules
        assert mine.standing in ("empty", "in_sync") or mine.emptied or mine.merged()[1]
    assert_verification_agrees(pairs)


def assert_verification_agrees(pairs: list[Pair]) -> None:
    found = verify()
    assert found.problems["event"] == 0
    assert found.unequal == sum(pair.rules.unequal for pair in pairs)
    for standing, count in found.standing.items():
        # Unequal projects are counted apart.
        assert count == sum(pair.rules.standing == standing and not pair.rules.unequal for pair in pairs)
