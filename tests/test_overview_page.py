"""The overview page: it shows the views and nothing else."""

from dataclasses import replace
from html import unescape

from made_study import make_empty_study, make_study

from motkit import views
from motkit.overview_page import OVERVIEW_PAGE
from motkit.page_shelf import Shelf
from motkit.page_viewer import PageViewer, Visit


def _page(study=None, **picked) -> PageViewer:
    return PageViewer(OVERVIEW_PAGE, Visit(Shelf(study or make_study()), picked=picked))


def test_the_page_shows_what_the_views_give() -> None:
    study = make_study()
    page = _page(study, channels=["app"], segments=["newsletter"])
    chosen = {"sessions_by_week": [["app"]], "onboarding_by_day": [["newsletter"]], "loyalty_by_day": [["newsletter"]]}
    for name, section in page.sections.items():
        expected = section.look.view(study, *chosen.get(name, []))
        assert section.shown["sentence"] == expected.sentence
        assert section.shown["footing"] == expected.footing
        assert section.now.view.table.equals(expected.table)
    assert unescape(views.overview(study).sentence) in page.head.object


def test_an_error_is_shown_in_place_of_its_view_only() -> None:
    study = make_study()
    broken = replace(study, frames=study.frames | {"sessions_weekly": study.table("sessions_weekly").drop("channel")})
    page = _page(broken)
    assert "missing ['channel']" in page.sections["sessions_by_week"].shown["empty"]
    assert not page.sections["sessions_by_week"].shown["picture"]
    assert page.sections["loyalty_by_day"].shown["picture"]


def test_an_empty_study_gives_a_page_that_says_so() -> None:
    page = _page(make_empty_study())
    assert all(section.shown["empty"] for section in page.sections.values())
    assert "motkit-empty" in page.head.object
