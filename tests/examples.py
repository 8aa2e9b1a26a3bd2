"""How many examples the expensive tests of Hypothesis have."""

from __future__ import annotations

from hypothesis import settings


def when_quick(max_examples: int) -> settings:
    """Let the quick profile have fewer examples of a test whose examples take up to a second each."""
    default = settings.default
    assert default
    is_quick = default.max_examples == settings.get_profile("quick").max_examples
    return settings(max_examples=max_examples if is_quick else default.max_examples)
