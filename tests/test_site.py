"""The documentation site: every public name is explained, words mean one thing, and a small site has no dead link and no error."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytest.importorskip("sphinx", reason="the site needs the extra `docs`")

from builder.api import find_example, statement_of
from builder.checks import CONSOLE, OUTSIDE, TOO_WIDE, Page, Site, crawl_pages, serve, undocumented_names
from builder.names import dictionary, meaning_in, schema_of
from builder.notebooks import read_notebook
from builder.pages import home, known_exports, reports, tell_report
from builder.prose import link_name, link_notebooks, plain_to_myst, unit_of
from builder.public import modules_for_users, public_names
from builder.raising import may_raise
from builder.running import split_last
from builder.seen import show_look
from builder.tables import undescribed
from builder.words import unknown_terms, unwanted_words
from find_chromium import find_chromium
from light_study import run_stages
from typer.main import get_command

import motkit
from motkit.__main__ import app
from motkit.app import PAGES
from motkit.onboarding_page import ONBOARDING_PAGE
from motkit.schema import EVENTS, SESSIONS

ROOT = Path(__file__).parent.parent
FEW = ("index", "81_onboarding_on_real_data", "13_sessions", "346_thresholds", "00_errors")


def test_every_public_name_is_in_the_reference() -> None:
    named = {name.rsplit(".", 1)[1] for name in public_names()}
    assert set(motkit.__all__) - named - set(modules_for_users()) == set()
    assert len({public.docname for public in public_names().values()}) == len(public_names())


def test_every_public_name_parameter_field_and_method_is_explained() -> None:
    assert undocumented_names() == [], (
        "put a comment beside it, or say in docs/names.toml what the name means everywhere"
    )


def test_words_that_the_glossary_does_not_use_stand_nowhere() -> None:
    assert unwanted_words() == []
    assert unknown_terms() == []


def test_every_public_name_has_an_example() -> None:
    drawn = {look.name for page in PAGES for look in filter(None, (page.lead, *page.looks))}
    drawn |= {look.draw.__name__ for page in PAGES for look in filter(None, (page.lead, *page.looks)) if look.draw}
    assert [name for name, public in public_names().items() if public.short not in drawn and not find_example(public)] == []


def test_a_datum_is_shown_without_what_stands_beside_it() -> None:
    cell = "A: int = 1  # one\n\nB = {\n    2: 3,\n}\n\ndef f(): ..."
    assert [statement_of(cell, name) for name in ("A", "B", "f")] == ["A: int = 1  # one", "B = {\n    2: 3,\n}", cell]


def test_the_exports_that_the_first_page_names_are_those_that_are_recognised() -> None:
    named = known_exports().split(" · ")
    titles = motkit.list_formats()["title"].to_list()
    assert all(any(title.startswith(name) for title in titles) for name in named)
    assert all(any(title.startswith(name) for name in named) for title in titles)
    assert known_exports() in home()


def test_a_link_from_notebook_to_notebook_leads_to_its_page() -> None:
    assert link_notebooks("see [the\nbasket](853_story_the_abandoned_basket.ipynb).") == "see [the\nbasket](/guides/story-the-abandoned-basket.md)."
    assert link_notebooks("[elsewhere](https://example.org/other.ipynb)") == "[elsewhere](https://example.org/other.ipynb)"


def test_every_link_between_guides_names_a_notebook_that_exists() -> None:
    for guide in (ROOT / "nbs" / "80_guides").glob("*.ipynb"):
        for target in re.findall(r"\]\((?!http)([^)\s]+\.ipynb)\)", guide.read_text(encoding="utf-8")):
            assert (guide.parent / target).exists(), f"{guide.name}: {target}"


def test_every_link_of_the_pages_of_the_repository_leads_to_a_file() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")):
        for target in re.findall(r"\]\((?!http|#)([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_measures_of_every_report_of_validation_are_explained() -> None:
    for report in reports("Is it right?"):
        told = tell_report(report.read_text(encoding="utf-8"))
        assert re.match(r"\d+ of \d+ bars", told), report.name
        assert told.count("\n: ") >= 2, report.name


def test_what_a_function_may_raise_is_read_off_the_code_that_it_calls() -> None:
    assert [kind.__name__ for kind in may_raise(motkit.find_threshold)][:2] == ["DesignError", "SchemaError"]
    assert may_raise(motkit.survival.survival_at) == ()


def test_a_view_of_the_pages_is_shown_with_the_code_that_the_page_gives(tmp_path: Path) -> None:
    look = next(look for look in ONBOARDING_PAGE.looks if look.name == "onboarding_by_day")
    shown = show_look(look, run_stages({"onboarding"}, motkit.read_settings(), motkit.simulate_customers(n=120, seed=1, days=150).events, tmp_path / "s"))
    assert "onboarding_by_day(open_study(" in shown["code"]
    assert [list(output) for output in shown["outputs"]] == [["text"], ["bokeh"]]


def test_a_word_that_is_not_used_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dictionary(), "names", dictionary()["names"])
    from builder import words

    monkeypatch.setattr(
        words, "glossary", lambda: {"but": [], "term": [{"name": "session", "means": "", "not": ["silence that ends"]}]}
    )
    assert any(fault.startswith("13_sessions.ipynb: 'silence that ends'") for fault in words.unwanted_words())


def test_every_table_and_column_of_a_study_is_explained(tmp_path: Path) -> None:
    settings = motkit.read_settings(
        None, {"onboarding.milestone": "onboarded", "onboarding.start": "sign_up", "onboarding.churn": "account_closed"}
    )
    made = motkit.simulate_customers(n=150, seed=3)
    motkit.run_study(settings, made.events, tmp_path / "study", progress=False)
    assert undescribed(tmp_path / "study") == [], "say in docs/names.toml what a row of the table and the column are"


def test_a_comment_beside_a_column_of_a_schema_comes_before_the_dictionary() -> None:
    words = schema_of([*SESSIONS, "more"])
    assert meaning_in("sessions", "session", words) == "from 1 within a customer"
    assert schema_of(list(EVENTS))["customer_id"].startswith("as in the source")


def test_the_dictionary_of_names_is_in_order_and_explains_no_table_twice() -> None:
    names = list(dictionary()["names"])
    assert names == sorted(names)
    assert set(dictionary()["tables"]) <= set(dictionary()["rows"])


def test_units_are_read_off_names() -> None:
    assert [unit_of(name) for name in ("gap_minutes", "half_life_days", "engaged_s", "events", "by")] == [
        "minutes",
        "days",
        "seconds",
        "",
        "",
    ]


def test_text_of_docstrings_is_taken_literally_and_names_in_it_become_links() -> None:
    assert (
        plain_to_myst("2 * 3 < 7, `read_events` of *all* [rows]")
        == r"2 \* 3 \< 7, {py:obj}`read_events <motkit.read_events>` of \*all\* \[rows\]"
    )
    assert link_name("`read_events`", own="motkit.read_events") == "`read_events`"
    assert link_name("`customer_id`") == "`customer_id`"


def test_the_last_expression_of_a_cell_is_what_it_shows() -> None:
    assert split_last("x = 1\n(x\n + 1)") == ("x = 1", "(x\n + 1)")
    assert split_last("x = 1") == ("x = 1", "")
    assert split_last("x;") == ("x;", "")


def test_a_notebook_is_read_with_what_it_exports() -> None:
    book = read_notebook(ROOT / "nbs" / "10_record" / "13_sessions.ipynb")
    assert book.docname == "notebooks/record/sessions"
    assert ("split_sessions",) in [cell.names for cell in book.cells]
    assert not any(cell.source.startswith("#|") for cell in book.cells)


@pytest.fixture(scope="module")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The reference of some names, their notebooks and two guides, without running any."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "builder", "--source", folder / "src", "--site", folder / "site", "--small", *FEW]
    done = subprocess.run(command, cwd=ROOT / "docs", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return Site(folder / "site")


def test_a_small_site_has_no_dead_link_and_loads_nothing_from_elsewhere(small_site: Site) -> None:
    assert [*small_site.dead_links()] == []
    assert [*small_site.outside_loads()] == []
    built = {name for name, public in public_names().items() if public.home in ("sessions", "thresholds", "errors")}
    assert built
    assert built.isdisjoint(small_site.missing_names())


def test_a_page_of_the_reference_says_parameters_units_raises_source_and_example(small_site: Site) -> None:
    page = (small_site.folder / "_sources" / "api" / "find_threshold.md.txt").read_text()
    for part in (
        "{rubric} Parameters",
        "{rubric} Raises",
        "{rubric} Source",
        "{rubric} Returns",
        "## Example",
        "`days`{.mk-unit}",
        "Pons 2003",
    ):
        assert part in page


def test_the_list_for_programs_that_read_names_pages_that_exist(small_site: Site) -> None:
    text = (small_site.folder / "llms.txt").read_text()
    targets = [part.split(")")[0] for part in text.split("](")[1:]]
    assert "motkit.split_sessions" in text
    assert [target for target in targets if not (small_site.folder / target).is_file()] == []


def test_a_dead_link_and_a_dead_anchor_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">x</a><a href="b.html#gone">x</a><a href="c.html">x</a><script src="https://cdn.example/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="there">')
    site = Site(tmp_path)
    assert [*site.dead_links()] == ["a.html: b.html#gone", "a.html: c.html"]
    assert [*site.outside_loads()] == ["a.html: https://cdn.example/x.js"]
    assert isinstance(site.pages[tmp_path / "b.html"], Page)


@pytest.mark.browser
def test_a_crawl_finds_errors_foreign_requests_and_pages_that_are_too_wide_and_counts_them(tmp_path: Path) -> None:
    if not find_chromium():
        pytest.skip("no Chromium on PATH")
    (tmp_path / "good.html").write_text("<link rel=icon href=data:,><h1>good</h1>")
    (tmp_path / "bad.html").write_text("<link rel=icon href=data:,><div style='width:900px'>wide</div><img src='http://elsewhere.invalid/x.png'><script>console.error('broken')</script>")
    with ThreadPoolExecutor(1) as pool:  # this thread may have a browser's loop running, from a test before
        crawl = pool.submit(crawl_pages, tmp_path, ["good.html", "bad.html"]).result()
    assert crawl.opened == 2
    assert all(len(crawl.faults[kind]) >= 1 for kind in (CONSOLE, OUTSIDE, TOO_WIDE))
    assert not any("good.html" in fault for found in crawl.faults.values() for fault in found)
    assert crawl.told.startswith("2 pages opened in Chromium")


@pytest.mark.browser
def test_pages_open_without_an_error_and_search_finds_names(small_site: Site, quiet_page: Any) -> None:
    with serve(small_site.folder) as address:
        for page in ("index.html", "api/find_threshold.html", "guides/first-look.html", "reference/glossary.html"):
            quiet_page.goto(f"{address}/{page}")
            assert quiet_page.locator("h1").first.is_visible()
        quiet_page.goto(f"{address}/search.html?q=find_threshold")
        quiet_page.locator("ul.search a", has_text="motkit.find_threshold").first.wait_for(timeout=20_000)
        quiet_page.set_viewport_size({"width": 390, "height": 800})
        quiet_page.goto(f"{address}/api/find_threshold.html")
        assert quiet_page.evaluate("document.documentElement.scrollWidth") <= 390


def test_tables_are_read_off_a_study_and_not_typed() -> None:
    source = (ROOT / "docs" / "builder" / "tables.py").read_text()
    assert "read_parquet_schema" in source
    assert pl.Schema(EVENTS)


NUMBER = re.compile(r"(?<![\w.,/§-])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w/]|\.\d)")
GUIDES = sorted((ROOT / "nbs" / "80_guides").glob("*.ipynb"))


def numbers_of_prose(text: str) -> list[str]:
    """The numbers that a reader of some markdown is told: not those of code, links, headings, licences, years and the usual 95 %."""
    bare = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    bare = "\n".join(line for line in bare.splitlines() if not line.startswith("    "))
    bare = re.sub(r"^(?:#+|\d+\.)\s*(?:\d+\.)?|CC BY \d\.\d|\b(?:19|20)\d\d\b|\b95 ?%", "", bare, flags=re.MULTILINE)
    return NUMBER.findall(bare)


def untold_numbers(cells: list[dict[str, Any]]) -> list[str]:
    """The numbers of a notebook's prose that stand in none of its code cells, be it as a setting or in an assert."""
    code = [re.sub(r"(?m)#.*$", "", "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    known = {float(number.replace("_", "")) for text in code for number in re.findall(r"\d[\d_]*(?:\.\d+)?", text)}
    told = [number for cell in cells if cell["cell_type"] == "markdown" for number in numbers_of_prose("".join(cell["source"]))]
    return [number for number in told if not {round(abs(float(number.replace(",", ""))) * times, 6) for times in (1, 100, 0.01)} & known]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_number_that_a_guide_tells_stands_in_its_code(path: Path) -> None:
    assert untold_numbers(json.loads(path.read_text(encoding="utf-8"))["cells"]) == []


def test_a_number_that_only_prose_knows_would_be_found() -> None:
    cells = [{"cell_type": "markdown", "source": ["## 1. Of 2,515 students 31 % (`n` = 42) left in 2013."]}, {"cell_type": "code", "source": ["assert n == 2_515  # 42"]}]
    assert untold_numbers(cells) == ["31", "42"]


def test_every_command_and_option_that_prose_names_exists() -> None:
    commands: dict[str, Any] = vars(get_command(app))["commands"]
    wrong = []
    for name, text in [(path.name, path.read_text(encoding="utf-8")) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "pages").glob("*.md"), *GUIDES)]:
        for command, rest in re.findall(r"(?:`|\"    |bin/|^)motkit ([a-z]+)([^`\n\"|#]*)", text, flags=re.MULTILINE):
            known = {option for parameter in commands[command].params for option in (*parameter.opts, *parameter.secondary_opts)} if command in commands else set()
            wrong += [f"{name}: motkit {command} {option}" for option in re.findall(r"(?<![\w-])--[a-z-]+", rest) if option not in known]
            wrong += [] if command in commands else [f"{name}: motkit {command}"]
    assert wrong == []
