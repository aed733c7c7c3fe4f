"""Every view of every page, without a browser: what can be taken away, whether the copied code gives the same, and which small groups stay hidden."""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest

from motkit.app import PAGES, App
from motkit.page_parts import Look, PagePlan, code_of, look_at, options_of, pages_for
from motkit.page_shelf import Shelf, Shown, show_look
from motkit.page_viewer import Visit
from motkit.sections import Section, write_file
from motkit.study import Study, run_demo

SMALL = 11
LOOKS = [(plan, look) for plan in PAGES for look in (*((plan.lead,) if plan.lead else ()), *plan.looks)]
OF_PAGES = pytest.mark.parametrize(("plan", "look"), LOOKS, ids=[f"{plan.name}-{look.name}" for plan, look in LOOKS])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The demo study, small, with the tables of all pages."""
    folder = tmp_path_factory.mktemp("every") / "demo-study"
    return run_demo(folder, customers=700, progress=False)


def picks(look: Look, study: Study) -> Iterator[dict]:
    """Nothing picked, then each option of each choice of a view alone, then two at once."""
    yield {}
    for choice in look.choices:
        options = options_of(choice, study)
        if choice.kind == "period":
            yield from ({choice.name: pair} for pair in list(pairwise(options))[:3])
        elif choice.kind == "one":
            yield from ({choice.name: option} for option in options)
        else:
            yield from ({choice.name: [option]} for option in options)
            yield from ({choice.name: list(pair)} for pair in list(pairwise(options))[:3])


def heard(look: Look, study: Study, role: str, *wants: dict) -> tuple[Shown, list[dict]]:
    """A view, and what its section sends to the browser of a reader for some wishes."""
    shown = show_look(replace(look, draw=None), study)
    section, sent = Section(look, Visit(Shelf(study), role).may_drill, lambda: study), []
    section._send_msg = sent.append
    section.put(shown)
    for want in wants or [{"want": "customers", "group": group} for group in shown.groups]:
        section._handle_msg(want)
    return shown, sent


@OF_PAGES
def test_each_view_gives_its_table_and_code_that_makes_it_again(plan: PagePlan, look: Look, study: Study, monkeypatch) -> None:
    view = look_at(look, study)
    if view.empty:
        assert len(view.empty) > 20
        return
    for kind, read in (("csv", pl.read_csv), ("parquet", pl.read_parquet)):
        file = write_file(view.table, look.name, kind)
        assert file["name"] == f"{look.name}.{kind}"
        table = read(io.BytesIO(base64.b64decode(file["base64"])))
        assert table.columns == view.table.columns
        assert table.height == view.table.height
    assert table.equals(view.table)
    monkeypatch.chdir(study.path.parent)  # the code names the study as the page does
    space: dict = {}
    exec(code_of(look, study), space)
    assert space["view"].table.equals(view.table)


@OF_PAGES
def test_each_view_says_something_then_what_it_rests_on(plan: PagePlan, look: Look, study: Study) -> None:
    view = look_at(look, study)
    if view.empty:
        return
    assert re.match(r"[“A-Z0-9].*[.?!]$", view.sentence, re.S), view.sentence
    assert re.search(r"\bn = |\d", view.footing), view.footing
    for text in (view.title, view.sentence, view.footing):
        assert not re.search(r"\b(nan|None|null|inf)\b|[a-z]_[a-z]|\s\s|\.\.(?!\.)|  ", text), text


COUNTS = ("customers", "n_customers")
PLACES = ("low", "step", "hour", "time", "day")


def cells_of(table: pl.DataFrame) -> Iterator[tuple[tuple, int | None]]:
    """The name of each cell of a table of counts, and what it shows; None where it is hidden."""
    counts = [name for name in COUNTS if name in table.columns and table.schema[name].is_numeric()]
    by = [name for name in table.columns if name != "hidden" and (table.schema[name] in (pl.String, pl.Date) or name in PLACES)]
    if counts and by and "hidden" in table.columns and table.select(by).is_unique().all():
        yield from ((row[:-1], row[-1]) for row in table.select(*by, counts[0]).iter_rows())


@OF_PAGES
def test_no_choice_breaks_a_view_names_a_customer_or_shows_what_another_hides(plan: PagePlan, look: Look, study: Study) -> None:
    """No group of few customers is shown for any choice, and none that one choice hides is shown by another, so no difference of two gives it away."""
    known: dict[tuple, set] = {}
    for picked in picks(look, study):
        table = look_at(look, study, picked).table
        assert "customer_id" not in table.columns
        for column in set(COUNTS) & set(table.columns):
            if table.schema[column].is_numeric():
                few = table.filter((pl.col(column) > 0) & (pl.col(column) < SMALL))
                assert few.is_empty(), (picked, few)
        if not picked or all(choice.kind != "one" for choice in look.choices):  # 'one' of many tables is another table
            for cell, value in cells_of(table):
                known.setdefault(cell, set()).add(value)
    told = {cell: values for cell, values in known.items() if len(values) > 1}
    assert not told


def test_the_whole_page_of_sums_carries_no_customer(study: Study) -> None:
    """All that a session of a viewer sends for a page: no name of a customer of the study is in it."""
    names = set(study.table("profiles")["customer_id"])
    app = App(Visit(Shelf(study), "viewer"))
    for plan in pages_for(PAGES, study, "viewer"):
        app.open(plan.name)
        viewer = app.viewers[plan.name]
        sent = viewer.head.object + "".join(str(section.shown) for section in viewer.sections.values())
        assert not names & set(re.findall(r"[\w-]+", sent)), plan.name
        assert all(section.shown["groups"] == [] for section in viewer.sections.values())


DRILLED = [look for _, look in LOOKS if look.drill]


@pytest.mark.parametrize("role", ["", "viewer", "agent"])
def test_a_reader_who_may_not_gets_no_customers_behind_a_bar(role: str, study: Study) -> None:
    for look in DRILLED:
        shown, sent = heard(look, study, role)
        assert shown.groups or shown.view.empty
        assert sent == []


def test_an_analyst_gets_the_customers_behind_each_bar_and_of_no_hidden_one(study: Study) -> None:
    assert len(DRILLED) >= 3
    for look in DRILLED:
        shown, sent = heard(look, study, "analyst")
        assert len(sent) == len(shown.groups)
        assert all("<table" in told["customers"] for told in sent)
        assert heard(look, study, "analyst", {"want": "customers", "group": "no such group"})[1] == []


def test_the_files_that_a_section_sends_are_those_of_its_view(study: Study) -> None:
    look = next(look for look in DRILLED if look.name == "engagement_levels")
    shown, sent = heard(look, study, "", {"want": "csv"}, {"want": "parquet"}, {"want": "something else"})
    assert [told["file"] for told in sent] == [write_file(shown.view.table, look.name, kind) for kind in ("csv", "parquet")]
