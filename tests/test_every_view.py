"""Every view of every page, without a browser: what can be taken away, whether the copied code gives the same, and which small groups stay hidden."""

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import polars as pl
import pytest

from motkit.app import PAGES, App
from motkit.page_parts import Look, PagePlan, code_of, look_at, options_of, pages_for
from motkit.page_shelf import Shelf, Shown, show_look
from motkit.page_viewer import Visit
from motkit.sections import Section, write_file
from motkit.showing import View
from motkit.study import Study

SMALL = 11
LOOKS = [(plan, look) for plan in PAGES for look in (*((plan.lead,) if plan.lead else ()), *plan.looks)]
OF_PAGES = pytest.mark.parametrize(("plan", "look"), LOOKS, ids=[f"{plan.name}-{look.name}" for plan, look in LOOKS])


@pytest.fixture(scope="module")
def study(small_demo: Study) -> Study:
    """The demo study, small, with the tables of all pages."""
    return small_demo


_SEEN: dict[tuple[Look, str], View] = {}


def see(look: Look, study: Study, picked: Mapping[str, Any] = {}) -> View:
    """A view for what was picked; made once for all tests of this file."""
    key = (look, json.dumps(picked, default=str))
    if key not in _SEEN:
        _SEEN[key] = look_at(look, study, picked)
    return _SEEN[key]


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
    yield from together(look, study)


def together(look: Look, study: Study) -> Iterator[dict]:
    """Every option of one choice of a view with every option of its others; a period by its first and last weeks."""
    offered = {choice: options_of(choice, study) for choice in look.choices}
    ways = {choice.name: [*pairwise(found)][:1] + [*pairwise(found)][-1:] if choice.kind == "period" else [*found] if choice.kind == "one" else [[one] for one in found] for choice, found in offered.items()}
    if len(ways) > 1:
        yield from (dict(zip(ways, picked, strict=True)) for picked in product(*ways.values()))


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
    view = see(look, study)
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
    view = see(look, study)
    if view.empty:
        return
    assert re.match(r"[“A-Z0-9].*[.?!]$", view.sentence, re.S), view.sentence
    assert re.search(r"\bn = |\d", view.footing), view.footing
    for text in (view.title, view.sentence, view.footing):
        assert not re.search(r"\b(nan|None|null|inf)\b|[a-z]_[a-z]|\s\s|\.\.(?!\.)|  ", text), text


COUNTS = ("customers", "n_customers")
PARTS = ("still_open", "broken", "left", "lost")  # of the cases of a group
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
        table = see(look, study, picked).table
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


FOLLOWED = "at_risk"
GROUPS = ("segment", "arm", "since", "persona", "channel")


def of_few(number: float | None) -> bool:
    """Whether a number of customers is one that must not be had."""
    return number is not None and 0 < round(number) < SMALL


def steps_of_curves(table: pl.DataFrame) -> Iterator[tuple[str, float]]:
    """How many fewer are followed from one row of a curve to the next."""
    groups, days = [name for name in GROUPS if name in table.columns], [name for name in ("time", "days_since", "days") if name in table.columns]
    if FOLLOWED in table.columns and days:
        for key, part in table.sort(days[0]).partition_by(groups, as_dict=True).items() if groups else {(): table.sort(days[0])}.items():
            yield from ((f"{key}", before - after) for before, after in pairwise(part[FOLLOWED].to_list()))


def rest_of_totals(table: pl.DataFrame, count: str) -> Iterator[tuple[str, float]]:
    """Everybody less all shown segments of one column, on each day or week that everybody is shown."""
    days = next((name for name in ("time", "week", "days_since", "days") if name in table.columns), None)
    everybody, parts = table.filter(pl.col("segment") == "all"), table.filter(pl.col("segment") != "all").drop_nulls(count)
    for _, column in parts.with_columns(_set=pl.col("segment").str.extract("^(.*?): ").fill_null("")).partition_by("_set", as_dict=True).items():
        for row in everybody.drop_nulls(count).iter_rows(named=True):
            then = column.filter(pl.col(days) <= row[days]).group_by("segment").last() if days == "time" else column.filter(pl.col(days) == row[days]) if days else column
            if then.height:
                yield f"{row.get(days or '')}", row[count] - then[count].sum()


def subtracted(table: pl.DataFrame) -> list[tuple[str, float]]:
    """Every number of few customers that comes of subtracting one shown number of a table from another."""
    found = [*steps_of_curves(table)]
    if "segment" in table.columns:
        found += [one for count in (FOLLOWED, *COUNTS) if count in table.columns and table.schema[count].is_numeric() for one in rest_of_totals(table, count)]
    return [one for one in found if of_few(one[1])]


@OF_PAGES
def test_no_subtraction_within_a_view_or_of_two_choices_gives_a_number_of_few(plan: PagePlan, look: Look, study: Study) -> None:
    """For each choice, and for the tables of each pair of choices put together: totals less their parts, and what is followed from day to day."""
    tables = [table for picked in picks(look, study) if (table := see(look, study, picked).table).height]
    for table in tables:
        assert subtracted(table) == []
    alike = [table for table in tables if table.columns == tables[0].columns]
    if tables and "segment" in tables[0].columns:
        assert subtracted(pl.concat(alike, how="vertical_relaxed").unique(maintain_order=True)) == []


OF_CASES = [(plan, look) for plan, look in LOOKS if plan.name in ("promises", "personas", "overview")]


@pytest.mark.parametrize(("plan", "look"), OF_CASES, ids=[f"{plan.name}-{look.name}" for plan, look in OF_CASES])
def test_parts_of_cases_are_never_told_one_by_one(plan: PagePlan, look: Look, study: Study) -> None:
    """Open, broken, ended and lost cases come in steps of the smallest group, in the table, in words and in the sentence below."""
    for picked in picks(look, study):
        view = see(look, study, picked)
        for column in {*PARTS} & {*view.table.columns}:
            assert not view.table.filter(pl.col(column) % SMALL != 0).height, (picked, column)
        said = view.brief["still_open"].drop_nulls() if view.brief is not None and "still_open" in view.brief.columns else []
        assert all(re.fullmatch(rf"fewer than {SMALL}|at least [\d,]+", text) for text in said)
        assert not re.search(r"(?<!than )(?<![\d,])\d of them still open", view.footing)


def cuts_of_cases(study: Study) -> Iterator[tuple[str, str, int, list[int]]]:
    """The same cases told twice: a promise, how it is cut, its cases, and the cases of the shown groups of that cut, each from another view."""
    looks = {look.name: look for plan, look in LOOKS if plan.name in ("promises", "personas")}
    whole = dict(see(looks["promises_kept"], study).table.drop_nulls("n").select("promise", "n").rows())
    of_personas = see(looks["persona_promises"], study).table
    for promise, n in whole.items():
        weeks, segments = (see(looks[name], study, {"promise": promise}).table for name in ("promise_by_week", "promise_by_segment"))
        yield promise, "personas", n, of_personas.filter(pl.col("promise") == promise)["n"].drop_nulls().to_list()
        yield promise, "weeks", n, weeks.filter(pl.col("segment") == "all")["n"].drop_nulls().to_list()
        for key, part in segments.filter(pl.col("segment") != "all").with_columns(_set=pl.col("segment").str.extract("^(.*?): ")).partition_by("_set", as_dict=True).items():
            yield promise, f"{key}", n, part["n"].drop_nulls().to_list()
        for segment, of_all in segments.drop_nulls("n").select("segment", "n").rows():
            yield promise, f"weeks of {segment}", of_all, weeks.filter(pl.col("segment") == segment)["n"].drop_nulls().to_list()


def test_two_views_that_count_the_same_cases_give_no_number_of_few(study: Study) -> None:
    cuts = [cut for cut in cuts_of_cases(study) if cut[3]]
    assert {"personas", "weeks"} <= {cut[1] for cut in cuts}
    assert [cut for cut in cuts if of_few(cut[2] - sum(cut[3]))] == []


def test_what_must_not_be_had_by_subtraction_is_found_where_it_can_be() -> None:
    curve = pl.DataFrame({"segment": ["all", "all", "a", "b"], "time": [0.0, 5.0, 0.0, 0.0], "at_risk": [100.0, 97.0, 55.0, 40.0]})
    assert sorted(number for _, number in subtracted(curve)) == [2.0, 3.0, 5.0]
    assert subtracted(curve.with_columns(pl.col("at_risk") // 50 * 50)) == []


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
