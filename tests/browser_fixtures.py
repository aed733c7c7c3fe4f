"""What browser tests share: the Chromium of this machine, and a page that must not ask anything of the internet."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

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
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Start the Chromium found on PATH; playwright's own is not downloaded."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium on PATH, so pages are not opened; on Debian or Ubuntu type: apt-get install chromium")
    return browser_type_launch_args | {"executable_path": found, "args": list(CHROMIUM_ARGS)}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """No animations, and a desktop window unless a test changes it."""
    return browser_context_args | {"reduced_motion": "reduce", "viewport": {"width": 1280, "height": 900}}


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
        if message.type == "error":
            self.errors.append(message.text)


@pytest.fixture
def quiet_page(page: Any) -> Iterator[Any]:
    """A browser page; afterwards, it must have had no error and asked nothing of another machine."""
    trace = Trace()
    page.on("request", trace.see_request)
    page.on("pageerror", lambda error: trace.errors.append(str(error)))
    page.on("console", trace.see_console)
    yield page
    assert trace.external == []
    assert trace.errors == []


COUNT_CANVASES = """() => {
  const count = (root) => [...root.querySelectorAll("*")].reduce(
    (sum, node) => sum + (node.tagName === "CANVAS" && node.width > 0 ? 1 : 0) + (node.shadowRoot ? count(node.shadowRoot) : 0), 0);
  return count(document);
}"""
