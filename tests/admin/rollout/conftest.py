"""Each test begins with nothing counted and nothing frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache

from agentstate.rollout.freeze import THAW
from tests import scenes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    scenes.run_sql(THAW)
