"""The outline of a call (``rfpNorm``): what it asks for, until when, in which form, and how it is judged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from agentstate.intake.criteria import criteria_of
from agentstate.intake.dates import Moment, moments
from agentstate.intake.documents import Family
from agentstate.intake.holding import Held
from agentstate.intake.layout import ITEM, is_title
from agentstate.intake.passages import context_of
from agentstate.intake.questions import answered, is_question
from agentstate.intake.sections import sections_of
from agentstate.intake.statements import Paper, Statement
from agentstate.intake.subjects import stated_purpose
from agentstate.intake.submission import submission_of

_FUNDER = re.compile(
    r"^\W*(?:funder|funding (?:agency|body|organi[sz]ation)|issued by|issuing (?:office|agency|authority"
    r"|body)|contracting authority|sponsor|agency"
    r"|buyer|client|awarding (?:body|authority)|grantmaker|foundation)\s*:\s*(?P<name>[^|]{3,120})$",
    re.IGNORECASE,
)
_ISSUES = re.compile(
    r"^(?:the\s+)?(?P<name>[A-Z][\w.&’' -]{3,90}?(?:\s\([^)]{2,20}\))?)(?:,[^.]{0,200}?)?,?\s+(?:hereby\s+"
    r"|is\s+|are\s+)?"
    r"(?:issues?|invites?|seek(?:s|ing)|request(?:s|ing)|solicit(?:s|ing)|announces?|supports?|award(?:s"
    r"|ing)|intends? to award)\b",
    re.IGNORECASE,
)
_PROGRAM = re.compile(
    r"^\W*(?:program(?:me)?|scheme|opportunity)(?: title| name)?\s*:\s*(?P<name>[^|]{3,120})$", re.IGNORECASE
)
_NUMBER = re.compile(
    r"\b(?:reference|solicitation|rf[pqia]|call|tender|client order|notice)\s*(?:id|no\.?|number"
    r"|ref\.?)+\s*:?\s*(?P<id>[A-Z0-9][\w./-]{3,40})",
    re.IGNORECASE,
)
_CALL = re.compile(
    r"request for \w+|invitation (?:to|for) \w+|call for \w+|funding opportunity|solicitation|\brf[pqi]\b|\bitt\b",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?i)(?:date|to|from|ref\w*|version|issued?|reply by|subject|client|in reply)\b[^:]{0,30}:|.*[,\s]20\d\d\b"
)
_ORGANIZATION = re.compile(
    r"(?i)\b(?:department|agency|council|foundation|ministry|university|county|city of|state of|commission"
    r"|authority|trust|district|school|college|hospital)\b"
)
_NO_FUNDER = re.compile(
    r"(?i)(?:this|it|we|offerors?|applicants?|proposals?|(?:the )?(?:department|agency|council|government"
    r"|contractor|authority|buyer|customer|district|university|city|county|board|trust|foundation|fund|state|company))$"
)
_HEAD = 14  # statements at the head of a document, among which its title stands


def normalize_rfp(held: Sequence[Held], papers: Sequence[Paper], families: Sequence[Family]) -> dict[str, Any]:
    """Return the outline.

    Args:
        held: the statements that hold.
        papers: the documents in force; the first is the call itself.
        families: for the release date and version that are shown.

    Returns:
        JSON-able, in the shape of ``rfpNorm``. What no document says has no key.
    """
    spoken = [one for one in held if not is_question(one.statement)]
    outline: dict[str, Any] = {"meta": _meta(spoken, papers, families), "sections": sections_of(spoken)}
    submission = submission_of(spoken)
    if submission:
        outline["submission"] = submission
    if scoring := criteria_of(spoken):
        outline["scoring"] = scoring
    if faq := list(_faq(papers)):
        outline["faq"] = faq
    return outline


def _meta(held: Sequence[Held], papers: Sequence[Paper], families: Sequence[Family]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    lead = papers[0] if papers else None
    if lead is None:
        return meta
    own = [one for one in held if one.paper is lead]
    if title := title_of(lead):
        meta["title"] = title
    if funder := _funder(own):
        meta["funder"] = funder
    if program := _labelled(own, _PROGRAM):
        meta["program"] = program
    newest = next((family.newest for family in families if family.newest), lead.classified)
    if newest.released_on is not None:
        meta["release_date"] = newest.released_on.isoformat()
    if newest.version is not None:
        meta["version"] = newest.version
    meta.update(deadline_of(held))
    meta["provenance"] = lead.classified.provenance()
    return meta


def title_of(paper: Paper) -> str | None:
    """Return a document's title: the line that names the call, with the line that says what for."""
    head = [one for one in paper.statements[:_HEAD] if len(one.text) < 150 and not _LABEL.match(one.text)]
    titled = [one for one in head if one.is_heading or (one.kind != ITEM and is_title(one.text, 14))]
    naming = next((place for place, one in enumerate(titled) if _CALL.search(one.text)), None)
    if naming is None:
        return titled[0].text if titled else None
    title = titled[naming].text
    if len(_CALL.sub("", title).strip(" ()-:")) >= 8:
        return title
    what_for = _what_for(paper, titled, naming)
    return f"{title}: {what_for}" if what_for else title


def _what_for(paper: Paper, titled: list[Statement], naming: int) -> str | None:
    """Return the title beside the one that names the call. One that a sentence follows heads a section instead."""
    for beside in titled[naming + 1 : naming + 3]:
        place = paper.statements.index(beside)
        follows = paper.statements[place + 1 : place + 2]
        if not re.search(r"\d", beside.text) and (not follows or follows[0].is_heading or len(follows[0].text) < 60):
            return beside.text
    before = titled[naming - 1] if naming else None
    return before.text if before is not None and not _ORGANIZATION.search(before.text) else None


def _funder(held: Sequence[Held]) -> str | None:
    """Return who issues the call: from a label, from "… hereby issues", or from the head of the first page."""
    if stated := _labelled(held, _FUNDER):
        return stated
    for one in held[:40]:
        found = _ISSUES.match(one.statement.text)
        if found and not _NO_FUNDER.match(found["name"]):
            return re.sub(r"^the\s+|\s*\(.?the .*", "", found["name"].strip(), flags=re.IGNORECASE)
    organizations = [one.statement.text for one in held[:5] if _ORGANIZATION.search(one.statement.text)]
    return ", ".join(text for text in organizations if len(text) < 80) or None


def _labelled(held: Sequence[Held], pattern: re.Pattern[str]) -> str | None:
    found = (pattern.match(one.statement.text) for one in held)
    return next((match["name"].strip(" .") for match in found if match), None)


def deadline_of(held: Sequence[Held]) -> dict[str, Any]:
    """Return the deadline for proposals: the newest document that plainly states one decides."""
    stated = list(_deadlines(held))
    if not stated:
        return {}
    newest = stated[-1][0].paper if _is_statement(stated[-1][0]) else stated[0][0].paper
    own = [one for one in stated if one[0].paper is newest]
    one, moment = own[0]
    # The head of a letter may give the day alone, and a clause the time.
    one, moment = next(
        ((other, same) for other, same in own if same.day == moment.day and same.clock and same.zone), (one, moment)
    )
    result: dict[str, Any] = {"deadline": moment.iso}
    if moment.zone:
        result["deadline_tz"] = moment.zone
    if moment.doubt:
        result["deadline_note"] = moment.doubt
    result["deadline_provenance"] = one.provenance()
    return result


def _is_statement(held: Held) -> bool:
    return held.paper.classified.role in {"amendment", "faq"}


def _deadlines(held: Sequence[Held]) -> Iterator[tuple[Held, Moment]]:
    for one in held:
        text = one.statement.text
        found = moments(text, one.paper.day_first)
        for moment in found:
            context = context_of(text, moment, found)
            titled = f"{one.statement.title}: {context}" if len(text) < 80 else context
            if moment.day is not None and "submission_deadline" in {stated_purpose(context), stated_purpose(titled)}:
                yield one, moment


def _faq(papers: Sequence[Paper]) -> Iterator[dict[str, Any]]:
    for paper in papers:
        if paper.classified.role == "faq" or len(answered(paper)) > 2:
            for pair in answered(paper):
                yield {"q": pair.question, "a": pair.answer, "provenance": paper.classified.provenance(pair.span)}
