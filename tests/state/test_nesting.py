"""Documents that are deeper than Python's own reader and writer go."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from agentstate import state
from agentstate.state import UnsuitableDocument
from agentstate.state.documents import as_text, decode, encode
from agentstate.state.nesting import parse
from tests import scenes
from tests.admin.project.panels.documents import DOCUMENTS
from tests.factories import ProjectFactory

DEEPEST = 6_000  # about as deep as PostgreSQL's stack lets it be


DEEP = '{"a": [1, ' * DEEPEST + '0.10, "x", null' + "]}" * DEEPEST


@pytest.mark.django_db
@pytest.mark.parametrize("gates", [{"agentkit_writes": True, "agentkit_reads": True}, {}], ids=["agentkit", "legacy"])
def test_deep_documents_are_loaded_and_saved(gates: dict[str, bool]) -> None:
    one, other = ProjectFactory(documents={"facts": DEEP}), ProjectFactory()
    scenes.open_gates(**gates)

    state.save(other.id, facts=state.load(one.id).facts)

    assert as_text(state.load(other.id).facts) == DEEP.replace(" ", "")


def test_what_is_wrong_deep_inside_is_refused_with_its_path() -> None:
    document: object = {1}
    for _ in range(DEEPEST):
        document = {"a": [0, document]}

    with pytest.raises(UnsuitableDocument, match="is a set") as refused:
        encode(document, "facts")

    assert refused.value.path == "facts" + ".a[1]" * DEEPEST


def test_a_shared_value_is_not_a_cycle() -> None:
    twice = {"a": [1]}
    assert encode([twice, [twice], twice["a"]], "facts") == '[{"a":[1]},[{"a":[1]}],[1]]'


@given(document=DOCUMENTS)
def test_the_iterative_codec_agrees_with_the_standard_one(document: object) -> None:
    text = encode(document, "")
    assert text == json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    assert encode(parse(text, decode), "") == encode(decode(text), "")
