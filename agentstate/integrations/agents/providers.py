"""Whose HTTP client a run uses.

The SDK keeps one client a process, and the client belongs to the event loop that first used it. Synchronous code runs
each workflow in a loop of its own, where that client fails with "Event loop is closed" from the second run on.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agents import ModelProvider, MultiProvider, RunConfig
from agents.models import _openai_shared
from openai import AsyncOpenAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agents import Model


class OwnClientProvider(ModelProvider):
    """The SDK's default provider with a client of its own, made when a model is first looked up by name."""

    def __init__(self) -> None:
        self._client: AsyncOpenAI | None = None
        self._provider: MultiProvider | None = None

    def get_model(self, model_name: str | None) -> Model:
        if self._provider is None:
            self._client = AsyncOpenAI(api_key=_openai_shared.get_default_openai_key())
            self._provider = MultiProvider(openai_client=self._client)
        return self._provider.get_model(model_name)

    async def aclose(self) -> None:
        if self._provider is not None:
            await self._provider.aclose()
        if self._client is not None:
            await self._client.close()


@asynccontextmanager
async def with_provider(
    run_config: RunConfig | dict[str, Any] | None, *, own_client: bool = False
) -> AsyncIterator[RunConfig]:
    """Yield the caller's configuration; where it names no provider, with one that is closed at the end.

    Args:
        own_client: the provider has a client of its own, unless the application set a default client.
    """
    config = RunConfig(**run_config) if isinstance(run_config, dict) else run_config
    if config is not None and not (own_client and _is_default(config.model_provider)):
        yield config
        return
    has_client = _openai_shared.get_default_openai_client() is not None
    provider = OwnClientProvider() if own_client and not has_client else MultiProvider()
    try:
        yield replace(config or RunConfig(), model_provider=provider)
    finally:
        await provider.aclose()


def _is_default(provider: ModelProvider) -> bool:
    """Return whether this is what the SDK makes where the caller names no provider."""
    if type(provider) is not MultiProvider or provider.provider_map is not None:
        return False
    of_openai = vars(provider.openai_provider)
    return not any(
        value is not None for name, value in of_openai.items() if name == "_client" or name.startswith("_stored_")
    )
