"""Questions and answers. What a question says is no statement of the call; only its answer is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agentstate.intake.documents import Span
from agentstate.intake.statements import Paper, Statement
from agentstate.intake.words import words_in

_QUESTION = re.compile(r"^(?:q(?:uestion)?\s*(?:no\.?\s*)?\d*\s*[.:)–-]|q\d+\b)\s*", re.IGNORECASE)
_ANSWER = re.compile(
    r"^(?:a(?:nswer)?\s*(?:no\.?\s*)?\d*\s*[.:)–-]|a\d+\b|response\s*\d*\s*[.:)–-]|reply\s*[.:)])\s*", re.IGNORECASE
)
_BARE = re.compile(r"^[AQ]\s*\d*$")


@dataclass(frozen=True)
class Answered:
    """A question with its answer."""

    question: str
    answer: str
    span: Span
    answers: tuple[Statement, ...]


def answered(paper: Paper) -> list[Answered]:
    """Return the questions and answers of a document, in order. Headings that ask count as questions."""
    pairs: list[Answered] = []
    asked: list[Statement] = []
    said: list[Statement] = []
    in_answer = False
    for statement in paper.statements:
        if row := _row(statement):
            pairs.append(row)
        elif _asks(statement, in_answer, bool(asked)):
            if said:
                pairs += _answered(asked, said)
                asked, said = [], []
            asked.append(statement)
            in_answer = False
        elif asked:
            if _ANSWER.match(statement.text):
                in_answer = True
            elif not in_answer and not said and not _ended(asked):
                asked.append(statement)
                continue
            said.append(statement)
    return pairs + _answered(asked, said)


def is_question(statement: Statement) -> bool:
    """Tell whether a statement asks; a row does where one of its cells asks."""
    if statement.kind == "row":
        return any(cell.strip().endswith("?") for cell in statement.text.split(" | "))
    return statement.text.rstrip('*_ "”)').endswith("?") or bool(_QUESTION.match(statement.text))


def _asks(statement: Statement, in_answer: bool, is_open: bool) -> bool:
    if _QUESTION.match(statement.text):
        return True
    if not statement.text.rstrip("*_ ").endswith("?"):
        return False
    return statement.is_heading or not (in_answer and is_open) or statement.kind == "item"


def _ended(asked: Sequence[Statement]) -> bool:
    return asked[-1].text.rstrip().endswith("?")


def _row(statement: Statement) -> Answered | None:
    """Return the pair of a row that has a question in one cell and its answer in the next."""
    if statement.kind != "row":
        return None
    cells = [cell.strip() for cell in statement.text.split(" | ")]
    place = next((place for place, cell in enumerate(cells[:-1]) if cell.endswith("?")), None)
    if place is None:
        return None
    answer = replace(statement, text=cells[place + 1], words=words_in(cells[place + 1]))
    return Answered(cells[place], cells[place + 1], statement.span, (answer,))


def _answered(asked: list[Statement], said: list[Statement]) -> list[Answered]:
    if not asked or not said:
        return []
    question = " ".join(_QUESTION.sub("", statement.text) for statement in asked if not _BARE.match(statement.text))
    answer = " ".join(_ANSWER.sub("", statement.text) for statement in said)
    return [Answered(question.strip(), answer.strip(), (asked[0].span[0], said[-1].span[1]), tuple(said))]
