"""One line says what an event is, whatever its payload holds."""

from __future__ import annotations

import pytest

from agentstate.admin.run.timeline.summaries import LONGEST
from tests.admin.run.timeline.scenes import add_event, add_events, make_run, only_row, rows
from tests.sql import sql

pytestmark = pytest.mark.django_db

CONFLICT = '"type": "section_conflict", "key": "budget", "previous": {"version": "1"}, "next": {"version": "2"}'


@pytest.mark.parametrize(
    ("type_", "payload", "line"),
    [
        ("coverage.delta", '{"from": 0.42, "to": 0.61}', "coverage 0.42 → 0.61"),
        ("coverage.delta", '{"from": null, "to": 0.30000000000000004}', "coverage none → 0.3"),
        ("coverage.delta", '{"from": 0.30000000000000004, "to": 0.3}', "coverage 0.30000000000000004 → 0.3"),
        ("coverage.delta", '{"score": 0.5}', "coverage 0.5"),
        ("coverage.delta", '{"from": "low", "to": [1, 2]}', "coverage low → [1, 2]"),
        ("coverage.delta", "0.7", "coverage 0.7"),
        ("conflict.found", f"{{{CONFLICT}}}", "conflict in section budget: v1 → v2"),
        (
            "conflict.found",
            f'{{{CONFLICT}, "resolved": "latest"}}',
            "conflict in section budget: v1 → v2, resolved: latest",
        ),
        ("conflict.resolved", f'{{{CONFLICT}, "resolved": "latest"}}', "conflict in section budget resolved: latest"),
        ("conflict.resolved", f"{{{CONFLICT}}}", "conflict in section budget resolved"),
        (
            "conflict.found",
            '{"key": "need", "previous": {"release_date": "2025-01-02"}, "next": {"release_date": "2025-03-04"}}',
            "conflict in section need: 2025-01-02 → 2025-03-04",
        ),
        ("conflict.found", '{"key": 7, "previous": "old", "next": null}', "conflict in section 7: old → null"),
        (
            "intake.fallback",
            '{"steps": ["mine_facts", "score_coverage"], "reason": "TimeoutError: no answer"}',
            "the model left out mine_facts, score_coverage, taken in the fixed order: TimeoutError: no answer",
        ),
        ("intake.fallback", '{"steps": []}', "the model failed after the last step"),
        ("conflict.found", '"the two disagree"', "conflict: the two disagree"),
        ("conflict.found", "null", "conflict: null"),
        ("conflict.found", '{"why": "unclear"}', 'conflict: why: "unclear"'),
        (
            "eligibility.flag",
            '{"id": "e", "text": "must be a 501(c)(3)", "fatal": true}',
            "eligibility, fatal: must be a 501(c)(3)",
        ),
        ("eligibility.flag", '{"text": "operates here"}', "eligibility: operates here"),
        ("eligibility.flag", '{"item": {"text": "is late", "fatal": true}}', "eligibility, fatal: is late"),
        ("eligibility.flag", "[1]", "eligibility: [1]"),
        ("state.changed", '{"coverage": 1, "facts": {}}', "saved facts, coverage"),
        ("state.changed", '{"facts": {}, "absent": ["coverage"]}', "saved facts; took away coverage"),
        ("state.changed", "5", "saved 5"),
        ("snapshot.legacy", '{"keys": ["coverage", "facts"]}', "snapshot of the legacy columns: coverage, facts"),
        ("snapshot.legacy", '{"keys": []}', "snapshot of the legacy columns: all were empty"),
        ("snapshot.restored", '{"from": "run-1"}', "restored the state of run run-1"),
        ("run.pruned", '{"events": 12}', "events: 12 deleted by prune_agentkit_history"),
        ("fork.merged", '{"keys": ["facts"], "from": "legacy"}', "merged a fork: facts from legacy"),
        ("fork.settled", '{"keys": ["facts"], "from": "agentkit"}', "settled a fork: facts from agentkit"),
        ("tool.invocation", '{"call_id": "1", "tool": "normalize_rfp"}', "tool normalize_rfp"),
        ("tool.invocation", '{"call_id": "1", "tool": "search", "agent": "Planner"}', "tool search of agent Planner"),
        ("tool.result", '"odd"', "tool: odd"),
        (
            "model.response",
            '{"agent": "Planner", "model": "gpt-5", "usage": {"input_tokens": 9000, "output_tokens": 80}}',
            "model gpt-5 answered agent Planner: 9,000 tokens in, 80 out",
        ),
        ("model.response", '{"agent": "Planner", "output": []}', "model without a name answered agent Planner"),
        ("model.response", '{"why": 1}', "model response: why: 1"),
        (
            "model.usage",
            '{"model": "gpt-5", "input_tokens": 9000, "output_tokens": 80, "cost_usd": 0.00191}',
            "model gpt-5 used 9,000 tokens in, 80 out, $0.0019",
        ),
        ("model.usage", '{"model": "gpt-5", "input_tokens": 9}', "model gpt-5 used 9 tokens in, 0 out"),
        ("model.usage", '{"cost_usd": 0}', "model without a name used $0.00"),
        ("agent.handoff", '{"from": "Triage", "to": "Planner"}', "agent Triage handed over to agent Planner"),
        (
            "guardrail.tripped",
            '{"guardrail": "no_pii", "kind": "tool_input", "info": {"found": "an address"}}',
            'guardrail no_pii of the tool input tripped: {found: "an address"}',
        ),
        ("guardrail.tripped", '{"guardrail": "no_pii"}', "guardrail no_pii tripped"),
        (
            "approval.requested",
            '{"call_id": "1", "tool": "send", "agent": "Planner", "arguments": "{}"}',
            "tool send of agent Planner waits for approval: {}",
        ),
        ("approval.decided", '{"call_id": "1", "decision": "approved", "by": "ana"}', "call 1 approved by ana"),
        (
            "approval.decided",
            '{"call_id": "1", "decision": "rejected", "by": "ana", "message": "too expensive"}',
            "call 1 rejected by ana: too expensive",
        ),
        ("heartbeat", "{}", "sign of life"),
        ("run.canceled", '{"by": "ana", "reason": "too expensive"}', "canceled by ana: too expensive"),
        ("run.ended", '{"status": "failed", "error": "E: no"}', "the run ended after all: failed, E: no"),
        ("draft.progress", '{"done": 3, "section": "need"}', 'draft progress: done: 3, section: "need"'),
        ("something_new", "{}", "something new"),
        ("something.new", '{"list": [1, {"a": {"b": 1}}]}', "something new: list: [1, {a: {…}}]"),
        ("something.new", '"two\\nlines"', "something new: two lines"),
        ("something.new", "123456789012345678901234567890.5", "something new: 123456789012345678901234567890.5"),
        ("", "true", "an event without a type: true"),
    ],
)
def test_a_line_summarizes_each_event(type_: str, payload: str, line: str) -> None:
    run = make_run()
    add_event(run, type_, payload)
    assert only_row(run).summary == line


@pytest.mark.parametrize(
    "type_",
    ["model.response", "model.usage", "agent.handoff", "guardrail.tripped", "approval.requested", "approval.decided",
     "coverage.delta", "conflict.found", "conflict.resolved", "eligibility.flag", "state.changed", "snapshot.legacy",
     "snapshot.restored", "fork.merged", "fork.settled", "tool.invocation", "tool.result", "run.canceled", "run.ended",
     "heartbeat",
     "unheard.of"],
)  # fmt: skip
@pytest.mark.parametrize(
    "payload",
    [
        '"text"', "1e400", "null", "true", "[]", "[null]", "{}", '{"": {}}',
        '{"key": null, "keys": 3, "tool": [], "item": null}',
        '{"from": {"a": 1}, "to": "", "status": 5, "error": {}, "duration_ms": "long", "call_id": 9}',
        '{"previous": 1, "next": [], "resolved": {}, "text": [1, 2], "fatal": "yes", "score": false}',
        '{"text": "\\u202egnp.exe\\u202c"}',
    ],
)  # fmt: skip
def test_an_odd_payload_has_a_summary(type_: str, payload: str) -> None:
    run = make_run()
    add_event(run, type_, payload)
    row = only_row(run)
    assert row.summary
    assert "\n" not in row.summary
    assert len(row.summary) <= LONGEST
    assert row.error is not None


@pytest.mark.parametrize(
    "payload",
    [
        f'"{"x" * 5_000_000}"',
        f'{{"text": "{"x" * 5_000_000}", "tool": "fetch"}}',
        f'{{"list": [{"1," * 500_000}1], "key": "budget"}}',
        "[" * 5_000 + "]" * 5_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        f"{{{','.join(f'{chr(34)}key{number}{chr(34)}: {number}' for number in range(50_000))}}}",
        "9" * 100_000,
        "[1e100000, 1e100000]",
    ],
    ids=["text", "member", "list", "nested lists", "nested objects", "many keys", "digits", "short for long"],
)
@pytest.mark.parametrize("type_", ["eligibility.flag", "conflict.found", "tool.result", "unheard.of", "state.changed"])
def test_only_the_beginning_of_a_large_payload_is_read(type_: str, payload: str) -> None:
    run = make_run()
    add_event(run, type_, payload)
    row = only_row(run)
    assert len(row.summary) <= LONGEST
    assert len(str(row.event.seen)) < 20_000
    assert row.event.text is None


def test_many_large_payloads_are_not_all_detoasted() -> None:
    run = make_run()
    add_events(run, 8, "jsonb_build_object('noise', n)")
    noise = "(SELECT string_agg(md5(id || n), '') FROM generate_series(1, 100000) n)"
    sql(f"UPDATE \"AgentWorkflowRunEvent\" SET payload = jsonb_build_object('noise', {noise})")
    first, *_, last = rows(run)
    assert (first.summary, first.event.shape) == ('draft progress: noise: "…"', "object")
    assert (last.summary, last.event.shape) == ("draft progress, too large to look into here", None)
