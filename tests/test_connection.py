"""A page whose server is gone: it says so in words, keeps what it shows, and comes back with its choices when the server answers."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from served_study import save_study, start_server

pytest.importorskip("playwright", reason="pages are opened in Chromium")
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
LOST = "The connection to the server was lost."
KEEP_SOCKETS = "const Bare = WebSocket; window.sockets = []; window.WebSocket = class extends Bare { constructor(...given) { super(...given); window.sockets.push(this); this.addEventListener('message', (told) => { if (String(told.data).includes('alive')) window.heard = true; }); } };"


class Server:
    """A served study that can be killed and started again at the same address."""

    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.address, self.process = folder, f"http://127.0.0.1:{self.port}", self.start(folder)

    def start(self, folder: Path) -> Popen:
        process = start_server(str(folder), "--port", str(self.port))
        assert "http://" in process.stdout.readline()
        return process

    def send(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(save_study(tmp_path_factory.mktemp("study")))
    yield one
    one.kill()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(reduced_motion="reduce")
    context.add_init_script(KEEP_SOCKETS)
    one = context.new_page()
    one.set_default_timeout(40_000)
    yield one
    context.close()


def check_alive(page: Any) -> None:
    """The page is new, says nothing of a lost line, holds its choice, and its menu works."""
    page.wait_for_function("!window.before")
    expect(page.get_by_role("heading", name="Overview", exact=True, level=1).last).to_be_visible(timeout=40_000)
    expect(page.get_by_text(LOST)).to_be_hidden()
    expect(page).to_have_url(re.compile("channels=web"))
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Engagement").click()
    expect(page).to_have_title(re.compile("^Engagement · "), timeout=40_000)


def open_page(page: Any, server: Server) -> None:
    page.goto(f"{server.address}/?channels=web")
    expect(page.get_by_role("heading", name="Sessions by week")).to_be_visible(timeout=40_000)
    expect(page.get_by_text(LOST)).to_be_hidden()
    page.evaluate("window.before = true")


def test_a_killed_server_is_told_and_the_page_comes_back_with_its_choices(page: Any, server: Server) -> None:
    open_page(page, server)
    server.kill()
    expect(page.get_by_text(LOST)).to_be_visible(timeout=10_000)
    expect(page.get_by_role("button", name="Load again now")).to_be_visible()
    expect(page.get_by_role("heading", name="Sessions by week")).to_be_visible()
    server.process = server.start(server.folder)
    check_alive(page)


def test_a_line_that_drops_while_the_server_lives_is_taken_up_again(page: Any, server: Server) -> None:
    open_page(page, server)
    page.evaluate("window.sockets.forEach((socket) => socket.close())")
    check_alive(page)


def test_after_sleep_a_line_that_is_dead_without_knowing_it_is_found_out(page: Any, server: Server) -> None:
    page.clock.install()
    open_page(page, server)
    page.evaluate("window.heard = false")  # the script of the page, which came over the same line, has the word in it
    page.clock.fast_forward("10:00")  # the lid is closed for ten minutes, and the server is still there
    page.wait_for_function("window.heard")
    page.clock.fast_forward("00:09")
    assert page.evaluate("window.before")
    expect(page.get_by_text(LOST)).to_be_hidden()
    server.send(signal.SIGSTOP)
    try:
        page.clock.fast_forward("10:00")
        page.clock.fast_forward("00:09")
        expect(page.get_by_text(LOST)).to_be_visible(timeout=10_000)
    finally:
        server.send(signal.SIGCONT)
    for _ in range(3):  # what waits in the page waits by the clock of the test
        page.clock.fast_forward("00:10")
        page.wait_for_timeout(300)
    check_alive(page)
