"""Checks a built site: `python -m builder.checks SITE`, or `make check-docs`. Every link and anchor leads somewhere, every public
name is indexed and documented, and no page has an error in its console, asks anything of another host, fails to draw a picture or is wider than a phone."""

import argparse
import asyncio
import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fastcore.docments import docments

from builder.names import explain
from builder.public import Public, public_names

EXTERNAL_BY_CLICK = ("http://", "https://", "mailto:")
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The links, the anchors and the loaded files of one page."""

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.path, self.links, self.loads, self.anchors = path, list[str](), list[str](), set[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of what a tag links to, loads and names."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and given.get(LOADS[tag]):
            self.loads.append(given[LOADS[tag]])


@dataclasses.dataclass(frozen=True)
class Site:
    """All pages of a built site."""

    folder: Path

    @cached_property
    def pages(self) -> dict[Path, Page]:
        """Every page by its path."""
        return {
            path.resolve(): Page(path.resolve())
            for path in sorted(self.folder.rglob("*.html"))
            if "_static" not in path.parts
        }

    def _leads_nowhere(self, page: Page, link: str) -> bool:
        parts = urlsplit(link)
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        if target not in self.pages:
            return not target.is_file()
        return bool(parts.fragment) and unquote(parts.fragment) not in self.pages[target].anchors

    def dead_links(self) -> Iterator[str]:
        """Links within the site that lead nowhere, or to an anchor that is not there."""
        for path, page in self.pages.items():
            for link in dict.fromkeys(page.links):
                if link != "#" and not link.startswith(EXTERNAL_BY_CLICK) and self._leads_nowhere(page, link):
                    yield f"{path.relative_to(self.folder.resolve())}: {link}"

    def outside_loads(self) -> Iterator[str]:
        """Files of other hosts that a page would load."""
        for path, page in self.pages.items():
            for load in page.loads:
                if load.startswith(("http:", "https:", "//")):
                    yield f"{path.relative_to(self.folder.resolve())}: {load}"

    def missing_names(self) -> list[str]:
        """Public names without an entry of their own on their page."""
        return [name for name, public in public_names().items() if not self._has_entry(name, public)]

    def without_example(self) -> list[str]:
        """Public functions, classes and tables whose page shows no example."""
        return [name for name, public in public_names().items() if not self._shows_example(public)]

    def _shows_example(self, public: Public) -> bool:
        page = self.pages.get((self.folder / f"{public.docname}.html").resolve())
        return page is not None and "example" in page.anchors

    def _has_entry(self, name: str, public: Public) -> bool:
        page = self.pages.get((self.folder / f"{public.docname}.html").resolve())
        return page is not None and name in page.anchors


def _undocumented(name: str, thing: Any) -> list[str]:
    """The parameters or fields of one thing that neither a comment nor the dictionary explains."""
    shown = {
        key: field
        for key, field in docments(thing, full=True, returns=False).items()
        if key not in ("self", "cls") and not key.startswith("_")
    }
    return [f"{name}: {key}" for key, field in shown.items() if not explain(key, field)]


def methods_of(kind: type) -> dict[str, Any]:
    """The methods of a class that are meant for users."""
    bare = {
        name: getattr(member, "__func__", member) for name, member in vars(kind).items() if not name.startswith("_")
    }
    return {name: member for name, member in bare.items() if inspect.isfunction(member)}


def undocumented_names() -> list[str]:
    """Public names, parameters, fields and methods that nothing explains."""
    faults = []
    for name, public in public_names().items():
        thing = public.thing
        if callable(thing) and not inspect.getdoc(thing):
            faults.append(f"{name} has no docstring")
        if inspect.isfunction(thing) or dataclasses.is_dataclass(thing):
            faults += _undocumented(name, thing)
        for method, function in methods_of(thing).items() if inspect.isclass(thing) else ():
            faults += [f"{name}.{method} has no docstring"] if not inspect.getdoc(function) else []
            faults += _undocumented(f"{name}.{method}", function)
    return faults


_DRAW = """() => {
  window.dispatchEvent(new Event("beforeprint"));
  return [...document.querySelectorAll(".mk-plot")].length;
}"""
_DRAWN = """() => [...document.querySelectorAll(".mk-plot")].every((place) => place.dataset.drawn || place.dataset.failed)"""
_FAILED = """() => [...document.querySelectorAll(".mk-plot")].filter((place) => place.dataset.failed).length"""
_WIDTH = "() => document.documentElement.scrollWidth"
PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}
CONSOLE, OUTSIDE, UNDRAWN, TOO_WIDE = "an error in the console", "a request to another host", "a picture not drawn", "text beyond a phone's edge"
CRAWL_FAULTS = (CONSOLE, OUTSIDE, UNDRAWN, TOO_WIDE)


@dataclasses.dataclass
class Crawl:
    """What was seen when pages were opened in a browser: how many, and what was wrong on which."""

    opened: int = 0  # pages
    pictures: int = 0  # live pictures that were drawn
    faults: dict[str, list[str]] = dataclasses.field(default_factory=lambda: {kind: [] for kind in CRAWL_FAULTS})

    def note(self, page: str, kind: str, found: Iterable[str]) -> None:
        """Take down what was found on a page."""
        self.faults[kind] += [f"{page}: {kind}: {one}" for one in found]

    @property
    def told(self) -> str:
        """The counts in one sentence."""
        counts = ", ".join(f"{len(found)} with {kind}" for kind, found in self.faults.items())
        return f"{self.opened} pages opened in Chromium, wide and at {PHONE['width']} pixels, {self.pictures} live pictures drawn; {counts}."


async def _visit(tab: Any, trace: Any, address: str, page: str, crawl: Crawl) -> None:
    """Open one page wide, draw its pictures, then look how wide it is on a phone."""
    await tab.set_viewport_size(DESK)
    await tab.goto(f"{address}/{page}")
    if pictures := await tab.evaluate(_DRAW):
        await tab.wait_for_function(_DRAWN, timeout=60_000)
        failed = await tab.evaluate(_FAILED)
        crawl.pictures += pictures - failed
        crawl.note(page, UNDRAWN, [f"{failed} of {pictures}"] if failed else [])
    await tab.set_viewport_size(PHONE)
    width = await tab.evaluate(_WIDTH)
    crawl.note(page, TOO_WIDE, [f"{width} pixels"] if width > PHONE["width"] else [])
    crawl.note(page, OUTSIDE, trace.external)
    crawl.note(page, CONSOLE, trace.errors)
    crawl.opened += 1
    trace.external.clear()
    trace.errors.clear()


async def _visit_all(address: str, pages: list[str], tabs: int) -> Crawl:
    """Visit all pages in one browser, `tabs` at a time."""
    from browser_fixtures import CHROMIUM_ARGS, Trace
    from find_chromium import find_chromium
    from playwright.async_api import async_playwright

    waiting, crawl = iter(pages), Crawl()

    async def visit_next(browser: Any) -> None:
        context = await browser.new_context(reduced_motion="reduce")
        tab, trace = await context.new_page(), Trace()
        tab.on("request", trace.see_request)
        tab.on("console", trace.see_console)
        tab.on("pageerror", lambda error: trace.errors.append(str(error)))
        for page in waiting:
            await _visit(tab, trace, address, page, crawl)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=list(CHROMIUM_ARGS))
        await asyncio.gather(*(visit_next(browser) for _ in range(tabs)))
        await browser.close()
    return crawl


def crawl_pages(folder: Path, pages: list[str], tabs: int = 4) -> Crawl:
    """Open pages in Chromium from a local server, some at a time; what went wrong or was asked of another host."""
    sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))
    with serve(folder) as address:
        return asyncio.run(_visit_all(address, pages, tabs))


class serve:
    """A local server of a folder for as long as it is needed."""

    def __init__(self, folder: Path):
        from functools import partial
        from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing of requests."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))

    def __enter__(self) -> str:
        from threading import Thread

        Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def main() -> int:
    """Check a whole site; exit code 1 with every fault on a line of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--no-browser", action="store_true", help="links and names only")
    chosen = parser.parse_args()
    site = Site(chosen.site)
    if not (chosen.site / "index.html").exists():
        raise SystemExit(f"There is no site in {chosen.site}. Type: make docs")
    pages = [str(path.relative_to(chosen.site.resolve())) for path in site.pages]
    parts = {
        "dead links": [*site.dead_links()],
        "files of other hosts": [*site.outside_loads()],
        "names without an entry": [f"{name} is not in the reference" for name in site.missing_names()],
        "names without an example": [f"{name} has no example" for name in site.without_example()],
        "names without an explanation": undocumented_names(),
    }
    links = sum(len(page.links) for page in site.pages.values())
    told = [f"{len(pages)} pages, {links:,} links, {len(public_names())} public names: {', '.join(f'{len(found)} {kind}' for kind, found in parts.items())}."]
    if not chosen.no_browser:
        crawl = crawl_pages(chosen.site.resolve(), [*pages, "search.html?q=threshold"])
        parts, told = parts | crawl.faults, [*told, crawl.told]
    faults = [fault for found in parts.values() for fault in sorted(found)]
    print(*faults, *told, f"{len(faults)} faults.", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
