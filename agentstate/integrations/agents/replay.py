"""Play a recorded run again, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents import ModelResponse, Usage
from agents.items import TResponseOutputItem
from agents.testing import ScriptedModel
from pydantic import TypeAdapter

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.fields import possible_id
from agentstate.recording import RunNotFound
from agentstate.recording.storable import restored

if TYPE_CHECKING:
    from collections.abc import Iterator

_OUTPUT: TypeAdapter[list[TResponseOutputItem]] = TypeAdapter(list[TResponseOutputItem])


def recorded_model(run_id: str) -> ScriptedModel:
    """Return a model that answers as the models of a recorded run did, response by response.

    Any production run becomes a regression test: the recorded decisions meet today's tools::

        model = recorded_model(run_id)
        outcome = run_workflow_sync(agent, the_input, run_config=RunConfig(model=model))
        model.assert_complete()

    Responses of nested agents are among them if they were recorded, see :class:`CurrentRunHooks`. They come in the
    recorded order, so two agents that run at once may get each other's.

    Raises:
        RunNotFound: no run has this id.
        LookupError: the run has no recorded response.
    """
    responses = list(_responses(run_id))
    if not responses:
        if not AgentWorkflowRun.objects.filter(pk=possible_id(run_id)).exists():
            raise RunNotFound(run_id)
        raise LookupError(f"Run {run_id} has no recorded response of a model: it cannot be played again.")
    return ScriptedModel(responses)


def _responses(run_id: str) -> Iterator[ModelResponse]:
    events = AgentWorkflowRunEvent.objects.filter(run=possible_id(run_id), type="model.response")
    for stored in events.order_by("created_at").values_list("payload", flat=True):
        payload: Any = restored(stored)
        tokens = payload["usage"]
        yield ModelResponse(
            output=_OUTPUT.validate_python(payload["output"]),
            usage=Usage(
                requests=tokens["requests"],
                input_tokens=tokens["input_tokens"],
                output_tokens=tokens["output_tokens"],
                total_tokens=tokens["total_tokens"],
            ),
            response_id=payload["response_id"],
        )
