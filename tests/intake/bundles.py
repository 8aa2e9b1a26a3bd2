"""Invented requests for proposals of four kinds, each with what truly changed in it. All names are made up."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Change:
    """A change that the log must have: words of each side, None where that side says nothing."""

    previous: str | None
    next: str | None
    type: str | None = None


@dataclass(frozen=True)
class Bundle:
    name: str
    documents: dict[str, str]
    changes: list[Change]
    minor: list[Change] = field(default_factory=list)
    deadline: str | None = None
    criteria: int = 0


FOUNDATION = Bundle(
    name="foundation grant",
    documents={
        "Willow_Fund_Call_v1.md": """
# Willow Fund: Healthy Rivers Grants
## Call for Proposals

Issued: January 15, 2025

### About the fund

The Willow Fund supports community groups that restore rivers and wetlands. Since 2009 the fund has awarded more than
200 grants. The fund is a private foundation and does not accept unsolicited requests.

### Eligibility

Applicants must be nonprofit organizations with 501(c)(3) status. Individuals are not eligible to apply. Applicants
must have an annual operating budget of at least $250,000.

### Award

Grants range up to $75,000 for a period of 12 months. Indirect costs may not exceed 10% of the request.

### Proposal narrative

The narrative shall not exceed 8 pages, excluding the budget. Use 11-point font and one-inch margins. Describe the
need, the planned activities and the expected results.

### Budget

Applicants shall submit a budget using the attached form. Matching funds are encouraged but not required.

### How to apply

Proposals are due March 14, 2025 at 5:00 PM Eastern Time through the online portal. Questions may be sent to
grants@willowfund.example until February 14, 2025. Late proposals will not be considered.

### Review

Proposals will be scored as follows:

| Criterion | Points |
|---|---|
| Need | 30 |
| Approach | 40 |
| Capacity | 30 |
""",
        "Willow_Fund_Call_v2.md": """
Willow Fund: Healthy Rivers Grants
==================================
Call for Proposals

Issued: February 3, 2025

###About the fund
The Willow Fund supports community groups that restore rivers
and wetlands. Since 2009 the fund has awarded more than 200
grants. The fund is a private foundation and does not accept
unsolicited requests.

###Eligibility
Applicants must be nonprofit organizations with 501(c)(3)
status or federally recognized tribes. Individuals are **not** eligible to apply. Applicants
must have an annual operating budget of at least $150,000.

###Award
Grants range up to $75,000 for a period of 18 months. Indirect costs may not exceed 10 percent of the request.

###Proposal narrative
The narrative shall not exceed 6 pages, excluding the budget. Use 11-point font and one-inch margins. Describe the
need, the planned activities and the expected result.

### Budget
Applicants shall submit a budget using the attached form. Matching funds are required.

### How to apply
Proposals are due March 28, 2025 at 5:00 PM Eastern Time through the online portal. Questions may be sent to
<grants@willowfund.example> until February 14, 2025. Late proposals will not be considered.
Each organization may submit only one proposal.

### Review
Proposals will be scored as follows:

| Criterion | Points |
|-----------|--------|
| Need      | 25     |
| Approach  | 40     |
| Capacity  | 35     |
""",
    },
    changes=[
        Change("501(c)(3) status", "or federally recognized tribes"),
        Change("at least $250,000", "at least $150,000", "limit_conflict"),
        Change("12 months", "18 months", "limit_conflict"),
        Change("8 pages", "6 pages", "limit_conflict"),
        Change("Matching funds are encouraged but not required", "Matching funds are required"),
        Change("March 14, 2025", "March 28, 2025", "date_conflict"),
        Change(None, "Each organization may submit only one proposal"),
        Change("Need | 30", "Need | 25"),
        Change("Capacity | 30", "Capacity | 35"),
    ],
    minor=[Change("January 15, 2025", "February 3, 2025")],
    deadline="2025-03-28T17:00-04:00",
    criteria=3,
)

STATE = Bundle(
    name="state RFP with amendments",
    documents={
        "RFP 25-118 Case Management System.txt": """
STATE OF CASCADIA
DEPARTMENT OF HUMAN SERVICES

REQUEST FOR PROPOSALS
RFP 25-118

Case Management System

Issue Date: May 1, 2025

SECTION 1 - INTRODUCTION

1.1 Purpose. The Department seeks proposals from qualified vendors to replace its case management system. The
Department intends to award one contract.

1.2 Schedule of Events.

Questions due: May 15, 2025, 2:00 PM PT
Mandatory pre-proposal conference: May 20, 2025
Proposals due: June 12, 2025, 3:00 PM PT
Anticipated award: August 1, 2025

SECTION 2 - MINIMUM QUALIFICATIONS

2.1 Proposers must have at least five (5) years of experience with systems of similar scope.

2.2 Proposers that do not meet the minimum qualifications will be rejected as non-responsive.

SECTION 3 - PROPOSAL CONTENT

3.1 Technical Proposal. The Technical Proposal shall not exceed 40 pages. Proposers shall describe their approach to
data conversion and training.

3.2 Cost Proposal. Proposers shall submit the Cost Proposal in a separate sealed envelope. Prices shall be valid for
120 days.

3.3 References. Proposers shall provide three (3) references from clients of comparable size.

SECTION 4 - EVALUATION

The Department will evaluate proposals on the following criteria:

a) Technical approach (40 points)
b) Experience (25 points)
c) Cost (35 points)

SECTION 5 - CONTRACT TERMS

5.1 The contract term is three (3) years with two one-year options.

5.2 The Contractor shall maintain general liability insurance of not less than $1,000,000 per occurrence.
""",
        "RFP 25-118 Amendment 1.txt": """
STATE OF CASCADIA
DEPARTMENT OF HUMAN SERVICES

RFP 25-118 Case Management System
AMENDMENT NO. 1

Date: May 18, 2025

The purpose of this amendment is to revise the RFP as follows:

1. Section 1.2, Proposals due: The due date for proposals is extended from June 12, 2025, 3:00 PM PT to
June 26, 2025, 3:00 PM PT.

2. Section 3.1: Replace "shall not exceed 40 pages" with "shall not exceed 50 pages".

3. Proposers shall submit one electronic copy of the proposal on a USB drive.

All other terms and conditions remain unchanged. Proposers must acknowledge receipt of this amendment.
""",
        "RFP 25-118 Amendment 2.txt": """
STATE OF CASCADIA
DEPARTMENT OF HUMAN SERVICES

RFP 25-118 Case Management System
AMENDMENT NO. 2

Date: June 5, 2025

This amendment answers questions and changes the RFP.

Section 3.2: Prices shall be valid for 180 days.

Section 5.2: The Contractor shall maintain general liability insurance of not less than $2,000,000 per occurrence.

Proposals are due July 3, 2025, 3:00 PM PT.
""",
        "RFP 25-118 Questions and Answers.txt": """
RFP 25-118 Case Management System
Questions and Answers
June 6, 2025

Q1: Could the Department extend the due date to September 30, 2025?
A1: No. The due date remains July 3, 2025, 3:00 PM PT.

Q2: May we submit more than three references?
A2: No.

Q3: Is there a page limit for resumes, for example 10 pages?
A3: Resumes are not counted against the page limit.
""",
    },
    changes=[
        Change("June 26, 2025", "July 3, 2025", "date_conflict"),
        Change("40 pages", "50 pages", "limit_conflict"),
        Change(None, "one electronic copy of the proposal on a USB drive"),
        Change("120 days", "180 days", "limit_conflict"),
        Change("$1,000,000", "$2,000,000", "limit_conflict"),
    ],
    deadline="2025-07-03T15:00-07:00",
    criteria=3,
)

TENDER = Bundle(
    name="UK invitation to tender",
    documents={
        "ITT Grounds Maintenance.txt": """Brackenshire Council   Invitation to Tender   Ref BC/2025/041

INVITATION TO TENDER

Grounds Maintenance Services

Issue date: 3 March 2025

1. Introduction

1.1 Brackenshire Council ("the Council") invites tenders for grounds maintenance at 64 sites for an initial term of 36
months commencing on 1 September 2025.

1.2 Tenders must be submitted via the e-tendering portal by 12 noon on 14 April 2025. Tenders received after the
closing date will be rejected.
Page 1 of 3\fBrackenshire Council   Invitation to Tender   Ref BC/2025/041

2. Clarification questions

2.1 Clarification questions must be submitted through the portal no later than 17:00 on 28 March 2025.

3. Selection

3.1 Tenderers must have a minimum turnover of £500,000 in each of the last two financial years.

3.2 Tenderers shall hold employer's liability insurance of £5 million.

3.3 The Council may exclude a tenderer that is bankrupt.
Page 2 of 3\fBrackenshire Council   Invitation to Tender   Ref BC/2025/041

4. Method statement

4.1 The method statement must not exceed 3,000 words.

4.2 Tenderers should describe their approach to social value.

5. Award criteria

Quality 60%
Price 40%

6. Site visits

6.1 Site visits are not mandatory.
Page 3 of 3""",
        "ITT Grounds Maintenance (1).txt": """Brackenshire Council   Invitation to Tender   Ref BC/2025/041

INVITATION TO TENDER

Grounds Maintenance Services

Issue date: 20 March 2025

1. Introduction

1.1 Brackenshire Council ("the Council") invites tenders for grounds
maintenance at 64 sites for an initial term of 48 months commencing on 1 September 2025.

1.2 Tenders must be submitted via the e-tendering portal by 12 noon on 25 April 2025. Tenders received after the
closing
Page 1 of 4\fBrackenshire Council   Invitation to Tender   Ref BC/2025/041

date will be rejected.

2. Clarification questions

2.1 Clarification questions must be submitted through the portal no later than 17:00 on 4 April 2025.

3. Selection

3.1 Tenderers must have a minimum turnover of £500,000 in each of the last two financial years.

3.2 Tenderers shall hold employer's liability insurance of £10 million.
Page 2 of 4\fBrackenshire Council   Invitation to Tender   Ref BC/2025/041

3.3 The Council shall exclude a tenderer that is bankrupt.

4. Method statement

4.1 The method statement must not exceed 2,000 words.

4.2 Tenderers should describe their approach to social value.

4.3 Tenderers must complete the carbon reduction plan in Schedule 7.
Page 3 of 4\fBrackenshire Council   Invitation to Tender   Ref BC/2025/041

5. Award criteria

Quality 60%
Price 40%

6. Site visits

6.1 Site visits are mandatory.
Page 4 of 4""",
    },
    changes=[
        Change("36 months", "48 months", "limit_conflict"),
        Change("14 April 2025", "25 April 2025", "date_conflict"),
        Change("28 March 2025", "4 April 2025", "date_conflict"),
        Change("£5 million", "£10 million", "limit_conflict"),
        Change("may exclude", "shall exclude"),
        Change("3,000 words", "2,000 words", "limit_conflict"),
        Change(None, "carbon reduction plan in Schedule 7"),
        Change("Site visits are not mandatory", "Site visits are mandatory"),
    ],
    minor=[Change("3 March 2025", "20 March 2025")],
    deadline="2025-04-25T12:00",
    criteria=2,
)

EUROPE = Bundle(
    name="EU call with a corrigendum",
    documents={
        "Call document HORIZON-MISS-2025.md": """
# Call for proposals: Soil living labs

**Version 1.0 – 10 January 2025**

## 1. Topic conditions

Proposals must include at least three independent legal entities established in different Member States. Entities
established in third countries are not eligible for funding.

The maximum grant amount per project is €4 million. Projects should normally range between 24 and 48 months.

## 2. Timetable

| Step | Date |
|---|---|
| Opening of the call | 14 January 2025 |
| Deadline for submission | 16 September 2025, 17:00 (Brussels time) |
| Information on evaluation results | January 2026 |

## 3. Admissibility

Part B of the application must not exceed 45 pages. Excess pages will be made invisible and will be disregarded by the
evaluators.

Applications must be submitted electronically. Paper submissions are NOT possible.

## 4. Award criteria

| Award criterion | Minimum pass score | Maximum score |
|---|---|---|
| Excellence | 3 | 5 |
| Impact | 3 | 5 |
| Quality of implementation | 3 | 5 |

## 5. Financial provisions

The funding rate is 100 % of the eligible costs. Beneficiaries may charge travel costs on the basis of unit costs.
""",
        "Corrigendum to call HORIZON-MISS-2025.md": """
# Corrigendum 1

Published on 2 June 2025

## Changes to the call document

In section 3, "must not exceed 45 pages" is replaced by "must not exceed 40 pages".

The deadline for submission is 30 September 2025, 17:00 (Brussels time).

Proposals must include at least four independent legal entities established in different Member States.
""",
    },
    changes=[
        Change("45 pages", "40 pages", "limit_conflict"),
        Change("16 September 2025", "30 September 2025", "date_conflict"),
        Change("three independent legal entities", "four independent legal entities"),
    ],
    deadline="2025-09-30T17:00+02:00",
    criteria=3,
)

BUNDLES = [FOUNDATION, STATE, TENDER, EUROPE]
