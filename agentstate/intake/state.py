"""From all documents of a project to its five state documents, in steps that a run can record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from agentstate.intake.classify import classify, families
from agentstate.intake.coverage import score_coverage
from agentstate.intake.decisions import standing_resolutions, with_overrides
from agentstate.intake.documents import Classified, Document, Family
from agentstate.intake.eligibility import mine_eligibility
from agentstate.intake.facts import mine_facts
from agentstate.intake.history import Compared, compare_versions
from agentstate.intake.holding import Held, holding
from agentstate.intake.outline import normalize_rfp
from agentstate.intake.statements import Paper, take_apart

# What is called around each step: it gets the tool's name and arguments, and gives a dictionary for the output.
Watch = Callable[[str, Mapping[str, Any]], AbstractContextManager[dict[str, Any]]]


@dataclass(frozen=True)
class Stored:
    """What of the project's stored state an intake respects. Any shape is survived.

    Attributes:
        conflict_log: its resolutions hold.
        eligibility: its overrides hold.
        coverage: a requirement keeps a higher status.
        facts: what others put there stays.
    """

    conflict_log: Any = None
    eligibility: Any = None
    coverage: Any = None
    facts: Any = None


@dataclass(frozen=True)
class Project:
    """What the project itself says.

    Attributes:
        name: the project's name.
        meta: ``"Project".meta``.
        drafts: texts that the project has written, by section key or title.
    """

    name: str = ""
    meta: Any = None
    drafts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """All documents of a project, classified and taken apart."""

    classified: list[Classified]
    families: list[Family]
    papers: dict[str, Paper]


@dataclass(frozen=True)
class WorkedOut:
    """What an intake gave: the five documents, and what they were worked out from.

    Attributes:
        classified: the documents in their total order, each with its reasons.
        ties: names of documents between which only the upload decides.
        rfp_norm, facts, coverage, conflict_log, eligibility: JSON-able, without NaN and NUL.
    """

    classified: list[Classified]
    ties: list[tuple[str, str]]
    rfp_norm: dict[str, Any]
    facts: dict[str, Any]
    coverage: dict[str, Any]
    conflict_log: list[dict[str, Any]]
    eligibility: dict[str, Any]

    @property
    def documents(self) -> dict[str, Any]:
        """The five documents by state key."""
        return {
            "rfpNorm": self.rfp_norm,
            "facts": self.facts,
            "coverage": self.coverage,
            "conflictLog": self.conflict_log,
            "eligibility": self.eligibility,
        }


def sha256_of(text: str) -> str:
    """Return the digest by which documents are told apart: of the text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


@contextmanager
def unwatched(_tool: str, _arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Watch nothing."""
    yield {}


def work_out_state(
    documents: Sequence[Document],
    stored: Stored | None = None,
    project: Project | None = None,
    watch: Watch = unwatched,
) -> WorkedOut:
    """Work out the project's state from all of its documents.

    The result depends on the documents' names, texts and batches alone, not on the order in which they are given; the
    same documents give the same result. Never raises for what documents say.

    Args:
        documents: all documents of the project, of this intake and of earlier ones.
            One with the name and text of another counts once.
        stored: the project's stored state.
        project: what the project itself says.
        watch: called around each step, in their order: ``ingest_rfp_bundle``, ``compare_versions``,
            ``normalize_rfp``, ``mine_facts``, ``score_coverage``. What goes into the dictionary that it gives is the
            step's output, small enough for an event.
    """
    stored, project = stored or Stored(), project or Project()
    names = [document.name for document in _in_order(documents)]
    with watch("ingest_rfp_bundle", {"documents": names}) as output:
        bundle = ingest_bundle(documents)
        output["documents"] = [summary_of(one) for one in bundle.classified]
    with watch("compare_versions", {"families": [family.name for family in bundle.families]}) as output:
        compared = compare_versions(bundle.families, bundle.papers)
        resolved = standing_resolutions(compared.conflicts, stored.conflict_log)
        output |= {"conflicts": len(compared.conflicts), "resolved": len(resolved)}
    with watch(
        "normalize_rfp", {"documents": [paper.classified.document.name for paper in compared.in_force]}
    ) as output:
        held = holding(compared, resolved)
        outline, eligibility = _outlined(held, compared, bundle, stored)
        output |= {"sections": len(outline["sections"]), "eligibility": len(eligibility["items"])}
    with watch("mine_facts", {"project": project.name}) as output:
        facts = mine_facts(compared.in_force, project.name, project.meta, stored.facts)
        output["evidence"] = len(facts.get("evidence", []))
    with watch("score_coverage", {"requirements": "required sections, attachments, fatal eligibility"}) as output:
        coverage = score_coverage(outline, eligibility["items"], facts, project.drafts, stored.coverage)
        output |= {"score": coverage["score"], "requirements": len(coverage["requirements"])}
    log = [replace(one, resolved=resolved.get((one.type, one.key))).as_json() for one in compared.conflicts]
    ties = [tie for family in bundle.families for tie in family.ties]
    return WorkedOut(bundle.classified, ties, outline, facts, coverage, log, eligibility)


def ingest_bundle(documents: Sequence[Document]) -> Bundle:
    """Classify documents and take them apart."""
    classified = classify(_in_order(documents))
    return Bundle(classified, families(classified), {one.document.id: take_apart(one) for one in classified})


def summary_of(one: Classified) -> dict[str, Any]:
    """Return what is shown of a classified document."""
    return {
        "name": one.document.name,
        "family": one.family,
        "role": one.role,
        "version": one.version,
        "date": one.released_on.isoformat() if one.released_on else None,
        "pages": one.document.pages,
        "reasons": [f"{reason.what} ({reason.because})" for reason in one.reasons],
    }


def _in_order(documents: Sequence[Document]) -> list[Document]:
    """Return the documents by batch and name; one that was given twice counts once."""
    unique: dict[tuple[str, str], Document] = {}
    for document in sorted(documents, key=lambda one: (one.batch, one.name, one.id)):
        unique.setdefault((document.name, document.text), document)
    return list(unique.values())


def _outlined(
    held: Sequence[Held], compared: Compared, bundle: Bundle, stored: Stored
) -> tuple[dict[str, Any], dict[str, Any]]:
    outline = normalize_rfp(held, compared.in_force, bundle.families)
    eligibility = with_overrides(mine_eligibility(held), stored.eligibility)
    if eligibility["items"]:
        outline["eligibility"] = [item["text"] for item in eligibility["items"]]
    return outline, eligibility
