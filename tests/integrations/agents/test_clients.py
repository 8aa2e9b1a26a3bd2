"""Synchronous code runs agents with the SDK's default client, which belongs to one event loop."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from agents import Agent

from agentstate.integrations.agents import run_workflow_sync
from tests.integrations.agents.scenes import newest_run, payloads

if TYPE_CHECKING:
    from collections.abc import Iterator


class Responses(BaseHTTPRequestHandler):
    """Answers as the Responses API does, on connections that stay open."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hi.", "annotations": []}],
        }
        body = json.dumps(
            {
                "id": "resp_1",
                "object": "response",
                "created_at": 0,
                "model": "gpt-here",
                "status": "completed",
                "output": [message],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
                "usage": {
                    "input_tokens": 7,
                    "output_tokens": 2,
                    "total_tokens": 9,
                    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
                    "output_tokens_details": {"reasoning_tokens": 1},
                },
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be the provider of the default client, on this machine."""
    with HTTPServer(("127.0.0.1", 0), Responses) as server:
        server.RequestHandlerClass.timeout = 30  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        monkeypatch.setenv("OPENAI_API_KEY", "no key")
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("provider")
def test_synchronous_code_runs_several_workflows_with_the_default_client() -> None:
    for _ in range(3):
        outcome = run_workflow_sync(Agent(name="Clerk", model="gpt-here"), "Hello")
        assert (outcome.status, outcome.output) == ("succeeded", "Hi.")
    assert payloads(newest_run().pk, "model.response")[0]["model"] == "gpt-here"
    usage = newest_run().usage["models"]["gpt-here"]
    assert (usage["input_tokens"], usage["cached_tokens"], usage["reasoning_tokens"]) == (7, 4, 1)
