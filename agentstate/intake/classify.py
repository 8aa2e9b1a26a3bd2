"""Decide what each document is: its family, its role, its version and date, and how documents follow one another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

from rapidfuzz import fuzz

from agentstate.intake.dates import is_day_first, moments
from agentstate.intake.documents import Classified, Document, Family, Reason
from agentstate.intake.masking import mask, without_emphasis
from agentstate.intake.words import plain_words

BASE, VERSION, AMENDMENT, FAQ, TEMPLATE = "base", "version", "amendment", "faq", "template"

HEAD = 1500  # characters of a first page that are searched for its title, version and date
SHARED = 0.3  # share of sentences from which a document of the same title is a version of another
SAME = 0.6  # share from which it is one whatever its name

# A family with what names it, in a file's name and on a first page. The first that fits counts.
_FAMILIES = (
    ("faq", (
        r"(?:vendor|bidder|offeror|supplier|applicant|clarification) questions|\bquestions (?:received|submitted)|"
        r"\bfaqs?\b|frequently asked|q\s?(?:&|and|n)\s?a\b|questions? (?:and|&) (?:answers|responses)"
        r"|clarification (?:questions|responses|log)|responses? to (?:vendor |bidder |offeror "
        r"|applicant )?questions"
        )),
    ("pws", r"\bpws\b|performance work statement"),
    ("sow", (
        r"\bsow\b|\bsoo\b|statements? of (?:work|objectives)|terms of reference|\btor\b|scope of (?:work"
        r"|services)|(?:technical )?specifications?\b|service requirements?"
        )),
    ("qasp", r"\bqasp\b|quality assurance surveillance"),
    ("orals", r"\boral(?:s|_presentations?| presentations?)\b|interview instructions"),
    ("pricing", (
        r"\bpric(?:e|ing)\b|\b(?:cost|budget|financial) (?:template|schedule|form|sheet|proposal|workbook"
        r"|offer)"
        )),
    ("terms", r"terms (?:and|&) conditions|(?:model|draft|grant|framework) (?:contract|agreement)|general conditions"),
    ("guide", (
        r"\bguid(?:e|ance|elines)\b|\bhandbook\b|application instructions|instructions to (?:offerors"
        r"|tenderers|bidders|applicants)"
        )),
    ("call", (
        r"\brf[pqioa]\b|\bitt\b|\bit[bq]\b|\bnofo\b|\bnofa\b|\bfoa\b|request for (?:proposals?|quotations?"
        r"|quotes?|applications?|tenders?|offers?)|invitation (?:to (?:tender|bid|quote)|for bids)"
        r"|call for (?:proposals|applications|tenders|expressions)|funding opportunity|solicitation"
        r"|grant program(?:me)?|tender documents?"
        )),
)  # fmt: skip
_NAMED = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _FAMILIES)
_KINDS = {
    "rfq": r"\brfq\b|request for quot",
    "rfp": r"\brfp\b|request for proposal",
    "itt": r"\bitt\b|invitation to tender",
    "nofo": r"\bnofo\b|funding opportunity",
}
_NUMBERS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "i": 1,
    "ii": 2,
    "iii": 3,
    "iv": 4,
    "v": 5,
    "first": 1,
    "second": 2,
    "third": 3,
}
_AMENDMENT = re.compile(
    r"\b(?P<kind>amendment|addendum|modification|corrigendum|erratum|errata|mod|amend|addenda"
    r"|bulletin)\b[\s_:-]*(?:no\.?|number|n°|#)?[\s_:-]*(?P<number>\d{1,4}|one|two|three|four|five|i{1,3}"
    r"|iv|v)?\b",
    re.IGNORECASE,
)
_VERSION = re.compile(
    r"(?<![a-z])(?:v(?:er(?:sion)?)?|rev(?:ision)?|issue|draft"
    r"|edition)[\s._-]*(?:no\.?\s*)?(?P<number>\d{1,3}(?:\.\d{1,3})?)(?![\d/]|-\d\d)",
    re.IGNORECASE,
)
_COPY = re.compile(r"\((?P<number>\d{1,2})\)\s*$")
_WORDED = (
    (re.compile(r"\bdraft\b|\bpreliminary\b", re.IGNORECASE), 0.5),
    (re.compile(r"\bfinal\b|\brevised\b|\bupdated?\b|\bconformed\b", re.IGNORECASE), 1.5),
)
_NAME_DATE = re.compile(r"(?<!\d)(20\d\d)[-_. ]?(0[1-9]|1[0-2])[-_. ]?(0[1-9]|[12]\d|3[01])(?!\d)")
_TEMPLATE = re.compile(r"\btemplate\b|\bform\b|\bworkbook\b|fill[- ]?in", re.IGNORECASE)
_REFERS = re.compile(r"\bsee\b|\brefer|\bincorporat|\bthrough\b|\bincluding\b|\backnowledge", re.IGNORECASE)
_AMENDS = re.compile(
    r"(?:this|the purpose of this) (?:amendment|addendum|modification|corrigendum)|is (?:hereby )?amended"
    r"|hereby (?:amended|modified|revised)|(?:amendment|addendum|modification) (?:to"
    r"|of) (?:the )?(?:solicitation|rf|request|call|invitation)",
    re.IGNORECASE,
)
_DATED = re.compile(
    r"\b(?:dated?|revised|updated|issued?(?: on| date)?|release(?:d| date)|publi(?:shed|cation date)|effective"
    r"|date of \w+ ?\d*|posted)\b\s*:?\s*(?:on\s+)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Seen:
    """What a document's name and first page show."""

    document: Document
    stem: str
    head: str
    first_line: str


def classify(documents: Sequence[Document]) -> list[Classified]:
    """Classify documents together: which is a version of which depends on the others.

    Returns:
        The classified documents in their total order, which does not depend on the order in which they are given.
    """
    seen = [
        _seen(document) for document in sorted(documents, key=lambda one: (one.batch, one.name.casefold(), one.text))
    ]
    alone = [_alone(one) for one in seen]
    return sorted(_with_versions(alone), key=lambda one: one.order)


def families(classified: Sequence[Classified]) -> list[Family]:
    """Group classified documents by family, each in its order, with the ties that only the upload decides."""
    names = sorted({one.family for one in classified}, key=family_rank)
    return [_family(name, [one for one in classified if one.family == name]) for name in names]


def family_rank(name: str) -> tuple[int, str]:
    """Return a sort key that puts the call itself first."""
    first = ("rfp", "rfq", "itt", "nofo", "call", "guide", "sow", "pws")
    return (first.index(name) if name in first else len(first), name)


def _family(name: str, members: list[Classified]) -> Family:
    ordered = sorted(members, key=lambda one: one.order)
    ties = [
        (one.document.name, other.document.name)
        for one, other in pairwise(ordered)
        if one.stated_order == other.stated_order and _speaks_alike(one, other)
    ]
    return Family(
        name,
        versions=tuple(one for one in ordered if one.role in {BASE, VERSION}),
        statements=tuple(one for one in ordered if one.role in {AMENDMENT, FAQ}),
        templates=tuple(one for one in ordered if one.role == TEMPLATE),
        ties=tuple(ties),
    )


def _speaks_alike(one: Classified, other: Classified) -> bool:
    """Tell whether two documents compete: both are versions, or both amend."""
    return (one.role == AMENDMENT) == (other.role == AMENDMENT) and FAQ not in {one.role, other.role}


def _seen(document: Document) -> _Seen:
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", document.name)
    head = without_emphasis(mask(document.text[: 4 * HEAD]))
    head = re.sub(r"^[#\s=-]+", "", head)[:HEAD]
    lines = [" ".join(line.strip(" #|=*_").split()) for line in head.splitlines()]
    return _Seen(document, re.sub(r"[_\s]+", " ", stem).strip(), head, next((line for line in lines if line), ""))


def _alone(seen: _Seen) -> Classified:
    """Classify a document by its own name and first page."""
    family, because = _family_of(seen)
    reasons = [Reason(f"family {family}", because)]
    role, number, version, why = _role_of(seen, family)
    reasons += why
    released_on, because = _released_on(seen)
    if released_on is not None:
        reasons.append(Reason(f"date {released_on.isoformat()}", because))
    return Classified(seen.document, family, role, number, version, released_on, tuple(reasons))


def _family_of(seen: _Seen) -> tuple[str, str]:
    """Return the family that a name tells, else the one that is named first on the first page."""
    plain = re.sub(r"[_-]", " ", seen.stem)
    for name, pattern in _NAMED:
        if pattern.search(plain):
            return _kind(plain, name), "name"
    lines = [line for line in seen.head.splitlines() if line.strip()]
    for text in ("\n".join(line for line in lines[:4] if len(line) < 160), seen.head):
        named = [(found.start(), name, found.group()) for name, pattern in _NAMED if (found := pattern.search(text))]
        if text == seen.head:
            named = [one for one in named if one[1] != "faq"]  # many a call says where answers will be published
        if named:
            _, name, said = min(named)
            return _kind(text, name), f"first page: {' '.join(said.split())}"
    return _stem_family(seen.stem), "name"


def _kind(text: str, name: str) -> str:
    """Return the kind of call that a text names, for the family "call"."""
    if name != "call":
        return name
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, text, re.IGNORECASE)), "call")


def _stem_family(stem: str) -> str:
    """Return a family from a name without version, date and copy number."""
    plain = _COPY.sub(" ", _NAME_DATE.sub(" ", stem))
    plain = _VERSION.sub(" ", plain)
    plain = re.sub(
        r"\b(?:final|draft|revised|updated?|copy|clean|redline|conformed)\b", " ", plain, flags=re.IGNORECASE
    )
    return re.sub(r"[^a-z0-9]+", "_", plain.casefold()).strip("_") or "document"


def _role_of(seen: _Seen, family: str) -> tuple[str, float | None, str | None, list[Reason]]:
    if family == "faq" or _answers(seen):
        number, version, because = _version_of(seen)
        return (
            FAQ,
            number,
            version,
            [Reason("role faq", "title of questions and answers"), *_why_version(version, because)],
        )
    if amendment := _amendment(seen):
        found, because = amendment
        said = found.group("number")
        number = _number(said) if said else None
        kind = found["kind"].capitalize()
        version = f"{kind} {said}" if said else kind
        return AMENDMENT, number, version, [Reason(f"role amendment, {version}", because)]
    number, version, because = _version_of(seen)
    if _TEMPLATE.search(seen.stem) and not re.search(r"\bcall|request|instruction", seen.stem, re.IGNORECASE):
        return TEMPLATE, number, version, [Reason("role template", "name"), *_why_version(version, because)]
    return BASE, number, version, _why_version(version, because)


def _answers(seen: _Seen) -> bool:
    """Tell whether a document gives itself out as questions and answers, in its name or its first lines."""
    pattern = dict(_NAMED)["faq"]
    lines = [line for line in seen.head.splitlines() if line.strip()][:3]
    titled = any(len(line) < 120 and "|" not in line and pattern.search(line) for line in lines)
    return bool(pattern.search(re.sub(r"[_-]", " ", seen.stem))) or (titled and not _AMENDMENT.search(seen.stem))


def _why_version(version: str | None, because: str) -> list[Reason]:
    return [Reason(f"version {version}", because)] if version else []


def _amendment(seen: _Seen) -> tuple[re.Match[str], str] | None:
    """Find what makes a document an amendment. A whole new version that only lists amendments is none."""
    if found := _AMENDMENT.search(seen.stem):
        return found, "name"
    titles = [line for line in seen.head[:600].splitlines() if "|" not in line and len(line) < 160]
    found = _AMENDMENT.search("\n".join(line for line in titles if not _REFERS.search(line)))
    if found is None or not (found["number"] or _AMENDS.search(seen.head)):
        return None
    long = len(seen.document.text) > 20_000 and not _AMENDS.search(seen.head)
    return None if long else (found, f"first page: {' '.join(found.group().split())}")


def _number(said: str) -> float:
    return float(said) if said.isdigit() else float(_NUMBERS[said.casefold()])


def _version_of(seen: _Seen) -> tuple[float | None, str | None, str]:
    dateless = _NAME_DATE.sub(" ", seen.stem)
    if found := _VERSION.search(dateless):
        return float(found["number"]), f"v{found['number']}", "name"
    if found := _COPY.search(seen.stem):
        return 1 + float(found["number"]), f"copy {found['number']}", "name"
    if found := _VERSION.search(seen.head[:600]):
        return float(found["number"]), f"v{found['number']}", f"first page: {' '.join(found.group().split())}"
    for pattern, number in _WORDED:
        for text, because in ((dateless, "name"), (seen.head[:200], "first page")):
            if found := pattern.search(text):
                said = found.group().casefold()
                return number, said, because if because == "name" else f"first page: {said}"
    return None, None, ""


def _released_on(seen: _Seen) -> tuple[date | None, str]:
    """Return the date in the name, or the date on the first page that dates the document itself."""
    if found := _NAME_DATE.search(seen.stem):
        try:
            return date(int(found[1]), int(found[2]), int(found[3])), "name"
        except ValueError:
            pass
    for moment in moments(seen.head, is_day_first(seen.document.text)):
        before = seen.head[: moment.span[0]].rsplit("\n", 1)[-1]
        after = seen.head[moment.span[1] :].split("\n", 1)[0]
        alone = not before.strip(" #*_|:(") and not after.strip(" #*_|.):")
        if moment.day is not None and ((alone and moment.clock is None) or _DATED.search(before)):
            return moment.day, f"first page: {moment.said}"
    return None, ""


# Versions


def _with_versions(documents: list[Classified]) -> list[Classified]:
    """Make versions of documents that share a title and much of their text; others are families of their own."""
    words = {one.document.id: _sentences(one.document.text) for one in documents}
    groups: list[list[Classified]] = []
    placed = []
    for one in sorted(documents, key=lambda one: one.order):
        if one.role != BASE:
            placed.append(one)
            continue
        group = next((group for group in groups if _is_version(one, group[0], words)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    placed, reissued = _reissues(placed, groups, words)
    for group in _told_apart(groups):
        first = group[0]
        placed.append(first)
        shared = [round(100 * _share(words[first.document.id], words[one.document.id])) for one in group]
        placed += [
            replace(
                one, family=first.family, role=VERSION,
                reasons=(*one.reasons, Reason("role version", f"shares {share} % with {first.document.name}")),
            )
            for one, share in zip(group[1:], shared[1:], strict=True)
        ]  # fmt: skip
    return [_of_the_call(one, groups) if one.role in {AMENDMENT, FAQ} else one for one in (*placed, *reissued)]


def _reissues(
    placed: list[Classified], groups: list[list[Classified]], words: dict[str, set[str]]
) -> tuple[list[Classified], list[Classified]]:
    """Take amendments that repeat the whole document out of the others: they are versions of it."""
    rest, reissued = [], []
    for one in placed:
        whole = [group[0] for group in groups if _share(words[group[0].document.id], words[one.document.id]) >= SAME]
        if one.role == AMENDMENT and whole and len(words[one.document.id]) >= 0.5 * len(words[whole[0].document.id]):
            because = Reason("role version", f"repeats {whole[0].document.name} as a whole")
            number = 1 + (one.number or 1)
            reissued.append(
                replace(one, family=whole[0].family, role=VERSION, number=number, reasons=(*one.reasons, because))
            )
        else:
            rest.append(one)
    return rest, reissued


def _is_version(one: Classified, other: Classified, words: dict[str, set[str]]) -> bool:
    share = _share(words[one.document.id], words[other.document.id])
    if share >= SAME:
        return True
    return one.family == other.family and share >= SHARED and _names_alike(one, other)


def _names_alike(one: Classified, other: Classified) -> bool:
    names = [_stem_family(re.sub(r"\.\w+$", "", document.document.name)) for document in (one, other)]
    return fuzz.token_set_ratio(*(name.replace("_", " ") for name in names)) >= 50


def _sentences(text: str) -> set[str]:
    """Return the words of a document in threes, which survive another layout."""
    words = plain_words(without_emphasis(mask(text[:400_000])))
    return {" ".join(words[place : place + 3]) for place in range(max(1, len(words) - 2))}


def _share(one: set[str], other: set[str]) -> float:
    """Return how much of the smaller document stands in the other, if they are of a like size."""
    smaller, larger = sorted((len(one), len(other)))
    if not smaller or smaller < 0.2 * larger:
        return 0.0
    return len(one & other) / smaller


def _told_apart(groups: list[list[Classified]]) -> list[list[Classified]]:
    """Give families that bear one name, but are no versions of one another, names of their own."""
    taken: set[str] = set()
    named = []
    for group in groups:
        family = group[0].family
        if family in taken:
            family = _stem_family(re.sub(r"\.\w+$", "", group[0].document.name))
        while family in taken:
            family += "_other"
        taken.add(family)
        named.append([replace(one, family=family) for one in group])
    return named


def _of_the_call(one: Classified, groups: list[list[Classified]]) -> Classified:
    """Return an amendment or FAQ in the family that it speaks about: the one that it names, else the call."""
    names = sorted({group[0].family for group in groups}, key=family_rank)
    if not names or one.family in names:
        return one
    return replace(one, family=names[0], reasons=(*one.reasons, Reason(f"family {names[0]}", "speaks about the call")))


__all__ = ["AMENDMENT", "BASE", "FAQ", "TEMPLATE", "VERSION", "classify", "families", "family_rank"]
