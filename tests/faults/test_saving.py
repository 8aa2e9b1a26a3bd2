"""Saves beside each other, beside passes and other writers, and cut off in the middle."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection, transaction

from agentstate import state
from agentstate.backfill.verification import verify
from agentstate.models import Project
from agentstate.state import UnsuitableRun
from tests import scenes
from tests.factories import KEYS, ProjectFactory, RunFactory, write_columns
from tests.faults.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("rfp_norm", "facts", "coverage", "conflict_log", "eligibility")


class Thread:
    """Does something on a connection of its own."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act()
        except Exception as error:
            self._error = error
        finally:
            connection.close()

    def end(self) -> None:
        """Wait for the end, and raise what it raised."""
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def at_once(*acts: Callable[[], object]) -> None:
    start = threading.Barrier(len(acts))

    def after_start(act: Callable[[], object]) -> Callable[[], object]:
        return lambda: (start.wait(), act())

    for thread in [Thread(after_start(act)) for act in acts]:
        thread.end()


def in_sync(**documents: str) -> str:
    project = ProjectFactory(documents=documents or {"facts": "1"}).id
    scenes.forward(project, sessions=False)
    return project


@pytest.fixture(autouse=True)
def both_gates() -> None:
    scenes.open_gates(agentkit_writes=True, legacy_writes=True)


# -- beside each other


@pytest.mark.parametrize("writes", ["both", "agentkit", "legacy"])
def test_savers_of_different_documents_all_succeed(writes: str) -> None:
    project = in_sync()
    scenes.open_gates(agentkit_writes=writes != "legacy", legacy_writes=writes != "agentkit")

    def save_often(name: str) -> None:
        for number in range(20):
            state.save(project, **{name: [name, number]})

    at_once(*[lambda name=name: save_often(name) for name in NAMES])

    homes = scenes.homes_of(project)
    expected = {key: f'["{name}", 19]' for key, name in zip(KEYS, NAMES, strict=True)}
    assert (homes.columns if writes == "legacy" else homes.newest.state) == expected
    if writes == "both":
        assert homes.in_sync
        assert len(state.history(project)) == 101


def test_every_save_of_one_document_is_in_the_history() -> None:
    project = in_sync()
    saves: list[tuple[Any, int]] = []

    def save(number: int) -> None:
        saves.append((state.save(project, facts=["saved", number]).at, number))

    at_once(*[lambda number=number: save(number) for number in range(8)])

    assert len({moment for moment, _ in saves}) == 8
    assert [state.at(project, moment).facts for moment, _ in saves] == [["saved", number] for _, number in saves]
    _, last = max(saves)
    assert scenes.homes_of(project).in_sync
    assert state.load(project).facts == ["saved", last]


def test_savers_inside_and_outside_a_run_all_succeed() -> None:
    project = in_sync()
    run = RunFactory(project=Project.objects.get(pk=project), status="running", workflow_id="live").pk

    def save_often(name: str, run: str | None) -> None:
        for number in range(15):
            state.save(project, run=run, **{name: number})

    at_once(
        lambda: save_often("facts", run), lambda: save_often("coverage", run), lambda: save_often("eligibility", None)
    )

    assert scenes.homes_of(project).in_sync
    assert scenes.homes_of(project).columns == {"facts": "14", "coverage": "14", "eligibility": "14"}
    moments = [moment.at for moment in state.history(project)]
    assert len(moments) == len(set(moments)) == 46


def test_savers_of_an_empty_project_all_succeed() -> None:
    for _ in range(5):
        project = ProjectFactory().id

        at_once(*[lambda name=name, project=project: state.save(project, **{name: 1}) for name in NAMES])

        assert scenes.homes_of(project).in_sync
        assert scenes.homes_of(project).columns == dict.fromkeys(KEYS, "1")


def test_a_save_that_waits_for_its_ending_run_is_refused() -> None:
    project = in_sync()
    run = RunFactory(project=Project.objects.get(pk=project), status="running").pk
    before = scenes.homes_of(project)

    with transaction.atomic():
        scenes.run_sql("""UPDATE "AgentWorkflowRun" SET status = 'succeeded' WHERE id = %s""", run)
        refused: list[Exception] = []
        thread = scenes.start_and_wait_for_lock(
            lambda: refused.append(raised(lambda: state.save(project, run=run, facts=2)))
        )
    thread.join()

    assert isinstance(refused[0], UnsuitableRun)
    assert scenes.homes_of(project) == before


def raised(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller says which
        act()
    return caught.value


# -- beside other writers and passes


def test_a_save_waits_for_another_writer_and_takes_in_its_change() -> None:
    project = in_sync()

    with transaction.atomic():
        write_columns(project, {"coverage": "0.10"})
        thread = scenes.start_and_wait_for_lock(lambda: state.save(project, facts=2))
    thread.join()

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert homes.columns == {"facts": "2", "coverage": "0.10"}
    assert {"facts": "1", "coverage": "0.10"} in [each.state for each in homes.snapshots]


def test_another_writer_waits_for_a_save() -> None:
    project = in_sync()

    with transaction.atomic():
        state.save(project, facts=2)
        thread = scenes.start_and_wait_for_lock(lambda: write_columns(project, {"coverage": "0.10"}))
    thread.join()

    assert scenes.standing_of(project) == "legacy_ahead"
    assert scenes.homes_of(project).columns == {"facts": "2", "coverage": "0.10"}


@pytest.mark.parametrize("commits", [True, False])
def test_a_forward_pass_writes_the_snapshot_that_a_save_was_about_to_write(commits: bool) -> None:
    project = ProjectFactory().id

    with transaction.atomic():
        scenes._take_in_nothing(project)
        thread = scenes.start_and_wait_for_lock(lambda: state.save(project, facts=1))
        transaction.set_rollback(not commits)
    thread.join()

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert homes.columns == {"facts": "1"}
    assert homes.workflows == ["legacy_snapshot", "direct_write"]
    assert verify().clean


def test_a_forward_pass_waits_for_a_save() -> None:
    project = ProjectFactory(documents={"facts": "1"}).id

    with transaction.atomic():
        state.save(project, coverage=2)
        thread = scenes.start_and_wait_for_lock(lambda: scenes.forward(project, sessions=False))
    thread.join()

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert homes.workflows == ["legacy_snapshot", "direct_write"]
    assert verify().clean


@contextmanager
def going_on(act: Callable[[], object]) -> Iterator[None]:
    """Do something over and over on another connection, until the block ends."""
    done = threading.Event()

    def act_on() -> None:
        while not done.wait(0.001):
            act()

    thread = Thread(act_on)
    try:
        yield
    finally:
        done.set()
        thread.end()


@pytest.mark.parametrize("move", [scenes.forward, scenes.reverse], ids=["forward", "reverse"])
@pytest.mark.parametrize("writes", ["both", "agentkit", "legacy", "in turns"])
def test_savers_beside_a_pass_and_another_writer_lose_nothing(move: Callable[..., object], writes: str) -> None:
    """Each document has one writer, whose last word must stand in the end."""
    projects = [ProjectFactory(documents={"facts": "0"}).id for _ in range(4)]
    turns = {"both": [(True, True)], "agentkit": [(True, False)], "legacy": [(False, True)]}
    # One gate at a time, as operators toggle them.
    gates = turns.get(writes, [(True, True), (True, False), (True, True), (False, True)])

    def save_often(name: str) -> None:
        for number in range(24):
            agentkit, legacy = gates[number // 4 % len(gates)]
            if writes == "in turns" and name == "facts":
                scenes.open_gates(agentkit_writes=agentkit, legacy_writes=legacy)
            for project in projects:
                state.save(project, **{name: [name, number]})

    def write_often() -> None:
        for number in range(24):
            for project in projects:
                write_columns(project, {"eligibility": str(number)})

    scenes.open_gates(agentkit_writes=gates[0][0], legacy_writes=gates[0][1])
    with going_on(lambda: move(sessions=False)):
        at_once(lambda: save_often("facts"), lambda: save_often("coverage"), write_often)

    scenes.forward(sessions=False)
    scenes.reverse()
    assert verify().clean
    for project in projects:
        homes = scenes.homes_of(project)
        assert homes.in_sync
        assert homes.columns == {"facts": '["facts", 23]', "coverage": '["coverage", 23]', "eligibility": "23"}


# -- cut off


@contextmanager
def slow_columns() -> Iterator[None]:
    """Let whoever writes the columns stand still in the middle of it."""
    scenes.run_sql(
        """
        CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
        CREATE TRIGGER aa_stand_still BEFORE UPDATE ON "Project" FOR EACH ROW EXECUTE FUNCTION stand_still();
        """
    )
    try:
        yield
    finally:
        scenes.run_sql('DROP TRIGGER aa_stand_still ON "Project"; DROP FUNCTION stand_still()')


def break_off_a_save(project: str, **options: Any) -> None:
    """Save, and end the connection when it has written the one home and is about to write the other."""
    with slow_columns():
        saver = Thread(lambda: state.save(project, facts=2, coverage={"score": 1}, **options))
        wait_until(standing_still)
        scenes.run_sql("SELECT pg_terminate_backend(%s)", standing_still()[0][0])
        with pytest.raises(OperationalError):
            saver.end()


def standing_still() -> list[Any]:
    return scenes.rows(
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )


@pytest.mark.parametrize("in_a_run", [False, True])
def test_a_connection_that_breaks_between_the_homes_leaves_no_half_save(in_a_run: bool) -> None:
    project = in_sync()
    run = RunFactory(project=Project.objects.get(pk=project), status="running").pk if in_a_run else None
    before = scenes.everything()

    break_off_a_save(project, run=run)

    assert scenes.everything() == before


def test_a_connection_that_breaks_while_a_fork_is_settled_leaves_the_fork() -> None:
    project = in_sync()
    scenes.save(project, "facts", "2", legacy=False)
    write_columns(project, {"facts": "3", "eligibility": "4"})
    before = scenes.everything()
    scenes.open_gates(legacy_writes=True)

    break_off_a_save(project)

    assert scenes.standing_of(project) == "forked"
    assert scenes.everything() == before


def test_a_save_succeeds_after_a_broken_connection() -> None:
    project = in_sync()
    break_off_a_save(project)

    state.save(project, facts=2)

    assert scenes.homes_of(project).in_sync
    assert scenes.homes_of(project).workflows == ["legacy_snapshot", "direct_write"]
    assert verify().clean
