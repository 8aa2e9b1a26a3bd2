"""Invented procurements of several kinds: what changed is found, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from agentstate.intake.state import WorkedOut
from tests.intake.bundles import BUNDLES, Bundle, Change
from tests.intake.logs import intake
from tests.intake.more_bundles import ARTS, SOLICITATION

MORE = [SOLICITATION, ARTS]


@pytest.fixture(params=[*BUNDLES, *MORE], ids=lambda bundle: bundle.name)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return request.param


def test_every_change_is_found_with_its_type(bundle: Bundle) -> None:
    log = _worked(bundle).conflict_log
    found = {change: [entry for entry in log if _is(entry, change)] for change in bundle.changes}
    assert [change for change, entries in found.items() if not entries] == []
    assert [change for change, entries in found.items() if change.type not in {None, entries[0]["type"]}] == []


def test_nothing_else_is_reported(bundle: Bundle) -> None:
    known = [*bundle.changes, *bundle.minor]
    others = [entry for entry in _worked(bundle).conflict_log if not any(_is(entry, change) for change in known)]
    assert [(entry["key"], entry["next"] or entry["previous"]) for entry in others] == []


def test_the_outline_has_the_deadline_and_the_criteria(bundle: Bundle) -> None:
    outline = _worked(bundle).rfp_norm
    assert outline["meta"].get("deadline") == bundle.deadline
    assert len(outline.get("scoring", [])) == bundle.criteria


def test_keys_are_unique_in_their_type(bundle: Bundle) -> None:
    keys = [(entry["type"], entry["key"]) for entry in _worked(bundle).conflict_log]
    assert len(set(keys)) == len(keys)


def _worked(bundle: Bundle) -> WorkedOut:
    return intake(*bundle.documents.items())


def _is(entry: dict[str, Any], change: Change) -> bool:
    sides = ((entry["previous"], change.previous), (entry["next"], change.next))
    return all(words is None or (side is not None and words in side["quote"]) for side, words in sides)
