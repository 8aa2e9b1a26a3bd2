"""What never counts as a difference: layout, small words, lost letters, renumbering."""

from __future__ import annotations

import re

from agentstate.intake.alignment import Pair
from agentstate.intake.words import LIGHT, is_exact, loses_a_letter, vocabulary

_REFERENCES = vocabulary(
    "section sections paragraph clause article appendix annex attachment attachments exhibit part"
    " item page figure table chapter form schedule enclosure volume addendum amendment pws sow qasp rfp rfq itt"
)
_PLACE = re.compile(r"[a-z]\.[a-z]|/|@|:")


def is_noise(pair: Pair, hunk: tuple[range, range]) -> bool:
    """Tell whether a stretch differs only in what never counts: layout, small words, lost letters, renumbering."""
    old = [pair.old.words[place] for place in hunk[0]]
    new = [pair.new.words[place] for place in hunk[1]]
    if all(word in LIGHT for word in (*old, *new)) or "".join(old) == "".join(new):
        return True
    if len(old) == len(new) and all(
        one == other or loses_a_letter(one, other) or _is_cut_address(one, other)
        for one, other in zip(old, new, strict=True)
    ):
        return True
    if not (old and new):
        alone = old or new
        if all(word in LIGHT or is_address(word) for word in alone):
            return True
        elsewhere = pair.new.words if old else pair.old.words
        if len(alone) == 1 and not is_exact(alone[0]) and alone[0] in elsewhere:
            return True
        heavy = [word for word in alone if word not in LIGHT]
        if all(word in _REFERENCES for word in heavy):
            return True
    return _is_renumbered(pair, hunk, old, new)


def _is_renumbered(pair: Pair, hunk: tuple[range, range], old: list[str], new: list[str]) -> bool:
    """Tell whether only the number of a clause that is referred to differs."""
    if len(old) != 1 or len(new) != 1 or not re.fullmatch(r"[\d.]+|[a-z]", old[0]):
        return False
    before = pair.old.words[hunk[0].start - 1] if hunk[0].start else ""
    return before in _REFERENCES and bool(re.fullmatch(r"[\d.]+|[a-z]", new[0]))


def is_address(word: str) -> bool:
    return bool(_PLACE.search(word)) and any(letter.isalpha() for letter in word)


def _is_cut_address(one: str, other: str) -> bool:
    return is_address(one) and (one.startswith(other) or other.startswith(one))
