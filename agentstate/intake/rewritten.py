"""Sections that are new, dropped or rewritten as wholes: each is one difference, not one a sentence."""

from __future__ import annotations

from agentstate.intake.alignment import Alignment, Pair
from agentstate.intake.layout import HEADING
from agentstate.intake.moved import Side
from agentstate.intake.noise import is_noise
from agentstate.intake.passages import ADDED, CHANGED, REMOVED, SECTION, Difference, Said
from agentstate.intake.statements import Paper, Statement

REWRITTEN = 4  # statements in a row from which a section counts as rewritten


def take_rewritten(alignment: Alignment, old: Paper, new: Paper) -> tuple[list[Difference], Alignment]:
    """Take sections that were rewritten, added or dropped as wholes out of an alignment: each is one difference."""
    found: list[Difference] = []
    gone = _touched(alignment.removed, alignment.pairs, old, is_old=True)
    come = _touched(alignment.added, alignment.pairs, new, is_old=False)
    taken: set[int] = set()
    for heading, (share, sides) in come.items():
        counterpart = _counterpart(alignment, heading, gone, new, old)
        if counterpart is not None:
            both = (*gone[counterpart][1], *sides)
            alone = sum(side.statement in _statements(alignment.removed, alignment.added) for side in both)
            if min(share, gone[counterpart][0]) > 0.6 and alone >= REWRITTEN:
                found.append(Difference(SECTION, CHANGED, _spanning(gone[counterpart][1], old), _spanning(sides, new)))
                taken |= {id(side) for side in both}
        elif share == 1.0 and len(sides) > 1 and _is_alone(alignment.added, new.sections[heading].heading):
            found.append(Difference(SECTION, ADDED, None, _spanning(sides, new)))
            taken |= {id(side) for side in sides}
    for heading, (share, sides) in gone.items():
        if any(id(side) in taken for side in sides):
            continue
        if share == 1.0 and len(sides) > 1 and _is_alone(alignment.removed, old.sections[heading].heading):
            found.append(Difference(SECTION, REMOVED, _spanning(sides, old), None))
            taken |= {id(side) for side in sides}
    rest = Alignment(
        [pair for pair in alignment.pairs if id(pair.old) not in taken and id(pair.new) not in taken],
        [side for side in alignment.removed if id(side) not in taken],
        [side for side in alignment.added if id(side) not in taken],
        alignment.kept,
    )
    return found, rest


def _statements(*lists: list[Side]) -> list[Statement]:
    return [side.statement for sides in lists for side in sides]


def _touched(sides: list[Side], pairs: list[Pair], paper: Paper, is_old: bool) -> dict[int, tuple[float, list[Side]]]:
    """Return for each section, by its place, the share of its statements that differ, and those."""
    differing = {id(side.statement): side for side in sides if len(side.left) >= 0.5 * len(side.words)}
    for pair in pairs:
        side = pair.old if is_old else pair.new
        if not all(is_noise(pair, hunk) for hunk in pair.hunks):
            differing[id(side.statement)] = side
    touched = {}
    for place, section in enumerate(paper.sections):
        found = [differing[id(one)] for one in section.statements if id(one) in differing and not one.is_heading]
        total = sum(not one.is_heading for one in section.statements)
        if found and total:
            touched[place] = (len(found) / total, found)
    return touched


def _counterpart(
    alignment: Alignment, heading: int, gone: dict[int, tuple[float, list[Side]]], new: Paper, old: Paper
) -> int | None:
    """Return the old section that stood under the same title, or under the title that became this one."""
    title = new.sections[heading].title.casefold()
    renamed = {
        pair.new.statement.text: pair.old.statement.text
        for pair in alignment.pairs
        if pair.new.statement.kind == HEADING
    }
    before = renamed.get(new.sections[heading].title, "").casefold()
    return next((place for place in gone if old.sections[place].title.casefold() in {title, before}), None)


def _is_alone(sides: list[Side], heading: Statement) -> bool:
    """Tell whether a heading stands in one version alone."""
    return any(side.statement is heading and len(side.left) == len(side.words) for side in sides)


def _spanning(sides: list[Side], paper: Paper) -> Said:
    first = sides[0].statement
    span = (min(side.statement.span[0] for side in sides), max(side.statement.span[1] for side in sides))
    return Said(paper, first, span, first.title or paper.quote(*span))
