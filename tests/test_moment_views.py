"""What people see of moments: sentences with n and interval, small groups hidden, pictures for all, and a page that computes nothing."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from motkit import moment_views, wait_views
from motkit.errors import SchemaError
from motkit.moment_page import MOMENT_PAGE
from motkit.moment_plots import plot_moment_course, plot_moment_effects, plot_moment_importance, plot_moment_timing
from motkit.moment_stages import scale_back
from motkit.page_parts import look_at, pages_for
from motkit.page_shelf import show_look
from motkit.settings import MomentSettings, OnboardingSettings, Settings
from motkit.showing import StudyTables
from motkit.simulate import simulate_customers
from motkit.study import Study, run_study

ROOT = Path(__file__).parent.parent
VIEWS = (moment_views.moment_figures, moment_views.moment_effects, moment_views.moment_importance, moment_views.moment_course, moment_views.moments_believed)


class Changed:
    """A study with some of its tables replaced."""

    def __init__(self, study: StudyTables, **tables: pl.DataFrame):
        self._study, self._tables = study, tables
        self.path, self.manifest, self.tables = study.path, study.manifest, study.tables

    def table(self, name: str) -> pl.DataFrame:
        return self._tables.get(name, self._study.table(name))

    def scan(self, name: str) -> pl.LazyFrame:
        return self.table(name).lazy()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    sim = simulate_customers(1200, seed=13)
    ends = OnboardingSettings(milestone=("onboarded",), churn=("account_closed",), lost=("tracking_opted_out",))
    own = MomentSettings(file=ROOT / "motkit" / "demo" / "moments.toml", not_activity=("*_sent",), starts="signed_up", placebo_draws=19)
    return run_study(Settings(onboarding=ends, moments=own), sim.events, tmp_path_factory.mktemp("views") / "study", progress=False, profiles=sim.profiles)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_a_view_says_what_it_rests_on_and_never_that_something_causes(study: Study, view: Any) -> None:
    seen = view(study)
    assert not seen.empty
    assert seen.sentence.endswith(".")
    assert "n = " in seen.footing
    assert "association" in seen.footing
    assert not {"cause", "causes", "effect of"} & set(str(seen).lower().split())
    assert seen.title in seen._repr_html_()


def test_the_figures_are_those_of_the_table(study: Study) -> None:
    counts = study.table("moments")["verdict"].value_counts()
    found = dict(counts.rows())
    assert moment_views.moment_figures(study).table["value"].to_list()[:3] == [f"{found.get(word, 0):,}" for word in ("makes", "breaks", "no evidence")]


def test_kinds_can_be_chosen_and_the_most_important_comes_first(study: Study) -> None:
    rows = moment_views.moment_effects(study).table
    assert rows.height == 16
    found = rows.filter(pl.col("verdict").is_in(["makes", "breaks"]))["importance"].to_list()
    assert found == sorted(found, reverse=True)
    assert set(moment_views.moment_effects(study, kinds=["second"]).table["kind"]) == {"second"}
    assert moment_views.moment_effects(study, kinds=["none"]).empty


def test_moments_that_few_had_or_that_few_had_not_are_hidden(study: Study) -> None:
    table, customers = study.table("moments"), study.table("moment_summary")["customers"][0]
    for n in (5, customers - 5):
        few = Changed(study, moments=table.with_columns(n=pl.when(pl.int_range(pl.len()) == 0).then(n).otherwise("n")))
        row = moment_views.moment_effects(few).table.row(0, named=True)
        assert row["hidden"] == "fewer than 11"
        assert row["customers"] is row["ratio"] is row["days"] is None
        assert "of fewer than 11 customers" in moment_views.moment_effects(few).footing
        assert row["moment"] not in moment_views.moment_importance(few).table["moment"].to_list()
        assert row["moment"] not in moment_views.list_moments(few)


def test_curves_end_where_few_are_followed_and_the_chosen_moment_is_shown(study: Study) -> None:
    names = moment_views.list_moments(study)
    assert len(names) > 1
    second = moment_views.moment_course(study, names[1])
    assert second.table["at_risk"].min() >= 11
    assert second.sentence != moment_views.moment_course(study).sentence
    assert set(second.table["arm"]) == {"with", "without"}


def test_a_study_in_which_nothing_was_found_says_so(study: Study) -> None:
    table = study.table("moments").with_columns(verdict=pl.lit("no evidence"))
    nothing = Changed(study, moments=table, moment_curves=study.table("moment_curves").clear(), moment_register=study.table("moment_register").clear())
    assert "No moment was found" in moment_views.moment_effects(nothing).sentence
    for view, draw in ((moment_views.moment_importance, plot_moment_importance), (moment_views.moment_course, plot_moment_course)):
        assert view(nothing).empty
        assert draw(view(nothing)) is not None
    assert "no register" in moment_views.moments_believed(nothing).empty
    with pytest.raises(SchemaError):
        moment_views.moment_effects(Changed(study, moments=table.drop("hazard_ratio")))


def test_every_view_of_the_page_is_drawn_with_what_was_picked(study: Study) -> None:
    assert MOMENT_PAGE in pages_for([MOMENT_PAGE], study, "")
    picked = {"kinds": ["second"], "moment": moment_views.list_moments(study)[-1], "timed": wait_views.list_waits(study)[-1]}
    for look in (*MOMENT_PAGE.looks, MOMENT_PAGE.lead):
        assert look is not None
        shown = show_look(look, study, picked)
        assert not shown.view.empty, shown.view.empty
        assert bool(shown.picture) == (look.draw is not None), look.view.__name__
    assert set(look_at(MOMENT_PAGE.looks[0], study, picked).table["kind"]) == {"second"}


def test_a_picture_leaves_hidden_moments_out(study: Study) -> None:
    import holoviews as hv

    table = study.table("moments").with_columns(n=pl.when(pl.int_range(pl.len()) == 0).then(5).otherwise("n"))
    view = moment_views.moment_effects(Changed(study, moments=table))
    picture = hv.render(plot_moment_effects(view), backend="bokeh")
    assert len(picture.y_range.factors) == view.table.drop_nulls("ratio").height < view.table.height


# how long until a moment


def test_waits_say_how_many_have_a_moment_by_when_and_who_is_counted(study: Study) -> None:
    table, one = wait_views.waits_of_moments(study), wait_views.moment_timing(study, "purchase")
    for seen in (table, one):
        assert "n = " in seen.footing
        assert "95% interval" in seen.footing
        assert "never has the moment" in seen.footing
    own = study.table("moment_waits").filter(moment="purchase", since="checkout").row(0, named=True)
    assert f"from checkout, {own['share_1d']:.0%}" in one.sentence
    assert set(one.table["since"]) == {"the start", "checkout"}
    assert one.table["at_risk"].min() >= 11
    known = study.table("moments").filter(pl.col("verdict").is_in(["makes", "breaks"]))["moment"].to_list()
    first = wait_views.list_waits(study)[0]
    assert any(name.replace(" ", "_").startswith(first) for name in known)  # what was found to matter comes first


def test_moments_that_few_had_are_not_timed(study: Study) -> None:
    waits = study.table("moment_waits")
    few = Changed(study, moment_waits=waits.with_columns(came=pl.when(pl.col("moment") == "purchase").then(10).otherwise("came")))
    assert "purchase" not in wait_views.list_waits(few)
    assert "purchase" not in wait_views.waits_of_moments(few).table["moment"].to_list()
    assert wait_views.moment_timing(few, "purchase").table.equals(wait_views.moment_timing(few).table)


def test_a_study_without_waits_says_so_and_draws_nothing(study: Study) -> None:
    old = Changed(study)
    old.tables = tuple(name for name in study.tables if not name.startswith("moment_wait"))
    assert wait_views.list_waits(old) == ()
    for view in (wait_views.waits_of_moments(old), wait_views.moment_timing(old)):
        assert "motkit run" in view.empty
        assert plot_moment_timing(view) is not None


# safe to scale back


def test_a_touchpoint_is_safe_to_scale_back_only_with_a_stated_margin(study: Study) -> None:
    assert study.table("moments")["scale_back"].null_count() == study.table("moments").height  # no margin was stated
    assert "scale back" not in moment_views.moment_effects(study).brief.columns
    table = study.table("moments").with_columns(scale_back=scale_back(study.table("moments"), 15.0))
    inside = (pl.col("rmst_ci_low") > -15) & (pl.col("rmst_ci_high") < 15)
    assert table.filter(inside.fill_null(False))["scale_back"].unique().to_list() == ["safe to scale back"]
    assert "safe to scale back" not in table.filter(~inside.fill_null(False))["scale_back"].to_list()
    seen = moment_views.moment_effects(Changed(study, moments=table))
    assert "not shown is not safe" in seen.footing
    assert "scale back" in seen.brief.columns
