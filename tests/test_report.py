"""The report: one file, nothing from elsewhere, nothing of the data's own markup, and it opens in a browser."""

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from made_study import MadeStudy, make_empty_study, make_study

from motkit import views
from motkit.errors import StudyError
from motkit.page_parts import pages_for
from motkit.pages import PAGES
from motkit.report import write_report

EVIL = "</script><img src=x onerror=\"document.title='broken'\">"


def _evil_study() -> MadeStudy:
    study = make_study()
    weekly = study.table("sessions_weekly").with_columns(pl.col("channel").replace("web", EVIL))
    reasons = study.table("rejected_reasons").with_columns(pl.col("reason").replace("no customer", EVIL))
    summary, curve = (study.table(name).with_columns(pl.col("segment").replace("paid search", EVIL)) for name in ("onboarding_summary", "loyalty_curve"))
    frames = {"sessions_weekly": weekly, "rejected_reasons": reasons, "onboarding_summary": summary, "loyalty_curve": curve}
    return replace(study, frames=study.frames | frames)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(_evil_study(), tmp_path_factory.mktemp("report") / "report.html")


def _without_library(text: str) -> str:
    """The report without the drawing library, which names addresses in its comments."""
    return text.replace(max(re.findall(r"<script>.*?</script>", text, flags=re.DOTALL), key=len), "")


def test_the_report_holds_every_view_in_its_own_words(report: Path) -> None:
    text, study = report.read_text(encoding="utf-8"), make_study()
    for view in (views.engagement_levels, views.engagement_distribution):
        assert view(study).sentence in text
        assert view(study).footing in text
    for words in ("How it was made", "sha256:4f0a11", "onboarding.churn_after_days", "1,507", "40,200 rows were read", "call centre", "not been checked yet"):
        assert words in text


def test_the_report_names_no_address_to_load_from(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert re.findall(r"<(?:script|img|iframe|link)[^>]+(?:src|href)=[\"'](?!data:)", text) == []
    assert re.findall(r"https?://", _without_library(text)) == []
    assert report.stat().st_size < 3_000_000


def test_names_from_the_data_are_never_markup(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "<img" not in _without_library(text)
    assert "&lt;img" in text
    assert "<script>alert(1)" not in text


def test_a_report_of_an_empty_study_says_why_in_each_section(tmp_path: Path) -> None:
    study = make_empty_study()
    text = write_report(study, tmp_path / "empty.html").read_text(encoding="utf-8")
    looks = [look for plan in pages_for(PAGES, study) for look in (plan.lead, *plan.looks) if look]
    assert len({look.name for look in looks}) > 10
    assert text.count('class="motkit-empty"') == len({look.name for look in looks})
    assert "There is no session in this study yet." in text


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be written"):
        write_report(make_empty_study(), tmp_path / "no" / "report.html")


def test_a_printed_report_shows_its_numbers_on_few_sheets(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "@page" in text
    assert "break-inside: avoid" in text


AXIS = "[...Bokeh.documents[0]._all_models.values()].find((model) => 'axis_label_text_color' in model.attributes).axis_label_text_color"
LOOKS = {"light": ("rgb(255, 255, 255)", "#333333"), "dark": ("rgb(18, 18, 18)", "#d0d0d0")}


@pytest.mark.browser
def test_the_report_opens_offline_in_both_looks_and_fits_a_phone(report: Path, quiet_page, wait_for_pictures) -> None:
    quiet_page.context.set_offline(True)
    quiet_page.goto(report.as_uri())
    waiting = "document.querySelectorAll('script[type=\"application/json\"]').length"
    assert quiet_page.locator("[data-picture]").count() == 5
    assert quiet_page.evaluate(waiting) > 0  # what is far below is drawn when it is scrolled to
    quiet_page.evaluate("document.querySelectorAll('[data-picture]').forEach((place, k) => setTimeout(() => place.scrollIntoView(), 200 * k))")
    quiet_page.wait_for_function(f"{waiting} === 0")
    wait_for_pictures(5)
    assert quiet_page.title() == "Report of made-study"
    for scheme, (paper, text) in LOOKS.items():
        quiet_page.emulate_media(color_scheme=scheme)
        assert quiet_page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == paper
        quiet_page.wait_for_function(f"{AXIS} === '{text}'")
    quiet_page.set_viewport_size({"width": 390, "height": 844})
    quiet_page.wait_for_function("document.documentElement.scrollWidth <= 390")
    quiet_page.locator("#loyalty_by_day summary").click()
    assert quiet_page.locator("#loyalty_by_day table").is_visible()
