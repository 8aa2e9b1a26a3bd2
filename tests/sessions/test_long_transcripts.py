"""Long transcripts: an array until it is stored in 64 kB, then a row an entry, and one list to whoever reads it."""

from __future__ import annotations

import json
import random
from datetime import datetime
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from agentstate import sessions
from agentstate.models import AgentSession, AgentSessionEntry
from agentstate.sessions import ItemNotFound, SessionNotFound
from tests.factories import SessionFactory
from tests.sessions.noise import noise
from tests.sql import one, out_of_line, scalar, sql

pytestmark = pytest.mark.django_db

BOUND = 65_536
PLACES = """SELECT further, jsonb_array_length(transcript_json), (SELECT array_agg(number ORDER BY number)
    FROM "AgentSessionEntry" WHERE session_id = id) FROM "AgentSession" """


def entries(*contents: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": content} for content in contents]


def contents(session: Any, limit: int | None = None) -> list[Any]:
    return [entry["content"] for entry in sessions.transcript(session, limit)]


@pytest.fixture
def full() -> Any:
    """Return a session whose array is full, with one entry, and holds two rows."""
    session = SessionFactory()
    sessions.append(session, "user", noise(100_000))
    assert sessions.extend(session, entries("b", "c")) == 3
    return session


def test_the_array_holds_all_entries_until_it_is_full() -> None:
    session = SessionFactory()
    for number in range(1, 6):
        assert sessions.extend(session, entries(noise(15_000), number)) == 2 * number
    assert one(PLACES) == (0, 10, None)
    assert BOUND < scalar('SELECT pg_column_size(transcript_json) FROM "AgentSession"') < BOUND + 20_000

    assert sessions.extend(session, entries("eleven", "twelve")) == 12
    assert sessions.append(session, "user", "thirteen") == 13
    assert one(PLACES) == (13, 10, [11, 12, 13])
    assert session.further == 13
    assert contents(session)[9:] == [5, "eleven", "twelve", "thirteen"]
    times = [datetime.fromisoformat(entry["at"]) for entry in sessions.transcript(session)]
    assert times == sorted(times)
    assert all(entry.keys() == {"role", "content", "at"} for entry in sessions.transcript(session))


def test_an_append_to_a_full_array_writes_only_its_row(full: Any) -> None:
    before = out_of_line("AgentSession").written
    sessions.extend(full, entries("x" * 500, "y" * 500))
    assert out_of_line("AgentSession").written == before, "the array is stored there"
    assert one(PLACES) == (5, 1, [2, 3, 4, 5])


def test_the_view_has_the_whole_transcript(full: Any) -> None:
    short = SessionFactory(transcript_json=[1, 2])
    whole = dict(sql('SELECT id, transcript_json FROM "AgentSessionTranscript"'))
    assert json.loads(whole[full.pk]) == sessions.transcript(full)
    assert json.loads(whole[short.pk]) == [1, 2]


def test_entries_go_with_their_session_and_follow_its_id(full: Any) -> None:
    sql("""UPDATE "AgentSession" SET id = 'renamed'""")
    assert set(AgentSessionEntry.objects.values_list("session_id", flat=True)) == {"renamed"}
    sql('DELETE FROM "Project"')
    assert not AgentSessionEntry.objects.exists()
    assert not AgentSession.objects.exists()


def test_popping_continues_from_rows_into_the_array(full: Any) -> None:
    assert [sessions.pop(full)["content"] for _ in range(2)] == ["c", "b"]
    assert one(PLACES) == (0, 1, None)
    sessions.append(full, "user", "again")
    assert one(PLACES) == (2, 1, [2])
    sessions.truncate(full, 1)
    assert len(sessions.pop(full)["content"]) == 100_000
    assert sessions.pop(full) is None
    sessions.append(full, "user", "from the start")
    assert one(PLACES) == (0, 1, None)
    sessions.clear(full)
    assert (sessions.length(full), full.transcript_json) == (0, [])


class Model:
    """A session, and the list that it has to be equal to."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.session = SessionFactory()
        self.list: list[dict[str, Any]] = []
        self.made = 0

    def new(self) -> dict[str, Any]:
        self.made += 1
        return {"id": f"i{self.made}", "text": noise(self.dice.choice([10, 10, 30_000]))}

    def extend(self) -> None:
        new = [self.new() for _ in range(self.dice.randint(0, 3))]
        self.list += new
        ids = [each["id"] for each in new]
        assert sessions.extend(self.session, entries(*new), item_ids=ids) == len(self.list)

    def pop(self) -> None:
        expected = self.list.pop() if self.list else None
        found = sessions.pop(self.session)
        assert (found and found["content"]) == expected

    def truncate(self) -> None:
        length = max(0, len(self.list) - self.dice.randint(-1, 3))
        del self.list[length:]
        sessions.truncate(self.session, length)

    def put(self) -> None:
        new = self.new()
        if self.list and self.dice.random() < 0.7:
            place = self.dice.randrange(len(self.list))
            self.list[place] = new = {**new, "id": self.list[place]["id"]}
            assert sessions.put(self.session, new["id"], entries(new)[0]) is False
        else:
            self.list.append(new)
            assert sessions.put(self.session, new["id"], entries(new)[0]) is True

    def remove(self) -> None:
        assert sessions.remove(self.session, "unknown") is False
        if self.list:
            gone = self.list.pop(self.dice.randrange(len(self.list)))
            assert sessions.remove(self.session, gone["id"]) is True
            assert sessions.item(self.session, gone["id"]) is None

    def check(self) -> None:
        number = len(self.list)
        assert sessions.length(self.session) == number
        for limit in (None, 0, 1, 2, number - 1, number, number + 1, 10**12):
            if limit is None or limit >= 0:
                assert contents(self.session, limit) == self.list[max(0, number - limit) if limit is not None else 0 :]
        for each in self.list[:2] + self.list[-2:]:
            assert sessions.item(self.session, each["id"])["content"] == each
        limit = self.dice.randint(1, 4)
        for newest_first in (False, True):
            assert list(self.pages(limit, newest_first)) == self.list[:: -1 if newest_first else 1]

    def pages(self, limit: int, newest_first: bool) -> Any:
        after, has_more = None, True
        while has_more:
            page = sessions.page(self.session, limit, after=after, newest_first=newest_first)
            has_more = page.has_more
            assert len(page.entries) == limit or not has_more
            for entry in page.entries:
                after = entry["content"]["id"]
                yield entry["content"]


@pytest.mark.parametrize("seed", range(2))
def test_a_transcript_behaves_like_a_list(seed: int) -> None:
    model = Model(seed)
    acts = [model.extend, model.extend, model.extend, model.put, model.pop, model.truncate, model.remove]
    for _ in range(40):
        model.dice.choice(acts)()
        further, length, numbers = one(PLACES + "WHERE id = %s", model.session.pk)
        assert numbers == (list(range(length + 1, further + 1)) if further else None)
        model.check()


# -- items


def test_a_replaced_item_keeps_its_time_unless_it_has_one(full: Any) -> None:
    sessions.put(full, "i", entries({"id": "i", "n": 1})[0])
    at = sessions.item(full, "i")["at"]
    sessions.put(full, "i", entries({"id": "i", "n": 2})[0])
    assert sessions.item(full, "i") == {"role": "user", "content": {"id": "i", "n": 2}, "at": at}
    sessions.put(full, "i", {**entries({"id": "i"})[0], "at": "then"})
    assert sessions.item(full, "i")["at"] == "then"


def test_items_come_back_as_they_were_given() -> None:
    session = SessionFactory()
    content = {"id": "i", "text": "a\0b\ud800", "number": 0.1, "small": 1e-07}
    sessions.put(session, "i", entries(content)[0])
    assert sessions.item(session, "i")["content"] == content
    assert sessions.page(session, 1).entries[0]["content"] == content
    assert sessions.transcript(session, as_given=True)[0]["content"] == content
    assert sessions.pop(session, as_given=True)["content"] == content


@pytest.mark.parametrize(
    ("entry", "item_id"),
    [
        ({"role": "user", "content": {"id": "other"}}, "i"),
        ({"role": "user", "content": "text"}, "i"),
        ({"role": "user", "content": {"id": "\0"}}, "\0"),
        ({"role": "user", "content": "text", "name": "n"}, None),
        ({"role": "user"}, None),
    ],
)
def test_an_invalid_entry_is_refused(entry: Any, item_id: str | None) -> None:
    session = SessionFactory()
    with pytest.raises(ValueError, match=r"item|role, content and at"):
        sessions.extend(session, [entry], item_ids=[item_id])
    assert sessions.length(session) == 0


def test_an_id_belongs_to_one_entry(full: Any) -> None:
    sessions.put(full, "i", entries({"id": "i"})[0])
    with pytest.raises(IntegrityError, match="AgentSessionEntry_item_key"), transaction.atomic():
        sessions.extend(full, entries({"id": "i"}), item_ids=["i"])
    with pytest.raises(ItemNotFound, match="'unknown'"):
        sessions.page(full, 1, after="unknown")
    assert sessions.item(full, "\0") is None


@pytest.mark.parametrize(
    "act",
    [
        lambda: sessions.extend("nothing", entries("x")),
        lambda: sessions.extend("nothing", []),
        lambda: sessions.pop("nothing"),
        lambda: sessions.clear("nothing"),
        lambda: sessions.length("nothing"),
        lambda: sessions.transcript("nothing", 0),
        lambda: sessions.item("nothing\0", "i"),
        lambda: sessions.put("nothing", "i", entries({"id": "i"})[0]),
        lambda: sessions.remove("nothing", "i"),
        lambda: sessions.page("nothing", 1, after="i"),
    ],
)
def test_an_unknown_session_is_not_found(act: Any) -> None:
    with pytest.raises(SessionNotFound, match="'nothing"):
        act()


@pytest.mark.parametrize("act", [sessions.truncate, sessions.page, sessions.transcript])
def test_a_negative_number_is_refused(act: Any) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        act("any", -1)
