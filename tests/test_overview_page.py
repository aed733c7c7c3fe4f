"""The overview page: it shows the views and nothing else, alone and in a browser."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import panel as pn
import polars as pl
import pytest
from made_study import make_empty_study, make_study
from panel.tests.util import serve_and_wait

from motkit import views
from motkit.errors import StudyError
from motkit.overview_page import OverviewChoices, OverviewPage, make_page

pytest_plugins = ["browser_fixtures"]

VIEWS = ("overview", "sessions_by_week", "engagement_distribution", "engagement_levels", "onboarding_by_day", "loyalty_by_day", "data_quality")


def test_the_page_shows_what_the_views_give() -> None:
    study = make_study()
    page = OverviewPage(study, channels=["app"], segments=["newsletter"])
    chosen = {"sessions_by_week": [["app"]], "onboarding_by_day": [["newsletter"]], "loyalty_by_day": [["newsletter"]]}
    for name in VIEWS:
        expected = getattr(views, name)(study, *chosen.get(name, []))
        shown = getattr(page, name)()
        assert shown.sentence == expected.sentence
        assert shown.table.equals(expected.table)
        if name != "overview":
            assert shown.sentence in page._sections[name].head.object.replace("&#x27;", "'")


def test_a_choice_redraws_its_views_and_leaves_the_others() -> None:
    page = OverviewPage(make_study())
    before = {name: section.picture.object for name, section in page._sections.items()}
    page.segments = ["paid search"]
    changed = {name for name, section in page._sections.items() if section.picture.object is not before[name]}
    assert changed == {"onboarding_by_day", "loyalty_by_day"}


def test_two_visitors_do_not_share_their_choices() -> None:
    mine, yours = OverviewPage(make_study()), OverviewPage(make_study())
    mine.channels = ["web"]
    assert yours.channels == []
    assert OverviewChoices.param.channels.objects == OverviewPage.param.channels.objects == []


def test_an_error_is_shown_in_place_of_its_view_only() -> None:
    study = make_study()
    broken = replace(study, frames=study.frames | {"sessions_weekly": study.table("sessions_weekly").drop("channel")})
    page = OverviewPage(broken)
    assert "missing [&#x27;channel&#x27;]" in page._sections["sessions_by_week"].head.object
    assert not page._sections["sessions_by_week"].picture.visible
    assert page._sections["loyalty_by_day"].picture.visible


def test_an_empty_study_gives_a_page_that_says_so() -> None:
    page = OverviewPage(make_empty_study())
    assert all("motkit-empty" in section.head.object for section in page._sections.values())
    assert page.page().sidebar == []


def test_a_folder_without_a_study_is_refused_before_serving(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study here"):
        make_page(tmp_path)


@pytest.fixture
def address():
    """The made-up study, served on a free port."""
    study = make_study()

    def page():
        return OverviewPage(study).page()

    port = serve_and_wait(page)
    yield f"http://localhost:{port}"
    pn.state.reset()


DARK = "getComputedStyle(document.body).backgroundColor === 'rgb(18, 18, 18)'"


@pytest.mark.browser
def test_the_page_opens_in_the_look_asked_for_and_its_filter_works(address: str, quiet_page, wait_for_pictures) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    quiet_page.goto(f"{address}?theme=dark")
    expect(quiet_page.get_by_text("customers came 1,961 times")).to_be_visible()
    expect(quiet_page.get_by_text("76% of customers stay for at least 60 days")).to_be_visible()
    wait_for_pictures(5)
    assert quiet_page.evaluate(DARK)
    quiet_page.get_by_role("combobox").first.click()
    quiet_page.get_by_role("option", name="app").or_(quiet_page.get_by_role("menuitem", name="app")).first.click()
    expect(quiet_page.get_by_text(views.sessions_by_week(make_study(), ["app"]).sentence)).to_be_visible()


@pytest.mark.browser
def test_on_a_phone_that_prefers_dark_the_page_fits_is_dark_and_folds_its_choices(address: str, quiet_page) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    quiet_page.emulate_media(color_scheme="dark")
    quiet_page.set_viewport_size({"width": 390, "height": 844})
    quiet_page.goto(address)
    expect(quiet_page.get_by_text("customers came 1,961 times")).to_be_visible()
    quiet_page.wait_for_function(DARK, timeout=30_000)
    expect(quiet_page.get_by_text("Channels to show")).not_to_be_visible()
    assert quiet_page.evaluate("document.documentElement.scrollWidth") <= 390


def _save(folder: Path) -> Path:
    """The made-up study as a folder that `open_study` reads."""
    study, tables = make_study(), {}
    for name, table in study.frames.items():
        table.write_parquet(folder / f"{name}.parquet")
        tables[name] = {"file": f"{name}.parquet", "rows": table.height, "stage": "made"}
    manifest = {**study.manifest, "format": 1, "tables": tables, "stages": {}, "store": "none"}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _serve(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "motkit.apps", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_the_command_says_where_the_page_is_once_it_answers_and_ends_quietly(tmp_path: Path) -> None:
    with _serve(str(_save(tmp_path)), "--port", "0") as server:
        try:
            line = server.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found, line
            with urllib.request.urlopen(f"{found[0]}liveness", timeout=20) as answer:
                assert answer.status == 200
            with urllib.request.urlopen(found[0], timeout=20) as answer:
                assert "motkit" in answer.read().decode()
        finally:
            os.killpg(server.pid, signal.SIGINT)
        assert server.wait(timeout=20) == 0
        assert "Traceback" not in server.stderr.read()


def test_a_taken_port_is_one_paragraph_that_names_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with _serve(str(_save(tmp_path)), "--port", str(port)) as server:
            out, err = server.communicate(timeout=60)
    assert server.returncode == 2
    assert out == ""
    assert f"port {port} on 127.0.0.1: it cannot be used" in err
    assert f"--port {port + 1}" in err
    assert len(err.strip().splitlines()) == 2


def test_the_study_is_read_anew_at_each_visit(tmp_path: Path) -> None:
    page = make_page(_save(tmp_path))
    weekly = pl.read_parquet(tmp_path / "sessions_weekly.parquet")
    weekly.clear().write_parquet(tmp_path / "sessions_weekly.parquet")
    text = str([pane.object for pane in page().main[0].select(pn.pane.HTML)])
    assert "There is no session in this study yet." in text
