"""Save a state, read it, and read it as it was: in our two homes, and as peers do it."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from asgiref.sync import async_to_sync
from django.db import connection
from django.utils import timezone
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import Connection
from psycopg.rows import dict_row

from agentstate import state
from agentstate.backfill import PassOptions, run_pass
from agentstate.models import AgentWorkflowRun, Flag
from agentstate.models.passes import Direction
from agentstate.samples import make_projects
from agentstate.state.keys import STATE_KEYS
from benchmarks.databases import benchmark_database
from benchmarks.peers.models import SimpleState, TrackedState
from benchmarks.sessions import OURS, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED, PROJECTS = 2025, 50
# A turn is much slower for sessions than for states.
ITEMS, SESSION_SHARE = 1_000, 1 / 10
ONE_HOME = "ours, one home"
NAMES = tuple(key.attribute for key in STATE_KEYS)


class Work(NamedTuple):
    """A thing to measure.

    Attributes:
        whose: ``ours`` or the peer's name.
        what: ``save``, ``load`` or ``at``, the state as it was at a moment.
        do: does it to the project of this number.
        is_legacy_written: whether a save of ours writes the columns too.
    """

    whose: str
    what: str
    do: Callable[[int], object]
    is_legacy_written: bool = True


def run(repeats: int, rounds: int, out: TextIO) -> dict[str, float]:
    """Measure on the same states and sessions, in turns; return the medians in milliseconds by ``whose what``."""
    with benchmark_database():
        Flag.objects.filter(name__in=["agentkit_writes", "agentkit_reads"]).update(everyone=True)
        make_projects(PROJECTS, SEED)
        run_pass(PassOptions(Direction.FORWARD, sessions=False))
        projects = list(
            AgentWorkflowRun.objects.exclude(snapshot_at=None).order_by("project").values_list("project_id", flat=True)
        )
        states = {project: _documents(project) for project in projects}
        parameters = connection.get_connection_params() | {"cursor_factory": None, "context": None}
        with Connection[dict[str, Any]].connect(
            **{name: value for name, value in parameters.items() if value is not None},
            autocommit=True,
            prepare_threshold=0,  # as PostgresSaver.from_conn_string() has it
            row_factory=dict_row,
        ) as session:
            works = [*_ours(projects), *_langgraph(session, states), *_simple(states), *_tracked(states)]
            seconds: dict[str, list[float]] = defaultdict(list)
            for _ in range(rounds):
                for work in works:
                    seconds[f"{work.whose} {work.what}"].append(_timed(work, len(projects), repeats))
        sessions, _ = async_to_sync(measure)(max(1, int(repeats * SESSION_SHARE)), rounds, [ITEMS])
        seconds |= {f"{name} {what}": [median] for (name, what, _), median in sessions.items() if what != "all"}
        medians = {name: statistics.median(times) * 1000 for name, times in seconds.items()}
        _report(medians, out)
        return medians


def _documents(project: str) -> dict[str, Any]:
    loaded = state.load(project)
    documents = {name: getattr(loaded, name) for name in NAMES}
    present = {name: None if document is state.ABSENT else document for name, document in documents.items()}
    plain: dict[str, Any] = json.loads(json.dumps(present, default=float))  # no peer takes a Decimal
    return plain


def _ours(projects: list[str]) -> Iterator[Work]:
    scores, moment = (number / 7 for number in count()), timezone.now()

    def save(number: int) -> None:
        state.save(projects[number], coverage={"score": next(scores)})

    yield Work("ours", "save", save)
    yield Work(ONE_HOME, "save", save, is_legacy_written=False)
    yield Work("ours", "load", lambda number: state.load(projects[number]))
    yield Work("ours", "at", lambda number: state.at(projects[number], moment))


def _langgraph(session: Connection[dict[str, Any]], states: dict[str, dict[str, Any]]) -> Iterator[Work]:
    """A channel for each document; a put has the whole state, and a new version of one channel."""
    saver, scores = PostgresSaver(session), (number / 7 for number in count())
    saver.setup()
    configs, projects = {}, list(states)
    checkpoints: dict[str, Any] = {}
    for project, documents in states.items():
        versions: dict[str, str | int | float] = dict.fromkeys(documents, "1")
        checkpoints[project] = {**empty_checkpoint(), "channel_values": documents, "channel_versions": versions}
        first: Any = {"configurable": {"thread_id": project, "checkpoint_ns": ""}}
        configs[project] = saver.put(first, checkpoints[project], {}, versions)
    firsts = dict(configs)

    def put(number: int) -> None:
        project, score = projects[number], next(scores)
        last = checkpoints[project]
        changed: dict[str, str | int | float] = {"coverage": str(score)}
        checkpoints[project] = {
            **empty_checkpoint(),
            "channel_values": last["channel_values"] | {"coverage": {"score": score}},
            "channel_versions": last["channel_versions"] | changed,
        }
        configs[project] = saver.put(configs[project], checkpoints[project], {}, changed)

    yield Work("LangGraph", "save", put)
    yield Work("LangGraph", "load", lambda number: saver.get_tuple(configs[projects[number]]))
    yield Work("LangGraph", "at", lambda number: saver.get_tuple(firsts[projects[number]]))


def _simple(states: dict[str, dict[str, Any]]) -> Iterator[Work]:
    for project, documents in states.items():
        SimpleState.objects.create(pk=project, **documents)
    yield from _of_rows("simple-history", SimpleState, list(states))
    moment, projects = timezone.now(), list(states)
    history: Any = SimpleState.history  # type: ignore[attr-defined]
    yield Work("simple-history", "at", lambda number: history.as_of(moment).filter(pk=projects[number]).first())


def _tracked(states: dict[str, dict[str, Any]]) -> Iterator[Work]:
    for project, documents in states.items():
        TrackedState.objects.create(pk=project, **documents)
    yield from _of_rows("pghistory", TrackedState, list(states))
    moment, projects = timezone.now(), list(states)
    events: Any = TrackedState.pgh_event_model  # type: ignore[attr-defined]

    def at(number: int) -> object:
        rows = events.objects.filter(pgh_obj_id=projects[number], pgh_created_at__lte=moment)
        return rows.order_by("-pgh_created_at").first()

    yield Work("pghistory", "at", at)


def _of_rows(name: str, model: Any, projects: list[str]) -> Iterator[Work]:
    scores = (number / 7 for number in count())

    def save(number: int) -> None:
        row = model.objects.get(pk=projects[number])
        row.coverage = {"score": next(scores)}
        row.save()

    yield Work(name, "save", save)
    yield Work(name, "load", lambda number: model.objects.get(pk=projects[number]))


def _timed(work: Work, projects: int, repeats: int) -> float:
    flag = Flag.objects.get(name="legacy_writes")
    flag.everyone = work.is_legacy_written
    flag.save()
    for number in range(projects):  # what is made once is made now
        work.do(number)
    started = time.perf_counter()
    for number in range(repeats):
        work.do(number % projects)
    return (time.perf_counter() - started) / repeats


def _report(medians: dict[str, float], out: TextIO) -> None:
    """Print the times, and how long ours take in times of them: a save of ours in one home, as the peers have one."""
    _table(medians, {"save": f"{ONE_HOME} save", "load": "ours load", "at": "ours at"}, out)
    _table(medians, {what: f"{OURS} {what}" for what in ("add", "last")}, out)


def _table(medians: dict[str, float], kinds: dict[str, str], out: TextIO) -> None:
    out.write(f"{'':<18}" + "".join(f"{what:>12}{'ours ÷':>9}" for what in kinds) + "\n")
    names = (name.rpartition(" ") for name in medians)
    for whose in dict.fromkeys(whose for whose, _, what in names if what in kinds):
        times = [(medians.get(f"{whose} {what}"), medians[ours]) for what, ours in kinds.items()]
        cells = (f"{theirs:>9.2f} ms{ours / theirs:>9.2f}" if theirs else " " * 21 for theirs, ours in times)
        out.write(f"{whose:<18}{''.join(cells)}".rstrip() + "\n")
