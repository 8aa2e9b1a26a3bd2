"""More invented procurements: a solicitation with numbered amendments, and a plain-text call that was revised."""

from __future__ import annotations

from tests.intake.bundles import Bundle, Change

SOLICITATION = Bundle(
    name="federal solicitation",
    documents={
        "Solicitation.txt": """SOLICITATION 36C24521R0042

Hospital Laundry Services

SECTION B - SCHEDULE

| Item | Description | Quantity |
|------|-------------|----------|
| 0001 | Base year laundry | 12 months |
| 0002 | Option year 1 | 12 months |

SECTION C - STATEMENT OF WORK

C.1 The contractor shall collect soiled linen daily, Monday through Friday, between 7:00 AM and 9:00 AM.

C.2 The contractor shall return clean linen within 24 hours of collection.

C.3 Records shall be kept for three (3) years.

SECTION L - INSTRUCTIONS TO OFFERORS

L.1 Offers are due by 10:00 AM CST on February 19, 2021.

L.2 Volume I - Technical. Volume I shall not exceed 25 pages. Offerors shall describe their approach to infection
control.

L.3 Volume II - Past Performance. Offerors shall submit no more than five (5) references.

L.4 Questions shall be submitted by email to the Contract Specialist no later than February 5, 2021 at 4:00 PM CST.

SECTION M - EVALUATION FACTORS

M.1 Award will be made on the basis of the lowest evaluated price of proposals meeting the acceptability standards.

The evaluation factors are:
1. Technical capability
2. Past performance
3. Price
""",
        "Amendment 0001.txt": """AMENDMENT OF SOLICITATION/MODIFICATION OF CONTRACT

2. AMENDMENT/MODIFICATION NO. 0001
3. EFFECTIVE DATE 02/10/2021

The above numbered solicitation is amended as set forth below.

The purpose of this amendment is to:

A. Extend the date for receipt of offers to February 26, 2021 at 10:00 AM CST.
B. Revise paragraph C.2 to read: "The contractor shall return clean linen within 48 hours of collection."
C. Paragraph L.3 is deleted in its entirety and replaced with the following: Offerors shall submit no more than
three (3) references.

All other terms and conditions remain unchanged.
""",
        "A0002.txt": """AMENDMENT 0002

Date of Mod 2: 02/20/2021 02:15:40 PM EST

1. The closing date is hereby changed from February 26, 2021 to March 5, 2021. The time remains 10:00 AM CST.
2. Volume I page limit is increased to 30 pages.
3. Offerors must be registered in SAM at the time of award.
""",
        "Vendor Questions.txt": """Solicitation 36C24521R0042 - Responses to Vendor Questions

| No. | Question | Government response |
|---|---|---|
| 1 | Will the Government extend the due date to March 19, 2021? | No further extension is planned. |
| 2 | May Volume I be 40 pages? | No. See Amendment 0002. |
| 3 | How long must records be kept? | Records shall be kept for six (6) years. |
""",
    },
    changes=[
        Change("February 26, 2021", "March 5, 2021", "date_conflict"),
        Change("24 hours", "48 hours", "limit_conflict"),
        Change("five (5) references", "three (3) references", "limit_conflict"),
        Change("25 pages", "30 pages", "limit_conflict"),
        Change(None, "registered in SAM"),
        Change("three (3) years", "six (6) years", "limit_conflict"),
    ],
    deadline="2021-03-05T10:00-06:00",
    criteria=3,
)

ARTS = Bundle(
    name="arts grant in plain text",
    documents={
        "larkspur_rfp.txt": """Request for Proposals
Youth Arts Initiative
The Larkspur Foundation
Released September 1, 2024

Overview
The Larkspur Foundation seeks proposals from arts organizations serving youth ages 12 to 18 in Dover County.
Approximately $600,000 is available. Grants will range from $20,000 to $60,000.

Who may apply
- Nonprofits with 501(c)(3) status
- Public schools
- Libraries

Timeline
RFP released: September 1, 2024
Letter of intent due: September 20, 2024
Full proposal due: October 18, 2024, 11:59 p.m. ET
Awards announced: December 2024

Proposal contents
1. Cover letter (1 page)
2. Narrative (maximum 5 pages)
3. Budget and budget narrative
4. Letters of support (up to 3)

Scoring
Artistic quality - 30 points
Community impact - 40 points
Organizational capacity - 30 points

Contact: Jo Field, jo@larkspur.example
""",
        "larkspur_rfp_REVISED.txt": """Request for Proposals
Youth Arts Initiative
The Larkspur Foundation
Revised September 9, 2024

Overview
The Larkspur Foundation seeks proposals from arts organizations serving youth ages 10 to 18 in Dover County.
Approximately $600,000 is available. Grants will range from $20,000 to $50,000.

Who may apply
- Nonprofits with 501(c)(3) status
- Public schools
- Libraries
- Tribal governments

Timeline
RFP released: September 1, 2024
Letter of intent due: September 27, 2024
Full proposal due: October 25, 2024, 5:00 p.m. ET
Awards announced: December 2024

Proposal contents
1. Cover letter (1 page)
2. Narrative (maximum 7 pages)
3. Budget and budget narrative
4. Letters of support (up to 2)
5. Work samples

Scoring
Artistic quality - 30 points
Community impact - 40 points
Organizational capacity - 30 points

Contact: Jo Field, jo@larkspur.example
""",
    },
    changes=[
        Change("ages 12 to 18", "ages 10 to 18"),
        Change("$60,000", "$50,000", "limit_conflict"),
        Change(None, "Tribal governments"),
        Change("September 20, 2024", "September 27, 2024", "date_conflict"),
        Change("October 18, 2024, 11:59 p.m. ET", "October 25, 2024, 5:00 p.m. ET", "date_conflict"),
        Change("5 pages", "7 pages", "limit_conflict"),
        Change("up to 3", "up to 2"),
        Change(None, "Work samples"),
    ],
    minor=[Change("September 1, 2024", "September 9, 2024")],
    deadline="2024-10-25T17:00-04:00",
    criteria=3,
)
