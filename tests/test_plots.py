"""Plots: each renders, has units on its axes, and draws the numbers of its view."""

import subprocess
import sys

import polars as pl
import pytest
from made_study import make_empty_study, make_study

from motkit import plots, views
from motkit.errors import MissingExtraError

PAIRS = (
    (views.sessions_by_week, plots.plot_sessions_by_week, "week (from Monday)", "sessions per week"),
    (views.engagement_distribution, plots.plot_engagement_distribution, "engagement score (0 to 100)", "customers"),
    (views.engagement_levels, plots.plot_engagement_levels, "level of engagement", "share of customers"),
    (views.onboarding_by_day, plots.plot_onboarding_by_day, "days since the start", "share onboarded"),
    (views.loyalty_by_day, plots.plot_loyalty_by_day, "days since the start", "share still customers"),
    (views.data_quality, plots.plot_data_quality, "rejected rows", ""),
)


_render = plots.figure_of


@pytest.mark.parametrize(("look", "draw", "x", "y"), PAIRS)
def test_every_plot_renders_with_units_on_its_axes(look, draw, x, y) -> None:
    figure = _render(draw(look(make_study())))
    assert figure.xaxis[0].axis_label == x
    assert (figure.yaxis[0].axis_label or "") == y
    assert figure.sizing_mode == "stretch_width"
    assert figure.toolbar_location is None
    assert figure.background_fill_alpha == figure.border_fill_alpha == 0
    assert figure.renderers


@pytest.mark.parametrize(("look", "draw", "x", "y"), PAIRS)
def test_an_empty_view_is_drawn_as_its_reason(look, draw, x, y) -> None:
    nothing = look(make_empty_study())
    figure = _render(draw(nothing))
    texts = [value for glyph in figure.renderers for value in glyph.data_source.data.get("text", [])]
    assert texts == [nothing.empty]


def test_the_points_are_the_sessions_of_the_view() -> None:
    view = views.sessions_by_week(make_study(), ["web"])
    figure = _render(plots.plot_sessions_by_week(view))
    points = [glyph for glyph in figure.renderers if "customers" in glyph.data_source.data]
    drawn = sorted(float(value) for glyph in points for value in glyph.data_source.data["sessions"])
    assert drawn == sorted(float(value) for value in view.table["sessions"])


def test_a_week_covered_in_part_is_dashed_and_hollow() -> None:
    figure = _render(plots.plot_sessions_by_week(views.sessions_by_week(make_study(), ["web"])))
    dashes = [glyph.glyph.line_dash for glyph in figure.renderers if hasattr(glyph.glyph, "line_dash") and not hasattr(glyph.glyph, "size")]
    assert sum(bool(dash) and dash != "solid" for dash in dashes) == 1
    points = next(glyph for glyph in figure.renderers if hasattr(glyph.glyph, "size"))
    assert points.glyph.fill_alpha == "filled"
    weeks = views.sessions_by_week(make_study(), ["web"]).table.sort("week")
    assert list(points.data_source.data["filled"]) == [float(whole) for whole in weeks["whole_week"]]


def test_a_curve_is_a_staircase_with_a_band_for_each_segment() -> None:
    view = views.onboarding_by_day(make_study())
    figure = _render(plots.plot_onboarding_by_day(view))
    bands, lines, corners = (glyph.data_source.data for glyph in figure.renderers)
    assert len(lines["xs"]) == len(bands["xs"]) == view.table["segment"].n_unique()
    own = view.table.filter(pl.col("segment") == "all")
    times, shares = lines["xs"][0], lines["ys"][0]
    assert len(times) == 2 * own.height - 1
    moves = [at for at in range(len(times) - 1) if times[at] != times[at + 1]]
    assert all(shares[at] == shares[at + 1] for at in moves)
    assert set(shares) == set(own["incidence"])
    assert len(corners["at_risk"]) == sum(len(line) for line in lines["xs"])


def test_a_choice_changes_numbers_and_not_the_parts_of_a_picture() -> None:
    """The browser puts the new numbers into the old picture, so both need the same parts."""
    def kinds(figure):
        return [type(model).__name__ for model in sorted(figure.references(), key=lambda model: (type(model).__name__))]

    for look, draw, name, one in ((views.sessions_by_week, plots.plot_sessions_by_week, "channels", "web"), (views.loyalty_by_day, plots.plot_loyalty_by_day, "segments", "newsletter")):
        all_of_them, one_of_them = draw(look(make_study())), draw(look(make_study(), **{name: [one]}))
        assert kinds(plots.figure_of(all_of_them)) == kinds(plots.figure_of(one_of_them))


def test_names_keep_their_colours_when_a_reader_filters() -> None:
    colours = plots.assign_colours(["web", "app", "store", "call_centre"])
    view = views.sessions_by_week(make_study(), ["store"])
    figure = _render(plots.plot_sessions_by_week(view, colours))
    assert {colour for glyph in figure.renderers for colour in glyph.data_source.data["colour"]} == {colours["store"]}


def test_names_are_drawn_in_words() -> None:
    figure = _render(plots.plot_sessions_by_week(views.sessions_by_week(make_study())))
    named = figure.legend[0].items[0].renderers[0].data_source.data["label"]
    assert set(named) == {"web", "app", "store", "call centre"}
    assert figure.legend[0].visible
    hovered = {name for glyph in figure.renderers for name in glyph.data_source.data.get("channel", [])}
    assert hovered == {"web", "app", "store", "call centre"}


def test_a_hidden_bin_carries_a_cross_that_says_why() -> None:
    view = views.engagement_distribution(make_study())
    figure = _render(plots.plot_engagement_distribution(view))
    reasons = [list(glyph.data_source.data["hidden"]) for glyph in figure.renderers if "hidden" in glyph.data_source.data]
    assert reasons == [view.table.filter(pl.col("hidden") != "")["hidden"].to_list()]


def test_without_the_extra_the_message_says_what_to_type(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "hvplot.polars", None)
    monkeypatch.setitem(sys.modules, "bokeh.plotting", None)
    for look, draw in ((views.sessions_by_week, plots.plot_sessions_by_week), (views.engagement_levels, plots.plot_engagement_levels)):
        with pytest.raises(MissingExtraError, match=r"pip install 'motkit\[apps\]'"):
            draw(look(make_study()))


def test_importing_plots_and_report_loads_no_drawing_library() -> None:
    code = "import sys, motkit.plots, motkit.report; assert not {'panel', 'holoviews', 'hvplot', 'bokeh'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
