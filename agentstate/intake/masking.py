"""Blank out what is layout, so that the rest can be read at the offsets of the original text."""

from __future__ import annotations

import re
from collections import Counter

from agentstate.intake.documents import PAGE_BREAK

# A list's marker at the start of a line: "-", "•", "3.", "b)", "(iv)", several of them too ("(d) (1)").
_BULLET = r"[-–—*•▪◦●‣+·](?=\s)"
_LETTERED = r"\(?(?:[a-zA-Z]|[ivxIVX]{1,5})\\?[.)](?=\s)"
_NUMBERED = r"\(?\d{1,2}\\?\)(?=\s|[A-Z])|\(?\d{1,2}\\?\.(?=\s|[A-Z])"
MARKER = re.compile(rf"[ \t>]*(?:(?:{_BULLET}|{_LETTERED}|{_NUMBERED})[ \t]*)+")
# A clause's number, "5.6.2" or "§ 4.1", and the words that number a heading.
CLAUSE = re.compile(r"[ \t]*(?:§+ ?)?\d{1,2}(?:\.\d{1,3})+\\?\.?(?=[\s:–-]|[A-Z])[ \t:–-]*")
HASHES = re.compile(r"[ \t]{0,3}(#{1,6})(?!\d+\b(?!\.))[ \t]*")
_UNDERLINE = re.compile(r"[ \t]*(?:={3,}|-{3,}|\*{3,}|_{3,}|~{3,})[ \t]*$")
_SEPARATOR = re.compile(r"[ \t]*\|?[ \t:]*-{2,}[-|: \t+]*$")
_CONTENTS = re.compile(r".*?(?:\.[ \t]?){4,}\s*\d{1,3}\s*$|.*…+\s*\d{1,3}\s*$")
_PAGE_NUMBER = re.compile(r"\s*(?:page\s+)?[-–|]*\s*\d{1,4}\s*(?:(?:of|/)\s*\d{1,4})?\s*[-–|]*\s*$", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]\n]{0,300}(?:\n[^\[\]\n]{1,300})?)\][ ]?\((?:[^()\s]|\([^()]{0,200}\)){0,500}\)")
_ANGLE = re.compile(r"<(?=https?:|mailto:|[\w.+-]+@)|(?<=[\w/])>(?=\s|[.,;)]|$)")
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s+[^<>\n]{0,200})?/?>|<!--.{0,1000}?-->", re.DOTALL)
_ENTITY = re.compile(r"&(?:nbsp|amp|quot|lt|gt|#\d{1,6}|[a-z]{2,8});")
_EMPHASIS = re.compile(r"\*+|(?<!\w)_{1,3}(?=\S)|(?<=[^\s_])_{1,3}(?!\w)|`+|\\(?=[^\w\s])|~~")

CONTENTS = 300  # characters of a line of a table of contents at most
EDGE_LINES = 3  # of a page, among which running heads are sought


def blank(text: str, start: int, end: int) -> str:
    """Return as many blanks as the stretch has characters; line and page breaks stay."""
    return re.sub(r"[^\n\f]", " ", text[start:end])


def without(text: str, pattern: re.Pattern[str]) -> str:
    return pattern.sub(lambda found: blank(text, *found.span()), text)


def mask(text: str) -> str:
    """Return the text with markup, running heads, page numbers and contents blanked; of the same length."""
    masked = without(text, _TAG)
    masked = _LINK.sub(lambda found: _link_words(found), masked)
    masked = without(masked, _ANGLE)
    masked = without(masked, _ENTITY)
    masked = _without_running_heads(masked)
    return "".join(_mask_line(line) for line in masked.splitlines(keepends=True))


def without_emphasis(masked: str) -> str:
    """Blank out the marks of emphasis. Lists are recognized before, since a star can be both."""
    return without(masked, _EMPHASIS)


def is_underline(line: str) -> bool:
    """Tell whether the line is a rule or underlines a heading."""
    return bool(_UNDERLINE.match(line))


def is_separator(line: str) -> bool:
    """Tell whether the line parts a table's head from its rows."""
    return "|" in line and bool(_SEPARATOR.match(line))


def _link_words(found: re.Match[str]) -> str:
    """Keep the words that a link stands on; the address is layout."""
    whole, (start, end), base = found.group(0), found.span(1), found.start()
    return " " * (start - base) + found.group(1) + blank(whole, end - base, len(whole))


def _mask_line(line: str) -> str:
    if len(line) < CONTENTS and _CONTENTS.match(line):
        return blank(line, 0, len(line))
    return line


def _without_running_heads(text: str) -> str:
    """Blank out page numbers and lines that most pages begin or end with."""
    pages = text.split(PAGE_BREAK)
    if len(pages) < 2:
        return text
    edges = [_edges(page) for page in pages]
    shapes = Counter(shape for page in edges for shape in {_shape(line) for _, line in page})
    least = max(3, len(pages) // 2) if len(pages) > 2 else 2
    running = {shape for shape, count in shapes.items() if count >= least and shape}
    return PAGE_BREAK.join(
        _drop_lines(page, {place for place, line in edge if _shape(line) in running or _PAGE_NUMBER.fullmatch(line)})
        for page, edge in zip(pages, edges, strict=True)
    )


def _edges(page: str) -> list[tuple[int, str]]:
    """Return the first and the last lines of a page that are not blank, with their places."""
    lines = [(place, line) for place, line in enumerate(page.split("\n")) if line.strip()]
    return lines if len(lines) <= 2 * EDGE_LINES else [*lines[:EDGE_LINES], *lines[-EDGE_LINES:]]


def _shape(line: str) -> str:
    """Return what two running heads share: their words, with any page number alike."""
    return re.sub(r"\d+", "#", " ".join(line.casefold().split()))


def _drop_lines(page: str, places: set[int]) -> str:
    if not places:
        return page
    return "\n".join(" " * len(line) if place in places else line for place, line in enumerate(page.split("\n")))
