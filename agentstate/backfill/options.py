"""The options of a pass, and the SQL of its selection."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from agentstate.models.passes import Direction


@dataclass(frozen=True)
class Selection:
    """The projects of a pass: all or the named ones, and at most ``limit`` candidates in each step.

    A range of a pass takes only ids above ``above`` up to and including ``up_to``; None leaves an end open.
    """

    projects: tuple[str, ...] = ()
    limit: int | None = None
    above: str | None = None
    up_to: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that ``SELECTED`` reads."""
        return {"projects": list(self.projects) or None, "above": self.above, "up_to": self.up_to}


# The SQL side of a selection and of a batch, for a row p of "Project".
SELECTED = """((%(projects)s::text[] IS NULL OR p.id = ANY (%(projects)s::text[]))
    AND (%(above)s::text IS NULL OR p.id > %(above)s::text)
    AND (%(up_to)s::text IS NULL OR p.id <= %(up_to)s::text))"""
IN_BATCH = f"""({SELECTED}
    AND (%(after)s::text IS NULL OR p.id > %(after)s::text) AND p.id <= %(upto)s::text)"""


@dataclass(frozen=True)
class Pacing:
    """How much of the server a pass takes. It can be changed while the pass runs.

    Attributes:
        target_seconds: how long a batch should take.
        sleep_ratio: how many seconds a connection sleeps for each second that it worked.
        max_lag: how many seconds a replica may be behind; None does not look at replicas.
    """

    target_seconds: float = 1.0
    sleep_ratio: float = 0.0
    max_lag: float | None = None

    @classmethod
    def recorded(cls, options: Any) -> Pacing:
        """Return the pacing among the recorded options of a pass, without what this version does not know."""
        found = options.get("pacing") if isinstance(options, dict) else None
        pacing = found if isinstance(found, dict) else {}
        numbers = {name: value for name, value in pacing.items() if type(value) in (int, float)}
        return cls(**{each.name: numbers[each.name] for each in fields(cls) if each.name in numbers})


@dataclass(frozen=True)
class PassOptions:
    """The options of one pass, as the commands take them.

    ``batch_size`` is the most projects that a batch may have. ``prefer`` is the home that settles forks and unequal
    projects. ``force`` restores the newest snapshot, or the state ``as_of`` a time, of projects of any standing.
    ``reason`` is why an operator decided so. ``seen`` are the clocks that they saw (``homes.CLOCKS``): a project with
    other ones is left as it is.
    """

    direction: Direction
    selection: Selection = field(default_factory=Selection)
    dry_run: bool = False
    batch_size: int = 5000
    workers: int = 1
    sessions: bool = True
    prefer: str | None = None
    force: bool = False
    as_of: datetime | None = None
    reason: str = ""
    seen: str | None = None
    pacing: Pacing = field(default_factory=Pacing)

    def as_json(self) -> dict[str, Any]:
        """Return the options as the ledger keeps them."""
        options = asdict(self) | {"direction": self.direction.value}
        options["as_of"] = self.as_of.isoformat() if self.as_of else None
        del options["seen"]
        if not self.reason:
            del options["reason"]
        options["selection"] = {"projects": list(self.selection.projects), "limit": self.selection.limit}
        return options
