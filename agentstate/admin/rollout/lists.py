"""The lists of the rollout's page: gates, sampled differences, passes, steps, projects left aside."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Left
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from agentstate.backfill.acceptance import status_of, valid_acceptances
from agentstate.gates import AGENTKIT_WRITES, BUCKETS_A_PERCENT, GATES
from agentstate.models import BackfillPass, FlagChange, LeftAside, Project, ReadDifference, RolloutStep
from agentstate.rollout.requests import newest_request
from agentstate.rollout.stages import Position, Stage

if TYPE_CHECKING:
    from decimal import Decimal

    from agentstate.gates import Gate, Share
    from agentstate.models import Flag, StepRequest
    from agentstate.rollout.stages import RolloutState

# How many rows of each list the page shows.
NAMED, LISTED = 5, 20
PASSES, STEPS = 10, 5
RECENT = timedelta(minutes=15)

GATE_MEANINGS = {
    "agentkit_writes": "saves go into runs and events",
    "legacy_writes": "saves go into the legacy columns",
    "agentkit_reads": "state is read from the newest snapshot",
    "agentkit_shadow_reads": "both homes are read and compared",
}


# -- the gates


class GateRow(NamedTuple):
    """A gate: what it is on for, and the last change of its flag.

    ``x`` and ``width`` are its buckets in percent of a bar; ``pk`` is None if the flag has no row.
    """

    name: str
    meaning: str
    who: str
    x: str
    width: str
    named: list[str]
    more_named: int
    users: list[str]
    has_effect: bool
    pk: int | None
    change: FlagChange | None
    history: str


def gates(rollout_state: RolloutState) -> list[GateRow]:
    """Return the four gates."""
    changes = {
        change.flag: change
        for change in FlagChange.objects.filter(flag__in=GATES).order_by("flag", "-pk").distinct("flag")
    }
    has_columns = not rollout_state.is_contracted
    return [
        _gate(gate, rollout_state.flags.get(name), share, changes.get(name), has_columns=has_columns)
        for (name, gate), share in zip(GATES.items(), rollout_state.rollout, strict=True)
    ]


def _gate(gate: Gate, flag: Flag | None, share: Share, change: FlagChange | None, *, has_columns: bool) -> GateRow:
    named = [] if share.is_everything else sorted(share.named)
    return GateRow(
        gate.name,
        GATE_MEANINGS[gate.name],
        _who(share, named),
        f"{share.buckets.start / BUCKETS_A_PERCENT:g}%",
        f"{len(share.buckets) / BUCKETS_A_PERCENT:g}%",
        named[:NAMED],
        len(named[NAMED:]),
        _users(flag) if flag and gate.is_for_users else [],
        has_columns or gate == AGENTKIT_WRITES,
        flag.pk if flag else None,
        change,
        f"{reverse('admin:agentstate_flagchange_changelist')}?{urlencode({'flag': gate.name})}",
    )


def _who(share: Share, named: list[str]) -> str:
    if share.is_everything:
        return "on for everyone"
    percent = f"{len(share.buckets) / BUCKETS_A_PERCENT:g}"
    words = [f"on for {percent} percent of the projects"] if share.buckets else []
    words += [f"on for {len(named):,} by name"] if named else []
    return ", ".join(words) or "off"


def _users(flag: Flag) -> list[str]:
    """Describe the users that a flag names; none if it is on or off for everyone."""
    if flag.everyone is not None:
        return []
    kinds = {"everyone who is logged in": flag.authenticated, "staff": flag.staff, "superusers": flag.superusers}
    words = [kind for kind, is_named in kinds.items() if is_named]
    for members, name in ((flag.user_ids, "user"), (flag.group_ids, "group")):
        if members:
            words.append(f"{len(members):,} {name}{'' if len(members) == 1 else 's'}")
    return words


# -- reads, passes, what was left aside


def newest_differences() -> list[ReadDifference]:
    """Return the newest sampled differences."""
    return list(ReadDifference.objects.order_by("-id")[:LISTED])


class StepRow(NamedTuple):
    """A step, and its stages in words."""

    step: RolloutStep
    words: str


def steps() -> list[StepRow]:
    """Return the newest steps first."""
    return [StepRow(step, step_in_words(step)) for step in RolloutStep._default_manager.order_by("-pk")[:STEPS]]


def recent_request() -> StepRequest | None:
    """Return the newest request of a step while it is running, and for some minutes after its end."""
    newest = newest_request()
    if newest is None or (newest.ended_at and timezone.now() - newest.ended_at > RECENT):
        return None
    return newest


def step_in_words(step: RolloutStep) -> str:
    """Name the two stages of a step. A stage that is none of ours is shown as it is."""
    return f"{_place(step.from_stage, step.from_percent)} → {_place(step.to_stage, step.to_percent)}"


def _place(stage: str, percent: Decimal) -> str:
    return str(Position(Stage(stage), percent)) if stage in set(Stage) else stage


def conditions_of(step: RolloutStep) -> list[dict[str, Any]]:
    """Return the conditions that a step was taken under; what others wrote in another shape is left out."""
    conditions = step.conditions if isinstance(step.conditions, list) else []
    return [each for each in conditions if isinstance(each, dict) and isinstance(each.get("name"), str)]


def not_met_at(step: RolloutStep) -> list[str]:
    """Return the names of the conditions that were not met when a step was taken."""
    return [condition["name"] for condition in conditions_of(step) if not condition.get("holds")]


class PassRow(NamedTuple):
    """A pass of the ledger, and its progress."""

    entry: Any
    done: int
    width: str

    @property
    def is_running(self) -> bool:
        return str(self.entry.state) in ("running", "paused", "waiting")

    @property
    def lasted(self) -> timedelta:
        lasted: timedelta = (self.entry.ended_at or self.entry.seen_at) - self.entry.started_at
        return lasted


def passes() -> list[PassRow]:
    """Return the newest passes first."""
    return [_pass(entry) for entry in BackfillPass.objects.with_state().order_by("-id")[:PASSES]]


def _pass(entry: BackfillPass) -> PassRow:
    done = entry.written + entry.merged + entry.left_aside
    share = min(1.0, done / entry.candidates) if entry.candidates else 0.0
    return PassRow(entry, done, f"{100 * share:.2f}%")


class LeftAsideRow(NamedTuple):
    """An entry of a project left aside, and its status: ``open``, ``accepted`` or ``outdated``."""

    entry: Any
    status: str

    @property
    def first_line(self) -> str:
        lines = self.entry.error_start.strip().splitlines()
        return lines[0] if lines else ""


def left_aside() -> dict[str, Any]:
    """Return the context of the projects left aside: the counts, and the first entries, open ones first."""
    # An entry whose project was deleted needs no decision.
    unclosed = LeftAside.objects.unclosed().filter(Exists(Project.objects.filter(pk=OuterRef("project_id"))))
    rows = unclosed.defer("error").annotate(error_start=Left("error", 300))
    found = list(rows.order_by(F("accepted_at").desc(nulls_first=True), "-last_seen_at", "-id")[:LISTED])
    accepted = [entry.project_id for entry in found if entry.accepted_at]
    valid = valid_acceptances(accepted) if accepted else set()
    return {
        "left_aside": [LeftAsideRow(entry, status_of(entry, valid)) for entry in found],
        "left_aside_open": unclosed.open().count(),
        "left_aside_accepted": unclosed.accepted().count(),
        "open_left_aside_url": open_left_aside(),
    }


def open_left_aside() -> str:
    """Return the address of the open entries."""
    asked = urlencode({"closed_at__isempty": "1", "accepted_at__isempty": "1"})
    return f"{reverse('admin:agentstate_leftaside_changelist')}?{asked}"
