"""What an operator gives up by accepting that a project is not moved: the data, and sentences about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

from agentstate.backfill.chats import CHAT, CHATS, DIGEST, UNMADE
from agentstate.models import LeftAside
from agentstate.models.passes import Direction
from agentstate.state.acceptance import state_clock, state_is_left
from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, NEWEST, PROJECTS, is_usable
from agentstate.state.keys import STATE_KEYS
from agentstate.state.standing import STANDING, Standing

_PLACES = {key.name: place for place, key in enumerate(STATE_KEYS)}


_STATE = f"""
    SELECT standing, columns_at, snapshot_at, clock, ARRAY(SELECT jsonb_object_keys(state)), octet_length(state::text)
    FROM (
        SELECT {STANDING} AS standing, {CLOCK} AS columns_at, newest.snapshot_at,
            {state_clock("%(direction)s::text")} AS clock,
            CASE %(direction)s::text WHEN 'forward' THEN {COLUMNS_AS_STATE} ELSE newest.result -> 'state' END AS state
        FROM {PROJECTS} p {NEWEST}
        WHERE p.id = %(project)s AND p.has_columns
          AND {is_usable(CLOCK)} AND (newest.snapshot_at IS NULL OR {is_usable("newest.snapshot_at")})
          AND {state_is_left("%(direction)s::text")}
    ) left_to_move"""
_CHAT = f"""
    SELECT {DIGEST}, octet_length({CHAT}::text) FROM {CHATS}
    WHERE p.id = %(project)s AND %(direction)s = 'forward' AND {UNMADE}"""


@dataclass(frozen=True)
class State:
    """A state that is not moved.

    Attributes:
        standing: where its project stands.
        columns_at: the legacy home's clock.
        snapshot_at: the newest snapshot's clock, None where there is none.
        clock: its own, which is one of the two.
        keys: its state keys.
        size: the bytes of its JSON.
    """

    standing: Standing
    columns_at: datetime
    snapshot_at: datetime | None
    clock: datetime
    keys: list[str]
    size: int


@dataclass(frozen=True)
class Chat:
    """A chat that is not made into a session: its digest and the bytes of its JSON."""

    digest: str
    size: int


@dataclass(frozen=True)
class GivenUp:
    """What a pass of a direction has still to move of a project, None where there is nothing."""

    direction: Direction
    state: State | None
    chat: Chat | None

    @property
    def is_nothing(self) -> bool:
        return self.state is None and self.chat is None

    @property
    def version(self) -> str:
        """Identify this content. A decision about one version never applies to another."""
        return f"{self.state.clock.isoformat() if self.state else ''}/{self.chat.digest if self.chat else ''}"

    @property
    def sentences(self) -> list[str]:
        """Describe the consequences of giving this up."""
        words: list[str] = []
        if self.state:
            words += _of_columns(self.state) if self.direction == Direction.FORWARD else _of_snapshot(self.state)
        if self.chat:
            words.append(f"The chat ({self.chat.size:,} bytes) is not made into a session. It stays in Project.meta.")
        return words


def given_up(entry: LeftAside) -> GivenUp:
    """Read what is given up if the project of an entry is not moved as it is now."""
    parameters = {"project": entry.project_id, "direction": entry.direction}
    with connection.cursor() as cursor:
        cursor.execute(_STATE, parameters)
        state = cursor.fetchone()
        cursor.execute(_CHAT, parameters)
        chat = cursor.fetchone()
    return GivenUp(
        Direction(entry.direction),
        State(Standing(state[0]), *state[1:]) if state else None,
        Chat(*chat) if chat else None,
    )


def _of_columns(state: State) -> list[str]:
    columns = f"The columns as of {_second(state.clock)} ({_content(state)}) are"
    if state.standing == Standing.FORKED:
        return [
            f"{columns} not merged with the snapshot as of {_second(state.snapshot_at)}.",
            "The project stays forked: reads stay with the home that agentkit_reads names.",
            "Once the columns are dropped, their content is gone.",
        ]
    if state.snapshot_at is None:
        return [
            f"{columns} not taken into the history.",
            "The project stays legacy_ahead, without a snapshot: reads stay with the columns.",
            "Once the columns are dropped, this content is gone.",
        ]
    emptied = f"That the columns are empty, as of {_second(state.clock)}, is"
    return [
        f"{columns if state.keys else emptied} not taken into the history.",
        "The project stays legacy_ahead: reads stay with the columns.",
        f"Once the columns are dropped, the snapshot as of {_second(state.snapshot_at)} is the project's state.",
    ]


def _of_snapshot(state: State) -> list[str]:
    columns_at = _second(state.columns_at)
    return [
        f"The snapshot as of {_second(state.clock)} ({_content(state)}) is not written into the columns.",
        f"They keep their state as of {columns_at}, which the legacy application and reads from the columns see.",
        "The project stays agentkit_ahead, and the snapshot stays in the history.",
    ]


def _content(state: State) -> str:
    keys = sorted(state.keys, key=lambda key: (_PLACES.get(key, len(_PLACES)), key))
    return f"{', '.join(keys) or 'no documents'}; {state.size:,} bytes"


def _second(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "never"
