"""Summaries of events, in one line each."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agentstate.admin.shared.formats import dollars
from agentstate.recording.events import LATE
from agentstate.state.keys import STATE_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstate.admin.run.timeline.events import Event

LONGEST, LONGEST_VALUE, MOST_MEMBERS = 240, 120, 5
_STATE_KEYS = [key.name for key in STATE_KEYS]


def summary(event: Event) -> str:
    """Return one line on an event, whatever its payload is."""
    if event.shape is None:
        return f"{_words(event.type)}, too large to look into here"
    return cut(_SUMMARIES.get(event.type, _of_anything)(event), LONGEST)


def cut(text: str, longest: int) -> str:
    """Return text on one line, no longer than that."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def short(value: Any, longest: int = LONGEST_VALUE) -> str:
    """Return a value in a few words: a text as it is, anything else as JSON would have it."""
    return cut(value if isinstance(value, str) else _json(value, 3), longest)


def _json(value: Any, depth: int) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f'"{cut(value, 60)}"'
    if isinstance(value, list):
        return f"[{_items(value, depth - 1)}]" if depth else "[…]"
    if isinstance(value, dict):
        return f"{{{_pairs(value, depth - 1)}}}" if depth else "{…}"
    return str(value)


def _items(items: list[Any], depth: int) -> str:
    shown = [_json(item, depth) for item in items[:MOST_MEMBERS]]
    return ", ".join([*shown, "…"] if len(items) > MOST_MEMBERS else shown)


def _pairs(members: dict[str, Any], depth: int) -> str:
    shown = [f"{name}: {_json(value, depth)}" for name, value in list(members.items())[:MOST_MEMBERS]]
    return ", ".join([*shown, "…"] if len(members) > MOST_MEMBERS else shown)


def _of_snapshot(event: Event) -> str:
    return f"snapshot of the legacy columns: {_list(event.get('keys'), 'all were empty')}"


def _of_change(event: Event) -> str:
    saved = [key for key in _STATE_KEYS if isinstance(event.seen, dict) and key in event.seen]
    taken = _list(event.get("absent"), "")
    if event.shape != "object" or not (saved or taken):
        return f"saved {_rest(event)}"
    said = [f"saved {', '.join(saved)}"] if saved else []
    return "; ".join([*said, f"took away {taken}"] if taken else said)


def _of_coverage(event: Event) -> str:
    if event.shape != "object":
        return f"coverage {short(event.seen)}"
    if "to" in event.seen or "from" in event.seen:
        return f"coverage {' → '.join(_scores(event.get('from'), event.get('to')))}"
    return f"coverage {_scores(event.seen['score'])[0] if 'score' in event.seen else _rest(event)}"


def _scores(*scores: Any) -> list[str]:
    """Return scores with three decimals at most, unless they would look the same."""
    exact = ["none" if score is None else short(score, 40) for score in scores]
    rounded = [
        f"{number:.3f}".rstrip("0").rstrip(".")
        if (number := number_of(score)) is not None and abs(number) < 1e6
        else text
        for score, text in zip(scores, exact, strict=True)
    ]
    return exact if len(set(rounded)) < len(set(exact)) else rounded


def _of_conflict(event: Event) -> str:
    if event.shape != "object" or not {"key", "previous", "next"} & event.seen.keys():
        return f"conflict: {_rest(event)}"
    resolved = event.get("resolved")
    where = f"conflict in {_place_of_conflict(event)}"
    if event.type == "conflict.resolved":
        return f"{where} resolved{'' if resolved is None else f': {short(resolved)}'}"
    versions = _versions(event.get("previous"), event.get("next"))
    return f"{where}{versions}{'' if resolved is None else f', resolved: {short(resolved)}'}"


def _place_of_conflict(event: Event) -> str:
    kind = str(event.get("type") or "section_conflict").removesuffix("_conflict")
    return f"{short(kind, 40)} {short(event.get('key')) if 'key' in event.seen else 'without a name'}"


def _versions(previous: Any, following: Any) -> str:
    """Return both versions by the first of their marks that tells them apart."""
    if previous is None and following is None:
        return ""
    for mark in ("value", "version", "release_date", "source_upload_id"):
        one, other = (side.get(mark) if isinstance(side, dict) else None for side in (previous, following))
        if one != other:
            return f": {_version(mark, one)} → {_version(mark, other)}"
    return f": {short(previous, 80)} → {short(following, 80)}"


def _version(mark: str, value: Any) -> str:
    if value is None:
        return "none"
    text = short(value, 40)
    return f"v{text}" if mark == "version" and re.match(r"\d", text) else text


def _of_eligibility(event: Event) -> str:
    item: Any = event.seen
    if isinstance(item, dict) and "text" not in item and "item" in item:
        item = item["item"]
    if not isinstance(item, dict):
        return f"eligibility: {short(item)}"
    said = item.get("text", item.get("id"))
    is_fatal = item.get("fatal") is True
    return f"eligibility{', fatal' if is_fatal else ''}: {_rest(event) if said is None else short(said, LONGEST)}"


def _of_call(event: Event) -> str:
    tool = event.get("tool")
    return f"tool {short(tool, 80)}{_by_agent(event)}" if tool is not None else f"tool: {_rest(event)}"


def _by_agent(event: Event) -> str:
    agent = event.get("agent")
    return "" if agent is None else f" of agent {short(agent, 60)}"


def _of_response(event: Event) -> str:
    if event.get("model") is None and event.get("agent") is None:
        return f"model response: {_rest(event)}"
    usage = event.get("usage")
    tokens = tokens_in_words(usage) if isinstance(usage, dict) else ""
    agent = "" if event.get("agent") is None else f" agent {short(event.get('agent'), 60)}"
    return f"model {_model(event)} answered{agent}{f': {tokens}' if tokens else ''}"


def _of_usage(event: Event) -> str:
    if event.shape != "object":
        return f"model usage: {_rest(event)}"
    tokens, cost = tokens_in_words(event.seen), number_of(event.get("cost_usd"))
    used = [part for part in (tokens, None if cost is None else dollars(cost)) if part]
    return f"model {_model(event)} used {', '.join(used) or 'nothing'}"


def _model(event: Event) -> str:
    model = event.get("model")
    return "without a name" if model is None else short(model, 60)


def tokens_in_words(usage: dict[str, Any]) -> str:
    """Return the tokens of an object with ``input_tokens`` and ``output_tokens``, empty if it has neither."""
    read, written = number_of(usage.get("input_tokens")), number_of(usage.get("output_tokens"))
    if read is None and written is None:
        return ""
    return f"{read or 0:,.0f} tokens in, {written or 0:,.0f} out"


def _of_handoff(event: Event) -> str:
    if event.get("from") is None and event.get("to") is None:
        return f"agent handoff: {_rest(event)}"
    return f"agent {short(event.get('from'), 60)} handed over to agent {short(event.get('to'), 60)}"


def _of_guardrail(event: Event) -> str:
    guardrail, kind, info = event.get("guardrail"), event.get("kind"), event.get("info")
    if guardrail is None:
        return f"guardrail tripped: {_rest(event)}"
    where = "" if kind is None else f" of the {short(kind, 40).replace('_', ' ')}"
    return f"guardrail {short(guardrail, 80)}{where} tripped{'' if info is None else f': {short(info)}'}"


def _of_request(event: Event) -> str:
    if event.get("tool") is None:
        return f"approval requested: {_rest(event)}"
    arguments = event.get("arguments")
    said = "" if arguments is None else f": {short(arguments)}"
    return f"tool {short(event.get('tool'), 80)}{_by_agent(event)} waits for approval{said}"


def _of_decision(event: Event) -> str:
    decision, by, message = event.get("decision"), event.get("by"), event.get("message")
    if decision is None:
        return f"approval decided: {_rest(event)}"
    said = f"call {short(event.get('call_id'), 60)} {short(decision, 40)}"
    return f"{said}{'' if by is None else f' by {short(by, 60)}'}{'' if message is None else f': {short(message)}'}"


def _of_merge(event: Event) -> str:
    return f"merged a fork: {_list(event.get('keys'), 'nothing')} from {short(event.get('from'), 40)}"


def _of_settling(event: Event) -> str:
    return f"settled a fork: {_list(event.get('keys'), 'nothing')} from {short(event.get('from'), 40)}"


def _of_restoring(event: Event) -> str:
    return f"restored the state of run {short(event.get('from'), LONGEST)}"


def _of_cancellation(event: Event) -> str:
    by, reason = event.get("by"), event.get("reason")
    return f"canceled{'' if by is None else f' by {short(by, 60)}'}{f': {short(reason)}' if reason else ''}"


def _of_late_end(event: Event) -> str:
    error = event.get("error")
    return f"the run ended after all: {short(event.get('status'))}{'' if error is None else f', {short(error)}'}"


def _of_fallback(event: Event) -> str:
    steps = _list(event.get("steps"), "")
    said = f"the model left out {steps}, taken in the fixed order" if steps else "the model failed after the last step"
    reason = event.get("reason")
    return said if reason is None else f"{said}: {short(reason)}"


def _of_pruning(event: Event) -> str:
    return f"{_rest(event)} deleted by prune_agentkit_history"


def _of_heartbeat(event: Event) -> str:
    return "sign of life"


def _of_anything(event: Event) -> str:
    """Return the type's words, and a cut of the payload if there is any."""
    rest = _rest(event)
    return f"{_words(event.type)}{'' if rest == '{}' else f': {rest}'}"


def _rest(event: Event) -> str:
    """Return a compact cut of the payload."""
    if event.shape != "object":
        return short(event.seen)
    members = {name: value for name, value in (event.seen or {}).items() if name != LATE}
    return _pairs(members, 2) or "{}"


def _words(type_: str) -> str:
    return cut(re.sub(r"[._]+", " ", type_), 60) or "an event without a type"


def _list(value: Any, nothing: str) -> str:
    if not isinstance(value, list):
        return nothing if value is None else short(value)
    return ", ".join(short(item, 40) for item in value[:8]) or nothing


_SUMMARIES: dict[str, Callable[[Event], str]] = {
    "snapshot.legacy": _of_snapshot,
    "state.changed": _of_change,
    "coverage.delta": _of_coverage,
    "conflict.found": _of_conflict,
    "conflict.resolved": _of_conflict,
    "eligibility.flag": _of_eligibility,
    "tool.invocation": _of_call,
    "tool.result": _of_call,
    "model.response": _of_response,
    "model.usage": _of_usage,
    "agent.handoff": _of_handoff,
    "guardrail.tripped": _of_guardrail,
    "approval.requested": _of_request,
    "approval.decided": _of_decision,
    "intake.fallback": _of_fallback,
    "fork.merged": _of_merge,
    "fork.settled": _of_settling,
    "snapshot.restored": _of_restoring,
    "run.canceled": _of_cancellation,
    "run.ended": _of_late_end,
    "run.pruned": _of_pruning,
    "heartbeat": _of_heartbeat,
}


def number_of(value: Any) -> float | None:
    """Return a JSON number as a float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
