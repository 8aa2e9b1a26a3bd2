"""What the list of runs shows for what is asked: parts that an index has in the list's order, and other conditions.

What no index serves in this order is looked at row by row, until the page is full or two seconds are over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product
from operator import or_
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, F, OuterRef, Q, Subquery, TextField
from django.db.models.lookups import Exact, GreaterThan

from agentstate.admin.run.search import find_runs, workflow_parts
from agentstate.admin.run.texts import has_text
from agentstate.admin.shared.keyset import FIRST_LOOK, Walk
from agentstate.admin.shared.paging import ANY_ORDER, NEWEST_FIRST, OLDEST_FIRST, Listing
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.expressions import (
    BACKFILLED,
    TOOL_LETTERS,
    Sql,
    duration,
    error_pattern,
    has_failed,
    id_hash,
    is_call,
    is_failed_call,
    lacks_snapshot,
    status_and_snapshot,
    took_time,
    tool_name,
    workflow_start,
)
from agentstate.read_database import read_alias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from django.db.models import QuerySet

SECONDS = 2.0
BY_START = ("-started_at", "-id_hash")
BY_DURATION = ("-took", "-id_hash")
BY_CALL = ("-created_at", "-id_hash")
STATUSES = AgentWorkflowRun.Status.values
# The filter's value, and that of lacks_snapshot().
LACKS: dict[str | None, int] = {"yes": 0, "no": 1}


@dataclass(frozen=True)
class Question:
    """What the list of runs is asked. None and the empty text: not asked.

    Attributes:
        pattern: see :func:`agentstate.models.expressions.error_pattern`.
        since, until: bounds on the start of a run; where a tool is asked for, on the call's.
        where: what the text is looked for in, see :func:`agentstate.admin.run.texts.has_text`.
    """

    term: str = ""
    status: str | None = None
    workflow: str | None = None
    snapshot: str | None = None
    with_backfilled: bool = False
    waits: bool = False
    by_duration: bool = False
    is_ascending: bool = False
    pattern: str | None = None
    tool: str | None = None
    only_failed_calls: bool = False
    longer: timedelta | None = None
    text: str = ""
    where: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def listing(self) -> Listing:
        """Return the list that answers it."""
        if "\0" in f"{self.status}{self.workflow}{self.pattern}{self.tool}":
            return Listing([], self._order(BY_START))  # no text in the database has it
        if self.tool is not None:
            return self._by_call(self.tool)
        if self.by_duration:
            longer = Q(GreaterThan(duration(), self.longer)) if self.longer else Q()
            first = "shortest" if self.is_ascending else "longest"
            notice = f"{self._found[1]} Runs that have ended, the {first} first.".strip()
            return self._listing([took_time() & longer], BY_DURATION, {"longer"}, notice)
        if self.term.strip():
            parts, notice = self._found
            return self._listing(parts, BY_START, {"term"}, notice)
        if self.pattern is not None:
            return self._listing([self._conditions["pattern"]], BY_START, {"pattern"})
        return self._listing(self._kinds(), BY_START, {"status", "snapshot", "workflow", "backfilled"})

    def places(self, runs: Sequence[str]) -> QuerySet[Any]:
        """Return the rows of the list that stand for some runs: a tool's calls, the newest first, else the runs."""
        if self.tool is None:
            return AgentWorkflowRun.objects.alias(id_hash=id_hash(), took=duration()).filter(pk__in=runs)
        calls = self._calls(self.tool).alias(id_hash=id_hash()).filter(self._between("created_at"), run__in=runs)
        return calls.order_by("-created_at")

    def _listing(self, parts: Sequence[Q], order: tuple[str, ...], served: set[str], notice: str = "") -> Listing:
        """Return a list of runs.

        Args:
            served: the conditions that the parts have.
        """
        runs = AgentWorkflowRun.objects.alias(id_hash=id_hash(), took=duration())
        if order == BY_START:
            runs, served = runs.filter(self._between("started_at")), served | {"time"}
        others = [condition for name, condition in self._conditions.items() if name not in served]
        wanted = AgentWorkflowRun.objects.filter(*others)
        walk = self._walk(wanted) if others else None
        return Listing([runs.filter(part) for part in parts], self._order(order), walk, notice, self._words(order))

    def _by_call(self, tool: str) -> Listing:
        """Return the list of runs that called a tool, each at the place of its newest call."""
        calls = self._calls(tool).alias(id_hash=id_hash()).filter(self._between("created_at"))
        # Spelled otherwise than the index has it: this looks at the run's own events after the call.
        name = Sql(F("payload"), template=f"substr({{0}} ->> 'tool', 1, {TOOL_LETTERS})", output_field=TextField())
        kind = Q(type="tool.result", payload__status="error") if self.only_failed_calls else Q(type="tool.invocation")
        later = AgentWorkflowRunEvent.objects.filter(
            kind, Q(Exact(name, tool)), run=OuterRef("run"), created_at__gt=OuterRef("created_at")
        )
        later = later.filter(created_at__lt=self.until) if self.until else later
        # A scalar subquery looks a run's events up for each call. NOT EXISTS might become a join that reads them all.
        newer = Subquery(later.values("pk")[:1])
        wanted = AgentWorkflowRunEvent.objects.alias(newer=newer).filter(newer__isnull=True)
        others = [condition for name, condition in self._conditions.items() if name != "time"]
        if others:
            wanted = wanted.filter(Exists(AgentWorkflowRun.objects.filter(*others, pk=OuterRef("run"))))
        notice = "Runs that called a tool come by their newest call, not by duration." if self.by_duration else ""
        walk, words = self._walk(wanted), self._words(BY_CALL)
        return Listing([calls], self._order(BY_CALL), walk, notice, words, is_by_column=False)

    def _order(self, descending: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.removeprefix("-") for name in descending) if self.is_ascending else descending

    def _words(self, order: tuple[str, ...]) -> dict[str, str]:
        if order == BY_DURATION:
            return ANY_ORDER
        return OLDEST_FIRST if self.is_ascending else NEWEST_FIRST

    def _calls(self, tool: str) -> QuerySet[AgentWorkflowRunEvent]:
        kind = is_failed_call() if self.only_failed_calls else is_call()
        return AgentWorkflowRunEvent.objects.filter(kind & Q(Exact(tool_name(), tool)))

    def _walk(self, wanted: QuerySet[Any]) -> Walk:
        def matching(pks: list[Any]) -> set[Any]:
            return set(wanted.using(read_alias()).filter(pk__in=pks).values_list("pk", flat=True))

        return Walk(matching, 1 if self.text and self.where else FIRST_LOOK, SECONDS)

    def _kinds(self) -> list[Q]:
        """Split the list into parts that an index returns in order: by status, with and without a snapshot."""
        statuses = STATUSES if self.status is None else [self.status]
        if self.waits:
            statuses = [each for each in statuses if each == AgentWorkflowRun.Status.PENDING]
        lacks = [LACKS[self.snapshot]] if self.snapshot in LACKS else list(LACKS.values())
        kinds = list(product(statuses, lacks))
        if self.workflow is not None:
            return workflow_parts(self.workflow, kinds)
        names = [f"{status}{lack}" for status, lack in kinds]
        if "succeeded0" in names and "backfilled" not in self._conditions:
            names.append(BACKFILLED)
        return [Q(Exact(status_and_snapshot(), name)) for name in names]

    @cached_property
    def _conditions(self) -> dict[str, Q]:
        """Return each condition on runs that is asked for."""
        conditions = {
            "time": self._between("started_at"),
            "term": reduce(or_, self._found[0], Q(pk__in=[])) if self.term.strip() else Q(),
            "status": Q() if self.status is None else Q(status=self.status),
            "snapshot": Q(Exact(lacks_snapshot(), LACKS[self.snapshot])) if self.snapshot in LACKS else Q(),
            "workflow": Q() if self.workflow is None else Q(Exact(workflow_start(), self.workflow)),
            "backfilled": ~Q(Exact(status_and_snapshot(), BACKFILLED)) if self.hides_backfilled else Q(),
            "pattern": Q() if self.pattern is None else has_failed() & Q(Exact(error_pattern(), self.pattern)),
            "waits": Q(status=AgentWorkflowRun.Status.PENDING, result__has_key="interrupted") if self.waits else Q(),
            "longer": took_time() & Q(GreaterThan(duration(), self.longer)) if self.longer else Q(),
            "text": has_text(self.text, self.where) if self.text else Q(),
        }
        return {name: condition for name, condition in conditions.items() if condition}

    @cached_property
    def _found(self) -> tuple[Sequence[Q], str]:
        return find_runs(self.term) if self.term.strip() else ([], "")

    @cached_property
    def hides_backfilled(self) -> bool:
        """Whether backfilled runs are left out: by default, once there are others."""
        asked = (self.workflow, self.pattern, self.tool)
        if self.with_backfilled or self.term.strip() or any(each is not None for each in asked):
            return False
        kinds = AgentWorkflowRun.objects.alias(kind=status_and_snapshot()).order_by("-started_at").values("pk")
        live = [
            kinds.filter(kind=f"{status}{lacks}")[:1] for status, lacks in product(STATUSES, sorted(LACKS.values()))
        ]
        return bool(live[0].union(*live[1:], all=True)[:1])

    def _between(self, field: str) -> Q:
        since = Q(**{f"{field}__gte": self.since}) if self.since else Q()
        return since & (Q(**{f"{field}__lt": self.until}) if self.until else Q())
