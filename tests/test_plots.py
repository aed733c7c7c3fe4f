"""Plots: each renders, has units on its axes, and draws the numbers of its view."""

import subprocess
import sys

import holoviews as hv
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


def _render(picture):
    return hv.render(picture, backend="bokeh")


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
    fills = {glyph.glyph.fill_alpha for glyph in figure.renderers if hasattr(glyph.glyph, "size")}
    assert fills == {0.0, 1.0}


def test_a_curve_is_a_staircase_with_a_band_for_each_segment() -> None:
    view = views.onboarding_by_day(make_study())
    figure = _render(plots.plot_onboarding_by_day(view))
    lines = [glyph for glyph in figure.renderers if "at_risk" in glyph.data_source.data]
    assert len(lines) == view.table["segment"].n_unique()
    assert len(figure.renderers) == 2 * len(lines)
    own = view.table.filter(pl.col("segment") == "all")
    steps = lines[0].data_source.data
    assert len(steps["time"]) == 2 * own.height - 1
    moves = [(a, b) for a, b in zip(range(len(steps["time"])), range(1, len(steps["time"])), strict=False) if steps["time"][a] != steps["time"][b]]
    assert all(steps["incidence"][a] == steps["incidence"][b] for a, b in moves)


def test_names_keep_their_colours_when_a_reader_filters() -> None:
    colours = plots.assign_colours(["web", "app", "store", "call_centre"])
    view = views.sessions_by_week(make_study(), ["store"])
    figure = _render(plots.plot_sessions_by_week(view, colours))
    assert {glyph.glyph.line_color for glyph in figure.renderers} == {colours["store"]}


def test_names_are_drawn_in_words() -> None:
    figure = _render(plots.plot_sessions_by_week(views.sessions_by_week(make_study())))
    assert {item.label.value for item in figure.legend[0].items} == {"web", "app", "store", "call centre"}
    hovered = {name for glyph in figure.renderers for name in glyph.data_source.data.get("channel", [])}
    assert hovered == {"web", "app", "store", "call centre"}


def test_a_hidden_bin_carries_a_cross_that_says_why() -> None:
    view = views.engagement_distribution(make_study())
    figure = _render(plots.plot_engagement_distribution(view))
    reasons = [list(glyph.data_source.data["hidden"]) for glyph in figure.renderers if "hidden" in glyph.data_source.data]
    assert reasons == [view.table.filter(pl.col("hidden") != "")["hidden"].to_list()]


def test_without_the_extra_the_message_says_what_to_type(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "hvplot.polars", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'motkit\[apps\]'"):
        plots.plot_sessions_by_week(views.sessions_by_week(make_study()))


def test_importing_plots_and_report_loads_no_drawing_library() -> None:
    code = "import sys, motkit.plots, motkit.report; assert not {'panel', 'holoviews', 'hvplot', 'bokeh'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
