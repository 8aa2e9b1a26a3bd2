"""The rules of the two homes for one project, without any database: what each step does to clocks and documents.

Clocks are whole numbers and documents are opaque strings; a document that is SQL NULL, or that a snapshot has not, is
None. The tests hold the passes against this, step by step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.factories import KEYS

State = dict[str, str | None]
NOTHING: State = dict.fromkeys(KEYS)
SECOND = 1_000_000
DAY = 24 * 60 * 60 * SECOND


@dataclass
class Snapshot:
    """A state as it was saved. A live run that saves again carries its newest snapshot only."""

    workflow: str
    state: State
    at: int
    legacy_at: int
    carried: bool = True


@dataclass
class Project:
    """A project between its two homes.

    ``saved`` has every state that was ever saved, in order; ``now`` is the server's clock, which moves in seconds, so
    that a clock that only gains a microsecond meets no other.
    """

    columns: State = field(default_factory=lambda: dict(NOTHING))
    clock: int = 1
    saved: list[Snapshot] = field(default_factory=list)
    now: int = 1

    # -- what is read off the clocks

    @property
    def snapshots(self) -> list[Snapshot]:
        return sorted((snapshot for snapshot in self.saved if snapshot.carried), key=lambda snapshot: snapshot.at)

    @property
    def newest(self) -> Snapshot | None:
        return self.snapshots[-1] if self.saved else None

    @property
    def standing(self) -> str:
        newest = self.newest
        if newest is None:
            return "empty" if self.columns == NOTHING else "legacy_ahead"
        if self.clock == newest.legacy_at:
            return "in_sync" if newest.at == newest.legacy_at else "agentkit_ahead"
        return "legacy_ahead" if newest.at == newest.legacy_at else "forked"

    @property
    def emptied(self) -> bool:
        """The columns lost all that a snapshot holds; where AgentKit alone moved on, they never held it."""
        if self.standing in ("empty", "agentkit_ahead"):
            return False
        return self.columns == NOTHING and self.newest is not None and self.newest.state != NOTHING

    @property
    def unequal(self) -> bool:
        return self.standing == "in_sync" and self.columns != self.newest.state

    def state_at(self, moment: int) -> Snapshot | None:
        """The newest state saved until then; of two saved at one time, the one that was kept later."""
        until_then = [snapshot for snapshot in self.saved if snapshot.at <= moment]
        return max(reversed(until_then), key=lambda snapshot: snapshot.at, default=None)

    def merged(self, prefer: str | None = None) -> tuple[State, list[str]]:
        """Both homes' documents merged by key, and the keys that clash."""
        ours, theirs = self.newest.state, self.columns
        base = None
        if self.standing == "forked" and not self.emptied:
            base = self.state_at(self.newest.legacy_at).state
        state, clashes = {}, []
        for key in KEYS:
            legacy_moved = base is None or theirs[key] != base[key]
            agentkit_moved = base is None or ours[key] != base[key]
            if legacy_moved and agentkit_moved and ours[key] != theirs[key]:
                clashes.append(key)
                state[key] = theirs[key] if prefer == "legacy" else ours[key]
            else:
                state[key] = theirs[key] if legacy_moved else ours[key]
        return state, clashes

    # -- clocks

    def tick(self) -> int:
        self.now += SECOND
        return max(self.now, self.clock + 1, self.newest.at + 1 if self.newest else 0)

    def keep_columns(self) -> None:
        """Keep the columns as a legacy snapshot: at their clock, or later where a snapshot stands there already."""
        if self.newest and self.clock <= self.newest.at:
            self.clock = self.tick()
        self.saved.append(Snapshot("legacy_snapshot", dict(self.columns), self.clock, self.clock))

    def columns_are_held(self) -> bool:
        return any(snapshot.at == self.clock and snapshot.state == self.columns for snapshot in self.snapshots)

    # -- passes

    def takes_in(self, prefer: str | None) -> bool:
        """Whether the columns become the state as they are."""
        if self.standing == "legacy_ahead" and not self.emptied:
            return True
        return prefer == "legacy" and self.standing != "forked" and (self.emptied or self.unequal)

    def merges(self, prefer: str | None) -> bool:
        """Whether a state is made from both homes."""
        if self.standing == "forked":
            return prefer is not None or not (self.emptied or self.merged()[1])
        return prefer == "agentkit" and (self.emptied or self.unequal)

    def forward(self, prefer: str | None = None) -> None:
        if self.takes_in(prefer):
            self.keep_columns()
        elif self.merges(prefer):
            self.merge(prefer)

    def merge(self, prefer: str | None) -> None:
        state, _ = self.merged(prefer)
        self.keep_columns()
        self.saved.append(Snapshot("legacy_merge", state, self.tick(), self.clock))

    def reverse(self, prefer: str | None = None) -> None:
        clock_set_back = self.standing == "legacy_ahead" and self.newest and self.clock <= self.newest.at
        if prefer and (self.merges(prefer) or self.unequal or clock_set_back):
            self.forward(prefer)
        if self.standing != "agentkit_ahead":
            return
        newest = self.newest
        stands = [snapshot.state for snapshot in self.saved if snapshot.at == self.clock]
        holds_something = self.columns != NOTHING
        if newest.at <= self.clock or (holds_something and any(state != self.columns for state in stands)):
            self.restore()
            return
        if holds_something and not self.columns_are_held():
            self.saved.append(Snapshot("legacy_snapshot", dict(self.columns), self.clock, self.clock))
        self.columns = dict(newest.state)
        self.clock = newest.legacy_at = newest.at

    def restore(self, as_of: int | None = None) -> None:
        earlier = self.newest if as_of is None else self.state_at(as_of)
        if earlier is None:
            return
        if self.standing == "in_sync" and earlier.state == self.newest.state == self.columns:
            return
        if not self.columns_are_held():
            self.keep_columns()
        at = self.tick()
        self.saved.append(Snapshot("legacy_restore", dict(earlier.state), at, at))
        self.columns, self.clock = dict(earlier.state), at

    # -- writers

    def foreign_write(self, documents: State, *, clock_set_back: bool = False) -> None:
        if {**self.columns, **documents} == self.columns:
            return
        self.columns = {**self.columns, **documents}
        self.now += SECOND
        self.clock = max(0 if clock_set_back else self.now, self.clock + 1)

    def damage(self, documents: State) -> None:
        self.columns = {**self.columns, **documents}

    def save(
        self,
        key: str,
        document: str,
        *,
        agentkit: bool,
        legacy: bool,
        reads_agentkit: bool,
        again: bool,
        clock_ahead: int,
    ) -> None:
        """Save through the gates; with ``again``, as the live run that saved last."""
        if self.standing == "forked":
            self.merge("agentkit" if reads_agentkit else "legacy")
        if agentkit and self.standing in ("legacy_ahead", "empty"):
            self.keep_columns()
        if legacy:
            self.reverse()
        state = dict(self.newest.state if agentkit else self.columns)
        if state[key] == document:
            return
        state[key], at = document, self.tick() + clock_ahead
        if agentkit:
            legacy_at = at if legacy else self.newest.legacy_at
            live = [snapshot for snapshot in self.snapshots if snapshot.workflow == "live"]
            if again and live:
                live[-1].carried = False
            self.saved.append(Snapshot("live", state, at, legacy_at))
        if legacy:
            self.columns, self.clock = {**self.columns, key: document}, at
