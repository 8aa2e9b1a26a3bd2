"""DjangoSession is a session of the SDK as its own are, whether entries are in the array or in rows."""

from __future__ import annotations

import asyncio
import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from agents import Agent, Runner, Session, SessionSettings, SQLiteSession
from agents.extensions.memory import EncryptedSession
from agents.testing import ScriptedModel, assistant_message
from asgiref.sync import async_to_sync
from django.db import connection

from agentstate import sessions
from agentstate.integrations.agents import DjangoSession
from agentstate.models import AgentSession
from agentstate.sessions import SessionNotFound
from agentstate.state import ProjectNotFound
from tests.factories import ProjectFactory, SessionFactory
from tests.integrations.agents.items import ITEMS, ODD
from tests.sessions.noise import noise
from tests.sql import WAITING_FOR_LOCKS, one, out_of_line, second_connection

pytestmark = pytest.mark.django_db


def user(content: str) -> Any:
    return {"role": "user", "content": content}


def new_session() -> DjangoSession:
    return DjangoSession(SessionFactory().pk)


def in_session(*items: Any) -> DjangoSession:
    session = new_session()
    async_to_sync(session.add_items)(list(items))
    return session


def items_of(session: Any, limit: int | None = None) -> list[Any]:
    return async_to_sync(session.get_items)(limit)


def entries_beyond(session: DjangoSession) -> int:
    return AgentSession.objects.get(pk=session.session_id).further


# -- the protocol


def test_it_is_a_session_of_the_sdk() -> None:
    assert isinstance(DjangoSession("any"), Session)


@pytest.mark.parametrize("size", [10, 3_000, 70_000], ids=["in the array", "across the bound", "in rows but one"])
def test_each_operation_does_what_the_sdks_own_session_does(size: int) -> None:
    ours, theirs = new_session(), SQLiteSession("theirs")
    items = [*ITEMS.values(), *(user(f"{number} {noise(size if number < 30 else 10)}") for number in range(40))]

    async def both(operation: str, *arguments: Any) -> None:
        assert await getattr(ours, operation)(*arguments) == await getattr(theirs, operation)(*arguments)

    async def compare() -> None:
        length = len(await theirs.get_items())
        for limit in {None, 0, 1, 5, max(0, length - 1), length, length + 1, 2 * length, 500}:
            await both("get_items", limit)

    async def act() -> None:
        await both("pop_item")
        for start, stop in ((0, 0), (0, 1), (1, 3), (3, 40), (40, 59)):
            await both("add_items", items[start:stop])
            await compare()
        for number in range(40):
            await both("pop_item")
            if number % 8 == 0:
                await compare()
        await both("add_items", items[:30])
        await compare()
        await both("clear_session")
        await both("pop_item")
        await both("add_items", items[:2])
        await compare()

    async_to_sync(act)()
    theirs.close()


def test_the_settings_give_the_default_limit() -> None:
    session = in_session(*map(user, "abc"))
    limited = DjangoSession(session.session_id, session_settings=SessionSettings(limit=1))
    assert items_of(limited) == [user("c")]
    assert items_of(limited, 2) == [user("b"), user("c")]
    assert len(items_of(DjangoSession(session.session_id, session_settings=SessionSettings()))) == 3


def test_it_opens_the_projects_session_by_its_memory_id() -> None:
    project = ProjectFactory()
    first = DjangoSession.open(project.id, "chat-1")
    again = async_to_sync(DjangoSession.aopen)(project.id, "chat-1", session_settings=SessionSettings(limit=3))
    assert again.session_id == first.session_id == AgentSession.objects.get(project=project).pk
    assert again.session_settings == SessionSettings(limit=3)
    with pytest.raises(ProjectNotFound):
        DjangoSession.open("nothing")


def test_an_unknown_session_is_not_found() -> None:
    gone = DjangoSession("gone")
    for act, *arguments in ((gone.get_items,), (gone.add_items, [user("x")]), (gone.pop_item,), (gone.clear_session,)):
        with pytest.raises(SessionNotFound, match="'gone'"):
            async_to_sync(act)(*arguments)


# -- items


@pytest.mark.parametrize("item", [*ITEMS.values(), *ODD.values()], ids=[*ITEMS, *ODD])
def test_an_item_comes_back_equal_from_an_entry_of_three_keys(item: Any) -> None:
    session = in_session(item, user(noise(70_000)), item)  # the first in the array, the last in a row
    first, _, last = items_of(session)
    assert first == last == item
    assert async_to_sync(session.pop_item)() == item
    for entry in sessions.transcript(session.session_id):
        assert entry.keys() == {"role", "content", "at"}
        assert isinstance(entry["role"], str)


def test_nan_is_restored() -> None:
    ((score,),) = (item["scores"] for item in items_of(in_session({"type": "x", "scores": [math.nan]})))
    assert math.isnan(score)


def test_roles_and_contents_are_what_plain_sql_reads() -> None:
    session = in_session(*(ITEMS[kind] for kind in ("user, text", "user, parts", "assistant", "call", "output, text")))
    entries = sessions.transcript(session.session_id)
    assert [entry["role"] for entry in entries] == ["user", "user", "assistant", "assistant", "tool"]
    assert [type(entry["content"]) for entry in entries] == [str, list, dict, dict, dict]


def test_an_encrypted_session_wraps_it() -> None:
    stored = new_session()
    session = EncryptedSession(stored.session_id, stored, encryption_key="a key for the test")
    items = [*ITEMS.values(), ODD["NUL"]]
    async_to_sync(session.add_items)(items)
    assert items_of(session) == items
    assert items_of(session, 3) == items[-3:]
    assert async_to_sync(session.pop_item)() == items[-1]
    assert "deadline" not in json.dumps(sessions.transcript(stored.session_id))


def test_a_runner_reads_and_extends_the_conversation() -> None:
    session, model = new_session(), ScriptedModel([[assistant_message("Noon.")], [assistant_message("Sure.")]])
    agent = Agent(name="a", model=model)

    async def talk() -> None:
        await Runner.run(agent, "Which deadline?", session=session)
        await Runner.run(agent, "Sure?", session=session)

    async_to_sync(talk)()
    texts = [item["content"] for item in items_of(session)]
    assert [text if isinstance(text, str) else text[0]["text"] for text in texts] == [
        "Which deadline?",
        "Noon.",
        "Sure?",
        "Sure.",
    ]
    assert len(model.calls[1].input) == 3


# -- length


def test_at_ten_thousand_items_an_append_writes_little() -> None:
    session = in_session(*(user(f"{number} {noise(300)}") for number in range(400)))
    assert entries_beyond(session) == 0
    async_to_sync(session.add_items)([user(f"{number} {noise(300)}") for number in range(400, 10_000)])
    before = out_of_line("AgentSession").written
    async_to_sync(session.add_items)([user(noise(600)), user(noise(600))])
    assert out_of_line("AgentSession").written == before, "the array is stored there"
    assert len(items_of(session)) == 10_002


# -- at once


@pytest.mark.django_db(transaction=True)
def test_eight_writers_across_the_bound_lose_nothing_and_keep_pairs_together() -> None:
    session = new_session()

    def write(writer: int) -> None:
        try:
            for number in range(40):
                pair = [user(f"{writer} {number} {half} {noise(400)}") for half in "ab"]
                async_to_sync(session.add_items)(pair)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    further, in_array = one('SELECT further, jsonb_array_length(transcript_json) FROM "AgentSession"')
    assert further == 640
    assert 0 < in_array < 640
    marks = [item["content"].split()[:3] for item in items_of(session)]
    assert len(marks) == 640
    assert all(first[:2] == second[:2] for first, second in zip(marks[::2], marks[1::2], strict=True))
    for writer in range(8):
        mine = [int(number) for who, number, half in marks if int(who) == writer and half == "a"]
        assert mine == list(range(40))


@pytest.mark.django_db(transaction=True)
def test_a_canceled_write_is_waited_for() -> None:
    session = new_session()

    async def cancel_while_it_waits() -> bool:
        with second_connection() as other, other.transaction():
            other.execute('SELECT FROM "AgentSession" FOR UPDATE')
            task = asyncio.create_task(session.add_items([user("x")]))
            async with asyncio.timeout(60):
                while not other.execute(WAITING_FOR_LOCKS).fetchall():
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.sleep(0)
            was_done = task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        return was_done

    assert async_to_sync(cancel_while_it_waits)() is False
    assert items_of(session) == [user("x")]
