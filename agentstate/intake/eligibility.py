"""Statements about who may bid, and which of them exclude a bidder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from agentstate.intake.holding import Held
from agentstate.intake.layout import ITEM
from agentstate.intake.questions import is_question
from agentstate.intake.subjects import key_of, telling
from agentstate.intake.words import plain_words

_WHO = (
    r"(?:offeror|applicant|proposer|bidder|tenderer|vendor|respondent|quoter|supplier|organi[sz]ation"
    r"|entit(?:y|ie)|consorti\w+|compan(?:y|ie)|firm"
    r"|institution|nonprofit|charit(?:y|ie)|individual|partner|proposal|quotation|quote|application|tender"
    r"|bid|offer|submission|response)s?"
)
_EXCLUDES = re.compile(
    r"\b(?:will|shall|may)\s+(?:not|no longer)\s+be\s+(?:considered|accepted|evaluated|reviewed|eligible"
    r"|funded|scored|opened)\b|not be considered (?:for|in)\b"
    r"|no longer be(?:ing?)? considered|\b(?:is|are|be|shall be|deemed"
    r"|considered)\s+(?:automatically\s+)?(?:ineligible|not eligible|non-?responsive|inadmissible"
    r"|disqualified|rejected|excluded(?!\s+from\s+(?:[\w-]+\s+){0,3}(?:limits?|limitation|counts?|totals?)\b))\b"
    r"|\bdisqualif(?:y|ies|ication)\b|\bresult in (?:the )?(?:rejection|disqualification|exclusion"
    r"|removal)|\b(?:will|shall|must|may) (?:be )?(?:reject|exclude|disqualif|eliminat)"
    rf"|\b{_WHO}\b[^.;]{{0,60}}\b(?:may|can|do|does)\s+not\s+(?:apply|bid|qualify|submit|serve as)\b"
    r"|\bcannot (?:apply|bid)|\bnot (?:permitted|allowed) to (?:apply|bid)",
    re.IGNORECASE,
)
_QUALIFIES = re.compile(
    rf"\b{_WHO}\b[^.;]{{0,80}}?\b(?:must|shall|required to|have to)\s+(?:\w+\s+){{0,2}}?(?:be|have|hold"
    rf"|possess|employ|maintain|be registered|include at least|demonstrate at least|operate)\b"
    r"[^.;]{0,160}?(?:501|nonprofit|non-profit|charit|regist|licen[sc]|certif|accredit|\byears?\b|turnover"
    r"|revenue|budget of|legal entit|establish|located|based in|resident|headquarter|status|insur"
    r"|member state|experience|bond|faculty|tenured?\b|exclusion ground)"
    rf"|\bonly\b[^.;]{{0,60}}\b(?:may|can|are|will)\b[^.;]{{0,20}}\b(?:apply|eligible|bid|submit"
    rf"|participate)|\b(?:open|limited|restricted)\s+(?:only\s+)?to\b[^.;]{{0,60}}(?:organi[sz]ations"
    rf"|nonprofits?|entities|firms|vendors|institutions|residents)",
    re.IGNORECASE,
)
_CONCERNS = re.compile(
    rf"\beligib(?:le|ility)\b(?!\s+(?:costs?|expen))|\bqualif(?:y|ies|ied)\b|similar size"
    rf"|\b(?:{_WHO})\b[^.;]{{0,40}}\bpreferred\b",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"\bwho (?:may|can|is eligible)|^eligib(?:le|ility)|\beligible (?:applicants|organi[sz]ations)", re.IGNORECASE
)
_AFTER_AWARD = re.compile(
    r"\b(?:invoice|payment|deliverable|substitution|personnel|user stor|defect)\w*\b", re.IGNORECASE
)
_OF_THE_WORK = frozenset({"qasp", "terms", "license"})


def mine_eligibility(held: Sequence[Held]) -> list[dict[str, Any]]:
    """Return the statements about eligibility, fatal ones where they exclude a bidder.

    Ids come from what is said, without its numbers: they stay the same when other text moves, and when a limit in the
    statement changes. Said again in the same words, a statement is one item.
    """
    items: dict[str, dict[str, Any]] = {}
    for one in held:
        statement = one.statement
        if statement.is_heading or is_question(statement) or one.home.classified.family in _OF_THE_WORK:
            continue
        fatal = is_fatal(statement.text)
        listed = statement.kind == ITEM and _LISTED.search(statement.title)
        if not fatal and not listed and not (_CONCERNS.search(statement.text) and len(statement.words.words) > 4):
            continue
        key = id_of(statement.text)
        item = {"id": key, "text": statement.text, "fatal": fatal, "provenance": one.provenance()}
        items.setdefault(key, item)
    return list(items.values())


def is_fatal(text: str) -> bool:
    """Tell whether a statement excludes a bidder that does not meet it."""
    if _AFTER_AWARD.search(text) and not re.search(rf"\b{_WHO}\b", text, re.IGNORECASE):
        return False
    return bool(_EXCLUDES.search(text) or _QUALIFIES.search(text))


def id_of(text: str) -> str:
    """Return a statement's id: its first words that name something, and a digest of all of them."""
    words = [word for word in plain_words(text) if not re.search(r"\d", word)]
    digest = hashlib.sha256(" ".join(words).encode()).hexdigest()[:6]
    return key_of(*telling(words)[:5], digest)
