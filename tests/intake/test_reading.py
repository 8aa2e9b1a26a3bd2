"""Reading files: formats, encodings, what is refused, and hostile files in their child process."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest

from agentstate.intake import limits
from agentstate.intake.limits import Limits, load, read_files
from agentstate.intake.reading import SourceFile, UnreadableFile, read, read_document
from agentstate.samples.papers import pdf, word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSERTED = """<w:p><w:r><w:t xml:space="preserve">The narrative must not exceed </w:t></w:r>
<w:ins w:id="1" w:author="a" w:date="2025-01-01T00:00:00Z"><w:r><w:t xml:space="preserve">5 </w:t></w:r></w:ins>
<w:del w:id="2" w:author="a" w:date="2025-01-01T00:00:00Z"><w:r><w:delText>15 </w:delText></w:r></w:del>
<w:r><w:t>pages.</w:t></w:r></w:p>"""


def test_a_pdf_has_a_page_break_between_pages() -> None:
    text = read_document("call.pdf", pdf(["The first page says this much.", "The second page says that much here."]))
    assert [page.strip() for page in text.split("\f")] == [
        "The first page says this much.",
        "The second page says that much here.",
    ]


def test_word_keeps_tracked_insertions_and_drops_tracked_deletions() -> None:
    text = read_document("call.docx", word(["A call"], INSERTED))
    assert "The narrative must not exceed 5 pages." in text


def test_html_becomes_headings_items_and_rows() -> None:
    html = (
        "<html><head><title>t</title><style>p {}</style></head><body><h2>Rules</h2><p>Be <b>brief</b>.</p><ul>"
        "<li>One</li><li>Two</li></ul><table><tr><th>Part</th><th>Pages</th></tr><tr><td>Plan</td><td>5</td></tr></table>"
        "<script>x()</script><p><s>gone</s> kept</p></body></html>"
    )
    assert read_document("faq.html", html.encode()).split("\n") == [
        "## Rules", "", "Be brief.", "", "- One", "- Two", "", "| Part | Pages |", "|---|---|", "| Plan | 5 |", "",
        "kept", "",
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_texts_are_decoded(encoding: str) -> None:
    text = "Les propositions “brèves” sont préférées à toutes les autres; l’équipe décidera après l’été.\n" * 5
    assert read_document("call.txt", text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.md", b" \n", "empty"),
        ("blank.html", b"<html><body></body></html>", "no text"),
        ("scan.pdf", pdf([""] * 3), "pictures"),
        ("broken.pdf", b"%PDF-1.7\nnothing", "damaged"),
        ("fake.pdf", b"just words", "no PDF"),
        ("broken.docx", b"PK\x03\x04nothing", "damaged"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old or an encrypted Office format"),
        ("data.bin", bytes(range(256)) * 4, "neither text"),
    ],
)
def test_unreadable_files_are_reported_with_the_reason(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        read_document(name, data)


def test_a_zip_that_is_no_word_file_or_unpacks_to_too_much_is_refused() -> None:
    plain, bomb = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("a.txt", "a")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 60_000_000)
    for data, reason in ((plain, "no Word document"), (bomb, "unpacks to far more")):
        with pytest.raises(UnreadableFile, match=reason):
            read_document("a.docx", data.getvalue())


def test_an_encrypted_pdf_is_refused() -> None:
    data = pdf(["Some words of a page that is locked."]).replace(
        b"trailer << ",
        b"trailer << /Encrypt << /Filter /Standard /V 1 /R 2 /O ("
        + b"a" * 32
        + b") /U ("
        + b"b" * 32
        + b") /P -4 >> /ID [(a) (b)] ",
    )
    with pytest.raises(UnreadableFile, match="encrypted"):
        read_document("locked.pdf", data)


def test_characters_that_postgresql_refuses_are_removed() -> None:
    assert read_document("a.md", "one\u200b\xa0two\r\nthree\xad".encode()) == "one two\nthree"


def test_an_unreadable_file_does_not_affect_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("Words.")
    sources = [
        load(tmp_path / "good.md"),
        SourceFile("bad.pdf", b"%PDF-1.7"),
        SourceFile("also good.md", b"More words."),
    ]
    seen: list[str] = []
    results = read_files(sources, progress=lambda result: seen.append(result.name))
    assert [(result.name, result.error is None) for result in results] == [
        ("good.md", True),
        ("bad.pdf", False),
        ("also good.md", True),
    ]
    assert seen == ["good.md", "bad.pdf", "also good.md"]


def test_a_file_that_takes_too_much_time_or_memory_is_given_up() -> None:
    limits = Limits(seconds=1, megabytes=150)

    def sources() -> Iterator[SourceFile]:
        # Markup that is nested this deeply takes the parser minutes, or more memory than it may have.
        yield SourceFile("deep.html", b"<div>" * 3_000_000)
        object.__setattr__(limits, "seconds", 60)  # words take a moment, which is long on a busy machine
        yield SourceFile("good.md", b"Words.")

    hostile, good = read_files(sources(), limits)
    assert hostile.error is not None
    assert hostile.error.startswith("Reading it ")
    assert good.text == "Words."


def test_an_oversized_file_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 10)
    monkeypatch.setattr("agentstate.intake.reading.MAX_BYTES", 10)
    result = read(SourceFile("long.md", b"more than ten bytes"))
    assert "the limit is 10" in (result.error or "")
