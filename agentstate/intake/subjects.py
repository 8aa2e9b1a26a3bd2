"""What a statement is about: its kind, whom a date concerns, and the readable key under which it is kept."""

from __future__ import annotations

import re

from agentstate.intake.words import COMPARATORS, LIGHT, MODALS, NUMBERS, plain_words, vocabulary

_PURPOSES = (
    ("document_date", (
        r"issue(?:d| date)|\brevised\b|\bupdated\b|date of issue|publi(?:shed|cation)|release(?:d| date)|\bdated\b"
        r"|version\b"
    )),
    # In this order: a clause about questions also says "submitted", one about a conference also says "proposals".
    ("questions_deadline", r"question|inquir|enquir|clarification|comments? regarding|requests? for information"),
    ("answers_date", r"answers?\b|responses? to (?:questions|inquiries)"),
    ("intent_deadline", (
        r"letters? of (?:intent|interest|inquiry)|notices? of intent|intent to (?:bid|apply|propose|respond)"
        r"|expressions? of interest|pre-?proposal|concept (?:note|paper)|\bLOI\b"
        )),
    ("conference_date", r"conference|webinar|site visit|briefing|information session|bidders'? day|workshop"),
    ("orals_date", r"oral presentation|interview|\borals\b|demonstration"),
    ("award_date", (
        r"\baward(?:ed|s)?\b(?! consider)|notification of (?:award|results|outcome)|announce|selection"
        r"|evaluation period|grant agreement"
        )),
    ("start_date", r"start date|commenc|begins?\b|starting|effective date|project start|contract start"),
    ("end_date", r"end date|completion date|\bends?\b|expir|period of performance|until completion|final report"),
    ("opening_date", r"opening (?:date|of)|call opens|opens on|portal opens|available from"),
    ("submission_deadline", (
        r"deadline|due\b|clos(?:e|es|ing)\b|reply by|no later than|not later than|received|submi(?:t|ssion)"
        r"|respon(?:se|d)|return|lodged|tenders?\b|proposals?\b|bids?\b|quotations?\b|quotes?\b"
        r"|applications?\b|offers?\b"
        )),
)  # fmt: skip
_COMPILED = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _PURPOSES)
_SUBMITTED = re.compile(
    r"\b(?:proposals?|quotations?|quotes?|tenders?|bids?|applications?|offers?|submissions?"
    r"|responses?)\b[^.;]{0,60}?\b(?:due|received|submitted|"
    r"lodged|close|deadline|returned|uploaded)|(?:closing|submission|due|response|application|proposal"
    r"|tender|bid|quotation) (?:date|deadline)"
    r"|reply by|deadline for (?:the )?(?:submission|receipt|applications?|proposals?|tenders?|bids?)"
    r"|(?:proposals?|applications?|tenders?|bids?|offers?|quotes?) (?:are )?due"
    r"|(?:proposals?|applications?|tenders?|bids?) deadline|^\W*(?:due|closes|closing)\b",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"\b(?:questions?|inquiries|enquiries|clarifications?)\b[^.;]{0,80}?\b(?:due|submitted|received"
    r"|no later|by|until|deadline|sent)|(?:questions?|clarifications?) (?:deadline|due)"
    r"|deadline for (?:questions|clarification)",
    re.IGNORECASE,
)
_TITLED = re.compile(r"\bdeadlines?\b|\bdue\b|\bclosing\b|\bsubmission|questions|clarification", re.IGNORECASE)
ELIGIBLE = re.compile(
    r"\beligib|\bineligib|\bqualif(?:y|ies|ied|ications? to)|will not be considered|not be considered for"
    r"|disqualif|\bdebar|exclu(?:ded|sion)s? from"
    r"|be rejected|shall be rejected|non-?responsive|501\s?\(c\)|only\s+(?:\w+\s+){0,4}(?:may|can"
    r"|are)\s+(?:apply|eligible|submit|bid)"
    r"|removal of the|no longer (?:be(?:ing)? )?considered|similar size|minimum turnover|(?:may"
    r"|can) not apply|cannot apply|not permitted to (?:apply|bid)",
    re.IGNORECASE,
)
_SCORED = re.compile(
    r"\bevaluat(?:e[ds]?|ion|ors?|ing)\b|\bscor(?:e[ds]?|ing)\b|\bweight(?:s|ed|ing)?\b|\brat(?:ed"
    r"|ings?)\b|\bpoints\b|award criteri|selection criteri"
    r"|\bpreferred\b|preference will|more (?:responsive|favou?rabl[ey])|considered more|best value"
    r"|trade-?off|\bassess(?:ed|ment)\b|merit",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:in|for|at|if|as|on|when|where|under|per|upon|after|before)\b[^,;]{0,60},\s+", re.IGNORECASE
)
_PARTIES = vocabulary(
    "offeror offerors applicant applicants proposer proposers bidder bidders tenderer tenderers vendor vendors"
    " supplier suppliers contractor contractors respondent respondents quoter quoters grantee grantees partner"
    " partners government council agency department beneficiary beneficiaries candidate candidates team"
)
_GIVING = vocabulary(
    "submit provide return deliver include page pages word words limit limited maximum minimum hold have"
)
_EMPTY = vocabulary(
    "you we they he she it all any some no note please be is are was were been being has have had do"
    " does did include includes including included total by from with which who whom there here than"
    " then also thus therefore however if following below above must shall"
) | MODALS  # fmt: skip


def purpose_of(context: str, statement: str = "", title: str = "") -> str:
    """Return what a date is for: ``submission_deadline``, ``questions_deadline``, … or ``date``.

    Args:
        context: the words that belong to the date.
        statement: the whole sentence; it counts where the context does not say it plainly.
        title: the heading above; it counts where the sentence says nothing.
    """
    for text in (context, statement):
        if plainly := stated_purpose(text):
            return plainly
    for text in (context, statement):
        for name, pattern in _COMPILED:
            if pattern.search(text):
                return name
    if not _TITLED.search(title):
        return "date"
    return stated_purpose(f"{title} deadline") or "submission_deadline"


def stated_purpose(text: str) -> str:
    """Return ``submission_deadline`` or ``questions_deadline`` where a text says so plainly, else ""."""
    if _ASKED.search(text):
        return "questions_deadline"
    if _SUBMITTED.search(text) and not re.search(r"letters? of (?:intent|interest)", text, re.IGNORECASE):
        return "submission_deadline"
    return ""


def kind_of(text: str) -> str:
    """Return whether a statement is about ``eligibility``, ``scoring`` or is another ``rule``."""
    if ELIGIBLE.search(text):
        return "eligibility"
    return "scoring" if _SCORED.search(text) else "rule"


def subject_of(text: str, most: int = 4) -> list[str]:
    """Return the words that say what a statement is about: the first that count, before its verb if it has one."""
    words = [word for word in plain_words(_OPENING.sub("", text)) if len(word) > 1 or word.isdigit()]
    verb = next((place for place, word in enumerate(words) if word in MODALS and place), None)
    head = telling(words[:verb]) if verb is not None else []
    return (head or telling(words))[:most]


def limited_by(text: str, before: str) -> list[str]:
    """Return what a number limits.

    Args:
        text: the statement.
        before: its words up to the number. They count where the subject is whoever has to comply, or has no verb.
    """
    ahead = plain_words(before)
    subject = subject_of(text)[:3] if any(word in MODALS for word in ahead) else []
    if all(word in _PARTIES for word in subject):
        near = [word for word in telling(ahead) if word not in _PARTIES and word not in _GIVING]
        subject = near[-3:] or subject
    return list(dict.fromkeys(subject))


def key_of(*parts: str) -> str:
    """Return a readable key: lower-case letters and digits with underscores."""
    return re.sub(r"_+", "_", re.sub(r"[^a-z0-9]+", "_", "_".join(parts).casefold())).strip("_")[:80] or "statement"


def label_of(key: str) -> str:
    """Return a key as people read it."""
    return key.replace("_", " ").strip().capitalize()


def telling(words: list[str]) -> list[str]:
    """Return the words that name something: without small words, verbs of duty, bounds and numbers."""
    numbers = {*NUMBERS.values()}
    return [
        word
        for word in words
        if word not in LIGHT and word not in _EMPTY and word not in COMPARATORS and word not in numbers
        and not re.search(r"[\d@/]", word)
    ]  # fmt: skip
