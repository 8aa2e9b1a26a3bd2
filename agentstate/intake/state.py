"""From all documents of a project to its five state documents, in steps that a run can record and a model can take."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentstate.intake.classify import classify, families
from agentstate.intake.coverage import score_coverage
from agentstate.intake.decisions import standing_resolutions, with_overrides
from agentstate.intake.documents import Classified, Document, Family
from agentstate.intake.eligibility import mine_eligibility
from agentstate.intake.facts import mine_facts
from agentstate.intake.history import Compared, compare_versions
from agentstate.intake.holding import holding
from agentstate.intake.outline import normalize_rfp
from agentstate.intake.statements import Paper, take_apart


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


@dataclass(frozen=True)
class Step:
    """A step of the intake, for the fixed order and for an agent alike.

    Attributes:
        name: the tool's name, in the run's events and for a model.
        purpose: what it does, for a model.
        arguments: what it works on, small enough for an event.
        work: what it does; returns its output, in figures, small enough for an event.
    """

    name: str
    purpose: str
    arguments: Callable[[Findings], dict[str, Any]]
    work: Callable[[Findings], dict[str, Any]]


class StepTooEarly(Exception):
    """A step that must come before this one is missing. Nothing was done."""

    def __init__(self, step: Step, first: Step) -> None:
        super().__init__(f"{step.name} comes too early: call {first.name} first.")


@dataclass
class Findings:
    """What an intake works from, and what its steps have found so far.

    The findings depend on the documents' names, texts and batches and on what is stored, not on who takes the steps or
    how often: each step reads only what is here, and is done once, after those before it.

    Attributes:
        documents: all documents of the project, of this intake and of earlier ones.
            One with the name and text of another counts once.
        stored: the project's stored state.
        project: what the project itself says.
        unread: the files of this intake that could not be read, for the first step's output.
        outputs: of the steps that were taken, by name.
    """

    documents: Sequence[Document]
    stored: Stored = Stored()
    project: Project = Project()
    unread: Sequence[Mapping[str, Any]] = ()
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    bundle: Bundle = field(init=False)
    compared: Compared = field(init=False)
    resolved: dict[tuple[str, str], str] = field(init=False)
    rfp_norm: dict[str, Any] = field(init=False)
    eligibility: dict[str, Any] = field(init=False)
    facts: dict[str, Any] = field(init=False)
    coverage: dict[str, Any] = field(init=False)

    @property
    def missing(self) -> list[Step]:
        """The steps that were not taken, in their order."""
        return [step for step in STEPS if step.name not in self.outputs]

    def take(self, step: Step) -> dict[str, Any]:
        """Take a step unless it was taken, and return its output.

        Raises:
            StepTooEarly: one before it is missing.
        """
        if step.name not in self.outputs:
            first = self.missing[0]
            if first is not step:
                raise StepTooEarly(step, first)
            self.outputs[step.name] = step.work(self)
        return self.outputs[step.name]

    def worked_out(self) -> WorkedOut:
        """Return what all steps found."""
        log = [
            replace(one, resolved=self.resolved.get((one.type, one.key))).as_json() for one in self.compared.conflicts
        ]
        ties = [tie for family in self.bundle.families for tie in family.ties]
        return WorkedOut(self.bundle.classified, ties, self.rfp_norm, self.facts, self.coverage, log, self.eligibility)


def work_out_state(
    documents: Sequence[Document], stored: Stored | None = None, project: Project | None = None
) -> WorkedOut:
    """Work out the project's state from all of its documents.

    The result depends on the documents' names, texts and batches alone, not on the order in which they are given; the
    same documents give the same result. Never raises for what documents say.
    """
    findings = Findings(documents, stored or Stored(), project or Project())
    for step in findings.missing:
        findings.take(step)
    return findings.worked_out()


def _ingest_rfp_bundle(findings: Findings) -> dict[str, Any]:
    findings.bundle = ingest_bundle(findings.documents)
    return {
        "documents": [summary_of(one) for one in findings.bundle.classified],
        "unread": list(findings.unread),
    }


def _compare_versions(findings: Findings) -> dict[str, Any]:
    findings.compared = compare_versions(findings.bundle.families, findings.bundle.papers)
    findings.resolved = standing_resolutions(findings.compared.conflicts, findings.stored.conflict_log)
    return {"conflicts": len(findings.compared.conflicts), "resolved": len(findings.resolved)}


def _normalize_rfp(findings: Findings) -> dict[str, Any]:
    compared = findings.compared
    held = holding(compared, findings.resolved)
    outline = normalize_rfp(held, compared.in_force, findings.bundle.families)
    eligibility = with_overrides(mine_eligibility(held), findings.stored.eligibility)
    if eligibility["items"]:
        outline["eligibility"] = [item["text"] for item in eligibility["items"]]
    findings.rfp_norm, findings.eligibility = outline, eligibility
    return {"sections": len(outline["sections"]), "eligibility": len(eligibility["items"])}


def _mine_facts(findings: Findings) -> dict[str, Any]:
    project = findings.project
    findings.facts = mine_facts(findings.compared.in_force, project.name, project.meta, findings.stored.facts)
    return {"evidence": len(findings.facts.get("evidence", []))}


def _score_coverage(findings: Findings) -> dict[str, Any]:
    findings.coverage = score_coverage(
        findings.rfp_norm,
        findings.eligibility["items"],
        findings.facts,
        findings.project.drafts,
        findings.stored.coverage,
    )
    return {"score": findings.coverage["score"], "requirements": len(findings.coverage["requirements"])}


STEPS = (
    Step(
        "ingest_rfp_bundle",
        "Classify the project's documents: family, role, version and date of each.",
        lambda findings: {"documents": [document.name for document in _in_order(findings.documents)]},
        _ingest_rfp_bundle,
    ),
    Step(
        "compare_versions",
        "Compare the versions of each document, and find what they say differently.",
        lambda findings: {"families": [family.name for family in findings.bundle.families]},
        _compare_versions,
    ),
    Step(
        "normalize_rfp",
        "Make the outline of what is in force, and find the eligibility rules.",
        lambda findings: {"documents": [paper.classified.document.name for paper in findings.compared.in_force]},
        _normalize_rfp,
    ),
    Step(
        "mine_facts",
        "Collect facts and evidence about the project.",
        lambda findings: {"project": findings.project.name},
        _mine_facts,
    ),
    Step(
        "score_coverage",
        "Score how far the project covers what is required.",
        lambda _: {"requirements": "required sections, attachments, fatal eligibility"},
        _score_coverage,
    ),
)


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
