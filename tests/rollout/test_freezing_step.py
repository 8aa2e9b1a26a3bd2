"""The step that freezes the columns: it waits for older transactions, and loses nothing that they wrote."""

from __future__ import annotations

import time

import pytest

from agentstate.rollout.errors import Interrupted, Refused
from agentstate.rollout.freeze import is_frozen
from agentstate.rollout.steps import advance
from tests import scenes
from tests.factories import write_columns
from tests.faults.processes import wait_until
from tests.flags import turn
from tests.rollout.ladder import WaitRecorder, in_sync, position, stand_at, steps_taken
from tests.sql import second_connection

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("thawed")]


@pytest.mark.usefixtures("impatient")
def test_the_freeze_waits_for_transactions_that_are_older_than_the_end_of_legacy_writes() -> None:
    stand_at("agentkit_read")
    recorder = WaitRecorder()
    with second_connection() as older, second_connection() as younger:
        older.execute("BEGIN; SELECT 1 AS old")
        advance()
        time.sleep(0.1)
        younger.execute("BEGIN; SELECT 1 AS young")
        thread = scenes.start(lambda: advance(monitor=recorder.monitor))
        wait_until(lambda: recorder.waited_for)
        assert not is_frozen()
        older.execute("COMMIT")
        thread.join(timeout=60)

        assert is_frozen()
        assert recorder.waited_for == [[older.info.backend_pid]]
        younger.execute("COMMIT")


@pytest.mark.usefixtures("impatient")
def test_an_interrupted_wait_changes_nothing() -> None:
    stand_at("agentkit_only")
    recorder = WaitRecorder(is_impatient=True)
    with second_connection() as older:
        older.execute("BEGIN; SELECT 1")
        turn("legacy_writes", everyone=False)

        with pytest.raises(Interrupted, match=f"process {older.info.backend_pid}"):
            advance(monitor=recorder.monitor)

    assert position() == ("agentkit_only", 100)
    assert steps_taken() == []


@pytest.mark.usefixtures("impatient")
def test_columns_written_before_the_freeze_are_not_lost() -> None:
    project = in_sync()
    stand_at("agentkit_only")
    write_columns(project, {"facts": "2"})

    with pytest.raises(Refused, match="escapes_open"):
        advance()
    scenes.forward()
    advance()

    assert scenes.homes_of(project).newest.state == {"facts": "2"}
