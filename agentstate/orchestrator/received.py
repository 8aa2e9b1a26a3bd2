"""Intakes in two halves: a request takes the files in, and a worker reads them.

The files wait in the database, and each is deleted once it is read. A worker that dies leaves a running run, which
``close_stale_runs`` closes, and the documents that it has read.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import IntegrityError, transaction

from agentstate.intake.reading import SourceFile
from agentstate.models import AgentWorkflowRun
from agentstate.models.fields import possible_id
from agentstate.models.incoming import IncomingFile
from agentstate.orchestrator.orchestrate import WORKFLOW, ingest_into
from agentstate.recording import IllegalStatusChange, RowsDropped, enqueue, start
from agentstate.recording.errors import IdTaken
from agentstate.state.saving import refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentstate.intake.limits import Limits
    from agentstate.orchestrator.orchestrate import Ingested

logger = logging.getLogger(__name__)

LOST = (AgentWorkflowRun.Status.FAILED, AgentWorkflowRun.Status.CANCELED)
ENDED = (AgentWorkflowRun.Status.SUCCEEDED, *LOST)


class Received(NamedTuple):
    """The run of an intake, and whether it is new."""

    run_id: str
    is_new: bool


def receive(project_id: str, files: Sequence[SourceFile], run_id: str | None = None) -> Received:
    """Take files in for :func:`ingest_received`, once: the same files again give the same run.

    Args:
        run_id: the id of the run. By default one that is made of the project and the files. It is the same for the
            same files, unless their intake failed or was canceled: then they get a new run.

    Raises:
        ProjectNotFound: no project has this id.
        StateWriteDisabled: both write gates are closed for the project.
        IdTaken: another run has the id that was given.
    """
    refuse_unwritable(project_id)
    _delete_left_files()
    digests = [hashlib.sha256(file.data).hexdigest() for file in files]
    input_ = {"source": WORKFLOW, "documents": [file.name for file in files], "sha256": digests}
    if run_id is not None:
        return _once(run_id, project_id, input_, files)
    attempt = 0
    while True:
        made = _once(_run_id(project_id, input_, attempt), project_id, input_, files)
        if made.is_new or not _is_lost(made.run_id):
            return made
        attempt += 1


def ingest_received(run_id: str, limits: Limits | None = None) -> Ingested | None:
    """Read the files of a run, work out the state and save it; None if another worker has the run or had it.

    Raises:
        RunNotFound: no run has this id.
        StateWriteDisabled: both write gates were closed meanwhile. The run has failed.
        ValueError, ProjectNotFound: the project was deleted meanwhile. The run has failed.
        ProjectBusy: others kept saving the project. The run has failed, and the documents are kept.
    """
    waiting = IncomingFile.objects.filter(run=run_id).order_by("ordinal")
    try:
        with start(run_id) as run:
            try:
                names = list(waiting.values_list("name", flat=True))
                return ingest_into(run, names, _each(run_id), limits)
            finally:
                waiting.delete()
    except IllegalStatusChange as error:
        logger.info("The intake stopped: %s", error)
        return None


def _each(run_id: str) -> Iterator[SourceFile]:
    """Yield the files one by one, and delete each once the next one is asked for: then it has been read."""
    files = IncomingFile.objects.filter(run=run_id)
    for pk in list(files.order_by("ordinal").values_list("pk", flat=True)):
        name, data = files.values_list("name", "data").get(pk=pk)
        yield SourceFile(name, bytes(data))
        files.filter(pk=pk).delete()


def _once(run_id: str, project_id: str, input_: dict[str, Any], files: Sequence[SourceFile]) -> Received:
    """Write the run with its files, unless it is there."""
    if _is_there(run_id, project_id, input_):
        return Received(run_id, is_new=False)
    try:
        with transaction.atomic():
            enqueue(WORKFLOW, project_id, input_, run_id=run_id)
            for ordinal, file in enumerate(files):
                IncomingFile.objects.create(run_id=run_id, ordinal=ordinal, name=file.name, data=file.data)
    except (IntegrityError, RowsDropped):  # the same request, sent twice at once
        if not _is_there(run_id, project_id, input_):
            raise
        return Received(run_id, is_new=False)
    return Received(run_id, is_new=True)


def _is_there(run_id: str, project_id: str, input_: dict[str, Any]) -> bool:
    """Tell whether the run of this intake exists.

    Raises:
        IdTaken: the run is another one.
    """
    runs = AgentWorkflowRun.objects.filter(pk=possible_id(run_id))
    row = runs.values_list("workflow_id", "project", "input__sha256").first()
    if row is not None and row != (WORKFLOW, project_id, input_["sha256"]):
        raise IdTaken("run", [run_id], "is another one than an intake of these files into this project")
    return row is not None


def _is_lost(run_id: str) -> bool:
    return AgentWorkflowRun.objects.filter(pk=run_id, status__in=LOST).exists()


def _run_id(project_id: str, input_: dict[str, Any], attempt: int) -> str:
    content = "\n".join([project_id, *input_["documents"], *input_["sha256"], str(attempt)])
    return f"intake_{hashlib.sha256(content.encode(errors='replace')).hexdigest()[:32]}"


def _delete_left_files() -> None:
    """Delete the files of runs that have ended: their workers died before they read them."""
    IncomingFile.objects.filter(run__status__in=ENDED).delete()
