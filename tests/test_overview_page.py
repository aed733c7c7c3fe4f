"""The overview page: it shows the views and nothing else, alone and in a browser."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import panel as pn
import polars as pl
import pytest
from made_study import make_empty_study, make_study

from motkit import views
from motkit.apps import _origins
from motkit.errors import SettingError, StudyError
from motkit.overview_page import OverviewChoices, OverviewPage, Screen, make_page

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


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The made-up study as the command serves it, one server for all; stopped by Ctrl+C, it must end quietly."""
    folder = tmp_path_factory.mktemp("served") / "made-study"
    folder.mkdir()
    with _serve(str(_save(folder)), "--port", "0", "--allow", "reports.example.org:8443") as server:
        try:
            line = server.stdout.readline()
            found = re.search(r"(http://127\.0\.0\.1:\d+)/", line)
            assert found, line or server.stderr.read()
            yield found[1]
        finally:
            os.killpg(server.pid, signal.SIGINT)
        assert server.wait(timeout=30) == 0
        said = server.stderr.read()
        assert "Traceback" not in said, said


def test_the_command_says_where_the_page_is_once_it_answers(address: str) -> None:
    with urllib.request.urlopen(f"{address}/liveness", timeout=30) as answer:
        assert answer.status == 200


def _knock(address: str, origin: str) -> int:
    """The status for a page of `origin` that wants a connection of an old kind: 403 if it may not, 426 if it need only ask anew."""
    host = address.removeprefix("http://")
    with socket.create_connection(host.split(":"), timeout=30) as connection:
        lines = ["GET /ws HTTP/1.1", f"Host: {host}", f"Origin: {origin}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 1", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.recv(100).split()[1])


def test_a_page_of_another_site_may_not_connect_unless_it_is_allowed(address: str) -> None:
    port = address.rsplit(":", 1)[1]
    refused = ("http://evil.example", f"http://evil.example:{port}", "http://reports.example.org", "http://127.0.0.1:1")
    assert [_knock(address, origin) for origin in refused] == [403] * len(refused)
    allowed = ("https://reports.example.org:8443", f"http://localhost:{port}", address)
    assert [_knock(address, origin) for origin in allowed] == [426] * len(allowed)


def test_origins_are_the_served_address_and_those_allowed() -> None:
    assert _origins("127.0.0.1", 5006) == ["127.0.0.1:5006", "localhost:5006"]
    assert _origins("10.0.0.7", 80, ["Show.example:443"]) == ["10.0.0.7:80", "show.example:443"]
    assert _origins("::", 5006, ["show.example"]) == ["127.0.0.1:5006", "localhost:5006", "show.example"]
    for address in ("127.0.0.1", "0.0.0.0", "::", "10.0.0.7"):
        assert not any("*" in origin for origin in _origins(address, 5006))


@pytest.mark.parametrize("host", ["*", "*.example.org", "http://show.example", "show.example:", "show.example:http", ""])
def test_what_is_not_a_host_cannot_be_allowed(host: str) -> None:
    with pytest.raises(SettingError, match=r"is not HOST:PORT(.|\n)*--allow reports"):
        _origins("0.0.0.0", 5006, [host])


DARK = "getComputedStyle(document.body).backgroundColor === 'rgb(18, 18, 18)'"


@pytest.mark.browser
def test_on_a_phone_that_prefers_dark_the_page_fits_is_dark_and_its_folded_choices_work(address: str, quiet_page, wait_for_pictures) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    quiet_page.emulate_media(color_scheme="dark")
    quiet_page.set_viewport_size({"width": 390, "height": 844})
    quiet_page.goto(address)
    expect(quiet_page.get_by_text("customers came 1,961 times")).to_be_visible()
    expect(quiet_page.get_by_text("not been checked yet against what customers did later").first).to_be_visible()
    wait_for_pictures(5)
    quiet_page.wait_for_function(DARK, timeout=30_000)
    assert quiet_page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(quiet_page.get_by_text("Channels to show")).not_to_be_visible()
    quiet_page.get_by_role("button").first.click()
    expect(quiet_page.get_by_text("Channels to show")).to_be_visible()
    quiet_page.get_by_role("combobox").first.click()
    quiet_page.get_by_role("option", name="call centre").or_(quiet_page.get_by_role("menuitem", name="call centre")).first.click()
    expect(quiet_page.get_by_text(views.sessions_by_week(make_study(), ["call_centre"]).sentence)).to_be_visible()


def test_choices_stand_beside_the_content_on_a_wide_screen_and_are_folded_on_a_phone() -> None:
    for width_px, dark in ((1280, False), (390, True)):
        frame = OverviewPage(make_study()).page()
        screen = frame.main[0].select(Screen)[0]
        screen.param.update(width_px=width_px, dark=dark)
        assert frame.sidebar_open == (width_px >= 900)
        assert frame.dark_theme == dark


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
