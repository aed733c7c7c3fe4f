"""The views of the threshold: they say what the study's tables say, and nothing about few people."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from light_study import run_stages
from made_study import MadeStudy

import motkit
from motkit import engagement_views, onboarding_plots, onboarding_views
from motkit.engagement_page import ENGAGEMENT_PAGE
from motkit.onboarding_page import ONBOARDING_PAGE
from motkit.page_parts import look_at
from motkit.page_shelf import Shelf
from motkit.page_viewer import PageViewer, Visit
from motkit.study import Study


@pytest.fixture(scope="module")
def study(demo_study: Study) -> Study:
    return demo_study


def _with(study: Study, **frames: pl.DataFrame) -> MadeStudy:
    return MadeStudy({name: study.table(name) for name in study.tables if name != "rejected"} | frames, study.manifest, study.path)


def test_the_planted_day_is_told_with_the_days_that_the_data_allow(study: Study) -> None:
    row = study.table("threshold").row(0, named=True)
    view = onboarding_views.threshold_days(study)
    assert row["ci_low"] <= 14 <= row["ci_high"]
    assert f"Day {row['day']:.0f} tells late from on-time customers best" in view.sentence
    assert view.table.filter("allowed")["day"].to_list() == row["confidence_set"]
    assert view.table.filter(pl.col("support") == 0)["day"].to_list() == [row["day"]]
    assert f"n = {row['customers']:,.0f} customers, {row['events']:,.0f} of whom left" in view.footing


def test_no_view_says_that_late_onboarding_causes_anything(study: Study) -> None:
    for look in (ONBOARDING_PAGE.lead, *ONBOARDING_PAGE.looks):
        text = str(look_at(look, study)).lower()
        assert "cause" not in text
        assert "leads to" not in text
    for view in (onboarding_views.onboarding_figures, onboarding_views.leaving_after_threshold, onboarding_views.threshold_by_segment):
        assert "This is an association" in view(study).footing


def test_those_beyond_the_day_are_counted_as_in_a_plain_loop(study: Study) -> None:
    days = study.table("at_risk")["days_beyond"].to_list()
    expected = [sum(low < day <= high for day in days) for low, high in ((-1, 7), (7, 28), (28, 91), (91, 10_000))]
    shown = onboarding_views.beyond_threshold(_with(study)).table
    for count, told, why in zip(expected, shown["customers"], shown["hidden"], strict=True):
        assert told == count if not why else told is None
    lists = [onboarding_views.beyond_customers(study, since) for since in shown["since"]]
    assert [rows.height for rows in lists] == expected
    assert sum(not why.startswith("fewer") for count, why in zip(expected, shown["hidden"], strict=True) if 0 < count < 11) == 0


def test_a_group_of_few_customers_is_in_no_table_of_the_page(study: Study) -> None:
    few = study.table("threshold_segments").with_columns(n=pl.when(pl.col("segment") == "app").then(5.0).otherwise("n"))
    table = onboarding_views.threshold_by_segment(_with(study, threshold_segments=few)).table
    assert table.filter(pl.col("segment") == "channel: app").select("customers", "day", "ratio").row(0) == (None, None, None)
    assert table.filter(pl.col("segment") == "channel: web")["customers"].to_list() == [None]
    assert table.filter(pl.col("segment") == "plan: basic")["customers"].item() > 11
    assert onboarding_views.beyond_threshold(_with(study, at_risk=study.table("at_risk").head(10))).empty.startswith("Fewer than 11")


def test_curves_end_where_few_are_followed(study: Study) -> None:
    view = onboarding_views.leaving_after_threshold(study)
    assert view.table["at_risk"].min() >= 11
    shares = view.table.group_by("arm", maintain_order=True).agg(pl.col("share").is_sorted())
    assert shares["share"].all()


def test_a_study_in_which_no_day_was_found_says_so_everywhere(study: Study) -> None:
    none = study.table("threshold").with_columns(day=pl.lit(None, pl.Float64))
    unfound = _with(study, threshold=none)
    for look in (ONBOARDING_PAGE.lead, *ONBOARDING_PAGE.looks[:2], ONBOARDING_PAGE.looks[4]):
        assert "No day was found" in look_at(look, unfound).empty


def test_a_log_too_short_to_state_shares_leaves_them_out(study: Study) -> None:
    risk = study.table("threshold_risk").with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("difference", "ci_low", "ci_high", "risk_late", "risk_on_time", "horizon_days"))
    told = onboarding_views.onboarding_figures(_with(study, threshold_risk=risk)).table["figure"].to_list()
    assert told
    assert not any("late against on time" in figure for figure in told)


def test_every_picture_of_both_pages_is_drawn(study: Study) -> None:
    for plan in (ONBOARDING_PAGE, ENGAGEMENT_PAGE):
        page = PageViewer(plan, Visit(Shelf(study)))
        drawn = {look.name: look.draw is not None for look in plan.looks}  # the others are tables
        assert {name: bool(section.shown["picture"]) for name, section in page.sections.items()} == drawn


def test_a_picture_of_an_empty_view_says_why(study: Study) -> None:
    empty = onboarding_views.threshold_days(replace(_with(study), frames={}))
    assert "No day was found" in onboarding_plots.plot_threshold_days(empty).data[2]


def test_an_analyst_sees_the_customers_of_a_bar_and_a_viewer_does_not(study: Study) -> None:
    for role in ("analyst", "", "viewer"):
        page = PageViewer(ENGAGEMENT_PAGE, Visit(Shelf(study), role))
        said: list[dict[str, str]] = []
        page.sections["engagement_levels"]._send_msg = said.append
        page.sections["engagement_levels"]._handle_msg({"want": "customers", "group": "high"})
        assert bool(said) == (role == "analyst")
        for section in page.sections.values():
            assert "c00" not in str(section.shown["table"]) + str(section.shown["picture"])


def test_the_share_of_engaged_customers_is_that_of_a_plain_loop(study: Study) -> None:
    people = study.table("customers").select("first_channel", "engagement_level").rows()
    for row in engagement_views.engaged_by_channel(study).table.filter(pl.col("hidden") == "").iter_rows(named=True):
        own = [level for channel, level in people if channel == row["channel"]]
        assert row["customers"] == len(own)
        assert row["share"] == pytest.approx(sum(level == "high" for level in own) / len(own))
        assert row["ci_low"] < row["share"] < row["ci_high"]


def test_points_of_a_level_are_means_and_a_small_level_is_hidden(study: Study) -> None:
    rows = study.table("engagement")
    table = engagement_views.points_by_level(study).table
    for level in ("high", "low"):
        mean = sum(rows.filter(pl.col("level") == level)["visits_points"].to_list()) / (rows["level"] == level).sum()
        assert table.filter((pl.col("level") == level) & (pl.col("part") == "visits"))["points"].item() == pytest.approx(mean)
    few = pl.concat([rows.filter(pl.col("level") != "high"), rows.filter(pl.col("level") == "high").head(3)])
    table = engagement_views.points_by_level(_with(study, engagement=few)).table
    assert table.filter(pl.col("level") == "high")["points"].null_count() == 3
    assert table.filter(pl.col("hidden") != "")["level"].n_unique() == 2


def test_where_late_customers_leave_by_definition_no_day_is_looked_for_and_the_page_says_why(tmp_path: Path) -> None:
    made = motkit.simulate_customers(n=200, seed=4, days=150)
    bare = run_stages({"onboarding", "threshold", "threshold_quarters"}, motkit.read_settings(), made.events, tmp_path / "silence")
    assert set(bare.problems) == {"threshold", "threshold_quarters"}
    told = onboarding_views.threshold_days(bare).empty
    assert told.startswith("No day was looked for. Leaving is 30 days of silence, and ")
    assert "[onboarding] churn" in told


def test_a_day_that_chance_gives_as_easily_is_not_told_as_found(study: Study) -> None:
    weak = _with(study, threshold=study.table("threshold").with_columns(p_value=pl.lit(0.26)))
    assert "leave" in onboarding_views.onboarding_figures(study).sentence.split(",")[0]
    assert onboarding_views.onboarding_figures(weak).sentence.startswith("These data show no day")
