"""One server and one Chromium for the whole folder; every page is watched for errors and foreign requests."""
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.server import CHROMIUM, FLAGS, READY, serving

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    try:
        import playwright  # noqa: F401
        missing = None if CHROMIUM.exists() else f"{CHROMIUM} is not there"
    except ImportError:
        missing = "playwright is not installed (requirements-test.txt)"
    if missing:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"browser tests need Chromium: {missing}"))


@pytest.fixture(scope="session")
def address():
    with serving(OMP_NUM_THREADS="1") as found:
        yield found


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """visit(path, **context options) -> a page in a context of its own. At the test's end none may have logged an
    error, lost a request or asked another machine for anything."""
    contexts, problems = [], []

    def watch(page):
        # Below /curves and /data Streamlit first looks for its own files there and gets 404.
        page.on("console", lambda said: said.type == "error" and "/_stcore/" not in said.location.get("url", "")
                and problems.append(f"console: {said.text} ({said.location.get('url')})"))
        page.on("pageerror", lambda error: problems.append(f"exception: {error}"))
        page.on("requestfailed", lambda request: "ERR_ABORTED" not in (request.failure or "")
                and problems.append(f"failed: {request.url} {request.failure}"))
        page.on("request", lambda request: _is_foreign(request.url) and problems.append(f"foreign: {request.url}"))
        page.on("websocket", lambda socket: _is_foreign(socket.url) and problems.append(f"foreign: {socket.url}"))

    def open_page(path="/", panel=True, **options):
        context = chromium.new_context(**{"viewport": {"width": 1400, "height": 900}, "locale": "en-GB", **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(path if path.startswith("http") else address + path)
        if panel:
            page.wait_for_selector(READY)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems, problems


def _is_foreign(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname not in ("localhost", "127.0.0.1")
