"""Shadow reads: what a read finds out when it looks at both homes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from django.dispatch import Signal

from agentstate.state.keys import STATE_KEYS
from agentstate.state.paths import difference
from agentstate.state.standing import Standing

CUT_TO = 256  # characters of each of the two values

# Sent with ``readings``, a list of Reading, after reads that fell back or were shadowed.
readings_made = Signal()


class Difference(NamedTuple):
    """A document that the homes hold differently; what is not there is None."""

    key: str
    path: str
    legacy: str | None
    agentkit: str | None


@dataclass(frozen=True)
class Reading:
    """What a read found out about a project's two homes.

    Attributes:
        fell_back: why the legacy home answered for the AgentKit home, None where it did not.
        lag: why the homes could not be compared: ``legacy_ahead``, ``agentkit_ahead``, ``forked``, ``no_snapshot``,
            ``malformed`` or ``error``; None where they could, or nobody asked.
        differences: what a comparison found; None where there was none.
    """

    project_id: str
    fell_back: str | None = None
    lag: str | None = None
    differences: tuple[Difference, ...] | None = None

    @property
    def tells_something(self) -> bool:
        return (self.fell_back, self.lag, self.differences) != (None, None, None)


_DOCUMENTS = ", ".join(f"('{key.name}', \"{key.column}\", state -> '{key.name}')" for key in STATE_KEYS)

# The differences of a shadowed row, where its clocks say that there are none; looks at no document elsewhere.
DIFFERENCES = f"""
    CASE WHEN shadowed AND standing = '{Standing.IN_SYNC}' AND jsonb_typeof(result -> 'state') = 'object' THEN (
        SELECT coalesce(json_agg(json_build_array(
            key, key || found.path, left(found.one::text, {CUT_TO}), left(found.other::text, {CUT_TO})
        )), '[]')
        FROM (SELECT result -> 'state' AS state OFFSET 0) snapshot
        CROSS JOIN LATERAL (VALUES {_DOCUMENTS}) document (key, legacy, agentkit)
        CROSS JOIN LATERAL {difference("legacy", "agentkit")} found
        WHERE legacy IS DISTINCT FROM agentkit
    )::text END"""


def differences_from(text: str | None) -> tuple[Difference, ...] | None:
    """Return what :data:`DIFFERENCES` gives."""
    return None if text is None else tuple(Difference(*found) for found in json.loads(text))


def lag(standing: str, has_snapshot: bool, is_compared: bool) -> str | None:
    """Return why a shadowed project could not be compared, None where it was, or holds nothing."""
    if is_compared or standing == Standing.EMPTY:
        return None
    if not has_snapshot:
        return "no_snapshot"
    return "malformed" if standing == Standing.IN_SYNC else str(standing)
