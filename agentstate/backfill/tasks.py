"""The task of a range of a shared pass. Imported only where tasks are used: Django 5.2 has none of its own."""

from __future__ import annotations

from agentstate.task_queue import task


@task()
def move_range(range_id: int) -> str:
    """Move a range of a shared pass. A second delivery of the task does nothing."""
    from agentstate.backfill.fleet import work

    return work(range_id, queue_again=move_range.enqueue)
