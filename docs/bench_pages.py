"""Time the pages of a study of a million customers in Chromium, beside their bars. `make bench-pages` runs it.

A study of fewer customers is grown first: each of its tables with a row a customer is repeated under new names until there
are as many. Milliseconds are those that a reader waits, on the screen; CPU is what server and browser worked meanwhile.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import polars as pl
import psutil
from find_chromium import find_chromium
from playwright.sync_api import TimeoutError as LateError
from playwright.sync_api import sync_playwright
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

CUSTOMERS = 1_000_000
OF_EVENTS = ("sessions", "contacts")  # no page of sums reads them; they stay as they are
COUNTS = ("customers", "n", "n_customers", "events", "n_events", "sessions", "visits", "rows", "rows_read", "advocates", "single", "at_risk", "n_late", "n_on_time")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars")
_WATCH = """() => {
  window.told = {};
  const sections = (root, found) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.matches("section.view") && node.checkVisibility()) found.push(node);
      if (node.shadowRoot) sections(node.shadowRoot, found);
    }
    return found;
  };
  const wanting = (section) => {
    const picture = section.querySelector(".picture");
    return parseInt(picture.style.minHeight) > 0 && !picture.dataset.drawn && !picture.querySelector(":scope > :not(.place)");
  };
  const inView = (section) => {
    const box = section.getBoundingClientRect();
    return box.top < window.innerHeight && box.bottom > 0;
  };
  window.settled = (seen) => {
    const shell = document.getElementById("shell");
    if (shell && !shell.classList.contains("gone")) return false;
    const all = sections(document, []).filter((section) => !seen || inView(section));
    return all.length > 0 && !all.some(wanting);
  };
  window.turns = () => sections(document, []).map((s) => `${s.querySelector(".picture").dataset.turn}${s.querySelector("p").textContent}`).join();
  window.until = (name, ready) => {
    const look = () => (ready() ? requestAnimationFrame(() => (window.told[name] = performance.now())) : setTimeout(look, 8));
    look();
  };
}"""


def grow(study: Path, out: Path, customers: int) -> Path:
    """A copy of a study in which every table of customers is repeated under new names, and what others count is as many times as much."""
    shutil.copytree(study, out, dirs_exist_ok=True)
    manifest = json.loads((out / "manifest.json").read_text())
    there = pl.scan_parquet(out / manifest["tables"]["engagement"]["file"]).select(pl.len()).collect().item()
    times = -(-customers // there)
    for table, entry in manifest["tables"].items():
        file, rows = out / entry["file"], pl.scan_parquet(out / entry["file"])
        schema = rows.collect_schema()
        if table in OF_EVENTS or not entry["rows"]:
            continue
        if "customer_id" in schema:
            named = pl.LazyFrame({"copy": range(times)}).join(rows, how="cross")
            grown = named.with_columns(pl.col("customer_id") + pl.format("-{}", "copy")).drop("copy")
            entry["rows"] *= times
        else:
            counts = [name for name in COUNTS if name in schema and schema[name].is_numeric()]
            grown = rows.with_columns(pl.col(name) * times for name in counts)
        grown.sink_parquet(out / "grown.parquet")
        (out / "grown.parquet").replace(file)
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


@contextmanager
def served(study: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A served study: its address, and the process."""
    command = [sys.executable, "-m", "motkit.apps", str(study), "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            line = server.stdout.readline()
            yield line.split(" at ")[1].split("/ ")[0], psutil.Process(server.pid)
        finally:
            os.killpg(server.pid, signal.SIGINT)


@contextmanager
def running(address: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server that runs already."""
    port = int(address.rsplit(":", 1)[1])
    yield address, next(psutil.Process(line.pid) for line in psutil.net_connections("tcp") if line.laddr.port == port and line.status == "LISTEN")


def worked(*processes: psutil.Process) -> float:
    """CPU seconds of processes and their children so far."""
    whole = [one for process in processes for one in (process, *process.children(recursive=True))]
    return sum(sum(one.cpu_times()[:2]) for one in whole if one.is_running())


def rest(server: psutil.Process, most_s: float = 300) -> None:
    """Wait until the server has made what it makes ahead."""
    until = time.monotonic() + most_s
    while time.monotonic() < until:
        before = sum(server.cpu_times()[:2])
        time.sleep(2)
        if sum(server.cpu_times()[:2]) - before < 0.1:
            return


class Reader:
    """A reader with a browser: does something, and waits until it is on the screen."""

    def __init__(self, browser: Any, address: str, server: psutil.Process):
        self.address, self.server, self.errors = address, server, list[str]()
        self.tab = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce").new_page()
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.tab.add_init_script(f"({_WATCH})()")

    def open(self, page: str) -> dict[str, float]:
        """Open a page: when the shell was painted, what is in view was drawn, and all of it."""
        self.tab.goto(f"{self.address}/?page={page}", wait_until="commit")
        self.tab.evaluate("() => { until('view', () => settled(true)); until('all', () => settled(false)) }")
        self.tab.wait_for_function("told.all && told.view", timeout=90_000)
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 1e9"
        return self.tab.evaluate(f"() => ({{shell: {paint}, ...told}})")

    def timed(self, act: Callable[[], Any], ready: str) -> dict[str, float]:
        """What an act takes from the click or key on until `ready` holds, in milliseconds, and CPU meanwhile."""
        self.tab.evaluate("""(ready) => {
          window.told = {};
          const start = (event) => { told.start ??= event.timeStamp; };
          for (const kind of ["click", "keydown", "pointerdown"]) window.addEventListener(kind, start, {capture: true, once: true});
          const holds = new Function("return " + ready);
          until('done', () => told.start && holds());
        }""", ready)
        cpu = worked(self.server)
        act()
        try:
            self.tab.wait_for_function("told.done", timeout=60_000)
        except LateError:
            raise SystemExit(f"Not on the screen within a minute: {ready}; {self.tab.evaluate('() => [document.title, JSON.stringify(told), settled(true), settled(false)]')}") from None
        return {"ms": self.tab.evaluate("() => told.done - told.start"), "cpu": 1000 * (worked(self.server) - cpu)}

    def pick_all(self, label: str, options: list[str], view: str) -> list[dict[str, float]]:
        """Pick one option of a list after the other, with a view that follows it in sight."""
        self.tab.get_by_role("heading", name=view, exact=True).evaluate("(heading) => heading.scrollIntoView()")
        self.tab.wait_for_function("settled(false)")
        self.tab.get_by_role("combobox", name=label).click()
        found = [self._pick(option) for option in options]
        self.tab.keyboard.press("Escape")
        self.tab.get_by_role("listbox").wait_for(state="hidden")
        return found

    def _pick(self, option: str) -> dict[str, float]:
        row = self.tab.get_by_role("menuitem", name=option, exact=True).or_(self.tab.get_by_role("option", name=option, exact=True)).first
        row.wait_for()
        self.tab.evaluate("() => { window.before = turns() }")
        return self.timed(row.click, "turns() !== before && settled(true)")

    def switch(self, title: str) -> dict[str, float]:
        """Go to another page by the menu."""
        link = self.tab.get_by_role("navigation", name="Pages").get_by_role("link", name=title, exact=True)
        ready = "document.title.startsWith(" + json.dumps(f"{title} ·") + ") && settled(true)"
        return self.timed(link.click, ready)


async def _visit(address: str, lines: list[Any]) -> None:
    """One more open page, as a browser holds it."""
    page = await AsyncHTTPClient().fetch(f"{address}/", request_timeout=120)
    token = re.search(r'"token":"([^"]+)"', page.body.decode())[1]
    asked = HTTPRequest(address.replace("http", "ws", 1) + "/ws", headers={"Origin": address})
    lines.append(await websocket_connect(asked, subprotocols=["bokeh", token]))


async def _visit_all(address: str, number: int, server: psutil.Process) -> dict[str, Any]:
    lines: list[Any] = []
    AsyncHTTPClient.configure(None, max_clients=number, defaults={"connect_timeout": 120})  # nobody waits for another reader's page
    before, errors = server.memory_info().rss, 0
    for told in await asyncio.gather(*(_visit(address, lines) for _ in range(number)), return_exceptions=True):
        errors += isinstance(told, BaseException)
    await asyncio.sleep(3)
    lost = sum(line.protocol is None or line.protocol.client_terminated for line in lines)
    after = server.memory_info().rss
    for line in lines:
        line.close()
    return {"errors": errors + lost, "before": before / 2**20, "each": (after - before) / 2**20 / max(len(lines), 1)}


def measure(address: str, server: psutil.Process, lists: list[tuple[str, list[str], str]], repeats: int, sessions: int) -> list[tuple[str, str, str]]:
    """Everything that has a bar: what, figure, bar."""
    memory = server.memory_info().rss / 2**20
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
        reader = Reader(browser, address, server)
        reader.open("overview")  # what the browser keeps for the next visit is fetched
        opened = [reader.open("overview") for _ in range(repeats)]
        picked = []
        for way in (1, -1):  # forth and back, so that few of what is picked together was made ahead
            reader.open("overview")
            picked += [one for label, options, view in lists for one in reader.pick_all(label, options[::way], view)]
        titles = ["Engagement", "Onboarding", "Moments of truth", "Promises", "Journey", "Paths", "Personas", "Overview"]
        first = [reader.switch(title) for title in titles]
        again = [reader.switch(title) for title in titles]
        errors = list(reader.errors)
        browser.close()
    crowd = asyncio.run(_visit_all(address, sessions, server))
    both = [*first, *again]
    return [
        ("shell painted", f"{median(one['shell'] for one in opened):.0f} ms", "1,000 ms"),
        ("views in sight drawn", f"{median(one['view'] for one in opened):.0f} ms", ""),
        ("all views drawn", f"{median(one['all'] for one in opened):.0f} ms", "4,000 ms"),
        ("filter change on the screen, median", _say(picked), "500 ms"),
        ("page switch on the screen, median", _say(both), "700 ms"),
        ("page switch, first visit to the page", _say(first), ""),
        ("memory of the server, everything made ahead", f"{memory:.0f} MB", "400 MB"),
        (f"memory of a session, of {sessions}", f"{crowd['each']:.1f} MB", "6 MB"),
        (f"errors of {sessions} sessions at once", f"{crowd['errors']}", "0"),
        ("errors in the browser", f"{len(errors)}" + (f" ({errors[0][:80]})" if errors else ""), "0"),
    ]


def _say(found: list[dict[str, float]]) -> str:
    """The median and the slowest of some times."""
    times = [one["ms"] for one in found]
    return f"{median(times):.0f} ms (slowest {max(times):.0f}, CPU of the server {median(one['cpu'] for one in found):.0f} ms, n = {len(found)})"


def write_table(rows: list[tuple[str, str, str]], customers: int) -> str:
    """The figures as Markdown."""
    import motkit

    head = f"# Speed of the pages\n\nMade by `make bench-pages` with motkit {motkit.__version__} on a study of {customers:,} customers, in Chromium on a machine of {psutil.cpu_count()} processors.\n"
    lines = "\n".join(f"| {what} | {figure} | {bar} |" for what, figure, bar in rows)
    return f"{head}\n| what | figure | bar |\n|---|---|---|\n{lines}\n"


def main() -> None:
    """Grow a study if need be, serve it, time it, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--customers", type=int, default=CUSTOMERS, help="grow the study to so many; 0 takes it as it is")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--at", help="the address of a server that runs already, instead of one of its own")
    parser.add_argument("--out", type=Path, help="a Markdown file for the figures")
    chosen = parser.parse_args()
    from motkit.study import open_study
    from motkit.views import list_channels, list_segments, say_name, say_segment

    with tempfile.TemporaryDirectory() as folder:
        study = grow(chosen.study, Path(folder) / chosen.study.name, chosen.customers) if chosen.customers else chosen.study
        there = open_study(study)
        customers = there.scan("engagement").select(pl.len()).collect().item()
        channels, segments = [say_name(name) for name in list_channels(there)[:4]], [say_segment(name) for name in list_segments(there)[:4]]
        lists = [("Channels", channels, "Sessions by week"), ("Segments", segments, "Onboarding by day")]
        with running(chosen.at) if chosen.at else served(study) as (address, server):
            rest(server)
            rows = measure(address, server, lists, chosen.repeats, chosen.sessions)
    text = write_table(rows, customers)
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
