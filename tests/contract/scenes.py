"""A database at the end of its rollout, and the columns' way out and back."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentstate.contract import columns
from agentstate.rollout.freeze import freeze, is_frozen, thaw, with_lock_timeout
from agentstate.state.columns import legacy_columns_are_there
from tests import scenes
from tests.factories import ProjectFactory

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTS = {
    "rfpNorm": '{"meta": {"title": "A"}}',
    "facts": '{"amount": 0.10, "huge": 1e400, "none": null}',
    "coverage": '{"score": 0.30000000000000004}',
    "eligibility": "null",
}


def freeze_columns() -> None:
    """Set the flags and the freeze as the stage frozen has them."""
    scenes.open_gates(agentkit_writes=True, legacy_writes=False, agentkit_reads=True, agentkit_shadow_reads=False)
    with_lock_timeout(freeze)


def projects() -> dict[str, str]:
    """Make a project of each standing that a frozen database has, by standing."""
    in_sync, ahead, empty = (
        ProjectFactory(documents=documents).id for documents in (DOCUMENTS, {"facts": "1", "coverage": "2"}, None)
    )
    scenes.forward()
    scenes.save(ahead, "facts", '{"new": 0.20}', legacy=False)
    return {"in_sync": in_sync, "agentkit_ahead": ahead, "empty": empty}


@contextmanager
def columns_return() -> Iterator[None]:
    """Leave the tests' database with its columns and without a freeze, whatever happens."""
    try:
        yield
    finally:
        if not legacy_columns_are_there():
            with_lock_timeout(columns._add)
        if is_frozen():
            with_lock_timeout(thaw)


@contextmanager
def as_somebody_else() -> Iterator[str]:
    """Be a role that may read and write every table, and owns none."""
    role = f"agentstate_{uuid.uuid4().hex[:12]}"
    scenes.run_sql(f"CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; SET ROLE {role}")
    try:
        yield role
    finally:
        scenes.run_sql(f"RESET ROLE; DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
