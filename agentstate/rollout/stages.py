"""The stages of the rollout, and how the flags and the catalog determine the current one.

The stage is not stored. It is derived from the four gates, the freeze and the columns on each read. Setting a flag by
hand therefore changes the stage, or leaves the flags in no stage.

=============== =============== ============= ================= ============
stage           agentkit_writes legacy_writes agentkit_reads    shadow reads
=============== =============== ============= ================= ============
legacy          off             everyone      off               off
dual_write      everyone        everyone      off               off
shadow_read     everyone        everyone      off               everyone
agentkit_read   everyone        everyone      some to everyone  everyone
agentkit_only   everyone        off           everyone          any
frozen          everyone        off           everyone          any
contracted      any             any           any               any
=============== =============== ============= ================= ============

Frozen is agentkit_only with the freeze set. The stage is contracted once the columns are dropped. Naming projects or
users in a read gate (pilots) does not change the stage; naming projects in a write gate does.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from agentstate.gates import (
    AGENTKIT_READS,
    AGENTKIT_SHADOW_READS,
    AGENTKIT_WRITES,
    BUCKETS,
    BUCKETS_A_PERCENT,
    GATES,
    LEGACY_WRITES,
    Shares,
)
from agentstate.models import Flag
from agentstate.rollout.errors import UnsuitablePercent
from agentstate.rollout.freeze import is_frozen
from agentstate.state.columns import read_legacy_home

if TYPE_CHECKING:
    from typing import Self

    from agentstate.gates import Gate, Share

READ_SHARES = tuple(map(Decimal, (1, 10, 50, 100)))
ALL_PROJECTS = Decimal(100)
NO_PROJECTS = Decimal(0)


class Stage(StrEnum):
    """The stages of the rollout, the lowest first."""

    LEGACY = "legacy"
    DUAL_WRITE = "dual_write"
    SHADOW_READ = "shadow_read"
    AGENTKIT_READ = "agentkit_read"
    AGENTKIT_ONLY = "agentkit_only"
    FROZEN = "frozen"
    CONTRACTED = "contracted"

    def reaches(self, other: Stage) -> bool:
        """Tell whether this stage is the other one or above it."""
        rungs = list(Stage)
        return rungs.index(self) >= rungs.index(other)


class Position(NamedTuple):
    """A stage, and the percent of projects that read from the AgentKit home."""

    stage: Stage
    percent: Decimal

    @classmethod
    def at(cls, stage: Stage) -> Position:
        """Return the position of a stage that has one share only."""
        return cls(stage, ALL_PROJECTS if stage.reaches(Stage.AGENTKIT_ONLY) else NO_PROJECTS)

    def __str__(self) -> str:
        if self.stage != Stage.AGENTKIT_READ:
            return self.stage.value
        return f"{self.stage} at {shown(self.percent)} percent"

    @property
    def height(self) -> tuple[int, Decimal]:
        """What positions are compared by: the stage, and the share within it."""
        return list(Stage).index(self.stage), self.percent

    @property
    def shares(self) -> dict[str, Decimal]:
        """The percent of each gate that a step to this position sets."""
        stage = self.stage
        shadows = stage.reaches(Stage.SHADOW_READ) and not stage.reaches(Stage.AGENTKIT_ONLY)
        return {
            AGENTKIT_WRITES.name: ALL_PROJECTS if stage.reaches(Stage.DUAL_WRITE) else NO_PROJECTS,
            LEGACY_WRITES.name: NO_PROJECTS if stage.reaches(Stage.AGENTKIT_ONLY) else ALL_PROJECTS,
            AGENTKIT_READS.name: self.percent,
            AGENTKIT_SHADOW_READS.name: ALL_PROJECTS if shadows else NO_PROJECTS,
        }

    @property
    def ignores(self) -> set[str]:
        """The gates that do not matter for this position."""
        return {AGENTKIT_SHADOW_READS.name} if self.stage.reaches(Stage.AGENTKIT_ONLY) else set()


def shown(percent: Decimal) -> str:
    """Return a percent without needless zeros."""
    return f"{percent.normalize():f}"


def above(position: Position, percent: Decimal | None = None) -> Position | None:
    """Return the position one step up, None from the top.

    Args:
        percent: the share of projects to read from the AgentKit home, where that is the next step.

    Raises:
        UnsuitablePercent: the next step has no share, or the share is not larger than now.
    """
    reads = position.stage in (Stage.SHADOW_READ, Stage.AGENTKIT_READ) and position.percent < ALL_PROJECTS
    if percent is not None and not (reads and position.percent < percent <= ALL_PROJECTS):
        raise UnsuitablePercent(
            f"--percent {shown(percent)} is not larger than the share now, {shown(position.percent)}. Use more."
            if reads
            else f"The step up from {position} has no share. Omit --percent."
        )
    if reads:
        return Position(
            Stage.AGENTKIT_READ, percent or next(share for share in READ_SHARES if share > position.percent)
        )
    rungs = list(Stage)
    index = rungs.index(position.stage) + 1
    return Position.at(rungs[index]) if index < len(rungs) else None


def below(position: Position, percent: Decimal | None = None) -> Position | None:
    """Return the position one step down, None from the bottom.

    Args:
        percent: a smaller share of projects that still reads from the AgentKit home.

    Raises:
        UnsuitablePercent: there is no smaller share here, or this one is not smaller than now.
    """
    if percent is not None:
        if position.stage != Stage.AGENTKIT_READ:
            raise UnsuitablePercent(f"The step down from {position} has no share. Omit --percent.")
        if not NO_PROJECTS < percent < position.percent:
            raise UnsuitablePercent(
                f"--percent {shown(percent)} is not smaller than the share now, {shown(position.percent)}. Use less, "
                "or omit it: then no project reads from the AgentKit home."
            )
        return Position(Stage.AGENTKIT_READ, percent)
    if position.stage == Stage.AGENTKIT_ONLY:
        return Position(Stage.AGENTKIT_READ, ALL_PROJECTS)
    rungs = list(Stage)
    index = rungs.index(position.stage) - 1
    return Position.at(rungs[index]) if index >= 0 else None


class GateDifference(NamedTuple):
    """A gate whose setting differs from the one of a stage, and the command that sets it."""

    gate: str
    setting: str
    wanted: str
    command: str


class NearestPosition(NamedTuple):
    """A position, and the gates that differ from it."""

    position: Position
    differences: list[GateDifference]


class Pilots(NamedTuple):
    """The pilots of a read gate: how many projects it names beyond its share, and whether it targets users."""

    gate: str
    projects: int
    users: bool


@dataclass(frozen=True)
class RolloutState:
    """The state of the rollout, from the flags and the catalog.

    Attributes:
        percent: of projects that read from the AgentKit home, at a stage or not.
        position: the current position, None if the flags match no stage.
    """

    flags: dict[str, Flag]
    is_frozen: bool
    is_contracted: bool

    @classmethod
    def read(cls) -> Self:
        """Read the flags from the database, not from the cache, and the rest from the catalog."""
        flags = {}
        for name in GATES:
            try:
                flags[name] = Flag.get_from_db(name)
            except Flag.DoesNotExist:
                continue
        return cls(flags, is_frozen(), read_legacy_home().is_contracted)

    @property
    def rollout(self) -> Shares:
        return Shares.of(self.flags.values())

    @property
    def percent(self) -> Decimal:
        return _percent(self.rollout.agentkit_reads)

    @property
    def position(self) -> Position | None:
        if self.is_contracted:
            return Position(Stage.CONTRACTED, ALL_PROJECTS)
        return next((position for position in self._candidates if not self.differences(position)), None)

    @property
    def may_go_down(self) -> bool:
        """Whether there is a step down that no migration takes."""
        return self.position is not None and self.position.stage not in (Stage.LEGACY, Stage.CONTRACTED)

    @property
    def nearest(self) -> list[NearestPosition]:
        """The positions from which the fewest gates differ."""
        candidates = [NearestPosition(position, self.differences(position)) for position in self._candidates]
        fewest = min(len(each.differences) for each in candidates)
        return [each for each in candidates if len(each.differences) == fewest]

    @property
    def pilots(self) -> list[Pilots]:
        pilots = []
        for gate in (AGENTKIT_READS, AGENTKIT_SHADOW_READS):
            share, flag = getattr(self.rollout, gate.name), self.flags.get(gate.name)
            users = flag is not None and flag.everyone is None and flag.targets_users()
            projects = 0 if share.is_everything else len(share.named)
            if projects or users:
                pilots.append(Pilots(gate.name, projects, users))
        return pilots

    def differences(self, position: Position) -> list[GateDifference]:
        """Return the gates that differ from a position."""
        return [each for each in self.to_set(position) if each.gate not in position.ignores]

    def to_set(self, position: Position) -> list[GateDifference]:
        """Return the gates that a step to a position sets."""
        return [
            self._difference(GATES[name], share, wanted)
            for (name, wanted), share in zip(position.shares.items(), self.rollout, strict=True)
            if not _is(share, wanted, GATES[name])
        ]

    @property
    def _candidates(self) -> list[Position]:
        """The positions to compare the flags with. With the freeze set, only frozen: a retreat from there lifts it."""
        if self.is_frozen:
            return [Position.at(Stage.FROZEN)]
        return [
            Position.at(Stage.LEGACY),
            Position.at(Stage.DUAL_WRITE),
            Position.at(Stage.SHADOW_READ),
            Position(Stage.AGENTKIT_READ, self.percent or READ_SHARES[0]),
            Position.at(Stage.AGENTKIT_ONLY),
        ]

    def _difference(self, gate: Gate, share: Share, wanted: Decimal) -> GateDifference:
        option = {NO_PROJECTS: "--deactivate", ALL_PROJECTS: "--everyone"}.get(wanted, f"--percent {shown(wanted)}")
        create = "" if gate.name in self.flags else " --create"
        return GateDifference(
            gate.name, _in_words(share), _percent_in_words(wanted), f"waffle_flag {gate.name}{create} {option}"
        )


def _percent(share: Share) -> Decimal:
    return Decimal(len(share.buckets)) / BUCKETS_A_PERCENT


def _is(share: Share, wanted: Decimal, gate: Gate) -> bool:
    if len(share.buckets) != wanted * BUCKETS_A_PERCENT:
        return False
    return gate.is_for_users or len(share.buckets) == BUCKETS or not share.named


def _in_words(share: Share) -> str:
    parts = [_percent_in_words(_percent(share))] if share.buckets or not share.named else []
    if share.named and not share.is_everything:
        parts.append(f"{'' if parts else 'on for '}{len(share.named):,} by name")
    return " and ".join(parts)


def _percent_in_words(percent: Decimal) -> str:
    if percent == NO_PROJECTS:
        return "off"
    return "on for everyone" if percent == ALL_PROJECTS else f"on for {shown(percent)} percent"
