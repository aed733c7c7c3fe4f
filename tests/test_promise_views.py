"""Views of promises and of the early warning: they say what the study holds, and hide what is too small to show."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from made_study import MadeStudy

from motkit import promise_plots, promise_views, watch_views
from motkit.app import check_pages
from motkit.errors import SettingError
from motkit.page_parts import Look, look_at
from motkit.pages import PAGES
from motkit.promise_page import PROMISES_PAGE, WATCH_PAGE

MANIFEST = {"as_of": "2026-06-30", "settings": {"study": {"min_cell": 11, "confidence": 0.95}}}
WEEKS = [date(2026, 3, 2) + timedelta(weeks=number) for number in range(4)]
COUNTS = dict.fromkeys(("still_open", "broken", "left", "lost"), 1)


def row(segment: str, week: date | None, n: int, customers: int, kept: float | None) -> dict[str, Any]:
    """One group of the promise 'delivery'."""
    low, high = (None, None) if kept is None else (kept - 0.1, min(kept + 0.1, 1.0))
    return {"promise": "delivery", "segment": segment, "week": week, "n": n, "customers": customers, "kept": kept, "ci_low": low, "ci_high": high, **COUNTS, "goal": None}


def made_study(app_customers: int = 20) -> MadeStudy:
    """A study with one promise, three segments and one alarm."""
    parts = {"channel: web": 60, "channel: app": app_customers, "channel: store": 30}
    weeks = [row("all", week, 80, 70, 0.8) for week in WEEKS[:-1]] + [row("all", WEEKS[-1], 80, 70, None)]
    weeks += [row(segment, week, people, people, 0.8) for week in WEEKS for segment, people in parts.items()]
    whole = [row("all", None, 300, 200, 0.8)] + [row(segment, None, people * 3, people, 0.7 + place / 10) for place, (segment, people) in enumerate(parts.items())]
    register = {"promise": "delivery", "kind": "explicit", "says": "With you <b>soon</b>", "metric": "time-to", "made_by": "o", "kept_by": "p", "due": "within 3 days", "owner": "Logistics"}
    cost = {"promise": "delivery", "horizon_days": 90.0, "n_kept": 200, "n_broken": 40, "left": 30, "risk_difference": 0.08, "ci_low": 0.01, "ci_high": 0.15, "reading": "More left."}
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(120)]
    alarm = {"moment": "failed", "kind": "rate", "segment": "", "at": days[100], "direction": "up", "drivers": ["channel: web (8 seen, 1.0 expected)", "channel: app (1,200 seen, 3.0 expected)"],
             "since": days[98], "until": days[110], "n": 8.0, "expected": 1.0, "ratio": 8.0, "new": True, "times": 2}  # fmt: skip
    chart = pl.DataFrame({"moment": "failed", "kind": "rate", "segment": "", "day": days, "n": [2.0] * 60 + [1.0] * 60, "of": 1.0, "expected": 2.0, "statistic": 1.0,
                          "threshold": 365.0, "alarm": [number == 100 for number in range(120)], "reference": [number < 90 for number in range(120)]})  # fmt: skip
    summary = {"reading": "", "reference_from": days[0], "reference_to": days[89], "days_watched": 30, "charts": 1, "false_alarm_rate": 30 / 365, "days_between_false_alarms": 365.0}
    frames = {
        "promise_register": pl.DataFrame([register]), "promise_weeks": pl.DataFrame(weeks), "promise_segments": pl.DataFrame(whole).drop("week"), "promise_costs": pl.DataFrame([cost]),
        "watch_summary": pl.DataFrame([summary]), "watch_alarms": pl.DataFrame([alarm]), "watch_chart": chart,
        "watch_coverage": pl.DataFrame(schema={"segment": pl.String, "what": pl.String, "since": pl.Date, "until": pl.Date, "customer_days": pl.Int64}),
    }  # fmt: skip
    return MadeStudy(frames, MANIFEST)


def test_every_view_says_how_many_cases_and_how_sure() -> None:
    study = made_study()
    for view in (promise_views.promises_kept(study), promise_views.promise_by_week(study), promise_views.promise_by_segment(study), promise_views.broken_promises(study)):
        assert not view.empty
        assert "n = " in view.footing
        assert "95% interval" in view.footing
    assert "chance of at most 8%" in watch_views.changes_flagged(study).footing
    assert "association" in promise_views.broken_promises(study).footing


def test_a_week_that_was_not_watched_long_enough_has_no_share() -> None:
    view = promise_views.promise_by_week(made_study())
    assert view.table.filter((pl.col("segment") == "all") & (pl.col("week") == WEEKS[-1]))["kept"].to_list() == [None]
    assert str(WEEKS[-2]) in view.sentence


def test_small_segments_are_hidden_and_one_more_so_that_they_cannot_be_worked_out() -> None:
    study = made_study(app_customers=5)
    for view in (promise_views.promise_by_segment(study), promise_views.promise_by_week(study)):
        hidden = view.table.filter(pl.col("hidden") != "")
        assert set(hidden["segment"]) == {"channel: app", "channel: store"}
        assert hidden.select("kept", "n", "customers", "broken").null_count().sum_horizontal().item() == 4 * hidden.height
        assert "fewer than 11" in view.footing
        assert "app" not in view.sentence


def test_drivers_and_weeks_of_few_show_no_counts() -> None:
    study = made_study()
    table = watch_views.changes_flagged(study).table
    assert table["drivers"].to_list() == ["channel: web (fewer than 11 seen); channel: app (1,200 seen, 3.0 expected)"]
    assert table["ratio"].to_list() == [None]
    assert table["change"].to_list() == ["more often, never seen before"]
    weeks = watch_views.watched_chart(study).table
    assert set(weeks.filter(pl.col("n").is_null())["hidden"]) == {"fewer than 11"}
    assert weeks["n"].drop_nulls().min() == 14


def test_a_study_without_promises_or_charts_says_so() -> None:
    nothing = MadeStudy({}, MANIFEST)
    for look in (*PROMISES_PAGE.looks, *WATCH_PAGE.looks):
        assert look_at(look, nothing).empty
    assert promise_views.list_promises(nothing) == watch_views.list_charts(nothing) == ()
    with pytest.raises(SettingError, match="has no 'refund'"):
        promise_views.promise_by_week(made_study(), "refund")
    with pytest.raises(SettingError, match="chart"):
        watch_views.watched_chart(made_study(), "nothing|rate|")


@pytest.mark.parametrize("look", [look for look in (*PROMISES_PAGE.looks, *WATCH_PAGE.looks) if look.draw], ids=lambda look: look.name)
def test_every_view_has_a_picture_also_when_it_is_empty(look: Look) -> None:
    import holoviews as hv

    assert look.draw is not None
    for study in (made_study(), made_study(app_customers=5), MadeStudy({}, MANIFEST)):
        assert hv.render(look.draw(look.view(study)), backend="bokeh") is not None


def test_pages_are_in_the_menu_and_their_choices_have_names_of_their_own() -> None:
    assert {"promises", "watch"} <= {page.name for page in PAGES}
    assert {"promise", "chart"} <= set(check_pages(PAGES))
    assert promise_plots.plot_promises_kept.__doc__


def test_the_timing_of_a_moment_is_told_apart_from_that_of_a_promise() -> None:
    assert watch_views.name_chart("paid", "timing", "since: basket") == "paid: how soon after basket"
    assert watch_views.name_chart("delivery", "timing", "") == "delivery: how fast it is kept"
    assert [watch_views.say_change("timing", way, "since: basket") for way in ("up", "down")] == ["comes sooner", "comes later"]
    assert watch_views.say_change("timing", "down") == "kept slower"


def test_a_chart_says_what_it_could_have_seen() -> None:
    study = made_study()
    charts = {"moment": ["failed"], "kind": ["rate"], "segment": [""], "smallest_rise": [1.4], "smallest_fall": [0.7], "delay_days": [5.0]}
    told = watch_views.watched_chart(MadeStudy(study.frames | {"watch_charts": pl.DataFrame(charts)}, MANIFEST)).footing
    assert "sees a rise to 1.4 times or a fall to 0.7 times what is expected; a doubling goes unseen for about 5 days" in told
    assert "sees a rise" not in watch_views.watched_chart(study).footing


def test_two_promises_are_hidden_or_none_and_no_view_shows_one_that_another_hides() -> None:
    study, names = made_study(), {"delivery": 200, "refund": 5, "call": 30}
    register, whole = study.frames["promise_register"], study.frames["promise_segments"].filter(pl.col("segment") == "all")
    many = [frame.with_columns(promise=pl.lit(name)) for name in names for frame in (register,)]
    judged = [study.frames["promise_segments"], *(whole.with_columns(promise=pl.lit(name), customers=pl.lit(people, pl.Int64)) for name, people in names.items() if name != "delivery")]
    made = MadeStudy(study.frames | {"promise_register": pl.concat(many), "promise_segments": pl.concat(judged)}, MANIFEST)
    table = promise_views.promises_kept(made).table
    assert dict(table.select("promise", "hidden").rows()) == {"delivery": "", "refund": "fewer than 11", "call": "hidden"}
    assert table.filter(pl.col("hidden") != "").select("customers", "n", "kept", "broken").null_count().row(0) == (2, 2, 2, 2)
    assert promise_views.list_promises(made) == ("delivery",)
    with pytest.raises(SettingError, match="has no 'call'"):
        promise_views.promise_by_segment(made, "call")


def test_parts_of_cases_are_told_in_steps_of_the_smallest_group() -> None:
    study = made_study()
    counts = pl.col("still_open", "broken", "left", "lost")
    whole = study.frames["promise_segments"].with_columns(still_open=4, broken=25, left=10, lost=11)
    made = MadeStudy(study.frames | {"promise_segments": whole}, MANIFEST)
    for view in (promise_views.promises_kept(made), promise_views.promise_by_segment(made), promise_views.promise_by_week(made)):
        assert view.table.select(counts % 11).sum().row(0) == (0, 0, 0, 0)
        assert "rounded down to a multiple of 11" in view.footing
        assert view.brief is not None
        assert set(view.brief["still_open"]) == {"fewer than 11"}
    assert promise_views.promises_kept(made).table.select(counts).row(0) == (0, 22, 0, 11)
    assert "fewer than 11 of them still open" in promise_views.promises_kept(made).footing


@pytest.mark.parametrize("few", [("channel: app", 1), ("channel: web", 2)])
def test_no_sum_over_weeks_or_segments_gives_a_hidden_week_of_a_segment(few: tuple[str, int]) -> None:
    """One segment is small in one week: its other weeks and its whole time, or the others of that week, would give it away."""
    study = made_study()
    there = (pl.col("segment") == few[0]) & (pl.col("week") == WEEKS[few[1]])
    weeks = study.frames["promise_weeks"].with_columns(pl.when(there).then(3).otherwise(name).cast(pl.Int64).alias(name) for name in ("n", "customers"))
    made = MadeStudy(study.frames | {"promise_weeks": weeks}, MANIFEST)
    table = promise_views.promise_by_week(made).table
    hidden = table.filter(pl.col("hidden") != "", pl.col("segment") != "all")
    assert hidden.filter(there)["hidden"].to_list() == ["fewer than 11"]
    assert hidden.group_by("segment").len()["len"].min() >= 2
    assert hidden.group_by("week").len()["len"].min() >= 2
    assert table.filter(pl.col("segment") == "all")["hidden"].unique().to_list() == [""]
