"""Documents that are deeper than Python's own reader and writer go."""

from __future__ import annotations

import pytest
from hypothesis import given

from agentstate.state.documents import as_text, decode, encode
from agentstate.state.nesting import parse
from tests import scenes
from tests.panels.documents import DOCUMENTS

DEEPEST = 6_000  # about as deep as PostgreSQL's stack lets it be


@pytest.mark.django_db
def test_what_the_database_holds_is_read_and_written() -> None:
    deep = '{"a": [1, ' * DEEPEST + '0.10, "x", null' + "]}" * DEEPEST
    (text,) = scenes.one("SELECT %s::jsonb::text", deep)
    assert as_text(decode(text)).replace(" ", "") == text.replace(" ", "")


@given(document=DOCUMENTS)
def test_it_reads_and_writes_what_the_plain_ones_do(document: object) -> None:
    text = encode(document, "")
    assert as_text(document) == text
    assert encode(parse(text, decode), "") == encode(decode(text), "")
