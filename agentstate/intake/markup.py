"""Turn HTML into text whose headings, lists and tables the layout step recognizes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bs4 import BeautifulSoup, Tag
from bs4.element import Comment, NavigableString

from agentstate.intake.words import vocabulary

_SKIPPED = frozenset({"script", "style", "head", "noscript", "template", "svg", "nav"})
_BLOCKS = vocabulary(
    "p div section article main header footer aside blockquote ul ol dl dt dd table form fieldset figure figcaption"
    " pre address details summary"
)
DEPTH = 200  # of nesting, beyond which only the text counts


def text_of_html(html: str) -> str:
    """Return the text of HTML: ``#`` for headings, ``-`` for items, ``|`` for rows, blank lines for paragraphs."""
    soup = BeautifulSoup(html, "html.parser")
    pieces = "".join(_pieces(soup, 0))
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in pieces.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _pieces(node: Tag, depth: int) -> Iterator[str]:
    for child in node.children:
        if isinstance(child, NavigableString):
            if not isinstance(child, Comment) and type(child) is NavigableString:
                yield re.sub(r"\s+", " ", str(child))
        elif isinstance(child, Tag) and child.name not in _SKIPPED:
            yield from _of_tag(child, depth + 1)


def _of_tag(tag: Tag, depth: int) -> Iterator[str]:
    if depth > DEPTH:
        yield f" {tag.get_text(' ')} "
    elif re.fullmatch(r"h[1-6]", tag.name):
        yield f"\n\n{'#' * int(tag.name[1])} {_line(tag)}\n\n"
    elif tag.name == "li":
        yield "\n- "
        yield from _pieces(tag, depth)
    elif tag.name == "tr":
        yield from _row(tag)
    elif tag.name == "br":
        yield "\n"
    elif tag.name in {"s", "del", "strike"}:
        return  # what is struck out is no longer said
    elif tag.name in _BLOCKS:
        yield "\n\n"
        yield from _pieces(tag, depth)
        yield "\n\n"
    else:
        yield from _pieces(tag, depth)


def _row(row: Tag) -> Iterator[str]:
    cells = list(row.find_all(["td", "th"], recursive=False))
    yield f"\n| {' | '.join(_line(cell).replace('|', '/') for cell in cells)} |"
    if cells and all(cell.name == "th" for cell in cells):
        yield f"\n|{'---|' * len(cells)}"


def _line(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())
