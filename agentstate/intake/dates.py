"""Dates, times and zones, as documents state them. What a document leaves open stays open: nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone, tzinfo

from dateutil import parser, tz

from agentstate.intake.documents import Span

_MONTHS = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_DAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_DATE = (
    rf"(?P<mdy>{_DAY}(?:{_MONTHS})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+(?:20|19)\d\d)"
    rf"|(?P<dmy>{_DAY}\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTHS})\.?,?\s+(?:20|19)\d\d)"
    r"|(?P<iso>(?:20|19)\d\d-\d\d-\d\d)"
    r"|(?P<slashed>(?<![\d.])\d{1,2}(?:/\d{1,2}/(?:20|19)?|\.\d{1,2}\.20)\d\d(?![\d/]|\.\d))"
    rf"|(?P<dayless>(?:{_MONTHS})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?(?![\d,]|\s+(?:20|19)\d\d)|\d{{1,2}}(?:st"
    rf"|nd|rd|th)?\s+(?:{_MONTHS})(?!\w))"
    rf"|(?P<gap>(?:X{{2,}}|{_MONTHS})\s+X{{1,2}},?\s+(?:20\d\d|20XX|XX+)|\b(?:TBD|TBA|TBC)\b"
    rf"|\bto be (?:determined|announced|confirmed)\b)"
)
_ZONES = {
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8,
    "HST": -10, "UTC": 0, "GMT": 0, "BST": 1, "IST": 1, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3,
}  # fmt: skip
# Zones whose offset depends on the date. A named standard or summer time is kept as said, whatever the date.
_PLACES = {
    "ET": "America/New_York", "CT": "America/Chicago", "MT": "America/Denver", "PT": "America/Los_Angeles",
    "EASTERN": "America/New_York", "CENTRAL": "America/Chicago", "MOUNTAIN": "America/Denver",
    "PACIFIC": "America/Los_Angeles", "BRUSSELS": "Europe/Brussels", "LONDON": "Europe/London", "UK": "Europe/London",
    "PARIS": "Europe/Paris", "BERLIN": "Europe/Berlin", "DUBLIN": "Europe/Dublin", "IRISH": "Europe/Dublin",
    "LUXEMBOURG": "Europe/Luxembourg", "ALASKA": "America/Anchorage", "HAWAII": "Pacific/Honolulu",
}  # fmt: skip
_HOMES = {
    "EST": "America/New_York", "EDT": "America/New_York", "CST": "America/Chicago", "CDT": "America/Chicago",
    "MST": "America/Denver", "MDT": "America/Denver", "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles",
    "GMT": "Europe/London", "BST": "Europe/London", "CET": "Europe/Brussels", "CEST": "Europe/Brussels",
}  # fmt: skip
_NAMED = "eastern|central|mountain|pacific|alaska|hawaii|brussels|london|uk|paris|berlin|dublin|irish|luxembourg"
_ZONE = (
    rf"\(?(?P<zone>(?:{'|'.join([*_ZONES, 'ET', 'CT', 'MT', 'PT'])})\b"
    rf"|(?i:(?:{_NAMED})\s+(?:standard\s+|daylight\s+|summer\s+|local\s+)?time\b(?:\s+zone)?)|(?i:eastern"
    rf"|pacific|local\s+time)\b)\)?"
    rf"(?:\s*\((?:{'|'.join([*_ZONES, 'ET', 'CT', 'MT', 'PT'])})\))?"
)
_TIME = (
    r"(?P<clock>\d{1,2}(?:[:.]\d\d)?(?::\d\d)?\s*(?P<half>[ap]\.?\s?m\b\.?)"
    r"|\d{1,2}:\d\d(?::\d\d)?(?:\s*(?:hours|hrs|h)\b)?"
    r"|\d{1,2}h\d\d|(?P<military>[012]\d[0-5]\d)\s*(?:hours|hrs|h)\b|(?:12(?::00)?\s+)?(?P<word>noon"
    r"|midday|midnight))"
)
# What a text must have for the patterns below to find anything; they are dear.
_MAY_DATE = re.compile(
    r"jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|20\d\d|xx|\d[/.]\d|\btb[acd]\b|to be (?:det|ann|conf)",
    re.IGNORECASE,
)
_MAY_TIME = re.compile(r"\d\s*[ap]\.?\s?m|\d[:.h]\d\d|\d\s*h(?:ou)?rs|\d\s*h\b|noon|midday|midnight", re.IGNORECASE)
_FIND_DATE = re.compile(_DATE, re.IGNORECASE)
_FIND_TIME = re.compile(
    rf"(?<![\w:.]){_TIME}".replace("(?P<half>[ap]", "(?P<half>[apAP]").replace("m\\b", "[mM]\\b"), re.IGNORECASE
)
_FIND_ZONE = re.compile(rf"[\s,]*{_ZONE}")
_BETWEEN = re.compile(
    r"[\s,;–()-]*(?:\b(?:at|by|on|no later than|not later than|before|until|of|time|is"
    r"|deadline)\b[\s,:]*)*[\s,;–()-]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Moment:
    """A date, a time, or both, as a text states it.

    Attributes:
        span: where it stands in the text that was searched.
        said: the words.
        day: the date; None for a placeholder, a date without a year, or a time alone.
        clock: the time of day, if stated.
        zone: the zone as it is said ("EDT", "Brussels time"), if stated.
        is_gap: a placeholder stands for the date ("XXXX X, 2016", "TBD").
    """

    span: Span
    said: str
    day: date | None = None
    clock: time | None = None
    zone: str | None = None
    is_gap: bool = False

    @property
    def iso(self) -> str | None:
        """Return the moment as ISO 8601, as exactly as it is stated; None without a date."""
        if self.day is None:
            return None
        if self.clock is None:
            return self.day.isoformat()
        moment = datetime.combine(self.day, self.clock)
        offset = self.offset
        if offset is None:
            return moment.isoformat(timespec="minutes")
        return moment.replace(tzinfo=timezone(offset)).isoformat(timespec="minutes")

    @property
    def offset(self) -> timedelta | None:
        """The zone's distance from UTC at that moment, as it is said."""
        if self.zone is None or self.day is None:
            return None
        name = self.zone.upper()
        if name in _ZONES:
            return timedelta(hours=_ZONES[name])
        place = next((zone for word, zone in _PLACES.items() if name.split()[0] == word), None)
        if place is None:
            return None
        standard, summer = " STANDARD" in name, " DAYLIGHT" in name or " SUMMER" in name
        if standard or summer:
            probe = date(self.day.year, 1 if standard else 7, 1)
            return _offset_in(place, probe, self.clock)
        return _offset_in(place, self.day, self.clock)

    @property
    def doubt(self) -> str | None:
        """Say what is odd: a standard time named in summer, or the other way round. The words are kept as said."""
        if self.zone is None or self.day is None:
            return None
        name = self.zone.upper()
        home = _HOMES.get(name) or _PLACES.get(name.split()[0])
        if home is None or name == "GMT":
            return None
        offset = self.offset
        if offset is not None and offset != (local := _offset_in(home, self.day, self.clock)):
            hours = int((local or timedelta()).total_seconds() // 3600)
            return f"{self.zone} is not in use there on {self.day.isoformat()}; UTC{hours:+d} would be."
        return None


def moments(text: str, day_first: bool = False) -> list[Moment]:
    """Return the dates and times in a text, in order; a date with its time and zone is one moment.

    Args:
        day_first: read 03/04/2025 as the third of April.
    """
    dated = _FIND_DATE.finditer(text) if _MAY_DATE.search(text) else ()
    timed = _FIND_TIME.finditer(text) if _MAY_TIME.search(text) else ()
    days = [_dated(found, day_first) for found in dated]
    clocks = [clock for found in timed if (clock := _timed(found, text)) is not None]
    return sorted(_joined(text, [day for day in days if day is not None], clocks), key=lambda moment: moment.span)


def is_day_first(text: str) -> bool:
    """Tell whether dates such as 03/04/2025 have the day first, from other dates and from what else is said."""
    pairs = re.findall(r"\b(\d{1,2})[/.](\d{1,2})[/.](?:20)?\d\d\b", text)
    if any(int(first) > 12 for first, _ in pairs):
        return True
    if any(int(second) > 12 for _, second in pairs):
        return False
    return bool(re.search(r"£|€|\b(?:BST|GMT|CET|CEST|tenderers?|Brussels)\b", text))


def _offset_in(place: str, day: date, clock: time | None) -> timedelta | None:
    zone: tzinfo | None = tz.gettz(place)
    return datetime.combine(day, clock or time(12), tzinfo=zone).utcoffset() if zone else None


def _dated(found: re.Match[str], day_first: bool) -> Moment | None:
    kind, said = found.lastgroup, " ".join(found.group().split())
    if kind == "gap":
        return Moment(found.span(), said, is_gap=True)
    if kind == "dayless":
        return Moment(found.span(), said)
    plain = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\bof\b|\.(?=\s)|^\w+day,?\s", " ", said, flags=re.IGNORECASE)
    plain = re.sub(r"^\s*(?:mon|tues?|wed|thu(?:rs)?|fri|sat|sun)\.?,?\s", " ", plain, flags=re.IGNORECASE)
    try:
        # The patterns match complete dates only, so the parser has no gap to fill.
        day = parser.parse(plain, dayfirst=day_first and kind == "slashed").date()
    except (ValueError, OverflowError):
        return None
    return Moment(found.span(), said, day)


def _timed(found: re.Match[str], text: str) -> Moment | None:
    clock = _clock(found)
    if clock is None:
        return None
    start, end = found.span()
    zone = None
    if after := _FIND_ZONE.match(text, end):
        zone, end = " ".join(after["zone"].split()), after.end()
    return Moment((start, end), " ".join(text[start:end].split()), clock=clock, zone=zone)


def _clock(found: re.Match[str]) -> time | None:
    if word := found["word"]:
        return time(0) if word.casefold() == "midnight" else time(12)
    if military := found["military"]:
        return time(int(military[:2]) % 24, int(military[2:]))
    digits = [int(part) for part in re.findall(r"\d+", found["clock"])]
    hour, minute = digits[0], digits[1] if len(digits) > 1 else 0
    if half := found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None


def _joined(text: str, days: list[Moment], clocks: list[Moment]) -> Iterator[Moment]:
    """Join each time with the date beside it, if only words such as "at" stand between."""
    left = list(clocks)
    for day in days:
        beside = next((clock for clock in left if _beside(text, day, clock)), None)
        if beside is None:
            yield day
            continue
        left.remove(beside)
        start, end = min(day.span[0], beside.span[0]), max(day.span[1], beside.span[1])
        zone = beside.zone
        if zone is None and day.span[1] == end and (after := _FIND_ZONE.match(text, end)):
            zone, end = " ".join(after["zone"].split()), after.end()
        if text.count("(", start, end) > text.count(")", start, end) and text[end : end + 1] == ")":
            end += 1
        said = " ".join(text[start:end].split())
        yield replace(day, span=(start, end), said=said, clock=beside.clock, zone=zone)
    yield from left


def _beside(text: str, day: Moment, clock: Moment) -> bool:
    first, second = sorted((day.span, clock.span))
    return first[1] <= second[0] <= first[1] + 40 and bool(_BETWEEN.fullmatch(text, first[1], second[0]))
