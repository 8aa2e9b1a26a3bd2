"""A sample request for proposals: an invented foundation's call in Word, an addendum in PDF, a FAQ in HTML."""

from __future__ import annotations

from agentstate.samples.papers import pdf, word

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
