"""Fixtures: databases as operators have them, copied from templates that are made once a session."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.migrations.databases import Database, new_database

if TYPE_CHECKING:
    from collections.abc import Iterator

PRISMA = (Path(__file__).parent / "prisma.sql").read_text()


@pytest.fixture(scope="session")
def prisma_template() -> Iterator[Database]:
    with new_database() as database:
        database.execute(PRISMA)
        yield database


@pytest.fixture(scope="session")
def adopted_template(prisma_template: Database) -> Iterator[Database]:
    with new_database(prisma_template.name) as database:
        database.migrate()
        yield database


@pytest.fixture
def empty() -> Iterator[Database]:
    """A database without any table."""
    with new_database() as database:
        yield database


@pytest.fixture
def prisma(prisma_template: Database) -> Iterator[Database]:
    """A legacy database that we never touched."""
    with new_database(prisma_template.name) as database:
        yield database


@pytest.fixture
def adopted(adopted_template: Database) -> Iterator[Database]:
    """A legacy database with all our migrations applied."""
    with new_database(adopted_template.name) as database:
        yield database


@pytest.fixture
def other_role(prisma: Database) -> Iterator[str]:
    """A role that may read and write the legacy tables, and owns none."""
    name = f"agentstate_{uuid.uuid4().hex[:12]}"
    prisma.execute(
        f"CREATE ROLE {name}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}; "
        f"GRANT CREATE ON SCHEMA public TO {name}"
    )
    yield name
    prisma.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")
