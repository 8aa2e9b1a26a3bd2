"""No input makes an intake raise; layout and the order of files change nothing."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agentstate.intake.documents import Document
from agentstate.intake.reading import SourceFile, read
from agentstate.intake.state import Project, work_out_state
from tests.intake.bundles import BUNDLES

BASES = [text for bundle in BUNDLES for text in list(bundle.documents.values())[:1]]
PIECES = some.sampled_from(
    [
        *"#*-|\\<>[]()_\t\n\f.:?!&;0123456789", "a) ", "1.", "Q:", "A:", "==", "---", "May 5, 2025", "5 pages",
        "12 noon EST", "shall ", "not ", "Amendment 2", "replace ", '"x"', "from 1 page to 2 pages", "XXXX X, 2025",
        "\u0130", "\ud7ff", "ﬁ",
    ]
)  # fmt: skip
TEXTS = some.one_of(some.text(), some.lists(some.one_of(PIECES, some.text(max_size=8)), max_size=60).map("".join))
NAMES = some.one_of(
    some.text(max_size=20), some.sampled_from(["RFP v2.pdf", "Amendment.docx", "Q&A.html", "x (1).md", ".md", ""])
)


@given(documents=some.lists(some.tuples(NAMES, TEXTS, some.integers(0, 2)), max_size=4))
def test_no_text_makes_it_raise_and_the_order_means_nothing(documents: list[tuple[str, str, int]]) -> None:
    given_documents = [
        Document(f"{name}/{batch}/{text}", name, text, batch) for name, text, batch in dict.fromkeys(documents)
    ]
    forwards = work_out_state(given_documents).documents
    assert json.dumps(work_out_state(given_documents[::-1]).documents) == json.dumps(forwards)


@pytest.mark.parametrize("name", ["area 1².md", "①.md", "v³.txt", "٣.md", f"{'9' * 5000}.md"])
def test_no_digit_in_a_name_makes_it_raise(name: str) -> None:
    text = "# Request for proposals\n\nProposals are due June 1, 2026."
    worked = work_out_state([Document("1", name, text), Document("2", f"a {name}", f"{text} No fax.")])
    assert len(worked.classified) == 2


@pytest.mark.parametrize("unit", ["pages", "words", "points", "%"])
@pytest.mark.parametrize("number", ["9" * 400, "1" + ",000" * 200, "$" + "9" * 400])
def test_no_long_number_makes_it_raise(number: str, unit: str) -> None:
    text = f"# 1 Format\n\nProposals must not exceed {number} {unit}.\n\n# 2 Evaluation\n\n- Price: {number} {unit}\n"
    json.dumps(work_out_state([Document("1", "call.md", text)]).documents, allow_nan=False)


@given(name=NAMES, data=some.one_of(some.binary(), TEXTS.map(lambda text: text.encode("utf-8", "replace"))))
def test_no_file_makes_reading_raise(name: str, data: bytes) -> None:
    result = read(SourceFile(name, data))
    assert (result.error is None) == bool(result.text)
    assert "\x00" not in result.text


@given(
    meta=some.recursive(
        some.none() | some.booleans() | some.integers() | some.text(),
        lambda inner: (
            some.lists(inner) | some.dictionaries(some.sampled_from(["org", "ein", "milestones", "x"]), inner)
        ),
    )
)
def test_no_meta_makes_it_raise(meta: object) -> None:
    work_out_state([], project=Project("A project", meta))


@pytest.mark.parametrize("text", BASES, ids=[bundle.name for bundle in BUNDLES])
@given(seed=some.integers(0, 10_000))
def test_layout_noise_makes_no_entry(text: str, seed: int) -> None:
    noisy = with_noise(text, random.Random(seed))
    worked = work_out_state([Document("1", "Call v1.md", text), Document("2", "Call v2.md", noisy)])
    log = [entry for entry in worked.conflict_log if entry["change"] != "contradiction"]
    assert [(entry["previous"], entry["next"]) for entry in log] == []


def with_noise(text: str, chance: random.Random) -> str:
    """Break lines, add blank lines, set words in bold, number paragraphs; the words stay."""
    lines = []
    for line in text.split("\n"):
        if "|" in line or "   " in line or line.lstrip().startswith("#") or not line.strip():
            lines.append(line)
        else:
            lines += _broken(line, chance)
        if not line.strip() and chance.random() < 0.3:
            lines.append("")
    return "\n".join(lines)


def _broken(line: str, chance: random.Random) -> list[str]:
    words = line.split(" ")
    for place, word in enumerate(words):
        if word.isalpha() and chance.random() < 0.05:
            words[place] = f"**{word}**"
    if len(words) > 6 and chance.random() < 0.5:
        cut = chance.randrange(3, len(words) - 2)
        return [" ".join(words[:cut]), " ".join(words[cut:])]
    return [" ".join(words)]
