"""The texts of a message, rendered as Markdown: escaped, without links, images and HTML, so that nothing is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

# The members of payloads that hold what a person or a model wrote, and how many texts and characters are rendered.
TEXT_MEMBERS = frozenset(
    {"body", "content", "input", "instructions", "markdown", "message", "output", "summary", "text"}
)
MOST_TEXTS, LONGEST = 50, 100_000

_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False})
    .enable("table")
    .disable(["autolink", "html_block", "html_inline", "image", "link", "reference"])
)


class Message(NamedTuple):
    """A text of a payload, rendered, and the path of the member that holds it."""

    path: str
    html: SafeString


def messages_in(document: Any) -> list[Message]:
    """Return the texts of a document, rendered; the first ones if there are many."""
    found: list[Message] = []
    left = LONGEST
    for path, text in _texts(document):
        if len(found) == MOST_TEXTS or left <= 0:
            break
        # markdown-it escapes all text, and the rules that make links, images and HTML are off.
        found.append(Message(path, mark_safe(_MARKDOWN.render(text[:left]))))  # noqa: S308
        left -= len(text)
    return found


def _texts(document: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts in document order, without recursion: documents may be of any depth."""
    waiting: list[tuple[str, Any, bool]] = [("", document, True)]
    while waiting:
        path, value, is_text = waiting.pop()
        if isinstance(value, str):
            if is_text and value.strip():
                yield path, value
        elif isinstance(value, dict):
            waiting += reversed(
                [(f"{path}.{name}".lstrip("."), each, name in TEXT_MEMBERS) for name, each in value.items()]
            )
        elif isinstance(value, list):
            waiting += reversed([(f"{path}[{place}]", each, is_text) for place, each in enumerate(value)])
