"""Numbers with units: page limits, periods, amounts, weights, and whether they are a ceiling or a floor."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentstate.intake.documents import Span
from agentstate.intake.words import NUMBERS

# The unit as it is written, and the one that stands for it.
UNITS = {
    "page": "pages", "pages": "pages", "sheet": "pages", "sheets": "pages", "side": "pages", "sides": "pages",
    "word": "words", "words": "words", "character": "characters", "characters": "characters",
    "slide": "slides", "slides": "slides",
    "minute": "minutes", "minutes": "minutes", "hour": "hours", "hours": "hours", "day": "days", "days": "days",
    "week": "weeks", "weeks": "weeks", "month": "months", "months": "months", "year": "years", "years": "years",
    "point": "points", "points": "points", "mark": "points", "marks": "points",
    "%": "percent", "percent": "percent", "per cent": "percent",
    "fte": "FTE", "ftes": "FTE", "full time equivalent": "FTE", "personnel": "people", "people": "people",
    "persons": "people", "participants": "people", "staff": "people", "employees": "people", "members": "people",
    "copies": "copies", "copy": "copies", "references": "references", "projects": "projects", "letters": "letters",
    "partners": "partners", "mb": "MB", "gb": "GB", "inch": "inches", "inches": "inches", "pt": "points of type",
    "point font": "points of type", "point type": "points of type", "dollars": "dollars", "euro": "euros",
    "euros": "euros", "pounds": "pounds", "sprints": "sprints", "sprint": "sprints",
}  # fmt: skip
_QUALIFIERS = (
    "calendar|business|working|federal|consecutive|a4|us letter|letter|single-sided|double-sided|printed|typed"
)
_DIGITS = r"\d{1,3}(?:,\d{3}){1,4}(?:\.\d{1,6})?(?!\d)|\d{1,12}(?:\.\d{1,6})?(?!\d)"
_NUMBER = rf"(?:(?P<digits>{_DIGITS})|(?P<spelled>{'|'.join(NUMBERS)})(?:\s*\((?:{_DIGITS})\))?)"
_UNIT = "|".join(sorted((re.escape(unit) for unit in UNITS if unit != "%"), key=len, reverse=True))
_QUANTITY = re.compile(
    rf"(?P<currency>[$€£]|(?:USD|EUR|GBP)\s)\s?(?P<amount>{_DIGITS})(?:\s?(?P<scale>million|thousand|k|m|bn"
    rf"|billion)\b)?"
    rf"|(?<![\w.]){_NUMBER}(?:\s*(?:to|or|[-–])\s*(?:{_DIGITS}|{'|'.join(NUMBERS)})(?:\s*\(\d+\))?)?"
    rf"(?:(?P<percent>\s?%)|[\s-]+(?:(?P<qualifier>{_QUALIFIERS})\s+)?(?:consecutive\s+)?(?P<unit>{_UNIT})\b)",
    re.IGNORECASE,
)
_CEILING = re.compile(
    r"(?:shall|must|may|should|can|will|do(?:es)?|to)?\s*not\s+(?:to\s+)?exceed|(?:no|not)\s+(?:more"
    r"|longer|greater|later)\s+than|at\s+most|up\s+to"
    r"|maximum|max\b|limited\s+to|limit(?:ation)?s?\b|(?:less|fewer)\s+than|within|cannot\s+exceed"
    r"|not\s+exceeding|under\b|ceiling"
    r"|or\s+(?:less|fewer|under)",
    re.IGNORECASE,
)
_FLOOR = re.compile(
    r"at\s+least|minimum|min\b|(?:no|not)\s+(?:less|fewer|shorter|smaller)\s+than|(?:more|greater)\s+than"
    r"|(?<!not )\bexceeds?\b"
    r"|or\s+(?:more|greater|larger)|equal\s+to\s+or\s+greater|floor",
    re.IGNORECASE,
)

_MENTIONS = re.compile(
    r"\d\s?-\s?(?:page|word|minute|day|slide)s?\s+(?:page\s+)?limit|not (?:included|counted|count)\b|are included"
    r"|excluded from|do(?:es)? not count",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, where it stands in the text that was searched, and its bound.

    Attributes:
        number: as text, without separators of thousands.
        unit: one of the values of UNITS, or a currency sign.
        bound: ``ceiling``, ``floor`` or "" where neither is said.
    """

    span: Span
    said: str
    number: str
    unit: str
    qualifier: str = ""
    bound: str = ""

    @property
    def value(self) -> float:
        return float(self.number)

    @property
    def is_length(self) -> bool:
        return self.unit in {"pages", "words", "characters", "slides"}


def only_mentions(text: str) -> bool:
    """Tell whether a text refers to a limit of length ("not included in your 15-page limitation") and sets none."""
    return bool(_MENTIONS.search(text)) and "exceed" not in text.casefold()


def quantities(text: str) -> list[Quantity]:
    """Return the numbers with units in a text, in order."""
    return [_quantity(found, text) for found in _QUANTITY.finditer(text)]


def bound_of(text: str) -> str:
    """Return what the words around a number make of it: ``ceiling``, ``floor`` or ""."""
    ceiling, floor = _CEILING.search(text), _FLOOR.search(text)
    if floor and ceiling:
        inside = ceiling.start() <= floor.start() < ceiling.end()
        return "ceiling" if inside or ceiling.start() > floor.start() else "floor"
    return "ceiling" if ceiling else "floor" if floor else ""


def _quantity(found: re.Match[str], text: str) -> Quantity:
    said = " ".join(found.group().split())
    before, after = text[max(0, found.start() - 45) : found.start()], text[found.end() : found.end() + 14]
    before = re.split(r"[.;]\s", before)[-1]
    bound = bound_of(before) or bound_of(after.split(".")[0])
    if found["currency"]:
        number = _scaled(found["amount"].replace(",", ""), found["scale"])
        return Quantity(found.span(), said, number, found["currency"].strip(), "", bound)
    spelled = found["spelled"]
    number = NUMBERS[spelled.casefold()] if spelled else found["digits"].replace(",", "")
    unit = "percent" if found["percent"] else UNITS[" ".join(found["unit"].casefold().split())]
    return Quantity(found.span(), said, number, unit, (found["qualifier"] or "").casefold(), bound)


def _scaled(number: str, scale: str | None) -> str:
    if not scale:
        return number
    factor = {"k": 10**3, "thousand": 10**3, "m": 10**6, "million": 10**6, "bn": 10**9, "billion": 10**9}[
        scale.casefold()
    ]
    return f"{float(number) * factor:.0f}"
