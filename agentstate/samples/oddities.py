"""Values that a legacy database holds by accident: one row in twenty has one of them.

Each is an SQL expression. It may use the normal document as ``normal."<column>"``; one of an id may use ``handle``.
"""

from __future__ import annotations


def constant(json_text: str) -> str:
    """Return JSON as an SQL literal for a statement with parameters."""
    quoted = json_text.replace("'", "''").replace("%", "%%")
    return f"'{quoted}'::jsonb"


def added(column: str, json_text: str) -> str:
    """Return the normal document with the given keys or entries added."""
    return f'normal."{column}" || {constant(json_text)}'


# Numbers that jsonb keeps exactly and a float does not.
FRACTION = "0.30000000000000004"
HUGE = "1e400"
DIGITS = "1234567890123456789012345678901234567890"

AWKWARD = r"""
    {"": "empty key", "quote\"d": "back\\slash", "lines": "one\ntwo\ttab", "emoji": "🌾 é ü 漢字",
     "html": "<script>alert(1)</script>", "100%": "50 % of it's done", "nothing": null}
"""

ODD_IDS = {
    "slashes": "concat('grants/2024/', handle, '/v2')",
    "double quotes": "concat('the \"final\" ', handle)",
    "single quotes": "concat('o''malley''s-', handle)",
    "spaces": "concat(' two words  ', handle, ' ')",
    "non-ASCII": "concat('projet-été-プロジェクト-', handle)",
    "signs of a URL": "concat(handle, '?a=1&b=%%2F#<top>')",
    "long": "concat(handle, repeat('-very-long', 17))",
}

ODD_DOCUMENTS = {
    "coverageJson": {
        "a bare number": constant("0.62"),
        "a bare string": constant('"about 70%"'),
        "an empty object": constant("{}"),
        "a score as text": added("coverageJson", '{"score": "0.85"}'),
        "a score that no float holds": added("coverageJson", f'{{"score": {FRACTION}}}'),
        "a score beyond all floats": added("coverageJson", f'{{"score": {HUGE}}}'),
    },
    "conflictLogJson": {
        "entries of other types": added("conflictLogJson", '["see the amended notice", 42, null, true, []]'),
        "nothing but null entries": constant("[null, null]"),
        "nothing but strings": constant('["deadline moved", "deadline moved"]'),
        "one object and no array": constant(
            '{"type": "section_conflict", "key": "need", "previous": {"source_upload_id": "upl_1", "version": "v1"},'
            ' "next": {"source_upload_id": "upl_2", "version": "v2"}, "resolved": "latest"}'
        ),
        "a bare string": constant('"none so far"'),
        "a bare number": constant(DIGITS),
    },
    "eligibilityJson": {
        "a bare array": "normal.\"eligibilityJson\" -> 'items'",
        "an object without items": constant('{"overrides": {"elig_1": {"by": "unknown"}}, "checked": false}'),
        "a bare string": constant('"eligible"'),
        "items that are no array": constant('{"items": {"elig_1": {"text": "SAM.gov registration", "fatal": true}}}'),
        "items that are no objects": added("eligibilityJson", '{"items": ["registered in SAM.gov", null, 3]}'),
    },
    "factsJson": {
        "a bare string": constant('"see the attached résumé"'),
        "entries of other types": constant(
            f'[null, "served 320 students", {DIGITS}, {{"id": "fact_1", "text": null}}]'
        ),
        "numbers that no float holds": constant(f'{{"totals": [{FRACTION}, {HUGE}, -{DIGITS}, 0.10, 1.0]}}'),
        "a deep nesting": constant('{"org": ' * 60 + "{}" + "}" * 60),
    },
    "rfpNormJson": {
        "awkward text": constant(f'{{"meta": {AWKWARD}, "sections": []}}'),
        "sections that are no array": constant('{"meta": {"title": null}, "sections": {"need": {"title": "Need"}}}'),
        "a limit of forty digits": added(
            "rfpNormJson", f'{{"submission": {{"page_limits": [{{"limit": {DIGITS}}}]}}}}'
        ),
        "a bare array": constant('["notice.pdf"]'),
    },
    "meta": {
        "chat entries without a role": constant(
            '{"chat": [{"content": "Who wrote this?"}, {"role": null, "content": "Nobody."}]}'
        ),
        "chat content that is no string": constant(
            '{"chat": [{"role": "user", "content": {"text": "Hello"}}, {"role": "tool", "content": 7},'
            ' {"role": "assistant", "content": null}, {"role": "assistant", "content": ["a", "b"]}, {"role": "user"}]}'
        ),
        "chat entries that are no objects": constant(
            '{"chat": ["Hello?", null, 12.50, [], {"role": "user", "content": "Still there?", "pinned": true}]}'
        ),
        "chat entries with a time": constant(
            '{"chat": [{"role": "user", "content": "Hello", "at": "2025-03-01T12:00:00Z"},'
            ' {"role": "assistant", "content": "", "at": "noon"}]}'
        ),
        "a chat that is an object": constant('{"chat": {"role": "user", "content": "Just one message"}}'),
        "a chat that is a string": constant('{"chat": "imported, see attachment"}'),
        "a bare array": constant('[{"role": "user", "content": "Not even a chat key"}]'),
    },
}

# Odd rows take them in turn, so each occurs once in 20 rows times the length of this list.
ODDITIES = [("id", name) for name in ODD_IDS] + [
    (column, name) for column, shapes in ODD_DOCUMENTS.items() for name in shapes
]


def id_or_odd() -> str:
    """Return the row's id: its handle, or the odd id."""
    return _or_odd("id", ODD_IDS, "handle")


def document_or_odd(column: str) -> str:
    """Return the normal document, or the odd one if the row's oddity is in this column."""
    return _or_odd(column, ODD_DOCUMENTS[column], f'normal."{column}"')


def _or_odd(column: str, shapes: dict[str, str], otherwise: str) -> str:
    arms = " ".join(f"WHEN {ODDITIES.index((column, name))} THEN {shape}" for name, shape in shapes.items())
    return f"CASE odd {arms} ELSE {otherwise} END"
