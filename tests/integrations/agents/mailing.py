"""An agent that asks before it sends mail. As a program, it runs in a process of its own until it has to ask."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents import Agent


def mailing_agent(*steps: Any, sent: list[str]) -> Agent[Any]:
    """Return the agent, whose tool adds to ``sent``; by default the model calls it for three people at once."""
    from agents import function_tool

    from tests.integrations.agents.scenes import agent_of, call, says

    @function_tool(needs_approval=True)
    async def send(to: str) -> str:
        sent.append(to)
        return f"sent to {to}"

    @function_tool
    async def draft() -> str:
        return "Dear \0 all"

    calls = [call("draft", "c1"), call("send", "c2", to="Ada"), call("send", "c3", to="Bob")]
    return agent_of(*(steps or (calls, [says("Mailed.")])), tools=[send, draft], name="Mailer")


def resumed_agent(sent: list[str], answer: str = "Mailed.") -> Agent[Any]:
    """Return the agent as another process builds it, where its model goes on."""
    from tests.integrations.agents.scenes import says

    return mailing_agent([says(answer)], sent=sent)


if __name__ == "__main__":
    import django

    django.setup()
    from agents import set_trace_processors

    from agentstate.integrations.agents import DjangoSession, run_workflow_sync

    set_trace_processors([])
    outcome = run_workflow_sync(mailing_agent(sent=[]), "Mail them.", session=DjangoSession(sys.argv[1]))
    sys.stdout.write(outcome.run_id)
