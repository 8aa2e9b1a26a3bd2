"""The sections of a call: what stands under each title, whether it asks for something, and its limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentstate.intake.holding import Held
from agentstate.intake.subjects import key_of
from agentstate.intake.submission import ceilings, limited_part

# Families that describe the work or bind the parties. They ask the contractor, not the applicant.
_OF_THE_WORK = frozenset({"pws", "sow", "qasp", "terms", "faq", "license"})
_WHO = (
    r"(?:offeror|applicant|proposer|bidder|tenderer|vendor|respondent|quoter|supplier|organi[sz]ation"
    r"|candidate|consorti\w+|grantee|partner|team|you)s?"
)
_WHAT = (
    r"(?:proposals?|quotations?|quotes?|applications?|tenders?|bids?|responses?|submissions?|narratives?"
    r"|summar(?:y|ies)|plans?|statements?|budgets?|letters?|resumes?|cvs?|cover page)"
)
_GIVE = (
    r"(?:submit|provide|include|describe|complete|demonstrate|identify|explain|attach|address|contain"
    r"|outline|detail|list|present|show|state|indicate|not exceed|be (?:no|limited|submitted|included"
    r"|structured))"
)
_ASKS = re.compile(
    rf"\b{_WHO}\b[^.;]{{0,60}}?\b(?:must|shall|should|will|are (?:required|asked|expected|instructed) to"
    rf"|need to)\b[^.;]{{0,30}}?\b{_GIVE}\b"
    rf"|\b{_WHAT}\b[^.;]{{0,60}}?\b(?:must|shall|should|will)\b[^.;]{{0,20}}?\b{_GIVE}\b"
    r"|^(?:please )?(?:describe|provide|include|explain|submit|attach|outline|summari[sz]e|identify|list"
    r"|discuss|present)\b",
    re.IGNORECASE,
)
_NOT_ASKED = re.compile(
    r"\bevaluat|\bcriteri|\bscoring|\beligib|\bselection|\bclause|\bterms\b|communication"
    r"|\bschedule of events|\btimetable|\bsubmission deadline|background|introduction|basis of award"
    r"|contract clauses|review of|conditions|special instructions|\bformat|how to (?:apply|submit)"
    r"|\bsubmission",
    re.IGNORECASE,
)
PROMPT = 4000  # characters of a prompt
MOST = 200  # sections


@dataclass
class _Gathered:
    """A title with what stands under it."""

    path: tuple[str, ...]
    held: list[Held] = field(default_factory=list)

    @property
    def title(self) -> str:
        return self.path[-1].strip(" .:")


def sections_of(held: Sequence[Held]) -> list[dict[str, Any]]:
    """Return the sections, in the order of the documents; a title that comes again under another one is told apart."""
    gathered = [one for one in _gathered(held) if one.title][:MOST]
    keys: dict[str, int] = {}
    sections = []
    for ordering, one in enumerate(gathered, 1):
        key = key_of(one.title)
        if key in keys and len(one.path) > 1:
            key = key_of(one.path[-2], one.title)
        keys[key] = keys.get(key, 0) + 1
        sections.append(_section(one, key if keys[key] == 1 else f"{key}_{keys[key]}", ordering))
    _add_limits_elsewhere(sections, held)
    return sections


def _gathered(held: Sequence[Held]) -> Iterator[_Gathered]:
    by_path: dict[tuple[int, tuple[str, ...]], _Gathered] = {}
    for one in held:
        statement = one.statement
        if statement.is_heading or not statement.section or one.home.classified.role not in {"base", "version"}:
            continue
        by_path.setdefault((id(one.home), statement.section), _Gathered(statement.section)).held.append(one)
    yield from by_path.values()


def _section(one: _Gathered, key: str, ordering: int) -> dict[str, Any]:
    prompt = " ".join(held.statement.text for held in one.held)
    section: dict[str, Any] = {
        "key": key,
        "title": one.title,
        "prompt": prompt if len(prompt) <= PROMPT else f"{prompt[: PROMPT - 1]}…",
        "required": _is_asked_for(one),
        "ordering": ordering,
    }
    for held in one.held:
        for quantity in ceilings(held.statement.text):
            if _is_about(limited_part(held), one.title) or (section["required"] and len(one.held) < 6):
                section["word_limit" if quantity.unit == "words" else "page_limit"] = int(quantity.value)
    own = [held.statement.span for held in one.held if held.paper is one.held[0].paper]
    section["provenance"] = one.held[0].provenance((min(own)[0], max(own)[1]))
    return section


def _is_asked_for(one: _Gathered) -> bool:
    """Tell whether a section asks the applicant to write or send something."""
    if one.held[0].home.classified.family in _OF_THE_WORK or _NOT_ASKED.search(one.title):
        return False
    if any(_NOT_ASKED.search(title) for title in one.path[1:-1]):
        return False
    return any(_ASKS.search(held.statement.text) for held in one.held)


def _add_limits_elsewhere(sections: list[dict[str, Any]], held: Sequence[Held]) -> None:
    """Give a section the limit that another one sets for it by name."""
    for one in held:
        for quantity in ceilings(one.statement.text):
            part = limited_part(one)
            name = "word_limit" if quantity.unit == "words" else "page_limit"
            for section in sections:
                if _is_about(part, section["title"]) and name not in section:
                    section[name] = int(quantity.value)


def _is_about(part: str, title: str) -> bool:
    words, named = set(part.casefold().split()), set(re.findall(r"\w+", title.casefold()))
    return bool(words) and (words <= named or named <= words) and len(words & named) > 0
