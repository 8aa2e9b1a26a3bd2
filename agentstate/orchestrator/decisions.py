"""People's decisions about what an intake found. Both kinds outlive the next intake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from agentstate.actors import actor
from agentstate.intake import decisions
from agentstate.intake.decisions import entries_of
from agentstate.intake.state import work_out_state
from agentstate.orchestrator.orchestrate import ATTEMPTS, ProjectBusy
from agentstate.orchestrator.store import Known, changed_by, save_if_current
from agentstate.recording import record
from agentstate.state.saving import refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Callable

WORKFLOW = "rfp_decision"


@dataclass(frozen=True)
class Decided:
    """What a decision did.

    Attributes:
        run_id: of the run that recorded it; None if everything was so already.
        changed: the state keys whose documents changed.
        score: of the coverage, None where it has none.
    """

    run_id: str | None
    changed: tuple[str, ...]
    score: Any


def resolve_conflict(project_id: str, key: str, resolution: str, *, by: str | None = None) -> Decided:
    """Resolve a conflict for the latest or the previous value, and work out the state from that.

    ``previous`` puts the previous value back into the outline. A later document that changes the same thing again
    opens the conflict again.

    Args:
        key: the entry's key, or ``type:key`` where several types have it.
        resolution: ``latest`` or ``previous``.
        by: who decided; by default who is at work.

    Raises:
        ProjectNotFound: no project has this id.
        StateWriteDisabled: both write gates are closed for the project.
        UnknownDecision: no entry, or more than one, has the key.
        ValueError: another resolution.
        ProjectBusy: others kept saving the project.
    """

    def decide(known: Known) -> dict[str, Any]:
        log = decisions.resolve(known.stored.conflict_log, key, resolution)
        return {"conflictLog": log}

    return _decide(project_id, decide, {"conflict": key, "resolution": resolution, "by": by or actor()})


def override_eligibility(project_id: str, item_id: str, fatal: bool, note: str, *, by: str | None = None) -> Decided:
    """Say of an eligibility item whether it is fatal, and why.

    Args:
        item_id: the item's id.
        fatal: what the item is from now on.
        note: why.
        by: who decided; by default who is at work.

    Raises:
        ProjectNotFound: no project has this id.
        StateWriteDisabled: both write gates are closed for the project.
        UnknownDecision: no item has the id.
        ValueError: the note is empty.
        ProjectBusy: others kept saving the project.
    """
    if not note.strip():
        raise ValueError("The note is empty. Say why.")
    who, at = by or actor(), timezone.now().isoformat(timespec="seconds")

    def decide(known: Known) -> dict[str, Any]:
        return {"eligibility": decisions.override(known.stored.eligibility, item_id, fatal, note.strip(), at, who)}

    return _decide(project_id, decide, {"eligibility": item_id, "fatal": fatal, "note": note.strip(), "by": who})


def _decide(project_id: str, decide: Callable[[Known], dict[str, Any]], what: dict[str, Any]) -> Decided:
    refuse_unwritable(project_id)
    known = Known.read(project_id)
    # An unknown key is refused before a run begins, and what is decided so already needs none.
    if not known.differing(decide(known)):
        return Decided(None, (), (known.stored.coverage or {}).get("score"))
    with record(WORKFLOW, project_id, input={"source": WORKFLOW, **what}) as run:
        for _ in range(ATTEMPTS):
            documents = _with_consequences(known, decide(known))
            saved = save_if_current(known, run, documents)
            if saved is not None:
                changed = changed_by(saved)
                score = (documents.get("coverage") or {}).get("score")
                run.set_output({"changed": changed, "score": score})
                return Decided(run.run_id, changed, score)
            known = Known.read(project_id)
    raise ProjectBusy(project_id)


def _with_consequences(known: Known, decided: dict[str, Any]) -> dict[str, Any]:
    """Return the decided document, and what follows from it where the project has documents.

    An entry that no document of the project gave, such as one of the legacy application, has no consequences: its
    values are not known.
    """
    if not known.documents:
        return decided
    stored = known.stored
    if "conflictLog" in decided:
        stored = _replaced(stored, conflict_log=decided["conflictLog"])
    if "eligibility" in decided:
        stored = _replaced(stored, eligibility=decided["eligibility"])
    worked_out = work_out_state(known.documents, stored, known.project).documents
    if "conflictLog" in decided and not _same_entries(worked_out["conflictLog"], decided["conflictLog"]):
        return decided
    return worked_out


def _replaced(stored: Any, **changes: Any) -> Any:
    return type(stored)(**{**vars(stored), **changes})


def _same_entries(one: Any, other: Any) -> bool:
    """Tell whether two logs have the same entries, with the same resolutions."""

    def known(log: Any) -> set[tuple[str, ...]]:
        return {tuple(str(entry.get(name)) for name in ("type", "key", "resolved")) for entry in entries_of(log)}

    return known(one) == known(other)
