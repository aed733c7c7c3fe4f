"""One number is one number: in the study's tables, on every page, in the report and in a notebook."""

import re
from html import unescape

import polars as pl
import pytest

from motkit.page_parts import look_at, pages_for
from motkit.pages import PAGES
from motkit.report import write_report
from motkit.showing import View, say_name, table_html
from motkit.study import Study
from motkit.thresholds import find_threshold


def _plain(html: str) -> str:
    """The text of HTML on one line, without scripts and marks."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def _views(study: Study) -> dict[tuple[str, str], View]:
    """Every view of every page without a login, by page and name."""
    plans = pages_for(PAGES, study)
    return {(plan.name, look.name): look_at(look, study) for plan in plans for look in (plan.lead, *plan.looks) if look}


@pytest.fixture(scope="module")
def views(demo_study: Study) -> dict[tuple[str, str], View]:
    return _views(demo_study)


@pytest.fixture(scope="module")
def report(demo_study: Study, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(demo_study, tmp_path_factory.mktemp("report") / "report.html").read_text(encoding="utf-8")


def test_the_report_says_what_the_pages_say(views: dict[tuple[str, str], View], report: str) -> None:
    text = _plain(report)
    assert len(views) > 40
    for (page, name), view in views.items():
        for words in (view.empty or view.sentence, "" if view.empty else view.footing):
            assert " ".join(words.split()) in text, (page, name, words)


def test_a_view_on_two_pages_is_one_view(views: dict[tuple[str, str], View]) -> None:
    names = [name for _, name in views]
    shared = sorted({name for name in names if names.count(name) > 1})
    assert "sessions_by_week" in shared
    for name in shared:
        first, *others = [view for (_, other), view in views.items() if other == name]
        for view in others:
            assert (view.sentence, view.footing) == (first.sentence, first.footing)
            assert view.table.equals(first.table)


def test_the_day_and_those_beyond_it_are_the_same_wherever_they_are_told(demo_study: Study, views: dict[tuple[str, str], View]) -> None:
    row, beyond = demo_study.table("threshold").row(0, named=True), demo_study.table("at_risk").height
    told = [f"{view.sentence} {_plain(table_html(view.short))}" for view in views.values() if not view.empty]
    days = {int(day) for text in told for day in re.findall(r"beyond day (\d+)|onboarded (?:by|within) day (\d+)|Day (\d+) tells", text) for day in day if day}
    assert days == {int(row["day"])}
    counts = {number for text in told for number in re.findall(r"([\d,]+) customers are beyond day", text)}
    assert counts == {f"{beyond:,}"}
    for page, name in (("overview", "at_risk_now"), ("onboarding", "beyond_threshold")):
        assert f"{beyond:,} customers are beyond day {row['day']:.0f}" in views[page, name].sentence
    assert f"{row['day']:.0f} days" in views["onboarding", "onboarding_figures"].table["value"].to_list()
    kept = {figure["figure"]: figure for figure in demo_study.manifest["figures"]}
    assert (kept["threshold"]["value"], kept["beyond"]["value"]) == (row["day"], beyond)


def test_a_notebook_finds_the_threshold_of_the_pages(demo_study: Study) -> None:
    row, chosen = demo_study.table("threshold").row(0, named=True), demo_study.manifest["settings"]["onboarding"]
    found = find_threshold(demo_study.table("onboarding"), strata=chosen["strata"] or chosen["by"], by=chosen["by"] or None, horizon_days=chosen["horizon_days"])
    assert (found.day, list(found.confidence_set)) == (row["day"], row["confidence_set"])
    assert found.reading == row["reading"]
    assert f"{row['hazard_ratio']:.2f} times the rate" in repr(found)


def test_promises_and_moments_have_one_number_on_overview_and_own_page(demo_study: Study, views: dict[tuple[str, str], View]) -> None:
    kept = demo_study.table("promise_segments").filter(pl.col("segment") == "all")
    own = views["promises", "promises_kept"].table.select("promise", "kept", "ci_low", "ci_high", "n")
    assert views["overview", "promises_now"].table.select(own.columns).equals(own)
    assert dict(own.select("promise", "kept").rows()) == dict(kept.select("promise", "kept").rows())
    moments = views["moments", "moment_effects"].table.select("moment", "ratio", "ratio_low", "ratio_high", "customers")
    now = views["overview", "moments_now"].table.select(moments.columns)
    assert now.height > 4
    assert now.sort("moment").equals(moments.filter(pl.col("moment").is_in(now["moment"].to_list())).sort("moment"))
    named = {figure["figure"]: figure["value"] for figure in demo_study.manifest["figures"]}
    for name, ratio in now.select("moment", "ratio").rows():
        assert named[f"moment: {name}"] == pytest.approx(ratio, abs=0), say_name(name)

