"""How proposals are submitted: portal, format, type, margins, limits of length, attachments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from agentstate.intake.holding import Held
from agentstate.intake.layout import ITEM
from agentstate.intake.quantities import Quantity, only_mentions, quantities
from agentstate.intake.subjects import limited_by, telling
from agentstate.intake.words import plain_words

_SENT = re.compile(r"\b(?:submi(?:t|tted|ssion)|received|upload(?:ed)?|lodged|sent|due)\b", re.IGNORECASE)
_PORTAL = re.compile(
    r"(?:through|via|in|using|to|on|at)\s+(?:the\s+|our\s+)?(?P<portal>(?:[\w.’'-]+\s+){0,4}?(?:web portal"
    r"|portal|e-?tendering (?:portal|system)|e-?procurement (?:portal|system)|submission system|platform"
    r"|website))\b"
    r"|(?P<address>https?://\S+[\w/])",
    re.IGNORECASE,
)
_ASKED = re.compile(r"\bquestions?\b|\binquir|\bclarification", re.IGNORECASE)
_FONT = re.compile(
    r"\b(Times New Roman|Arial|Calibri|Helvetica|Garamond|Cambria|Verdana|Courier New|Georgia)\b", re.IGNORECASE
)
_SIZE = re.compile(
    r"(?<!\d)(\d{1,2})\s?-?\s?(?:point|pt)\b|font size (?:of )?(?:at least )?(\d{1,2})|size (\d{1,2}) font",
    re.IGNORECASE,
)
_SPACING = re.compile(r"\b(single|double|1\.5)[- ]spac(?:ed|ing)", re.IGNORECASE)
_MARGINS = re.compile(
    r"\b(one|1|0\.5|half|0\.75|two|2)(?:[- ]inch(?:es)?)?\s*[- ]?(?:inch|in\.?|\")\s+margins?"
    r"|margins? of (?:at least )?(one|1|0\.5|0\.75|two|2)[- ]inch",
    re.IGNORECASE,
)
_FORMAT = re.compile(
    r"\b(PDF|Portable Document Format|Microsoft Word|Word document|\.docx|hard cop(?:y|ies)|electronic(?:ally)?)\b",
    re.IGNORECASE,
)
_ATTACHED = re.compile(
    r"^(?:list of )?\d*\s*(?:attachments?|annex(?:es)?|appendi(?:x|ces)|enclosures?|exhibits?|schedules?)\s*:?$",
    re.IGNORECASE,
)
_SPACINGS = {"single": 1, "double": 2, "1.5": 1.5}
_INCHES = {"one": 1.0, "two": 2.0, "half": 0.5}


def submission_of(held: Sequence[Held]) -> dict[str, Any]:
    """Return the rules of submission; what no document says has no key."""
    rules: dict[str, Any] = {}
    for one in held:
        text = one.statement.text
        if _SENT.search(text) and not _ASKED.search(text) and (portal := _PORTAL.search(text)):
            rules.setdefault("portal", " ".join((portal["portal"] or portal["address"]).split()))
        if _SENT.search(text) and (form := _FORMAT.search(text)):
            rules.setdefault("format", form.group(1))
        if font := _FONT.search(text):
            rules["font"] = font.group(1)
        if size := _SIZE.search(text):
            rules["font_size_pt"] = int(next(group for group in size.groups() if group))
        if spacing := _SPACING.search(text):
            rules["line_spacing"] = _SPACINGS[spacing.group(1).casefold()]
        if margins := _MARGINS.search(text):
            said = next(group for group in margins.groups() if group).casefold()
            rules["margins_in"] = _INCHES.get(said) or float(said)
    if limits := page_limits(held):
        rules["page_limits"] = limits
    if attachments := list(_attachments(held)):
        rules["attachments"] = attachments
    return rules


def page_limits(held: Sequence[Held]) -> list[dict[str, Any]]:
    """Return the limits of length, one for each document or part; the newest statement counts."""
    limits: dict[tuple[str, str], dict[str, Any]] = {}
    for one in held:
        for quantity in ceilings(one.statement.text):
            name = limited_part(one)
            limits[(name, quantity.unit)] = {
                "doc": name, "limit": int(quantity.value), "unit": quantity.unit, "provenance": one.provenance(),
            }  # fmt: skip
    return list(limits.values())


def ceilings(text: str) -> list[Quantity]:
    """Return the lengths that a statement limits. One that only mentions a limit sets none."""
    if only_mentions(text):
        return []
    counted = [
        one for one in quantities(text) if one.is_length and one.unit in {"pages", "words", "characters", "slides"}
    ]
    return [one for one in counted if one.bound == "ceiling"][:1]


def limited_part(one: Held) -> str:
    """Return what a limit of length is for."""
    text = one.statement.text
    limits = ceilings(text)
    words = limited_by(text, text[: limits[0].span[0]] if limits else text)
    if not words or set(words) <= {"it", "limit", "page"}:
        words = telling(plain_words(one.statement.title))[:4]
    return " ".join(words) or "proposal"


def _attachments(held: Sequence[Held]) -> Iterator[dict[str, Any]]:
    """Yield the items of a list under "Attachments", and headings such as "Annex B: Budget form"."""
    within: tuple[object, tuple[str, ...]] | None = None
    for one in held:
        statement = one.statement
        if _ATTACHED.match(statement.text):
            within = (one.paper, statement.section)
        elif within and statement.kind == ITEM and one.paper is within[0]:
            yield {"title": statement.text.rstrip(".;"), "provenance": one.provenance()}
        else:
            within = None
