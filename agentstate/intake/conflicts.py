"""The conflict log: one entry for each thing that two versions say differently, however often they say it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentstate.intake.classify import AMENDMENT, FAQ
from agentstate.intake.differences import differences
from agentstate.intake.layout import ROW
from agentstate.intake.passages import CHANGED, DATE, LIMIT, SECTION, Difference, Said
from agentstate.intake.quantities import bound_of, only_mentions
from agentstate.intake.statements import Paper
from agentstate.intake.subjects import key_of, kind_of, label_of, limited_by, purpose_of, subject_of, telling
from agentstate.intake.words import LIGHT, plain_words

CONTRADICTION = "contradiction"
_UNIT_NAMES = {"$": "amount", "€": "amount", "£": "amount"}
_SCORES = re.compile(r"\bevaluation|\bcriteri|\bscor|\breview(?:ed)?$|\bassessment", re.IGNORECASE)


@dataclass(frozen=True)
class Conflict:
    """An entry of the conflict log.

    Attributes:
        type: ``limit_conflict``, ``date_conflict``, ``rule_conflict``, ``section_conflict``,
            ``eligibility_conflict`` or ``scoring_conflict``.
        key: stable and readable; unique in its type.
        change: ``changed``, ``added``, ``removed`` or ``contradiction``.
        previous, next: what each side says; None where it says nothing.
        mentions: where else the newer side says the same.
        family: the family of the documents; tells equal keys apart.
    """

    type: str
    key: str
    change: str
    previous: Said | None
    next: Said | None
    family: str
    mentions: tuple[Said, ...] = ()
    resolved: str | None = None
    unit: str = field(default="", repr=False)

    @property
    def newest(self) -> Said:
        said = self.next or self.previous
        assert said is not None  # noqa: S101 - one side always speaks
        return said

    def as_json(self) -> dict[str, Any]:
        """Return the entry as the conflict log keeps it."""
        entry: dict[str, Any] = {
            "type": self.type,
            "key": self.key,
            "label": label_of(self.key),
            "change": self.change,
            "previous": side_as_json(self.previous),
            "next": side_as_json(self.next),
        }
        if self.mentions:
            entry["mentions"] = [side_as_json(said) for said in self.mentions]
        if self.resolved is not None:
            entry["resolved"] = self.resolved
        return entry


def side_as_json(said: Said | None) -> dict[str, Any] | None:
    if said is None:
        return None
    return {**said.paper.classified.provenance(said.span), "value": said.value, "quote": said.quote}


def compare(old: Paper, new: Paper) -> list[Conflict]:
    """Return what two successive versions of one family say differently."""
    return conflicts_of(differences(old, new))


def conflicts_of(found: Iterable[Difference]) -> list[Conflict]:
    return _merged([_conflict(difference) for difference in found])


def with_unique_keys(conflicts: Sequence[Conflict], first_family: str | None) -> list[Conflict]:
    """Tell entries of one type and key apart: by family, then by section, then by what they say.

    Args:
        first_family: the family whose entries keep the short key.
    """
    told_apart = list(conflicts)
    for way in (_by_family(first_family), _by_section, _by_words):
        counts = Counter((conflict.type, conflict.key) for conflict in told_apart)
        told_apart = [
            replace(conflict, key=way(conflict)) if counts[(conflict.type, conflict.key)] > 1 else conflict
            for conflict in told_apart
        ]
    return _numbered(told_apart)


def _conflict(difference: Difference) -> Conflict:
    said = difference.newest
    family = said.paper.classified.family
    if difference.what == SECTION:
        key = key_of(*plain_words(said.value)[:6])
        return Conflict("section_conflict", key, difference.change, difference.old, difference.new, family)
    if difference.what == DATE:
        key = _date_key(difference, said)
        return Conflict("date_conflict", key, difference.change, difference.old, difference.new, family)
    if difference.what == LIMIT:
        key = key_of(*_subject_of_limit(_setting(difference)), _UNIT_NAMES.get(difference.unit, difference.unit))
        return Conflict(
            "limit_conflict", key, difference.change, difference.old, difference.new, family, unit=difference.unit
        )
    kind = _kind(difference, said)
    key = key_of(*_subject_of_words(difference, said))
    return Conflict(f"{kind}_conflict", key, difference.change, difference.old, difference.new, family)


def _setting(difference: Difference) -> Said:
    """Return the passage that sets what is changed: an amendment may change it in passing."""
    if difference.old and difference.newest.paper.classified.role in {AMENDMENT, FAQ}:
        return difference.old
    return difference.newest


def _subject_of_limit(said: Said) -> list[str]:
    """Return what is limited: the subject of the sentence, or the words before the number where there is no verb."""
    text = said.statement.text
    head = text[: text.find(said.value)] if said.value in text else text
    subject = limited_by(text, head) or subject_of(said.statement.title)[:3] or subject_of(text)[:3]
    return subject or ["limit"]


def _kind(difference: Difference, said: Said) -> str:
    """Return what a rule is about: by the words that changed, or by its sentence where it is new or gone."""
    about = " ".join(difference.words) if difference.change == CHANGED else said.quote
    kind = kind_of(about)
    if kind == "rule" and _SCORES.search(said.statement.title):
        return "scoring"
    return kind


def _date_key(difference: Difference, said: Said) -> str:
    if difference.context == "document":
        return "document_date"
    said = _setting(difference)
    purpose = purpose_of(difference.context, said.statement.text, said.statement.title)
    if purpose != "date":
        return purpose
    return key_of(*(subject_of(said.statement.text, 3) or ["other"]), "date")


def _subject_of_words(difference: Difference, said: Said) -> list[str]:
    """Return what a rule is about: its subject and, where that is short or the rule is new or gone, what follows."""
    text = said.statement.text if said.statement.kind == ROW else said.quote
    subject = subject_of(text)
    if difference.change != CHANGED or len(subject) < 3:
        subject += [word for word in telling(plain_words(text)) if word not in subject]
    return list(dict.fromkeys(subject))[:5] or [word for word in difference.words if word not in LIGHT][:4]


# One fact said several times


def _merged(conflicts: list[Conflict]) -> list[Conflict]:
    """Merge entries that say one change of one date or limit; the plainest is kept, the others are mentions."""
    groups: list[list[Conflict]] = []
    for conflict in conflicts:
        group = next((group for group in groups if _is_one_fact(group, conflict)), None)
        if group is None:
            groups.append([conflict])
        else:
            group.append(conflict)
    return [_one(group) for group in groups]


def _is_one_fact(group: list[Conflict], conflict: Conflict) -> bool:
    first = group[0]
    if first.type != conflict.type or first.change != conflict.change or first.family != conflict.family:
        return False
    if conflict.previous is None or conflict.next is None or first.previous is None or first.next is None:
        return False
    if conflict.type == "date_conflict":
        return first.key == conflict.key and _moment(first.next.value) == _moment(conflict.next.value)
    if conflict.type != "limit_conflict" or first.unit != conflict.unit:
        return False
    if [_digits(side.value) for side in (first.previous, first.next)] != [
        _digits(side.value) for side in (conflict.previous, conflict.next)
    ]:
        return False
    return any(_refers(other, conflict) for other in group)


def _refers(one: Conflict, other: Conflict) -> bool:
    """Tell whether two entries are about one limit: one only mentions it, or they share what they are about."""
    if any(only_mentions(conflict.newest.quote) for conflict in (one, other)):
        return True
    subjects = [
        {word.rstrip("s") for word in telling(plain_words(conflict.newest.quote))} - {conflict.unit.rstrip("s")}
        for conflict in (one, other)
    ]
    smaller = min(len(subject) for subject in subjects)
    return bool(smaller) and len(subjects[0] & subjects[1]) >= max(2, 0.4 * smaller)


def _one(group: list[Conflict]) -> Conflict:
    """Return the entry that sets the fact most plainly, with the others as its mentions."""
    best = min(
        group,
        key=lambda conflict: (
            only_mentions(conflict.newest.quote),
            not bound_of(conflict.newest.quote),
            group.index(conflict),
        ),
    )
    others = tuple(conflict.newest for conflict in group if conflict is not best)
    return replace(best, mentions=others)


def _moment(value: str) -> str:
    return " ".join(plain_words(value))


def _digits(value: str) -> list[str]:
    return re.findall(r"\d+", value) + re.findall(r"at most|at least", value)


# Keys


def _by_family(first_family: str | None):  # type: ignore[no-untyped-def]
    def way(conflict: Conflict) -> str:
        return conflict.key if conflict.family == first_family else key_of(conflict.family, conflict.key)

    return way


def _by_section(conflict: Conflict) -> str:
    title = subject_of(conflict.newest.statement.title, 3)
    return key_of(conflict.key, "in", *title) if title else conflict.key


def _by_words(conflict: Conflict) -> str:
    used = set(conflict.key.split("_"))
    more = [word for word in subject_of(conflict.newest.quote, 12) if word not in used]
    return key_of(conflict.key, *more[:4])


def _numbered(conflicts: Sequence[Conflict]) -> list[Conflict]:
    """Number what is still alike, in the order in which it stands."""
    seen: Counter[tuple[str, str]] = Counter()
    numbered = []
    for conflict in conflicts:
        seen[(conflict.type, conflict.key)] += 1
        count = seen[(conflict.type, conflict.key)]
        numbered.append(conflict if count == 1 else replace(conflict, key=f"{conflict.key}_{count}"))
    return numbered
