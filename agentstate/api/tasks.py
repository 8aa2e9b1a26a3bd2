"""Work that a request hands over to Django's tasks framework. By default it is done at once, in the request."""

from __future__ import annotations

from agentstate.task_queue import task


@task()
def read_documents(run_id: str) -> None:
    """Read the documents that a request took in, as its run. A second delivery of the task does nothing."""
    from agentstate.orchestrator import ingest_received

    ingest_received(run_id)
