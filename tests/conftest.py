from __future__ import annotations

import gc
import importlib
import math
import pkgutil
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_django
from django.conf import settings
from django.core.cache import caches
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

import agentstate.admin
from agentstate.admin.shared.paging import KeysetPages
from agentstate.models import flags
from agentstate.state.read_counts import DISPATCH_UID
from agentstate.state.shadowing import readings_made
from project.database import EMBEDDED
from tests.migrations.databases import drop_tablespace

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytest_django.fixtures import SettingsWrapper

TESTS = Path(__file__).parent
BROWSER = TESTS / "browser"

HISTORY = "AgentStateFlagChange"
# The tables that ever had a row. The history comes last, since deleting flags adds to it. Many rows are deleted one by
# one, each with a look at what refers to it.
FILLED = f"""
    SELECT oid::regclass, pg_relation_size(oid) > 4000000 FROM pg_class
    WHERE relname = ANY (%s) AND relkind = 'r' AND pg_table_is_visible(oid) AND pg_relation_size(oid) > 0
    ORDER BY relname = '{HISTORY}'"""

# An example is a number of rounds to the database, so that neither its time nor how it was found says anything.
# The examples are the same in each run, and others in each thorough one.
hypothesis.register_profile(
    "quick",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# pytest --hypothesis-profile=thorough
hypothesis.register_profile("thorough", hypothesis.get_profile("quick"), max_examples=1000, derandomize=False)
hypothesis.load_profile("quick")


def pytest_configure() -> None:
    """Give the tests a key and an embedded server of their own."""
    settings.SECRET_KEY = "a key for tests only"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the default takes half a second
    if is_embedded():
        settings.AGENTSTATE_DATA_DIR /= "tests"
    TransactionTestCase._fixture_teardown = delete_rows


def is_embedded() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"] == EMBEDDED["ENGINE"])


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> None:
    """Let the tests' own server never wait for the disk. Dropping a database would wait for seconds."""
    if is_embedded():
        with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
            for setting in ("fsync", "full_page_writes"):
                cursor.execute(f"ALTER SYSTEM SET {setting} = off")
            cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> None:
    """Let autovacuum give way in the tests' database sooner than a pass gives up a lock, which is within a second.

    Whoever waits for a lock of autovacuum tells it to stop after ``deadlock_timeout``, a second by default.
    """
    if is_embedded():
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            name = connection.ops.quote_name(connection.settings_dict["NAME"])
            cursor.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '100ms'")
            connection.close()


def delete_rows(test: TransactionTestCase) -> None:
    """Empty the tables after a test that commits, as a flush does, but for what every test needs.

    A flush truncates each table, which makes its files anew and takes a hundred times as long for few rows; and it
    stumbles over the tables of waffle's own flag, which ours replaces.
    """
    for thread in threading.enumerate():
        if thread.name in ("rollout count", "rollout step"):
            thread.join(30)  # what it writes is this test's
    tables = {*connection.introspection.django_table_names(), HISTORY} - {"django_content_type", "auth_permission"}
    with connection.cursor() as cursor:
        cursor.execute(FILLED, [[*tables]])
        filled = cursor.fetchall()
        large = [f"TRUNCATE {table} CASCADE" for table, is_large in filled if is_large]
        small = [f"DELETE FROM {table}" for table, is_large in filled if not is_large]
        if filled:
            cursor.execute("; ".join([*large, *small]))  # one transaction


@pytest.fixture(autouse=True, scope="session")
def nothing_counts_by_itself() -> None:
    """Keep the thread that counts what reads find out of tests that are not about it."""
    readings_made.disconnect(dispatch_uid=DISPATCH_UID)


@pytest.fixture(autouse=True, scope="session")
def no_tablespace_stays() -> Iterator[None]:
    yield
    drop_tablespace()


@pytest.fixture(autouse=True)
def no_counts_beside_a_test_s_transaction(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread commit figures while a test's own rows are in a transaction, which is rolled back."""
    marker = request.node.get_closest_marker("django_db")
    commits = marker is not None and marker.kwargs.get("transaction")
    if not commits and not {"transactional_db", "live_server"} & {*request.fixturenames}:
        monkeypatch.setattr("agentstate.admin.rollout.admin.count_in_background", lambda wait: None)


@pytest.fixture(autouse=True, scope="session")
def time_enough() -> None:
    """Let no page give up before its answer is complete, however busy the machine. Tests of limits set their own."""
    for found in pkgutil.walk_packages(agentstate.admin.__path__, f"{agentstate.admin.__name__}."):
        module = importlib.import_module(found.name)
        for name in {"SECONDS", "ESTIMATE_SECONDS"} & vars(module).keys():
            setattr(module, name, 60.0)
    KeysetPages.seconds = 60.0


@pytest.fixture(autouse=True)
def no_remembered_flags() -> None:
    """Forget the flags of the test before, which this process remembers for a second."""
    caches["flags"].clear()


@pytest.fixture
def lasting_flags(settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process remember flags until the end of the test, which may take longer than the usual second."""
    monkeypatch.setattr(flags, "FRESH_SECONDS", math.inf)
    settings.CACHES = {**settings.CACHES, "flags": {**settings.CACHES["flags"], "TIMEOUT": None}}


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep the modules and the tests, which stay until the end, out of every garbage collection.

    They are half a million objects, and each full collection would visit them all. Later garbage, which is little, is
    collected less often than by default.
    """
    gc.disable()
    try:
        import_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


def import_share(config: pytest.Config) -> None:
    """Import this worker's share of all tests before the others, so that each worker compiles other modules.

    Rewriting the assertions takes seconds. What one worker has compiled, the others read. Collection reports the
    modules that cannot be imported.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for file in sorted(TESTS.rglob("test_*.py"))[number::count]:
        with suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(file.relative_to(TESTS.parent).with_suffix("").parts))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser's tests in a row, whatever the order of the others: they share one browser."""
    items.sort(key=lambda item: item.path.parent == BROWSER)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--storms", choices=["quick", "long"], default="quick", help="How hard tests/faults/storms blow.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the storms did, whichever processes they ran in."""
    counts: Counter[str] = Counter()
    calls = [
        each for reports in terminalreporter.stats.values() for each in reports if getattr(each, "when", "") == "call"
    ]
    for name, count in (each for call in calls for each in call.user_properties):
        if name.startswith("storms: "):
            counts[name.removeprefix("storms: ")] += count
    if counts:
        terminalreporter.section("storms")
        for name, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:>7,} {name}")
        injected = sum(count for name, count in counts.items() if name.startswith("faults: "))
        terminalreporter.write_line(f"{injected:>7,} injected faults in all")
