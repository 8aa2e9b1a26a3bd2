"""The four gates: which home of a project's state is written, and which is read.

Each gate is a flag that operators toggle while the application runs (``manage.py waffle_flag``, the admin), and a
function here that answers for one project. The unit of rollout is the project: a hash of its id puts it into one of a
thousand buckets, the same for all gates. A toggle reaches every process within two seconds. Between toggles a gate
sends no query.

The first rule that applies decides:

1. The flag has no row: the gate has its initial value.
2. ``everyone`` is yes or no: the gate is on or off.
3. ``project_ids`` names the project: on.
4. ``percent`` covers the project's bucket: on. The AgentKit gates count from the first bucket, ``legacy_writes`` from
   the last. So shares that add up to 100 leave every project a home.
5. For the two read gates, given a request: the flag is for users, groups, staff, superusers or logged-in users, and
   the request's user is one of them: on.
6. Otherwise off.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from agentstate.models import Flag

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Self

    from django.http import HttpRequest

BUCKETS = 1000
BUCKETS_A_PERCENT = BUCKETS // 100

# The bucket of a row p of "Project", as bucket() computes it.
BUCKET_IN_SQL = f"mod(('x' || left(encode(sha256(convert_to(p.id, 'UTF8')), 'hex'), 8))::bit(32)::bigint, {BUCKETS})"


def bucket(project_id: str) -> int:
    """Return the project's bucket, 0 to 999, also for an id that PostgreSQL cannot store."""
    return int.from_bytes(sha256(project_id.encode(errors="surrogatepass")).digest()[:4], "big") % BUCKETS


class Share(NamedTuple):
    """A share of the projects: those in a range of buckets, and those named by id."""

    buckets: range
    named: Collection[str] = ()

    def has(self, project_id: str) -> bool:
        # Most shares are everything or nothing, for which no id is hashed.
        if self.is_everything:
            return True
        return project_id in self.named or (bool(self.buckets) and bucket(project_id) in self.buckets)

    @property
    def is_everything(self) -> bool:
        return len(self.buckets) == BUCKETS

    @property
    def is_nothing(self) -> bool:
        return not self.buckets and not self.named

    def in_sql(self) -> tuple[str, dict[str, int | list[str]]]:
        """Return the condition that a row p of ``"Project"`` belongs to this share, and its parameters."""
        return (
            f"(p.id = ANY(%(named)s) OR {BUCKET_IN_SQL} BETWEEN %(first)s AND %(last)s)",
            {"named": list(self.named), "first": self.buckets.start, "last": self.buckets.stop - 1},
        )


NOTHING = Share(range(0))
EVERYTHING = Share(range(BUCKETS))


@dataclass(frozen=True)
class Gate:
    """A flag, and what its settings mean."""

    name: str
    initially: bool = False
    counts_from_the_end: bool = False
    is_for_users: bool = False

    def is_on(self, project_id: str, request: HttpRequest | None = None) -> bool:
        flag = Flag.get(self.name)
        return self.share(flag).has(project_id) or (request is not None and self._is_on_for_user(flag, request))

    def share(self, flag: Flag) -> Share:
        """Return the projects for which the gate is on for every user."""
        everyone = self.initially if flag.pk is None else flag.everyone
        if everyone is not None:
            return EVERYTHING if everyone else NOTHING
        size = int((flag.percent or 0) * BUCKETS_A_PERCENT)
        buckets = range(BUCKETS - size, BUCKETS) if self.counts_from_the_end else range(size)
        return Share(buckets, flag.project_ids)

    def _is_on_for_user(self, flag: Flag, request: HttpRequest) -> bool:
        if not self.is_for_users or flag.everyone is not None or not flag.targets_users():
            return False  # loading the user may cost queries
        user = getattr(request, "user", None)
        return user is not None and flag.targets(user)


AGENTKIT_WRITES = Gate("agentkit_writes")
LEGACY_WRITES = Gate("legacy_writes", initially=True, counts_from_the_end=True)
AGENTKIT_READS = Gate("agentkit_reads", is_for_users=True)
AGENTKIT_SHADOW_READS = Gate("agentkit_shadow_reads", is_for_users=True)
GATES = {gate.name: gate for gate in (AGENTKIT_WRITES, LEGACY_WRITES, AGENTKIT_READS, AGENTKIT_SHADOW_READS)}


def agentkit_writes(project_id: str) -> bool:
    """Return whether saved state goes into runs and events."""
    return AGENTKIT_WRITES.is_on(project_id)


def legacy_writes(project_id: str) -> bool:
    """Return whether saved state goes into the legacy columns."""
    return LEGACY_WRITES.is_on(project_id)


def agentkit_reads(project_id: str, request: HttpRequest | None = None) -> bool:
    """Return whether state is read from the AgentKit home; with a request, also for its user."""
    return AGENTKIT_READS.is_on(project_id, request)


def agentkit_shadow_reads(project_id: str, request: HttpRequest | None = None) -> bool:
    """Return whether both homes are read and compared; with a request, also for its user."""
    return AGENTKIT_SHADOW_READS.is_on(project_id, request)


class Answers(NamedTuple):
    """The values of the four gates for one project, or for all projects of a bucket."""

    agentkit_writes: bool
    legacy_writes: bool
    agentkit_reads: bool
    agentkit_shadow_reads: bool


class Shares(NamedTuple):
    """The share of projects for which each gate is on, for every user."""

    agentkit_writes: Share
    legacy_writes: Share
    agentkit_reads: Share
    agentkit_shadow_reads: Share

    @classmethod
    def of(cls, flags: Collection[Flag]) -> Self:
        """Return the shares that these flags set; a missing flag means its gate's initial value."""
        rows = {flag.name: flag for flag in flags}
        return cls(**{name: gate.share(rows.get(name, Flag(name=name))) for name, gate in GATES.items()})

    def in_bucket(self, number: int) -> Answers:
        """Return the gates' values for the projects of a bucket, except those that a flag names."""
        return Answers(*(number in share.buckets for share in self))

    def for_project(self, project_id: str) -> Answers:
        return Answers(*(share.has(project_id) for share in self))

    @property
    def named(self) -> list[str]:
        """Return the ids of the projects that a gate names."""
        return sorted({project_id for share in self for project_id in share.named})


def stored_answers(project_id: str) -> Answers:
    """Read the flags' rows, and return the gates' values for a project and every user. Sends one query.

    The functions above cache each flag separately for up to a second. During a switch-over two of them may answer for
    different moments.
    """
    return Shares.of(list(Flag._base_manager.filter(name__in=GATES))).for_project(project_id)
