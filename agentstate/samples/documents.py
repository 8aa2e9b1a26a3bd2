"""The documents of a normal project, one SQL expression each, in each generation of the legacy application.

They expect in their scope the row's number ``n``, ``swollen`` (the place of the one larger document) and ``bytes``
(its approximate size).
"""

from __future__ import annotations

from agentstate.samples.dice import array_of, chance, day, integer, nth, optional, pick, sentence, share, with_dice

SWELLING = ("facts", "coverage", "rfp_norm", "conflict_log", "eligibility")


def length(document: str, usual: str, item_bytes: int) -> str:
    """Return the number of items in the document's array: ``usual``, or what fills ``bytes`` if it is swollen."""
    return f"CASE WHEN swollen = {SWELLING.index(document)} THEN bytes / {item_bytes} ELSE {usual} END"


def upload(at: int) -> str:
    """Return the id of one of the project's four uploads."""
    return f"concat('upl_', to_hex(n), '_', {integer(at, 4, 1)})"


def version(at: int) -> str:
    return f"'v' || {integer(at, 4, 1)}"


# factsJson: an array in the first generation, an object in the second.

QUOTED = f"""
    jsonb_build_object('uploadId', {upload(7)}, 'quote', {sentence(8)})
    {optional(12, 60, "page", integer(13, 40, 1))}
"""

FACT = f"""
    jsonb_build_object(
        'id', 'fact_' || i,
        'text', {sentence(0)},
        'kind', {pick("fact_kinds", 4)},
        'strength', {share(5)}
    )
    {optional(6, 80, "evidence", QUOTED)}
"""

ORGANIZATION = f"""
    jsonb_build_object(
        'legal_name', {pick("organizations", 3)},
        'mission', {sentence(4)},
        'track_record', concat({sentence(8)}, ' ', {sentence(12)}),
        'ein', concat({integer(16, 90, 10)}, '-', {integer(17, 200, 1000)}, {integer(18, 200, 100)})
    )
"""

UNDERTAKING = f"""
    jsonb_build_object(
        'title', {pick("undertakings", 20)},
        'summary', concat({sentence(21)}, ' ', {sentence(25)}),
        'milestones', jsonb_build_array({day(29)}, {day(30)})
    )
"""

TEAM_MEMBER = f"""
    jsonb_build_object('name', {pick("people", 0)}, 'role', {pick("jobs", 1)}, 'highlights', {sentence(2)})
"""

EVIDENCE = f"""
    jsonb_build_object('type', {pick("evidence_types", 0)}, 'value', {sentence(1)}, 'uploadId', {upload(5)})
    {optional(6, 40, "offsets", f"jsonb_build_array({integer(7, 200)}, {integer(8, 200, 200)})")}
"""

FACTS = with_dice(
    "facts",
    f"""
    CASE
        WHEN {chance(0, 35)} THEN {array_of(FACT, length("facts", integer(1, 6, 4), 360), "fact")}
        ELSE jsonb_build_object('evidence', {array_of(EVIDENCE, length("facts", integer(1, 6, 2), 230), "evidence")})
            {optional(2, 85, "org", ORGANIZATION)}
            {optional(19, 85, "project", UNDERTAKING)}
            {optional(31, 75, "team", array_of(TEAM_MEMBER, integer(1, 4, 1), "team"))}
    END
    """,
)

# coverageJson: the score follows from the requirements. The first generation had neither details nor suggestions.

REQUIREMENT = f"""
    jsonb_build_object('id', 'req_' || i, 'source', {pick("requirement_sources", 1)}, 'status', status)
    || CASE
        WHEN detailed
        THEN jsonb_build_object('weight', {share(2)}, 'risk', {pick("risks", 3)}, 'evidence_rank', {integer(4, 5)})
        ELSE '{{}}'
    END
    || CASE WHEN open THEN jsonb_build_object('need_from_user', {pick("needs", 5)}) ELSE '{{}}' END
"""

SUGGESTION = f"""
    jsonb_build_object(
        'id', 'sug_' || i,
        'requirementId', 'req_' || i,
        'action', {pick("suggestion_actions", 6)},
        'label', {pick("suggestion_labels", 6)},
        'value_score', {share(8)},
        'effort_score', round({integer(9, 9, 1)} / 10.0, 1),
        'ratio', round({share(8)} * 10 / {integer(9, 9, 1)}, 3)
    )
"""

COVERAGE = with_dice(
    "coverage",
    f"""(
        SELECT jsonb_build_object('score', round(avg(worth), 2), 'requirements', jsonb_agg({REQUIREMENT} ORDER BY i))
            || CASE
                WHEN bool_or(detailed)
                THEN jsonb_build_object(
                    'suggestions', coalesce(jsonb_agg({SUGGESTION} ORDER BY i) FILTER (WHERE open), '[]')
                )
                ELSE '{{}}'
            END
        FROM (
            SELECT i, dice, detailed, status,
                status IN ('missing', 'stubbed') AS open,
                CASE status WHEN 'drafted' THEN 1 WHEN 'evidenced' THEN 0.7 WHEN 'stubbed' THEN 0.2 ELSE 0 END AS worth
            FROM (
                SELECT i, dice, detailed, {pick("requirement_statuses", 0)} AS status
                FROM (
                    SELECT i, {chance(1, 70)} AS detailed, sha256(dice || int4send(i::int)) AS dice
                    FROM generate_series(1, {length("coverage", integer(0, 9, 5), 280)}) AS i
                    OFFSET 0
                ) rolled
                OFFSET 0
            ) named
            OFFSET 0
        ) requirements
    )""",
)

# rfpNormJson: the first generation had titles and keys only.

SUBSECTIONS = f"""
    jsonb_build_array(
        jsonb_build_object('title', {pick("subsections", 9)}), jsonb_build_object('title', 'Summary')
    )
"""

SECTION_PROVENANCE = f"""
    jsonb_build_object(
        'source_upload_id', {upload(11)},
        'version', {version(12)},
        'release_date', {day(13)},
        'confidence', {share(14)}
    )
"""

SECTION = f"""
    jsonb_build_object(
        'key', concat({nth("section_keys", "i - 1")}, CASE WHEN i > 12 THEN '_' || i END),
        'title', {nth("section_titles", "i - 1")}
    )
    || CASE
        WHEN {chance(0, 75)}
        THEN jsonb_build_object(
            'prompt', concat({pick("prompts", 1)}, ' ', {pick("prompts", 2)}),
            'required', {chance(3, 70)},
            'ordering', i
        )
        ELSE '{{}}'
    END
    {optional(4, 40, "word_limit", f"{integer(5, 12, 1)} * 250")}
    {optional(6, 30, "page_limit", integer(7, 12, 1))}
    {optional(8, 25, "subsections", SUBSECTIONS)}
    {optional(10, 50, "provenance", SECTION_PROVENANCE)}
"""

NOTICE = f"""
    jsonb_build_object('title', concat({pick("programs", 0)}, ' ', {integer(1, 4, 2023)}))
    || CASE
        WHEN {chance(2, 80)}
        THEN jsonb_build_object(
            'funder', {pick("funders", 0)},
            'program', {pick("programs", 0)},
            'release_date', {day(4)},
            'deadline', {day(4, later_by=integer(5, 60, 30))},
            'deadline_tz', 'America/New_York',
            'url', 'https://grants.example/' || to_hex(n)
        )
        ELSE '{{}}'
    END
    {optional(6, 30, "version", version(7))}
"""

PAGE_LIMIT = f"jsonb_build_object('doc', 'narrative', 'limit', {integer(13, 25, 5)}, 'unit', 'pages')"

SUBMISSION = f"""
    jsonb_build_object(
        'portal', {pick("portals", 12)},
        'format', 'PDF',
        'font', 'Times New Roman',
        'font_size_pt', 12,
        'line_spacing', 1.5,
        'margins_in', 1,
        'page_limits', jsonb_build_array({PAGE_LIMIT}),
        'attachments', jsonb_build_array({pick("attachments", 14)}, {pick("attachments", 15)})
    )
"""

RULE = f"jsonb_build_object('id', 'elig_' || i, 'text', {nth('eligibility', 'n + i')})"

CRITERION = f"""
    jsonb_build_object('criterion', {nth("criteria", "n + i")})
    {optional(0, 80, "weight", f"{integer(1, 7, 1)} * 5")}
"""

ANSWERED = f"jsonb_build_object('q', {nth('questions', 'n + i')}, 'a', {nth('answers', 'n + i')})"

RFP_NORM = with_dice(
    "rfp_norm",
    f"""
    jsonb_build_object(
        'meta', {NOTICE},
        'sections', {array_of(SECTION, length("rfp_norm", integer(8, 7, 3), 400), "section")}
    )
    {optional(9, 30, "eligibility", array_of(RULE, integer(10, 3, 1), "rule"))}
    {optional(11, 50, "submission", SUBMISSION)}
    {optional(16, 40, "scoring", array_of(CRITERION, integer(17, 5, 2), "criterion"))}
    {optional(18, 20, "faq", array_of(ANSWERED, integer(19, 3, 1), "faq"))}
    {optional(20, 20, "citations", f"jsonb_build_array('https://grants.example/notice/' || {integer(21, 200)})")}
    """,
)

# conflictLogJson: the later of two uploads has the later date.


def provenance(at: int, released: str) -> str:
    """Return the provenance of a section. Uses three bytes."""
    return f"""
        jsonb_build_object('source_upload_id', {upload(at)}, 'release_date', {released})
        {optional(at + 1, 70, "version", version(at + 2))}
    """


CONFLICT = f"""
    jsonb_build_object(
        'type', 'section_conflict',
        'key', {pick("section_keys", 0)},
        'previous', {provenance(1, day(4))},
        'next', {provenance(5, day(4, later_by=integer(8, 90, 7)))}
    )
    {optional(9, 60, "resolved", pick("resolutions", 10))}
"""

CONFLICT_LOG = with_dice("conflict_log", array_of(CONFLICT, length("conflict_log", integer(0, 7), 270), "conflict"))

# eligibilityJson

ELIGIBILITY_ITEM = f"{RULE} {optional(1, 60, 'fatal', chance(2, 25))}"

OVERRIDE = f"jsonb_build_object('elig_1', jsonb_build_object('by', {pick('people', 2)}, 'reason', {sentence(3)}))"

ELIGIBILITY = with_dice(
    "eligibility",
    f"""
    jsonb_build_object(
        'items', {array_of(ELIGIBILITY_ITEM, length("eligibility", integer(0, 7, 2), 130), "eligibility item")}
    )
    {optional(1, 25, "overrides", OVERRIDE)}
    """,
)

# meta.chat: entries without a time.

CHAT_ENTRY = f"""
    CASE mod(i, 2)
        WHEN 1 THEN jsonb_build_object('role', 'user', 'content', {pick("requests", 0)})
        ELSE jsonb_build_object('role', 'assistant', 'content', concat({pick("replies", 1)}, ' ', {sentence(2)}))
    END
"""

CHAT = with_dice("chat", array_of(CHAT_ENTRY, integer(0, 12, 1), "chat entry"))

# Documents that agentstate must leave as they are. They use the row's own dice.

CHARTER = f"""
    jsonb_build_object('purpose', {sentence(20)}, 'audience', {pick("audiences", 24)}, 'version', {integer(25, 3, 1)})
"""

FILE = f"jsonb_build_object('uploadId', {upload(26)}, 'name', 'notice.pdf', 'pages', {integer(27, 90, 4)})"

RFP_BUNDLE = f"jsonb_build_object('files', jsonb_build_array({FILE}))"

SLO = f"jsonb_build_object('first_draft_days', {integer(28, 20, 1)}, 'target_score', {share(29)})"

OTHER_META = f"jsonb_build_object('origin', {pick('origins', 30)}, 'pinned', {chance(31, 10)})"
