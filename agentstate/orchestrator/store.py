"""The table of documents, and the state that an intake works from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from agentstate import state
from agentstate.intake.documents import Classified, Document
from agentstate.intake.reading import ReadFile
from agentstate.intake.state import Project as ProjectFacts
from agentstate.intake.state import Stored
from agentstate.models import AgentDocument, Project
from agentstate.state import ABSENT, ProjectNotFound, ProjectState
from agentstate.state.keys import STATE_KEYS
from agentstate.state.transactions import seeing_others

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstate.recording import Recorder
    from agentstate.state import Saved


@dataclass(frozen=True)
class Known:
    """What an intake works from, as it was when it was read.

    Attributes:
        state: the project's state.
        documents: all documents of the project.
        project: what the project itself says.
    """

    state: ProjectState
    documents: tuple[Document, ...]
    project: ProjectFacts

    @classmethod
    def read(cls, project_id: str) -> Known:
        """Read it.

        Raises:
            ProjectNotFound: no project has this id.
        """
        project = Project.objects.filter(pk=project_id).values_list("name", "meta").first()
        if project is None:
            raise ProjectNotFound(project_id)
        name, meta = project
        return cls(
            state.load(project_id, counts=False), tuple(_documents_of(project_id)), ProjectFacts(name=name, meta=meta)
        )

    @property
    def stored(self) -> Stored:
        """The stored state that the intake respects; SQL NULL is None there."""
        documents = {key.attribute: getattr(self.state, key.attribute) for key in STATE_KEYS}
        present = {name: None if value is ABSENT else value for name, value in documents.items()}
        return Stored(**{name: present[name] for name in ("conflict_log", "eligibility", "coverage", "facts")})

    def differing(self, documents: dict[str, Any]) -> list[str]:
        """Return the state keys whose documents are not as these, in the order of the keys."""
        attributes = {key.name: key.attribute for key in STATE_KEYS}
        return [name for name in attributes if name in documents and self._has(attributes[name]) != documents[name]]

    def _has(self, attribute: str) -> Any:
        return getattr(self.state, attribute)

    def is_current(self) -> bool:
        """Tell whether nothing of it has changed since."""
        return self == Known.read(self.state.project_id)


def save_if_current(
    known: Known, run: Recorder, documents: dict[str, Any], classified: Sequence[Classified] = ()
) -> Saved | None:
    """Save with the project's row locked, unless what was worked from has changed: then return None.

    Waits for others who are saving the project.

    Args:
        documents: the documents to save, by state key.
        classified: what each document of the project is among the others.
    """
    given = {key.attribute: documents[key.name] for key in STATE_KEYS if key.name in documents}
    with seeing_others("Documents cannot be taken in"):
        project = Project.objects.select_for_update(no_key=True).filter(pk=known.state.project_id)
        if project.values_list("pk").first() is None:
            raise ProjectNotFound(known.state.project_id)
        if not known.is_current():
            return None
        _classify_rows(known.state.project_id, classified)
        return run.save(**given)


def changed_by(saved: Saved) -> tuple[str, ...]:
    """Return the state keys that a save changed."""
    return tuple(key.name for key in STATE_KEYS if key.attribute in saved.changed)


def keep(project_id: str, run_id: str, file: ReadFile, at: datetime) -> bool:
    """Keep a document's text, and return whether the project did not have it yet.

    Raises:
        ProjectNotFound: the project was deleted.
    """
    try:
        with transaction.atomic():
            _, is_new = AgentDocument.objects.get_or_create(
                project_id=project_id,
                sha256=file.sha256,
                defaults={
                    "run_id": run_id,
                    "name": file.name,
                    "family": "",
                    "role": AgentDocument.Role.BASE,
                    "text": file.text,
                    "size": file.size,
                    "created_at": at,
                },
            )
    except IntegrityError:
        if Project.objects.unknown([project_id]):
            raise ProjectNotFound(project_id) from None
        raise
    return is_new


def has(project_id: str, file: ReadFile) -> bool:
    """Tell whether the project has a document with this text."""
    return AgentDocument.objects.filter(project_id=project_id, sha256=file.sha256).exists()


def _classify_rows(project_id: str, classified: Sequence[Classified]) -> None:
    """Write what each document is among the others; a document that comes later can change that."""
    rows = AgentDocument.objects.filter(project_id=project_id).defer("text").in_bulk()
    changed = []
    for one in classified:
        row = rows[one.document.id]
        found = (one.family, one.role, one.version, one.released_on)
        if found != (row.family, row.role, row.version, row.released_on):
            row.family, row.role, row.version, row.released_on = found
            changed.append(row)
    if changed:
        AgentDocument.objects.bulk_update(changed, ["family", "role", "version", "released_on"])


def _documents_of(project_id: str) -> list[Document]:
    """Return a project's documents; those of one intake share its moment, which orders the intakes."""
    rows = AgentDocument.objects.filter(project_id=project_id).order_by("created_at", "pk")
    found = list(rows.values_list("pk", "name", "text", "created_at"))
    batches = {moment: number for number, moment in enumerate(sorted({moment for *_, moment in found}))}
    return [Document(id=pk, name=name, text=text, batch=batches[moment]) for pk, name, text, moment in found]
