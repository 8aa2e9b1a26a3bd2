"""Items of each kind that the SDK stores in a session."""

from __future__ import annotations

from typing import Any

ITEMS: dict[str, dict[str, Any]] = {
    "user, text": {"role": "user", "content": "Which deadline applies?"},
    "user, parts": {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "See this."},
            {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AAAA"},
        ],
    },
    "user, with a type": {"type": "message", "role": "user", "content": "Hello"},
    "system": {"role": "system", "content": "Be brief."},
    "developer": {"role": "developer", "content": [{"type": "input_text", "text": "Cite pages."}]},
    "assistant, text": {"role": "assistant", "content": "Noon."},
    "assistant": {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer",
        "content": [
            {
                "type": "output_text",
                "text": "Noon.",
                "annotations": [{"type": "url_citation", "start_index": 0, "end_index": 4, "url": "x", "title": "y"}],
                "logprobs": [{"token": "Noon", "logprob": -0.125, "bytes": [78], "top_logprobs": []}],
            }
        ],
    },
    "refusal": {
        "type": "message",
        "id": "msg_2",
        "role": "assistant",
        "status": "incomplete",
        "content": [{"type": "refusal", "refusal": "No."}],
    },
    "call": {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "search",
        "arguments": '{"page": 1e400, "broken"',
        "status": "completed",
    },
    "output, text": {"type": "function_call_output", "call_id": "call_1", "output": "page 3"},
    "output, parts": {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": [{"type": "input_text", "text": "page 3"}, {"type": "input_file", "file_id": "f"}],
    },
    "reasoning": {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Look at the portal."}],
        "encrypted_content": "gAAAA",
        "content": None,
    },
    "web search": {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "deadline", "sources": []},
    },
    "approval wanted": {
        "type": "mcp_approval_request",
        "id": "mcpr_1",
        "arguments": "{}",
        "name": "send",
        "server_label": "mail",
    },
    "approval given": {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    "computer": {
        "type": "computer_call_output",
        "call_id": "call_2",
        "output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAA"},
        "acknowledged_safety_checks": [],
    },
    "compaction": {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"},
    "reference": {"type": "item_reference", "id": "msg_1"},
    "custom tool": {"type": "custom_tool_call", "call_id": "call_3", "name": "sql", "input": "SELECT 1"},
}


def _deep() -> dict[str, Any]:
    value: Any = "\0"
    for _ in range(160):
        value = [{"\0": value}]
    return {"type": "x", "deep": value}


ODD: dict[str, dict[str, Any]] = {
    "NUL": {"role": "user", "content": "a\0b"},
    "NUL in an output": {"type": "function_call_output", "call_id": "c\0", "output": "a\0b"},
    "NUL in a key": {"type": "x", "a\0": {"\0": 1}},
    "lone surrogates": {"role": "user", "content": [{"type": "input_text", "text": "\ud83d\ude00 \udfff \ud800"}]},
    "infinity": {"type": "x", "scores": [float("inf"), float("-inf"), 1e-07, 0.1, 1.0]},
    "a long number": {"type": "x", "number": 10**5_000, "small": 1e-300},
    "a mark": {"type": "x", "$unstorable": "string", "value": "\\u0000"},
    "another role": {"role": "us\0er", "content": "x"},
    "no role": {"role": None, "content": "x"},
    "content that is an object": {"role": "user", "content": {"role": "user", "content": "x"}},
    "content that is none": {"role": "assistant", "content": None},
    "nothing": {},
    "deep": _deep(),
}
