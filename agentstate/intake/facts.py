"""Facts about the applicant: what documents state in labelled lines, and what the project itself says. No guessing."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentstate.intake.statements import Paper

# A fact's place in the document, with the labels that state it.
_LABELS = (
    (("org", "legal_name"), (
        r"(?:legal|organi[sz]ation(?:'s)?|applicant(?:'s)?|company) name"
        r"|legal name of (?:the )?(?:organi[sz]ation|applicant|entity)"
        )),
    (("org", "ein"), r"ein|tax id(?:entification)?(?: number)?|employer identification number|tin"),
    (("org", "uei"), r"uei|unique entity id(?:entifier)?|sam uei"),
    (("org", "mission"), r"mission(?: statement)?"),
    (("org", "track_record"), r"track record"),
    (("org", "address"), r"(?:mailing |registered |business )?address"),
    (("org", "website"), r"web ?site|url"),
    (("org", "annual_budget"), r"annual (?:operating )?budget"),
    (("org", "founded"), r"(?:year )?founded|year established|date of incorporation"),
    (("project", "title"), r"project (?:title|name)|title of (?:the )?project"),
    (("project", "summary"), r"project (?:summary|abstract|description)"),
)  # fmt: skip
_COMPILED = tuple(
    (place, re.compile(rf"^\W*(?:{pattern})\s*(?::|\|)\s*(?P<value>\S.*)$", re.IGNORECASE))
    for place, pattern in _LABELS
)
_BLANK = re.compile(r"^[\s_.…\[\]()|-]*$|\b(?:tbd|n/?a|xx+|insert|enter|your|here)\b", re.IGNORECASE)
_META = {
    "legal_name": ("org", "legal_name"), "ein": ("org", "ein"), "mission": ("org", "mission"),
    "track_record": ("org", "track_record"), "summary": ("project", "summary"),
    "milestones": ("project", "milestones"),
}  # fmt: skip


def mine_facts(
    papers: Sequence[Paper], project_name: str = "", meta: Any = None, previous: Any = None
) -> dict[str, Any]:
    """Return the facts: labelled lines of the documents, the newest last, then what the project's ``meta`` says.

    Args:
        papers: the documents in force, in their order.
        project_name: the project's name, its title where no document states one.
        meta: the project's ``meta``; known keys are taken from it and from its members ``org`` and ``project``.
        previous: the stored facts. What others put there stays, unless documents state it; a list, the first
            generation's shape, is kept under ``facts``.

    Returns:
        JSON-able, in the second generation's shape; every stated fact is in ``evidence`` with its place.
    """
    facts, evidence = _kept(previous)
    if project_name:
        facts.setdefault("project", {})["title"] = project_name
    for (group, name), value, place in _stated(papers):
        facts.setdefault(group, {})[name] = value
        evidence.append({"type": "quote", "fact": f"{group}.{name}", "value": value, **place})
    for (group, name), value in _of_meta(meta if isinstance(meta, Mapping) else {}):
        facts.setdefault(group, {})[name] = value
    if evidence:
        facts["evidence"] = evidence
    return facts


def _kept(previous: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return what of the stored facts stays, and its evidence without what an intake put there."""
    if isinstance(previous, list):
        return {"facts": copy.deepcopy(previous)}, []
    if not isinstance(previous, Mapping):
        return {}, []
    facts = copy.deepcopy(dict(previous))
    evidence = facts.pop("evidence", [])
    for group in ("org", "project"):
        if group in facts and not isinstance(facts[group], dict):
            facts[f"{group}_before"] = facts.pop(group)
    kept = evidence if isinstance(evidence, list) else [evidence]
    return facts, [one for one in kept if not (isinstance(one, Mapping) and "fact" in one)]


def _stated(papers: Sequence[Paper]) -> Iterator[tuple[tuple[str, str], str, dict[str, Any]]]:
    for paper in papers:
        for statement in paper.statements:
            for place, pattern in _COMPILED:
                found = pattern.match(statement.text)
                if found and not _BLANK.search(found["value"]):
                    at = paper.classified.provenance(statement.span)
                    where = {"uploadId": at["source_upload_id"], "offsets": at["offsets"]}
                    yield place, found["value"].strip(" |."), where


def _of_meta(meta: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield what the project's meta says. Text alone counts, but for the milestones."""
    nested = [part for name in ("org", "project") if isinstance(part := meta.get(name), Mapping)]
    for source in (meta, *nested):
        for key, place in _META.items():
            value = source.get(key)
            if (isinstance(value, str) and value.strip()) or (
                key == "milestones" and isinstance(value, list) and value
            ):
                yield place, value
