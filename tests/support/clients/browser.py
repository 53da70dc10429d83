"""A real browser: Debian's chromium, driven by playwright. Import the fixture `chromium` to use it."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from support.debian_packages import find_or_install

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_MISSING = "Chromium is not installed. On Debian and Ubuntu: apt-get install -y chromium"


def open_chromium(playwright: Playwright, *options: str) -> Browser:
    """The browser without a window, with more options of its command line; root cannot use its sandbox."""
    arguments = [*options, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    return playwright.chromium.launch(executable_path=_find_chromium(), args=arguments)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """For a module of blocking tests: while it is open, the thread has a running event loop, which async tests mind."""
    with sync_playwright() as playwright:
        browser = open_chromium(playwright)
        yield browser
        browser.close()


def _find_chromium() -> str:
    """The program; installs it if this is a throw-away machine where we are root."""
    found = find_or_install(_look_for_chromium, "chromium", "--no-install-recommends")
    if found is None:
        pytest.fail(_MISSING)
    return found


def _look_for_chromium() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name)) is not None), None)
