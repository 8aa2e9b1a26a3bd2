"""Errors of recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class RunFinished(Exception):
    """The run has ended, and accepts no more events and no output. Nothing was written.

    Attributes:
        run_id: the run's id.
        status: how it ended.
    """

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"Run {run_id} has ended ({status}) and accepts nothing more: record in a new run.")
        self.run_id, self.status = run_id, status


class RunCanceled(RunFinished):
    """The run was canceled while it was being recorded: stop what it does. Nothing was written.

    Attributes:
        why: who canceled it and why, as the run's ``error`` has it.
    """

    def __init__(self, run_id: str, why: str) -> None:
        Exception.__init__(self, f"Run {run_id} has ended (canceled) and accepts nothing more. {why}".strip())
        self.run_id, self.status, self.why = run_id, "canceled", why


class OutsideRun(LookupError):
    """The code runs in no block of ``record()`` and its like, so there is no current run."""

    def __init__(self) -> None:
        super().__init__(
            "No run is being recorded here: call this inside a block of record(), resume(), start() or their async "
            "twins. A thread of your own needs the recorder as an argument."
        )


class RowsDropped(Exception):
    """The database dropped rows without an error, as a trigger or a rule on the table can.

    Attributes:
        table: the table's name.
    """

    def __init__(self, table: str, written: int, given: int = 1) -> None:
        super().__init__(
            f'The database wrote {written} of {given} rows into "{table}". Look for a trigger or a rule on this table '
            "that drops rows."
        )
        self.table = table


class CallNotOpen(LookupError):
    """A call cannot be settled: it is settled already, or this recorder did not begin it. Nothing was written.

    Attributes:
        run_id: the run's id.
        call_id: the call's id.
    """

    def __init__(self, run_id: str, call_id: str) -> None:
        super().__init__(
            f"No call {call_id!r} is open in this recording of run {run_id}: it is settled, or it was never invoked."
        )
        self.run_id, self.call_id = run_id, call_id


class IdTaken(Exception):
    """A client's id is in use for something else. Nothing was written.

    Attributes:
        ids: the ids.
    """

    def __init__(self, kind: str, ids: Sequence[str], fact: str) -> None:
        super().__init__(f"The {kind} {', '.join(map(repr, ids[:5]))} {fact}.")
        self.kind, self.ids = kind, ids
