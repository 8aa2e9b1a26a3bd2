"""How much of what a call asks for the project has: requirements, their status, a score, and what to do next."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentstate.intake.subjects import key_of, telling
from agentstate.intake.words import plain_words, vocabulary

MISSING, STUBBED, EVIDENCED, DRAFTED = "missing", "stubbed", "evidenced", "drafted"
WORTH = {MISSING: 0.0, STUBBED: 0.3, EVIDENCED: 0.6, DRAFTED: 1.0}
LOW_EFFORT, HIGH_EFFORT = 0.4, 0.6  # of answering or uploading, and of writing
PLACEHOLDER = re.compile(
    r"\b(?:tbd|to be (?:written|determined|added|completed)|lorem ipsum|placeholder|todo|insert|draft here"
    r"|xx+)\b|^[\s.…_-]*$",
    re.IGNORECASE,
)
_GENERIC = vocabulary("proposal quotation plan narrative approach application response tender bid section statement")
DRAFT = 25  # words from which a text is a draft


@dataclass(frozen=True)
class Requirement:
    """Something that the call asks for.

    Attributes:
        id: stable; from the section's key, the attachment's title or the eligibility item's id.
        source: ``section``, ``attachment`` or ``eligibility``.
        title: for people.
        text: what is asked, for finding evidence and weights.
        weight: 1, or more where a scoring criterion names it.
    """

    id: str
    source: str
    title: str
    text: str
    weight: float = 1.0


def score_coverage(
    outline: Mapping[str, Any],
    eligibility: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    drafts: Mapping[str, str] | None = None,
    previous: Any = None,
) -> dict[str, Any]:
    """Return the coverage document.

    Args:
        outline: ``rfpNorm``.
        eligibility: the items, with overrides applied to ``fatal``.
        facts: what is known of the applicant and the project.
        drafts: texts by section key or title, where the project has written some.
        previous: the stored coverage; a requirement keeps a higher status that it had.

    Returns:
        ``score`` from 0 to 1 with four decimals, ``requirements`` and ``suggestions``, the most worthwhile first.
    """
    wanted = requirements_of(outline, eligibility)
    before = _statuses(previous)
    known = {key_of(key): text for key, text in (drafts or {}).items()}
    statuses = [_status(one, facts, known, before) for one in wanted]
    total = sum(one.weight for one in wanted)
    gained = sum(one.weight * WORTH[status] for one, status in zip(wanted, statuses, strict=True))
    covered: dict[str, Any] = {
        "score": round(gained / total, 4) if total else 0.0,
        "requirements": [_as_json(one, status) for one, status in zip(wanted, statuses, strict=True)],
    }
    if suggestions := list(_suggestions(wanted, statuses)):
        covered["suggestions"] = suggestions
    return covered


def requirements_of(outline: Mapping[str, Any], eligibility: Sequence[Mapping[str, Any]]) -> list[Requirement]:
    """Return what is asked for: required sections, attachments and fatal eligibility, weighted by the criteria."""
    scoring = [one for one in outline.get("scoring", []) if isinstance(one, Mapping)]
    return [one if one.source == "eligibility" else _weighted(one, scoring) for one in _required(outline, eligibility)]


def _required(outline: Mapping[str, Any], eligibility: Sequence[Mapping[str, Any]]) -> Iterator[Requirement]:
    for section in outline.get("sections", []):
        if section.get("required"):
            yield Requirement(f"section:{section['key']}", "section", section["title"], section.get("prompt", ""))
    for attachment in outline.get("submission", {}).get("attachments", []):
        title = attachment["title"]
        yield Requirement(f"attachment:{key_of(title)}", "attachment", title, title)
    for item in eligibility:
        if item.get("fatal"):
            yield Requirement(f"eligibility:{item['id']}", "eligibility", item["text"], item["text"])


def _weighted(one: Requirement, scoring: Sequence[Mapping[str, Any]]) -> Requirement:
    """Weigh a requirement by the criterion that names it: 1 plus the criterion's share of all weights."""
    total = sum(float(criterion.get("weight", 1)) for criterion in scoring)
    words = _stems(one.title)
    for criterion in scoring:
        named = _stems(str(criterion["criterion"]))
        if total and named and words and (named <= words or words <= named or len(named & words) >= 2):
            share = float(criterion.get("weight", 1)) / total
            return Requirement(one.id, one.source, one.title, one.text, round(1 + len(scoring) * share, 4))
    return one


def _stems(text: str) -> set[str]:
    words = {word.rstrip("s") for word in telling(plain_words(text))}
    return words - _GENERIC or words


def _status(one: Requirement, facts: Mapping[str, Any], drafts: Mapping[str, str], before: Mapping[str, str]) -> str:
    text = drafts.get(key_of(one.id.split(":", 1)[1])) or drafts.get(key_of(one.title))
    found = MISSING
    if text is not None and text.strip():
        written = len(text.split()) >= DRAFT and not PLACEHOLDER.search(text)
        found = DRAFTED if written else STUBBED
    elif _is_evidenced(one, facts):
        found = EVIDENCED
    earlier = before.get(one.id, MISSING)
    return max(found, earlier, key=WORTH.__getitem__)


def _is_evidenced(one: Requirement, facts: Mapping[str, Any]) -> bool:
    """Tell whether a known fact is what is asked for: its name, or its value's words, stand in the requirement."""
    stated = {"legal_name", "ein", "uei", "mission", "track_record", "annual_budget", "summary", "milestones"}
    text = f" {' '.join(plain_words(f'{one.title} {one.text}'))} "
    for group in ("org", "project"):
        members = facts.get(group)
        for name in sorted(stated & set(members)) if isinstance(members, Mapping) else ():
            if f" {name.replace('_', ' ')} " in text:
                return True
    return False


def _statuses(previous: Any) -> dict[str, str]:
    """Return the stored statuses by id, whatever shape the stored coverage has."""
    requirements = previous.get("requirements") if isinstance(previous, Mapping) else None
    return {
        str(one["id"]): one["status"]
        for one in (requirements if isinstance(requirements, list) else ())
        if isinstance(one, Mapping) and "id" in one and str(one.get("status")) in WORTH
    }


def _as_json(one: Requirement, status: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": one.id,
        "source": one.source,
        "title": one.title,
        "status": status,
        "weight": one.weight,
    }
    entry["risk"] = (
        "low" if status == DRAFTED else "high" if one.source == "eligibility" and status == MISSING else "medium"
    )
    if status in {MISSING, STUBBED}:
        entry["need_from_user"] = _action(one)[1]
    return entry


def _suggestions(wanted: Sequence[Requirement], statuses: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what to do about each requirement that is not drafted, ranked by value over effort, then by id."""
    ranked = []
    for one, status in zip(wanted, statuses, strict=True):
        if status == DRAFTED:
            continue
        action, label = _action(one)
        value = round(one.weight * (1 + (1 if status == EVIDENCED else 0)) * (1 if status == MISSING else 0.5), 4)
        effort = HIGH_EFFORT if action == "draft" else LOW_EFFORT
        ranked.append((-round(value / effort, 4), one.id, action, label, value, effort))
    for ratio, requirement, action, label, value, effort in sorted(ranked):
        yield {
            "id": f"{action}:{requirement}", "requirementId": requirement, "action": action, "label": label,
            "value_score": value, "effort_score": effort, "ratio": -ratio,
        }  # fmt: skip


def _action(one: Requirement) -> tuple[str, str]:
    if one.source == "attachment":
        return "upload", f"Upload {one.title}"
    if one.source == "eligibility":
        return "answer", f"Do you meet this: {one.title}"
    return "draft", f"Draft {one.title}"
