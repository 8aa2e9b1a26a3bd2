"""Random steps up and down, saves, foreign writes and passes, with writers of both homes beside the steps.

Every document is another one, so that what became of it can be told. What must hold in the end, whatever happened:

- Each document that was saved or written is in one of the homes or in the history. The only ones that may be gone are
  those that nobody but another writer of the columns overwrote, before anything of ours came by: no application that
  writes columns ever kept those.
- After a retreat to legacy the columns hold each key's last document, unless a clash was settled in another's favour.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import defaultdict
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test import override_settings
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.errors import ObjectNotInPrerequisiteState

from agentstate import state
from agentstate.backfill.verification import verify
from agentstate.models import RolloutStep, flags
from agentstate.rollout import waiting
from agentstate.rollout.errors import NeedsPerson
from agentstate.rollout.freeze import THAW, is_frozen
from agentstate.rollout.refusals import NoSuchStep
from agentstate.rollout.stages import RolloutState, Stage
from agentstate.rollout.steps import advance, retreat
from agentstate.state.keys import STATE_KEYS
from tests import scenes
from tests.examples import when_quick
from tests.factories import COLUMNS, ProjectFactory
from tests.rollout.ladder import stand_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

# A save brings its project home by itself, so that the writers beside the steps leave some projects alone.
BUSY, QUIET = ("busy 1", "busy 2"), ("quiet 1", "quiet 2")
ATTRIBUTES = {key.name: key.attribute for key in STATE_KEYS}
# Beside a step, each writer has keys of its own: a clash, which a person must settle, is for the steps in a row.
SAVED_BESIDE, WRITTEN_BESIDE = ("rfpNorm", "facts", "coverage"), ("conflictLog", "eligibility")

# Other threads see a toggle sooner than other processes do.
SECONDS_IN_CACHE, SECONDS_UNTIL_SEEN = 0.02, 0.2


class Write(NamedTuple):
    """A document that somebody saved or wrote; ``kept`` says that it went into the history at once."""

    at: datetime
    project: str
    key: str
    document: str
    kept: bool


@dataclass
class World:
    """Everything that was written."""

    writes: list[Write] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def save(self, project: str, key: str) -> None:
        document = next(self.numbers)
        saved = state.save(project, **{ATTRIBUTES[key]: document})
        assert saved.at is not None
        self.writes.append(Write(saved.at, project, key, str(document), kept=saved.run_id is not None))

    def write(self, project: str, key: str) -> None:
        """Write as the legacy application does, which frozen columns refuse."""
        document = str(next(self.numbers))
        try:
            ((at,),) = scenes.rows(
                f'UPDATE "Project" SET "{COLUMNS[key]}" = %s WHERE id = %s RETURNING "stateUpdatedAt"',
                document,
                project,
            )
        except OperationalError as error:
            if not isinstance(error.__cause__, ObjectNotInPrerequisiteState):
                raise
        else:
            self.writes.append(Write(at, project, key, document, kept=False))

    def by_key(self) -> dict[tuple[str, str], list[Write]]:
        """Return the writes of each key of each project, in their order."""
        found = defaultdict(list)
        for write in sorted(self.writes):
            found[write.project, write.key].append(write)
        return found

    @contextmanager
    def writers(self) -> Iterator[None]:
        """Let a runtime and a legacy application write all the time."""
        done, errors = threading.Event(), []

        def go_on(act: Callable[[str, str], None], keys: tuple[str, ...]) -> None:
            try:
                while not done.wait(random.uniform(0, 0.02)):
                    act(random.choice(BUSY), random.choice(keys))
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [
            threading.Thread(target=go_on, args=args)
            for args in ((self.save, SAVED_BESIDE), (self.write, WRITTEN_BESIDE))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert errors == []


# -- what happens


@dataclass(frozen=True)
class Save:
    project: str
    key: str

    def act(self, world: World) -> None:
        world.save(self.project, self.key)


@dataclass(frozen=True)
class ForeignWrite:
    project: str
    key: str

    def act(self, world: World) -> None:
        world.write(self.project, self.key)


@dataclass(frozen=True)
class Pass:
    direction: str

    def act(self, world: World) -> None:
        (scenes.forward if self.direction == "forward" else scenes.reverse)()


@dataclass(frozen=True)
class Step:
    """A step up or down, with writers beside it or not."""

    way: str
    beside: bool
    prefer: str

    def act(self, world: World) -> None:
        step = self._up if self.way == "up" else lambda: down(self.prefer)
        if self.beside:
            with world.writers():
                step()
        else:
            step()

    def _up(self) -> None:
        if RolloutState.read().position.stage != Stage.FROZEN:  # the next one is a migration's
            advance(override="Whatever the conditions say")


def down(prefer: str) -> None:
    """Take one step down; where that needs a person, be the person."""
    while True:
        try:
            retreat()
        except NeedsPerson as error:
            scenes.forward(*error.projects, prefer=prefer, sessions=False)
        except NoSuchStep:
            return
        else:
            return


projects, keys = st.sampled_from([*BUSY, *QUIET]), st.sampled_from(list(ATTRIBUTES))
happenings = st.one_of(
    st.builds(Save, projects, keys),
    st.builds(ForeignWrite, projects, keys),
    st.builds(Pass, st.sampled_from(["forward", "reverse"])),
    st.builds(Step, st.sampled_from(["up", "up", "down"]), st.booleans(), st.sampled_from(["legacy", "agentkit"])),
)
starts = st.sampled_from(["legacy", "dual_write", "shadow_read", "agentkit_read", "agentkit_only", "frozen"])


@contextmanager
def quick_toggles() -> Iterator[None]:
    caches = deepcopy(settings.CACHES)
    caches["flags"]["TIMEOUT"] = SECONDS_IN_CACHE
    with override_settings(CACHES=caches), pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags, "FRESH_SECONDS", SECONDS_IN_CACHE)
        patch.setattr(waiting, "SECONDS_UNTIL_SEEN", SECONDS_UNTIL_SEEN)
        patch.setattr(waiting, "LOOK_EVERY", 0.01)
        yield


@pytest.mark.django_db(transaction=True)
@when_quick(8)
@given(start=starts, happening=st.lists(happenings, min_size=1, max_size=10))
@example(start="agentkit_only", happening=[Save("quiet 1", "facts")])
@example(start="agentkit_only", happening=[Save("quiet 1", "facts"), ForeignWrite("quiet 1", "coverage")])
@example(start="agentkit_only", happening=[Save("quiet 1", "facts"), ForeignWrite("quiet 1", "facts")])
@example(start="frozen", happening=[Save("quiet 1", "facts"), Step("down", beside=True, prefer="legacy")])
def test_nothing_is_lost(start: str, happening: list[Save | ForeignWrite | Pass | Step]) -> None:
    scenes.run_sql(THAW)
    scenes.forget_everything()
    RolloutStep.objects.all().delete()
    for project in (*BUSY, *QUIET):
        ProjectFactory(id=project)
    stand_at(start)
    world = World()

    try:
        with quick_toggles():
            for each in happening:
                each.act(world)
            with world.writers():
                while RolloutState.read().position.stage != Stage.LEGACY:
                    down("agentkit")
    finally:
        scenes.run_sql(THAW)

    assert_nothing_is_lost(world)
    assert_the_columns_hold_the_newest(world)


def assert_nothing_is_lost(world: World) -> None:
    there = {(project, key, document) for project, key, document in scenes.rows(EVERYWHERE)}
    for (project, key), writes in world.by_key().items():
        for write, later in itertools.zip_longest(writes, writes[1:]):
            if (project, key, write.document) not in there:
                assert not write.kept
                assert later is not None, f"{write} is gone, and was the last one"
                assert not later.kept, f"{write} is gone, and {later} should have kept it"
    found = verify()
    assert (found.problems["unequal"], found.problems["event"]) == (0, 0)


def assert_the_columns_hold_the_newest(world: World) -> None:
    assert not is_frozen()
    assert set(scenes.standings().values()) <= {"in_sync", "legacy_ahead", "empty"}
    settled = {(project, key) for project, key in scenes.rows(SETTLED)}
    homes = scenes.all_homes()
    for (project, key), writes in world.by_key().items():
        if (project, key) not in settled:
            assert homes[project].columns[key] == writes[-1].document


_COLUMNS = ", ".join(f"('{key}', \"{column}\")" for key, column in COLUMNS.items())
# Each document that stands in the columns, in a snapshot or in an event.
EVERYWHERE = f"""
    SELECT id, key, document::text FROM "Project" CROSS JOIN LATERAL (VALUES {_COLUMNS}) columns (key, document)
    UNION
    SELECT project_id, key, document::text FROM "AgentWorkflowRun", jsonb_each(result -> 'state') state (key, document)
    UNION
    SELECT project_id, key, document::text
    FROM "AgentWorkflowRun" run JOIN "AgentWorkflowRunEvent" event ON event.run_id = run.id AND type = 'state.changed',
        jsonb_each(payload) state (key, document)"""
SETTLED = """
    SELECT project_id, jsonb_array_elements_text(payload -> 'keys')
    FROM "AgentWorkflowRun" run JOIN "AgentWorkflowRunEvent" event ON event.run_id = run.id
    WHERE event.type = 'fork.settled'"""
