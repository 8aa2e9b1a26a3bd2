"""A real Chromium that looks at a real server.

Without a Chromium on the PATH these tests are skipped; ``AGENTSTATE_REQUIRE_BROWSER=1`` makes that a failure.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from django.conf import settings
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.templatetags.static import static
from django.test import Client
from playwright.sync_api import Browser, expect, sync_playwright

from tests.faults.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import ConsoleMessage, Error, Page
    from pytest_django.live_server_helper import LiveServer

PATIENCE = 60_000  # milliseconds: machines are shared
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}

# Long lists repeat themselves: of rows that differ in texts and numbers alone, axe looks at the first four, which show
# each color of a striped table.
RUN_AXE = """async ([include, options]) => {
    const counts = new Map();
    const isRepeated = (row) => {
        const markup = row.outerHTML.replace(/>[^<]+/g, ">").replace(/\\d+/g, "");
        counts.set(markup, (counts.get(markup) ?? 0) + 1);
        return counts.get(markup) > 4;
    };
    const exclude = [...document.querySelectorAll("li, tr")].filter(isRepeated);
    const { violations } = await axe.run({ include, exclude }, options);
    return { violations };
}"""

# Chromium asks its makers for updates and the like as long as it is let.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str:
    """Return the path of a Chromium: the one without windows takes three quarters of another's time."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        say = pytest.fail if os.environ.get("AGENTSTATE_REQUIRE_BROWSER") else pytest.skip
        say(f"No Chromium is on the PATH ({', '.join(names)}): install it, on Debian with apt-get install chromium.")
    return path


# Of this folder, not of the session: as long as it runs, no other test could run an event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium()
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's own loop runs in this thread
        expect.set_options(timeout=PATIENCE)
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def screen() -> dict[str, int]:
    """The size of the page; a test may parametrize it."""
    return DESKTOP


@pytest.fixture
def color_scheme() -> str:
    return "light"


@pytest.fixture
def complaints() -> list[str]:
    """What the console or a script complained about."""
    return []


@pytest.fixture(scope="package")
def answering(live_server: LiveServer) -> Iterator[set[int]]:
    """The threads of the server that are answering a request."""
    threads: set[int] = set()

    def begin(**_: object) -> None:
        threads.add(threading.get_ident())

    def end(**_: object) -> None:
        threads.discard(threading.get_ident())

    request_started.connect(begin)
    request_finished.connect(end)
    yield threads
    request_started.disconnect(begin)
    request_finished.disconnect(end)


@pytest.fixture(autouse=True)
def all_is_answered(transactional_db: None, answering: set[int]) -> Iterator[None]:
    """Let no request of a test, such as a page's last look whether anything is new, meet the rows of the next."""
    yield
    me = threading.get_ident()
    wait_until(lambda: not answering & ({thread.ident for thread in threading.enumerate()} - {me}), 60)


@contextmanager
def own_page(browser: Browser, live_server: LiveServer, **options: object) -> Iterator[Page]:
    """Open a page in a context of its own, which shares no cookie, store or clock with another."""
    context = browser.new_context(base_url=live_server.url, **options)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="package")
def shared_page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """One page for many tests: a new one starts a process, which compiles the styles and scripts again."""
    with own_page(browser, live_server) as page:
        yield page


@pytest.fixture
def page(
    shared_page: Page,
    live_server: LiveServer,
    transactional_db: None,
    screen: dict[str, int],
    color_scheme: str,
    complaints: list[str],
) -> Iterator[Page]:
    """The page of a superuser who is logged in. What the console or a script complains about fails the test."""
    log_in(shared_page, live_server)
    shared_page.set_viewport_size(screen)
    shared_page.emulate_media(color_scheme=color_scheme)
    with complaining(shared_page, complaints):
        yield shared_page
        shared_page.evaluate("0")  # complaints arrive before the answer
    shared_page.unroute_all()
    leave(shared_page)
    assert complaints == []


@contextmanager
def complaining(page: Page, complaints: list[str]) -> Iterator[None]:
    """Collect what the console and the scripts of the page complain about."""

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def catch(error: Error) -> None:
        complaints.append(str(error))

    page.on("console", hear)
    page.on("pageerror", catch)
    yield
    page.remove_listener("console", hear)
    page.remove_listener("pageerror", catch)


def leave(page: Page) -> None:
    """Forget what the page knows, and stop its scripts. A picture of the same site keeps the browser's process."""
    page.mouse.move(0, 0)
    page.goto(static("admin/img/icon-yes.svg"))
    page.evaluate("localStorage.clear(), sessionStorage.clear()")
    page.context.clear_cookies()


def log_in(page: Page, live_server: LiveServer) -> None:
    """Give the page the session of a new superuser."""
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    name = settings.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])


@pytest.fixture
def accessible(page: Page, complaints: list[str], color_scheme: str) -> Callable[..., None]:
    """A check that axe finds nothing to object to in our content, in light and in dark."""

    def check(selector: str = "#content") -> None:
        before = len(complaints)
        _pass_axe(page, selector)
        _show_in(page, "light" if color_scheme == "dark" else "dark")
        _pass_axe(page, selector, runOnly=["color-contrast"])  # no other rule asks for colors
        _show_in(page, color_scheme)
        del complaints[before:]  # axe sets styles of its own, which our policy refuses

    return check


def _show_in(page: Page, color_scheme: str) -> None:
    page.emulate_media(color_scheme=color_scheme)


def _pass_axe(page: Page, selector: str, **options: object) -> None:
    settle(page)
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    # Preloading asks for the style sheets again, for a rule about orientation that axe leaves off by default.
    options = {"resultTypes": ["violations"], "preload": False, **options}
    results = AxeResults(page.evaluate(RUN_AXE, [selector, options]))
    assert results.violations_count == 0, results.generate_report()


def at_each_size(page: Page) -> Iterator[None]:
    """Give the page the size of a desktop and that of a phone in turn, then its own again."""
    before = page.viewport_size
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        yield
    page.set_viewport_size(before)


def settle(page: Page) -> None:
    """Wait until the page looks as it is going to.

    A click waits for the beginning of the next page, whose text is visible before its styles have arrived. The strip
    of a run takes the place of a link after its page, and the rollout's page is renewed while it counts.
    """
    page.wait_for_load_state()
    expect(page.locator("[data-overview] > a, [data-live]")).to_have_count(0)
    page.evaluate("document.getAnimations().forEach(animation => animation.finish())")  # links fade between colors


def fits(page: Page) -> bool:
    """Tell whether the page is no wider than the window."""
    settle(page)
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
