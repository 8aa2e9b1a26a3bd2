"""Read a file: its text with page breaks, whatever its format."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import PurePath

import mammoth
import pypdfium2
from charset_normalizer import from_bytes

from agentstate.intake.documents import PAGE_BREAK
from agentstate.intake.markup import text_of_html

MAX_BYTES = 50 * 1024 * 1024  # of a file
MAX_CHARACTERS = 5_000_000  # of its text, some 2,000 pages
LETTERS_PER_PAGE = 16  # below which a PDF has pictures of text and no text
UNPACKED = 30  # how many times its size the content of a Word file may be


class UnreadableFile(Exception):
    """A file that has no text to read. The message says why, and what to do."""


@dataclass(frozen=True)
class SourceFile:
    """A file as it was given."""

    name: str
    data: bytes


@dataclass(frozen=True)
class ReadFile:
    """What reading a file gave.

    Attributes:
        name: the file's name, without its folder.
        sha256: of the text, in hexadecimal; of the file where there is no text.
        size: of the file, in bytes.
        text: pages separated by form feeds; "" where it could not be read.
        error: why it could not be read; None where it could.
    """

    name: str
    sha256: str
    size: int
    text: str = ""
    error: str | None = None

    @property
    def pages(self) -> int:
        return self.text.count(PAGE_BREAK) + 1 if self.error is None else 0


def read_document(name: str, data: bytes) -> str:
    """Return the text of a file in this process. For files of strangers use ``limits.read_files``.

    Args:
        name: tells the format by its suffix where the content does not.
        data: the file's bytes.

    Raises:
        UnreadableFile: for an empty, encrypted, scanned, oversized, damaged or unknown file.
    """
    if not data.strip():
        raise UnreadableFile("The file is empty.")
    if len(data) > MAX_BYTES:
        raise UnreadableFile(
            f"The file has {len(data):,} bytes; the limit is {MAX_BYTES:,}. Split it, or save it as text."
        )
    text = storable(_text_of(PurePath(name).suffix.casefold(), data))
    if not text.strip():
        raise UnreadableFile("The file has no text.")
    if len(text) > MAX_CHARACTERS:
        raise UnreadableFile(
            f"The text has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}. Split the file."
        )
    return text


def read(source: SourceFile) -> ReadFile:
    """Read a file in this process; what goes wrong is in the result."""
    try:
        text = read_document(source.name, source.data)
    except UnreadableFile as error:
        return unread(source, str(error))
    return ReadFile(source.name, hashlib.sha256(text.encode()).hexdigest(), len(source.data), text)


def unread(source: SourceFile, error: str) -> ReadFile:
    return ReadFile(source.name, hashlib.sha256(source.data).hexdigest(), len(source.data), error=error)


def storable(text: str) -> str:
    """Return a text that PostgreSQL stores: no NUL, no lone surrogates; line ends and odd blanks made plain."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").replace("\x0b", "\n").replace("\xad", "")
    text = re.sub("[\xa0\u2000-\u200a\u202f\u205f\u3000]", " ", text)
    text = re.sub("[\u200b-\u200f\u2060\ufeff\ufffe\ufff9-\ufffb]", "", text)
    return text.encode("utf-8", "replace").decode("utf-8")


def _text_of(suffix: str, data: bytes) -> str:
    if data.lstrip()[:5] == b"%PDF-":
        return _text_of_pdf(data)
    if data[:4] == b"PK\x03\x04":
        return _text_of_word(data)
    if suffix in {".pdf", ".docx"}:
        raise UnreadableFile(f"The file is no {suffix[1:].upper()}, though its name says so.")
    if data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise UnreadableFile(
            "The file is in an old or an encrypted Office format. Save it as .docx or PDF without a password."
        )
    if b"\x00" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableFile("The file is neither text nor PDF nor Word.")
    text = _decoded(data)
    if suffix in {".html", ".htm"} or re.match(r"\s*(?:<!doctype html|<html)", text, re.IGNORECASE):
        return text_of_html(text)
    return text


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        best = from_bytes(data).best()
    if best is None:
        raise UnreadableFile("The file's encoding could not be determined. Save it as UTF-8.")
    return str(best)


def _text_of_pdf(data: bytes) -> str:
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).casefold():
            raise UnreadableFile("The PDF is encrypted. Save it without a password.") from error
        raise UnreadableFile(f"The PDF is damaged: {error}") from error
    try:
        pages = [_text_of_page(page) for page in pdf]
    except pypdfium2.PdfiumError as error:
        raise UnreadableFile(f"The PDF is damaged: {error}") from error
    finally:
        pdf.close()
    if sum(len("".join(page.split())) for page in pages) < LETTERS_PER_PAGE * len(pages):
        raise UnreadableFile(
            "The PDF holds pictures of pages and no text. Run it through text recognition (OCR) first."
        )
    return PAGE_BREAK.join(pages)


def _text_of_page(page: pypdfium2.PdfPage) -> str:
    text_page = page.get_textpage()
    try:
        text: str = text_page.get_text_bounded()
    finally:
        text_page.close()
        page.close()
    # pdfium marks a hyphen at the end of a line so.
    return re.sub("[\ufffe\x02]\\s*", "", text).replace(PAGE_BREAK, "\n")


def _text_of_word(data: bytes) -> str:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UnreadableFile(f"The Word file is damaged: {error}") from error
    if "word/document.xml" not in names:
        raise UnreadableFile("The file is a ZIP archive, but no Word document. Unpack it, or save it as .docx or PDF.")
    if unpacked > max(MAX_BYTES, UNPACKED * len(data)):
        raise UnreadableFile("The Word file unpacks to far more than its size. Save it again, or as PDF.")
    try:
        html = mammoth.convert_to_html(io.BytesIO(data), convert_image=mammoth.images.img_element(_no_picture)).value
    except Exception as error:
        raise UnreadableFile(f"The Word file is damaged: {type(error).__name__}: {error}") from error
    return text_of_html(html)


def _no_picture(_image: object) -> dict[str, str]:
    return {"src": ""}
