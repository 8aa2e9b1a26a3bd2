"""The tokens that a run used, by model."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from agentstate.integrations.agents.responses import tokens

if TYPE_CHECKING:
    from agents import ModelResponse, Usage

    from agentstate.recording import Recorder

COUNTED = ("requests", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
UNNAMED_MODEL = "unknown"


class UsageOfRun:
    """Counts by model what the hooks see, and takes the total from the SDK, which counts unseen agents too.

    The SDK's total goes on over an interruption. What the run recorded before is subtracted.
    """

    def __init__(self) -> None:
        self.before: Counter[str] = Counter()
        self._total: Usage | None = None
        self._seen: dict[str, Counter[str]] = {}

    def watch(self, total: Usage) -> None:
        """Remember the SDK's total, which it adds to; the first that a hook sees is that of the whole run."""
        self._total = self._total or total

    def add(self, model: str, response: ModelResponse) -> None:
        """Count a response that the hooks saw."""
        self._seen.setdefault(model, Counter()).update(_counted(response.usage))

    def total(self) -> Counter[str]:
        """Return the SDK's total, as far as it is known."""
        return _counted(self._total) if self._total is not None else Counter(self.before)

    def record(self, recorder: Recorder) -> None:
        """Add to the run's usage what it has used since this was last called."""
        total = self.total()
        by_model = dict(self._seen)
        rest = total - self.before - sum(by_model.values(), Counter())  # of agents without hooks; never below zero
        if rest:
            by_model[UNNAMED_MODEL] = rest
        self.before, self._seen = total, {}
        for model, used in by_model.items():
            if any(used.values()):
                recorder.usage(model=model, **{name: used[name] for name in COUNTED})


def _counted(usage: Usage) -> Counter[str]:
    numbers = tokens(usage)
    return Counter({name: numbers[name] for name in COUNTED})
