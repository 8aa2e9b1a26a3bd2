"""Take a document's lines apart into headings, paragraphs, list items and rows of tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentstate.intake.documents import Span
from agentstate.intake.masking import CLAUSE, HASHES, MARKER, blank, is_separator, is_underline, mask, without_emphasis
from agentstate.intake.words import COMPARATORS, MODALS

HEADING, PARAGRAPH, ITEM, ROW, HEAD = "heading", "paragraph", "item", "row", "head"

_KEYWORD = re.compile(
    r"(?:section|part|article|annex|appendix|attachment|exhibit|schedule|volume|chapter|lot|tab|factor"
    r"|phase|stage|step)"
    r"\s+(?:\d+(?:\.\d+)*|[A-Z]|[IVX]+|one|two|three|four|five)\b[\s:.–-]*(.*)$",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[ \t]*[*_]{0,3}(?:[A-Z][\w’'()/&. -]{0,45}?):[*_]{0,3}[ \t]+\S")
_BOLD = re.compile(r"[ \t]*(\*\*|__)(?P<words>[^*_\n]{2,80})\1:?[ \t]*$")
_ASKING = re.compile(r"(?:Who|How|What|When|Where|Why)\s")
_ENDED = re.compile(r"[.:;!?][\"”’')\]*_]*\s*$|[,]\s*$|\b(?:and|or)\s*$")
_LONG_LINE = 60


@dataclass(frozen=True)
class Block:
    """A heading, paragraph, item or row.

    Attributes:
        kind: ``heading``, ``paragraph``, ``item``, ``row`` or ``head`` (a table's head).
        span: where it stands, without its marker or number.
        level: of a heading, 1 the highest.
        number: a heading's or item's own number or letter, as it stands.
    """

    kind: str
    span: Span
    level: int = 0
    number: str = ""


@dataclass(frozen=True)
class Layout:
    """A text with its markup blanked, at the offsets of the original, and its blocks in order."""

    masked: str
    blocks: list[Block]

    def words_of(self, block: Block) -> str:
        return " ".join(self.masked[slice(*block.span)].split())


@dataclass(frozen=True)
class _Line:
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def lay_out(text: str) -> Layout:
    """Find the blocks of a text. Never raises; text without any structure is one paragraph."""
    masked = mask(text)
    reader = _Reader(masked)
    for line in _lines(masked):
        reader.read(line)
    reader.close()
    blanked = without_emphasis("".join(reader.pieces))
    return Layout(blanked, _numbered_lists(reader.blocks, blanked))


def is_title(text: str, most: int = 9) -> bool:
    """Tell whether words look like a title: few, most of them capitalized, without an end or a modal verb."""
    words = text.split()
    if _ASKING.match(text) and len(words) <= 6 and text.rstrip()[-1] not in ".,;:!?":
        return True
    if not 1 <= len(words) <= most or text.rstrip()[-1] in ".,;!?" or "@" in text or "://" in text:
        return False
    if re.search(r"[a-z][.!?]\s", text.strip()):
        return False  # a sentence begins in it
    if not (words[0][0].isupper() or words[0][0].isdigit()) or any(word.casefold() in MODALS for word in words):
        return False
    long = [word for word in words if len(word) > 3 and word[0].isalpha()]
    return sum(word[0].isupper() for word in long) >= 0.6 * len(long) and any(word[0].isalpha() for word in words)


class _Reader:
    """Reads line after line, with the paragraph that is open."""

    def __init__(self, masked: str) -> None:
        self.masked = masked
        self.blocks: list[Block] = []
        self.pieces: list[str] = []
        self.open: Block | None = None
        self.before: _Line | None = None  # the line before, None where it was blank
        self.marker = ""
        self.starts_upper = False  # the line that is read begins with a capital letter

    def read(self, line: _Line) -> None:
        stripped = line.text.strip()
        kept = line.text
        self.starts_upper = stripped[:1].isupper()
        if not stripped:
            self.close()
        elif is_separator(line.text):
            self._make_last_row_a_head()
            kept = blank(line.text, 0, len(line.text))
        elif is_underline(line.text):
            self._underlined(stripped)
            kept = blank(line.text, 0, len(line.text))
        else:
            kept = self._read_words(line)
        self.pieces.append(kept)
        self.before = line if stripped and kept.strip() else None

    def close(self) -> None:
        if self.open is not None:
            self.blocks.append(self.open)
            self.open = None

    def _resume(self, line: _Line) -> None:
        """Open the paragraph again that a page break cut in two: it has no end, and the line begins in lower case."""
        last = self.blocks[-1] if self.blocks else None
        if (
            self.open is not None
            or last is None
            or last.kind not in {PARAGRAPH, ITEM}
            or not line.text.lstrip()[:1].islower()
        ):
            return
        between = self.masked[last.span[1] - 1 : line.start]
        if (
            "\f" in between
            and not between.strip()
            and not _ENDED.search(self.masked[slice(*last.span)].rstrip()[-40:])
        ):
            self.open = self.blocks.pop()

    def _read_words(self, line: _Line) -> str:
        self._resume(line)
        if hashes := HASHES.match(line.text):
            return self._heading(line, hashes.end(), len(hashes.group(1)))
        bold = _BOLD.match(line.text)
        if bold and not self._runs_on() and is_title(bold["words"].rstrip(":")):
            return self._heading(line, 0, 5)
        if _is_row(line.text):
            return self._row(line)
        if (marker := self._marker(line.text)) is not None:
            return self._item(line, marker)
        if not self._runs_on() and (clause := CLAUSE.match(line.text)):
            return self._clause(line, clause)
        if not self._runs_on() and self._is_plain_heading(line):
            return self._heading(line, 0, 1 if line.text.isupper() else 6)
        labelled = _LABEL.match(line.text) and (not self._runs_on() or self._follows_label())
        if self.open is None or labelled or self._follows_title() or self._leaves_list(line):
            self.close()
            self.open = Block(PARAGRAPH, (line.start, line.end))
        else:
            self.open = Block(self.open.kind, (self.open.span[0], line.end), 0, self.open.number)
        return line.text

    def _runs_on(self) -> bool:
        """Tell whether the paragraph before goes on in this line: it is open and its last line has no end."""
        if self.open is None or self.before is None:
            return False
        last = self.before.text.strip()
        return len(last) > _LONG_LINE // 3 and not _ENDED.search(last) and not self._follows_title()

    def _leaves_list(self, line: _Line) -> bool:
        """Tell whether a sentence follows a short item without a blank line: it is no part of the item."""
        if self.open is None or self.open.kind != ITEM or self.before is None or not self.starts_upper:
            return False
        first = line.text.casefold().split()[:8]
        return len(self.before.text.strip()) < 45 and any(word in MODALS for word in first)

    def _follows_title(self) -> bool:
        """Tell whether the line before is a title of its own, such as those of a title page."""
        last = self.before.text.strip() if self.before else ""
        return self.starts_upper and 0 < len(last) < _LONG_LINE and is_title(last)

    def _follows_label(self) -> bool:
        """Tell whether the line before is a labelled one, so that this one is a line of the same list."""
        return self.before is not None and len(self.before.text) < _LONG_LINE and bool(_LABEL.match(self.before.text))

    def _marker(self, text: str) -> re.Match[str] | None:
        marker = MARKER.match(text)
        if marker is None or not text[marker.end() :].strip():
            return None
        own = re.sub(r"[\s>]", "", marker.group())
        if own[0] in "-–—*•▪◦●‣+·" or not self._runs_on():
            return marker
        return marker if self._continues_list(own) else None

    def _continues_list(self, own: str) -> bool:
        """Tell whether a marker is the next of the list that is open, or the first number of one."""
        label, last = re.sub(r"\W", "", own), re.sub(r"\W", "", self.marker)
        in_list = self.open is not None and self.open.kind == ITEM
        if label.isdecimal() and len(label) < 4:
            is_next = last.isdecimal() and len(last) < 4 and int(label) == int(last) + 1
            return (is_next and in_list) or ("(" not in own and (label == "1" or is_next))
        return in_list and len(label) == len(last) == 1 and ord(label) == ord(last) + 1

    def _item(self, line: _Line, marker: re.Match[str]) -> str:
        self.close()
        self.marker = marker.group().strip()
        rest = line.text[marker.end() :]
        kept = blank(line.text, 0, marker.end()) + rest
        clause = CLAUSE.match(rest)
        start = line.start + marker.end() + (clause.end() if clause else 0)
        numbered = re.fullmatch(r"\(?(\d{1,2})\\?[.)]", self.marker)
        if numbered and (is_title(rest) or (self._is_alone(line) and _is_caption(rest))):
            self.blocks.append(Block(HEADING, (start, line.end), 2, numbered.group(1)))
        else:
            self.open = Block(ITEM, (start, line.end), 0, self.marker)
        return kept

    def _is_alone(self, line: _Line) -> bool:
        """Tell whether blank lines, or the ends of the text, stand around a line."""
        end = self.masked.find("\n", line.end)
        follows = self.masked[line.end : end if end >= 0 else len(self.masked)]
        return self.before is None and (line.text.endswith("\f") or not follows.strip())

    def _clause(self, line: _Line, clause: re.Match[str]) -> str:
        self.close()
        number = clause.group().strip(" \t:–-\\.")
        rest = line.text[clause.end() :]
        if is_title(rest, 12):
            self.blocks.append(Block(HEADING, (line.start + clause.end(), line.end), number.count(".") + 1, number))
        elif rest.strip():
            self.open = Block(PARAGRAPH, (line.start + clause.end(), line.end), 0, number)
        return blank(line.text, 0, clause.end()) + rest

    def _heading(self, line: _Line, after: int, level: int) -> str:
        self.close()
        numbered = CLAUSE.match(line.text, after) or re.compile(r"[ \t]*\d{1,2}\\?[.)]?[ \t]+(?=[A-Z])").match(
            line.text, after
        )
        start = numbered.end() if numbered else after
        number = numbered.group().strip(" \t:–-\\.)") if numbered else ""
        words = line.text[start:].rstrip("# \t")
        if words.strip("*_ "):
            self.blocks.append(Block(HEADING, (line.start + start, line.start + start + len(words)), level, number))
        return blank(line.text, 0, start) + words + " " * (len(line.text) - start - len(words))

    def _row(self, line: _Line) -> str:
        self.close()
        self.blocks.append(Block(ROW, (line.start, line.end)))
        return line.text

    def _underlined(self, rule: str) -> None:
        above = self.open
        self.open = None
        if above is None:
            return
        words = self.masked[slice(*above.span)]
        if rule[0] in "=-" and "\n" not in words.strip() and len(words) < 150 and above.kind != ITEM:
            self.blocks.append(Block(HEADING, above.span, 1 if rule[0] == "=" else 2, above.number))
        else:
            self.blocks.append(above)

    def _make_last_row_a_head(self) -> None:
        self.close()
        if self.blocks and self.blocks[-1].kind == ROW:
            self.blocks[-1] = Block(HEAD, self.blocks[-1].span)

    def _heads_a_text(self, line: _Line) -> bool:
        """Tell whether a short line after a blank one stands right over a text or a list."""
        end = self.masked.find("\n", line.end)
        follows = self.masked[line.end : end if end >= 0 else len(self.masked)].strip()
        if self.before is not None or len(line.text.split()) > 4 or not follows or not follows[0].isupper():
            return bool(self.before is None and len(line.text.split()) <= 4 and MARKER.match(follows))
        return len(follows) > _LONG_LINE or bool(_LABEL.match(follows) or re.search(r"\d", follows))

    def _is_plain_heading(self, line: _Line) -> bool:
        text = line.text.strip().strip("*_")
        if not text or (":" in text.rstrip(":") and not _KEYWORD.match(text)):
            return False
        if keyword := _KEYWORD.match(text):
            return len(text) < 80 and (not keyword.group(1) or is_title(keyword.group(1)))
        if text.isupper() and is_title(text, 14) and len(text) > 4 and not re.search(r"\bX{2,}\b|\d{4}", text):
            return True
        alone = self._is_alone(line) and line.end + 2 < len(self.masked)
        return (
            (alone or self._heads_a_text(line)) and is_title(text.rstrip(":")) and not re.search(r"\d{2,}|[,@]", text)
        )


def _is_caption(text: str) -> bool:
    """Tell whether a numbered line that stands alone heads what follows, though its words are not capitalized."""
    words = text.split()
    if not 1 <= len(words) <= 7 or text.rstrip()[-1] in ".,;:!?" or not words[0][0].isupper():
        return False
    return not any(word.casefold() in MODALS for word in words)


def _is_row(text: str) -> bool:
    if re.search(r"^\s*\||[ \t]\|[ \t]|\|\s*$|\t\|", text):
        return True
    cells = [cell for cell in text.strip().split("\t") if cell.strip()]
    marker = MARKER.match(text)
    if marker and marker.group().strip() and len(cells) <= 2:
        return False
    if HASHES.match(text) or CLAUSE.match(text):
        return False
    return (
        len(cells) > 1
        and all(len(cell) <= 80 for cell in cells)
        and not any(word in COMPARATORS for word in cells[-1].casefold().split()[:1])
    )


def _lines(text: str) -> list[_Line]:
    lines, start = [], 0
    for piece in re.split(r"(?<=[\n\f])", text):
        if piece:
            lines.append(_Line(start, piece))
        start += len(piece)
    return lines


def _is_numbered_title(block: Block) -> bool:
    if block.kind == ITEM:
        return block.number.rstrip(".").isdecimal() and block.span[1] - block.span[0] < _LONG_LINE
    return block.kind == HEADING and block.level == 2 and block.number.isdecimal()


def _numbered_lists(blocks: list[Block], masked: str) -> list[Block]:
    """Make items of numbered titles that follow one another with nothing between: they are a list, not headings."""
    made = list(blocks)
    for place, block in enumerate(blocks):
        if block.kind != HEADING or block.level != 2 or not block.number.isdecimal():
            continue
        beside = [blocks[other] for other in (place - 1, place + 1) if 0 <= other < len(blocks)]
        if any(_is_numbered_title(other) for other in beside):
            made[place] = Block(ITEM, block.span, 0, block.number)
    return made
