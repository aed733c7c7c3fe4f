"""What browser tests share: the Chromium of this machine, and a page that must not ask anything of the internet."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from find_chromium import find_chromium

CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium(playwright: Any) -> Iterator[Any]:
    """The Chromium found on PATH; playwright's own is never downloaded."""
    found = find_chromium()
    if not found:
        pytest.skip("no Chromium on PATH, so pages are not opened; on Debian or Ubuntu type: apt-get install chromium")
    browser = playwright.chromium.launch(executable_path=found, args=list(CHROMIUM_ARGS))
    yield browser
    browser.close()


class Trace:
    """What a page asked for and what went wrong on it."""

    def __init__(self) -> None:
        self.external: list[str] = []
        self.errors: list[str] = []

    def see_request(self, request: Any) -> None:
        local = ("http://localhost", "http://127.0.0.1", "ws://localhost", "ws://127.0.0.1", "file:", "data:", "blob:")
        if not request.url.startswith(local):
            self.external.append(request.url)

    def see_console(self, message: Any) -> None:
        if message.type == "error" and not message.location.get("url", "").endswith("/liveness"):  # a page asks whether its server, which a test may have ended, is back
            self.errors.append(message.text)


@pytest.fixture
def quiet_page(chromium: Any) -> Iterator[Any]:
    """A browser page; afterwards, it must have had no error and asked nothing of another machine."""
    trace, context = Trace(), chromium.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("request", trace.see_request)
    page.on("pageerror", lambda error: trace.errors.append(str(error)))
    page.on("console", trace.see_console)
    yield page
    context.close()
    assert trace.external == []
    assert trace.errors == []


_COUNT_CANVASES = """() => {
  const count = (root) => [...root.querySelectorAll("*")].reduce(
    (sum, node) => sum + (node.tagName === "CANVAS" && node.width > 0 ? 1 : 0) + (node.shadowRoot ? count(node.shadowRoot) : 0), 0);
  return count(document);
}"""


@pytest.fixture
def wait_for_pictures(quiet_page: Any) -> Callable[[int], None]:
    """Wait until so many pictures are drawn, also inside shadow roots."""

    def wait(pictures: int) -> None:
        quiet_page.wait_for_function(f"({_COUNT_CANVASES})() >= {pictures}", timeout=30_000)

    return wait
