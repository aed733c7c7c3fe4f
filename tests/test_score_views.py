"""Views of the score and of habits: they say what the study's tables say, and nothing about few people."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from light_study import run_stages
from made_study import MadeStudy

from motkit import habit_plots, habit_views, score_views
from motkit.engagement_page import ENGAGEMENT_PAGE
from motkit.page_parts import look_at
from motkit.page_shelf import Shelf
from motkit.page_viewer import PageViewer, Visit
from motkit.settings import Settings
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS, Study

STAGES = {"record", "sessions", "profiles", "engagement_model", "engagement", "habits", "advocates", "buying"}
VIEWS = (
    score_views.score_calibration, score_views.score_basis, score_views.other_weights, habit_views.clock_of_visits,
    habit_views.last_page_or_visit, habit_views.advocates_found, habit_views.buying_points, habit_views.still_buying,
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The demo's settings for engagement, with an outcome, on 900 simulated customers."""
    made = simulate_customers(n=900, seed=5)
    return run_stages(STAGES, DEMO_SETTINGS, made.events, tmp_path_factory.mktemp("scored") / "study", profiles=made.profiles)


def _with(study: Study, **frames: pl.DataFrame) -> MadeStudy:
    return MadeStudy({name: study.table(name) for name in study.tables if name != "rejected"} | frames, study.manifest, study.path)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_every_view_says_a_sentence_with_n_and_what_the_interval_is(study: Study, view: object) -> None:
    shown = view(study)
    assert not shown.empty
    assert shown.sentence.endswith(".")
    assert "n = " in shown.footing
    assert "interval" in shown.footing
    assert not {"visits_decayed", "engaged_minutes", "_"} & set(str(shown.short.drop("hidden", strict=False).rows()))
    assert "cause" not in str(shown).lower()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_a_study_without_the_table_says_so_and_what_to_name(view: object) -> None:
    empty = view(MadeStudy({}, {}))
    assert empty.empty.endswith(".")
    assert not empty.sentence


def test_without_an_outcome_the_page_stands_and_says_what_to_name(tmp_path: Path) -> None:
    made = simulate_customers(n=150, seed=3)
    plain = run_stages(STAGES, Settings(), made.events, tmp_path / "study")
    assert "[engagement] outcome" in score_views.score_calibration(plain).empty
    assert "[engagement] outcome" in score_views.score_basis(plain).empty
    assert "The score is this index" in score_views.other_weights(plain).footing
    assert not habit_views.clock_of_visits(plain).empty


def test_the_check_of_the_score_is_the_models_own(study: Study) -> None:
    view, row = score_views.score_calibration(study), study.table("engagement_validation").row(0, named=True)
    assert "purchase within 28 days" in view.sentence
    assert f"{row['auc']:.0%}" in view.sentence
    assert f"is {row['slope']:.2f} ({row['slope_ci_low']:.2f} to {row['slope_ci_high']:.2f})" in view.footing
    assert f"n = {row['n']} customers" in view.footing
    assert view.table["observed"].to_list() == study.table("engagement_calibration")["observed"].to_list()
    few = study.table("engagement_calibration").with_columns(n=pl.when(pl.col("group") == 3).then(4).otherwise("n"))
    hidden = score_views.score_calibration(_with(study, engagement_calibration=few)).table
    assert hidden.filter(pl.col("hidden") != "")["observed"].null_count() == 2


def test_an_outcome_too_rare_to_rank_by_is_said_to_be_so(study: Study) -> None:
    rare = study.table("engagement_validation").with_columns(auc=pl.lit(None, pl.Float64), slope=pl.lit(None, pl.Float64))
    view = score_views.score_calibration(_with(study, engagement_validation=rare))
    assert "too rare, or too common" in view.sentence
    assert "slope" not in view.footing


def test_odds_are_the_exponentials_of_the_coefficients_the_greatest_first(study: Study) -> None:
    table, weights = score_views.score_basis(study).table, study.table("engagement_coefficients")
    assert sorted(table["odds"]) == pytest.approx(sorted(weights["coefficient"].exp()))
    sizes = table["odds"].log().abs().to_list()
    assert sizes == sorted(sizes, reverse=True)
    assert ((table["odds_low"] < table["odds"]) & (table["odds"] < table["odds_high"])).all()


def test_few_customers_who_would_move_are_not_told(study: Study) -> None:
    n = study.table("engagement").height
    moved = study.table("index_sensitivity").with_columns(moved_10=pl.Series([0.3, 3 / n, 0.0, 0.0, 0.0, 0.0]))
    view = score_views.other_weights(_with(study, index_sensitivity=moved))
    assert view.sentence.startswith("If visits weighed half, 30% of customers would move")
    assert view.table["moved"].to_list() == [0.3, None, 0.0, 0.0, 0.0, 0.0]
    only = study.table("index_sensitivity").with_columns(moved_10=pl.Series([3 / n, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert "fewer than 11 customers" in score_views.other_weights(_with(study, index_sensitivity=only)).sentence


def test_hours_and_pairs_of_few_customers_are_hidden(study: Study) -> None:
    clock, shown = study.table("visit_clock").sort("weekday", "hour"), habit_views.clock_of_visits(study).table
    for n, told in zip(clock["customers"], shown["customers"], strict=True):
        assert told in (n, None)
        assert n >= 11 or told is None or n == 0
    pairs, table = study.table("last_pages"), habit_views.last_page_or_visit(study).table
    few = pairs["customers"] < 11
    assert few.any()
    assert table.filter(few)["visits"].null_count() == table.filter(few)["share"].null_count() == few.sum()


def test_advocates_are_counted_as_in_a_plain_loop(study: Study) -> None:
    acts = [min(n, 5) for n in study.table("advocates")["acts"] if n]
    view = habit_views.advocates_found(study)
    for group, told, why in view.table.rows():
        assert told == (None if why else Counter(acts)[int(group[0])])
        assert habit_views.advocate_customers(study, group).height == Counter(acts)[int(group[0])]
    assert view.sentence.startswith(f"{len(acts)} customers")
    few = study.table("advocate_summary").with_columns(advocates=pl.lit(3, pl.Int64))
    assert "fewer than 11 do so more often" in habit_views.advocates_found(_with(study, advocate_summary=few)).sentence
    nobody = study.table("advocates").filter(pl.col("acts") > 0).head(5)
    assert "Fewer than 11" in habit_views.advocates_found(_with(study, advocates=nobody)).empty


def test_buyers_by_their_chance_add_up_and_few_are_hidden(study: Study) -> None:
    buyers = study.table("repeat_buying")
    view = habit_views.still_buying(study)
    chances = [min(int(alive * 5), 4) for alive in buyers["alive"]]
    assert [n for n in view.table["customers"] if n is not None] == [Counter(chances)[k] for k in range(5) if view.table["hidden"][k] == ""]
    assert f"{buyers['alive'].mean():.0%}" in view.sentence
    assert "too alike" in habit_views.still_buying(_with(study, repeat_buying=buyers.head(5))).empty
    points = habit_views.buying_points(study)
    assert points.table.group_by("measure").agg(pl.col("customers").sum())["customers"].unique().to_list() == [study.table("rfm").height]


def test_every_new_section_is_drawn_and_shows_no_customer(study: Study) -> None:
    page = PageViewer(ENGAGEMENT_PAGE, Visit(Shelf(study)))
    for view in VIEWS:
        section = page.sections[view.__name__]
        look = next(look for look in ENGAGEMENT_PAGE.looks if look.view is view)
        assert bool(section.shown["picture"]) == (look.draw is not None)
        assert "c000" not in str(section.shown["table"]) + str(section.shown["picture"]) + str(look_at(look, study))


def test_a_picture_of_an_empty_view_says_why() -> None:
    none = habit_views.still_buying(MadeStudy({}, {}))
    assert none.empty in habit_plots.plot_still_buying(none).data[2]
