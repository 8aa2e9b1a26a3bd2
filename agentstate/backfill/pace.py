"""The pace of a pass: how large its batches are, and when it waits for the work of others."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentstate.backfill.options import Pacing
from agentstate.backfill.others import Replicas, count_waiting
from agentstate.backfill.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstate.backfill.batch import Batch

# Of a batch that should take a second or more; one that should take less begins with less.
FIRST_BATCH = 500
FIRST_WEIGHT = 16 * 2**20
GROWTH = 1.25
# A batch that takes less of the target than this lets the next ones grow.
QUICK = 0.75

# How often a waiting pass looks again, and how often a working one looks for sessions that wait for locks.
LOOK_EVERY = 0.2
# Sessions that wait for locks slow a pass down but never stop it. Another client may hold such a lock for hours.
LONGEST_WAIT_FOR_LOCKS = 5.0


class BatchSize:
    """How many projects and bytes a batch may have: slowly more while batches are quick, half as soon as one is slow.

    A bound grows only where it was what held a batch back.
    """

    def __init__(self, most: int, target: float) -> None:
        share = min(1.0, target)
        self.most = most
        self.size = min(most, max(1, int(FIRST_BATCH * share)))
        self.weight = max(1, int(FIRST_WEIGHT * share))

    def has_room_for(self, batch: Batch) -> bool:
        return batch.size <= self.size and batch.weight <= self.weight

    def part_of(self, batch: Batch) -> int:
        """Return how many candidates of a batch that is too large there is room for, at least one."""
        by_weight = batch.size * self.weight // batch.weight if batch.weight else batch.size
        return max(1, min(self.size, by_weight, batch.size))

    def learn(self, batch: Batch, seconds: float, target: float) -> None:
        """Adapt to the time that a batch took."""
        if seconds > target:
            self.halve(batch)
        elif seconds < target * QUICK:
            if 2 * batch.size >= self.size:
                self.size = min(self.most, int(self.size * GROWTH) + 1)
            if 2 * batch.weight >= self.weight:
                self.weight = int(self.weight * GROWTH) + 1

    def halve(self, batch: Batch) -> None:
        """Give the next batches at most half of what this one had."""
        self.size = max(1, min(self.size, batch.size // 2))
        self.weight = max(1, min(self.weight, batch.weight // 2)) if batch.weight else self.weight


class Control(Protocol):
    """What the operator wants of a running pass."""

    @property
    def pacing(self) -> Pacing: ...

    @property
    def held_by(self) -> str:
        """Who paused the pass; empty if it may work."""

    def refresh(self) -> None:
        """Read what the operator wants now. A wish to end sets the pass's ``stop``."""

    def hold(self, reason: str) -> None:
        """Report why the pass waits; empty when it works again."""


@dataclass
class Uncontrolled:
    """The control of a pass that is not in the ledger."""

    pacing: Pacing = field(default_factory=Pacing)
    held_by: str = ""

    def refresh(self) -> None:
        pass

    def hold(self, reason: str) -> None:
        pass


class Throttle:
    """Lets a batch begin when the operator, the replicas and the sessions that wait for locks allow it.

    Args:
        control: what the operator wants.
        stop: set to end the pass.
        outcome: the seconds that the pass waits are added to it.
        report: called with the reason again and again while the pass waits, and with none when work goes on.
    """

    def __init__(
        self,
        control: Control,
        stop: threading.Event,
        outcome: Outcome,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.connections = 1
        # How long the latest batch took whose rest is still to come: the next step or range begins after it.
        self.unrested = 0.0
        self._control = control
        self._stop = stop
        self._outcome = outcome
        self._report = report
        self._replicas = Replicas()
        self._lock = threading.Lock()
        self._reasons: dict[int, str] = {}
        self._looked_at = 0.0
        self._waiting_sessions = 0

    @property
    def pacing(self) -> Pacing:
        return self._control.pacing

    def admit(self, worked: float) -> bool:
        """Wait until the next batch may begin, and return whether it may. It may not once the pass is to end.

        Args:
            worked: how many seconds this connection worked since it was last admitted.
        """
        waited = 0.0
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                self._control.refresh()
                pause, reason = self._reason(worked, waited)
                if not reason or self._stop.is_set():
                    break
                self._tell(reason)
                self._stop.wait(pause)
                waited += self._count(time.monotonic() - began)
        finally:
            self._tell("")
            self.unrested = 0.0
        return not self._stop.is_set()

    def _count(self, seconds: float) -> float:
        """Add this connection's share of the seconds that it waited, at once: a pause may last for hours."""
        with self._lock:
            self._outcome.throttled += seconds / self.connections
        return seconds

    def _reason(self, worked: float, waited: float) -> tuple[float, str]:
        """Return how long to wait before looking again, and why; an empty reason not to wait."""
        pacing = self._control.pacing
        if self._control.held_by:
            return LOOK_EVERY, f"paused by {self._control.held_by}"
        if pacing.max_lag is not None:
            name, lag = self._look_at_replicas()
            if lag > pacing.max_lag:
                return LOOK_EVERY, f"replica {name} is {lag:.1f} s behind, more than {pacing.max_lag:g} s"
        if waited < LONGEST_WAIT_FOR_LOCKS and (sessions := self._look_at_locks()):
            return LOOK_EVERY, f"sessions that wait for locks on these tables: {sessions}"
        if (rest := worked * pacing.sleep_ratio - waited) > 0:
            return min(rest, LOOK_EVERY), f"sleeping {pacing.sleep_ratio:g} s for each second of work"
        return 0, ""

    def _look_at_replicas(self) -> tuple[str, float]:
        with self._lock:
            return self._replicas.furthest_behind()

    def _look_at_locks(self) -> int:
        with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_EVERY:
                self._waiting_sessions = count_waiting()
                self._looked_at = time.monotonic()
            return self._waiting_sessions

    def _tell(self, reason: str) -> None:
        """Report a reason, or that work goes on. A pass waits while one of its connections does."""
        me = threading.get_ident()
        with self._lock:
            before = next(iter(self._reasons.values()), "")
            self._reasons.pop(me, None)
            if reason:
                self._reasons[me] = reason
            now = next(iter(self._reasons.values()), "")
        if now != before:
            self._control.hold(now)
        if now or before:
            self._report(now)


class Estimate:
    """How long the rest of a step takes, as a range, from the latest batches. Time spent waiting does not count."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._per_project: deque[float] = deque(maxlen=20)

    def learn(self, size: int, seconds: float) -> None:
        if size:
            self._per_project.append(seconds / size)

    def seconds(self, size: int) -> tuple[float, float] | None:
        """Return the shortest and the longest probable time of so many projects; None before the first batch."""
        if not self._per_project:
            return None
        quartiles = statistics.quantiles(self._per_project, n=4) if len(self._per_project) > 1 else self._per_project
        low, high = min(quartiles), max(quartiles)
        return max(0.0, low) * size / self._workers, high * size / self._workers
