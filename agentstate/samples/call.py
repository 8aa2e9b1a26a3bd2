"""A sample request for proposals: an invented foundation's call in Word, an addendum in PDF, a FAQ in HTML."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

# A paragraph that begins with "# " is a heading.
_CALL = """\
# Riverbend Foundation: Call for Proposals
# Healthy Rivers Grants 2027
Issued by: Riverbend Foundation
Release date: January 12, 2027
# 1. Background
The Riverbend Foundation supports community organizations that restore rivers and the health of people beside them.
Grants run for 24 months. The foundation expects to make eight awards.
# 2. Eligibility
Applicants must be nonprofit organizations with 501(c)(3) status. Applications from individuals will not be considered.
Applicants must have been in operation for at least three years.
# 3. Project narrative
The project narrative shall not exceed 15 pages. It must describe the need, the work plan and the expected results.
# 4. Budget justification
The budget justification must not exceed 3 pages. Requests may not exceed $150,000.
# 5. Attachments
Applicants must attach the following documents:
- IRS determination letter
- Board list
- Project budget
# 6. Submission
Proposals must be submitted through the grants portal no later than March 31, 2027 at 5:00 p.m. Eastern Time.
Late proposals will not be considered.
# 7. Evaluation criteria
- Need and community voice: 30 points
- Work plan: 40 points
- Organizational capacity: 20 points
- Budget: 10 points
"""

_ADDENDUM = """\
Riverbend Foundation
Healthy Rivers Grants 2027
Addendum 1
Dated February 3, 2027

This addendum changes the call for proposals as follows.

Section 3: The project narrative shall not exceed 5 pages.

Section 6: Proposals must be submitted through the grants
portal no later than April 15, 2027 at 5:00 p.m. Eastern Time.
"""

_FAQ = """\
<!doctype html>
<html lang="en"><head><title>Healthy Rivers Grants 2027: Frequently asked questions</title></head><body>
<h1>Healthy Rivers Grants 2027: Frequently asked questions</h1>
<p>Posted February 20, 2027</p>
<p><strong>Q: May a fiscal sponsor apply?</strong></p>
<p>A: Yes. The fiscal sponsor must be the applicant.</p>
<p><strong>Q: Can the deadline be moved to May 1, 2027?</strong></p>
<p>A: No.</p>
</body></html>
"""


def sample_call() -> dict[str, bytes]:
    """Return the files of the sample call by name."""
    return {
        "healthy-rivers-call.docx": word(_CALL.splitlines()),
        "healthy-rivers-addendum-1.pdf": pdf([_ADDENDUM]),
        "healthy-rivers-faq.html": _FAQ.encode(),
    }


_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/word/document.xml"
 ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>
</Types>"""
_RELATIONS = """<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="rId1"
 Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>
</Relationships>"""
_DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>{}</w:body></w:document>"""
_HEADING = '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'


def word(paragraphs: Sequence[str], further: str = "") -> bytes:
    """Return a Word file.

    Args:
        paragraphs: one that begins with ``# `` is a heading.
        further: WordprocessingML to add to its body.
    """
    body = "".join(
        f"<w:p>{_HEADING if text.startswith('# ') else ''}<w:r><w:t xml:space='preserve'>"
        f"{escape(text.removeprefix('# '))}</w:t></w:r></w:p>"
        for text in paragraphs
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELATIONS)
        archive.writestr("word/document.xml", _DOCUMENT.format(body + further))
    return file.getvalue()


def pdf(pages: Sequence[str]) -> bytes:
    """Return a PDF with a page for each text, line by line."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        lines = "".join(f"({_escaped(line)}) Tj T*\n" for line in text.split("\n"))
        stream = f"BT /F1 10 Tf 14 TL 50 780 Td\n{lines}ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {len(objects) + 2} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    out += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    ).encode("latin-1")
    return bytes(out)


def _escaped(line: str) -> str:
    return line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
