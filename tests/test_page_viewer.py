"""A page from its plan: picked things reach the views, and nothing else does."""

from dataclasses import replace
from datetime import date

import param
import polars as pl
from made_study import make_study

from motkit import plots, views
from motkit.overview_page import OVERVIEW_PAGE
from motkit.page_parts import CHANNELS, PERIOD, SEGMENTS, Look, PagePlan, code_of, look_at
from motkit.page_shelf import Shelf
from motkit.page_viewer import Chooser, PageViewer, Visit, make_widget, read_query, write_query


def test_a_choice_redraws_its_views_and_leaves_the_others() -> None:
    visit = Visit(Shelf(make_study()))
    page = PageViewer(OVERVIEW_PAGE, visit)
    before = {name: section.now for name, section in page.sections.items()}
    visit.pick("segments", ["paid search"])
    page.refresh()
    assert {name for name, section in page.sections.items() if section.now is not before[name]} == {"onboarding_by_day", "loyalty_by_day"}


def test_two_visitors_share_what_was_drawn_but_not_their_choices() -> None:
    shelf = Shelf(make_study())
    mine, yours = (PageViewer(OVERVIEW_PAGE, Visit(shelf)) for _ in range(2))
    assert all(mine.sections[name].now is yours.sections[name].now for name in mine.sections)
    mine.visit.pick("channels", ["web"])
    mine.refresh()
    yours.refresh()
    assert yours.visit.picked == {}
    assert mine.sections["sessions_by_week"].now is not yours.sections["sessions_by_week"].now


def test_the_code_under_a_view_makes_the_same_view() -> None:
    study, picked = make_study(), {"channels": ["app"], "segments": ["newsletter"], "period": (date(2026, 2, 2), date(2026, 3, 2))}
    for look in OVERVIEW_PAGE.looks:
        code = code_of(look, study, picked).replace("from motkit import open_study", "")
        space = {"open_study": lambda name: study}
        exec(code, space)
        assert space["view"].table.equals(look_at(look, study, picked).table)


def test_what_was_picked_comes_back_from_the_address() -> None:
    picked = {"channels": ["web & more", "a=b"], "segments": ["plan: pro_plus"], "period": (date(2026, 1, 5), date(2026, 2, 2))}
    choices = {choice.name: choice for choice in (CHANNELS, SEGMENTS, PERIOD)}
    assert read_query(write_query("overview", picked), choices) == ("overview", picked)


def _release(slider, days) -> None:
    """What the browser says when the reader lets a slider go."""
    with param.edit_constant(slider):
        slider.value_throttled = days


def test_a_widget_shows_what_was_picked_on_another_page() -> None:
    visit = Visit(Shelf(make_study()))
    make_widget(CHANNELS, visit).value = ["store"]
    assert make_widget(CHANNELS, visit).value == ["store"]
    weeks = make_widget(PERIOD, visit)
    _release(weeks, (date(2026, 2, 2), date(2026, 3, 2)))
    assert visit.picked == {"channels": ["store"], "period": (date(2026, 2, 2), date(2026, 3, 2))}
    _release(weeks, (weeks.start, weeks.end))
    assert visit.picked == {"channels": ["store"]}


def test_where_there_is_nothing_to_choose_there_is_no_widget() -> None:
    study = make_study()
    only_web = study.table("sessions_weekly").filter(pl.col("channel") == "web")
    chooser = Chooser(Visit(Shelf(replace(study, frames=study.frames | {"sessions_weekly": only_web}))))
    chooser.show((CHANNELS,))
    assert len(chooser.column) == 0


def test_customers_behind_a_group_go_to_readers_who_may_see_them_only() -> None:
    asked = []

    def drill(study, level: str) -> pl.DataFrame:
        asked.append(level)
        return pl.DataFrame({"customer_id": ["c1"]})

    plan = PagePlan("levels", "Levels", looks=(Look(views.engagement_levels, plots.plot_engagement_levels, drill=drill, drill_by="level"),))
    for role, shown in (("", []), ("viewer", []), ("agent", []), ("analyst", ["high"])):
        section = PageViewer(plan, Visit(Shelf(make_study()), role)).sections["engagement_levels"]
        said = []
        section._send_msg = said.append
        section._handle_msg({"want": "customers", "group": "high"})
        section._handle_msg({"want": "customers", "group": "no such level"})
        assert asked == shown
        assert bool(section.shown["groups"]) == bool(shown) == bool(said)


def test_a_file_holds_the_table_with_what_is_hidden_left_out() -> None:
    section = PageViewer(OVERVIEW_PAGE, Visit(Shelf(make_study()))).sections["sessions_by_week"]
    said = []
    section._send_msg = said.append
    for want in ("csv", "parquet", "exe"):
        section._handle_msg({"want": want})
    assert [message["file"]["name"] for message in said] == ["sessions_by_week.csv", "sessions_by_week.parquet"]
    hidden = section.now.view.table.filter(pl.col("hidden") != "")
    assert hidden.height
    assert hidden["sessions"].is_null().all()
