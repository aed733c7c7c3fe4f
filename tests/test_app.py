"""The app: one menu, addresses that show the same again, and the pages as they are served."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import panel as pn
import pytest
from made_study import make_study
from served_study import save_study, serve_study, start_server

from motkit.app import App, check_pages, frame_app, hear, make_app, renew_app
from motkit.apps import _origins
from motkit.errors import SettingError, StudyError
from motkit.page_parts import PagePlan
from motkit.page_shelf import Shelf
from motkit.page_viewer import Visit
from motkit.pages import PAGES


def _app(query: str = "", role: str = "", study=None, plans=PAGES) -> App:
    return App(Visit(Shelf(study or make_study()), role), plans, query)


def _sentences(app: App) -> list[str]:
    return [section.shown["sentence"] + section.shown["footing"] for section in app.viewers[app.plan.name].sections.values()]


def test_an_address_shows_the_same_again() -> None:
    first = _app("?page=overview&channels=app&segments=newsletter&period=2026-02-02&period=2026-03-02")
    again = _app(first.menu.query)
    assert again.menu.query == first.menu.query
    assert _sentences(first) == _sentences(again) != _sentences(_app())


def test_an_address_of_a_page_or_a_name_that_is_not_there_shows_what_there_is() -> None:
    app = _app("?page=no-such-page&channels=fax&period=yesterday&other=<script>")
    assert app.plan.name == "overview"
    assert _sentences(app) == _sentences(_app())


def test_a_page_with_roles_is_in_nobody_elses_menu_and_not_at_its_address() -> None:
    plans = (*PAGES, PagePlan("agents", "For agents", roles=("agent",)))
    assert "agents" in dict(_app(role="agent", plans=plans).menu.pages)
    for role in ("", "viewer", "analyst"):
        app = _app("?page=agents", role, plans=plans)
        assert "agents" not in dict(app.menu.pages)
        assert app.plan.name == "overview"


def test_a_page_is_in_the_menu_of_studies_that_have_its_tables() -> None:
    for plan in PAGES:
        study = make_study()
        without = replace(study, frames={name: table for name, table in study.frames.items() if name not in plan.needs})
        assert (plan.name in dict(_app(study=without).menu.pages)) == (not plan.needs)


def test_no_two_things_of_the_pages_share_a_name() -> None:
    assert {"channels", "segments", "period"} <= set(check_pages(PAGES))
    with pytest.raises(ValueError, match="two things of one name"):
        check_pages((*PAGES, PAGES[0]))


def test_choices_stand_beside_the_content_on_a_wide_screen_and_are_folded_on_a_phone() -> None:
    for width_px, dark in ((1280, False), (390, True)):
        app = _app()
        frame = frame_app(app)
        hear(app, {"width_px": width_px, "dark": dark})
        assert frame.sidebar_open == (width_px >= 900)
        assert frame.dark_theme == dark
        frame.sidebar_open = True
        hear(app, {"open": "overview", "width_px": width_px})
        assert frame.sidebar_open == (width_px >= 900)


def test_a_new_run_is_shown_in_the_same_session_with_the_same_choices(tmp_path: Path) -> None:
    shelf = Shelf(save_study(tmp_path))
    app = App(Visit(shelf), PAGES, "?channels=web")
    shelf.renew()
    assert shelf.runs == 1
    weekly = make_study().table("sessions_weekly")
    save_study(tmp_path, replace(make_study(), frames=make_study().frames | {"sessions_weekly": weekly.head(8)}))
    shelf.renew()
    assert shelf.runs == 2
    renew_app(app)
    assert app.menu.query == "?page=overview&channels=web"
    assert "in 2 weeks" in app.viewers["overview"].sections["sessions_by_week"].shown["footing"]


def test_a_server_of_pages_loads_nothing_that_only_computing_a_study_needs() -> None:
    heavy = ("scipy", "statsmodels", "lifelines", "pyarrow", "pandas", "motkit.stages", "motkit.adapters")
    asked = f"import sys, motkit.app; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]", said  # a hundred megabytes


def test_a_folder_without_a_study_is_refused_before_serving(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study here"):
        make_app(tmp_path)


def test_a_study_that_breaks_while_it_is_served_gives_a_page_that_says_so(tmp_path: Path) -> None:
    page = make_app(save_study(tmp_path))
    (tmp_path / "manifest.json").write_text("{")
    text = str([pane.object for pane in page().main[0].select(pn.pane.HTML)])
    assert "cannot be shown" in text
    assert "Run the study again" in text


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The made-up study as the command serves it, one server for all."""
    folder = tmp_path_factory.mktemp("served") / "made-study"
    folder.mkdir()
    with serve_study(save_study(folder), "--allow", "reports.example.org:8443") as found:
        yield found


def test_the_command_says_where_the_page_is_once_it_answers(address: str) -> None:
    for name in ("liveness", "health"):
        with urllib.request.urlopen(f"{address}/{name}", timeout=30) as answer:
            assert answer.status == 200


def test_health_tells_the_study_and_when_there_is_none_any_more(tmp_path: Path) -> None:
    with serve_study(save_study(tmp_path)) as address:
        with urllib.request.urlopen(f"{address}/health", timeout=30) as answer:
            assert json.loads(answer.read()) == {"status": "ok", "as_of": make_study().manifest["as_of"]}
        (tmp_path / "manifest.json").unlink()
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(f"{address}/health", timeout=30)
        told.value.close()
        assert told.value.code == 503


def test_a_line_a_request_without_who_asked_and_for_what(tmp_path: Path) -> None:
    with start_server(str(save_study(tmp_path)), "--port", "0") as server:
        address = server.stdout.readline().split(" at ")[1].split("/ ")[0]
        for path in ("/?page=card&channels=anna%40example.org", "/health", "/no-such-page"):
            try:
                urllib.request.urlopen(address + path, timeout=60).close()
            except urllib.error.HTTPError as refused:
                refused.close()
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=30)[1]
    lines = [line.split(" ", 2)[2] for line in said.splitlines()]
    assert [line.split()[:3] for line in lines] == [["GET", "/", "200"], ["GET", "/no-such-page", "404"]]
    assert "anna" not in said
    assert "Traceback" not in said


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


def test_a_taken_port_is_one_paragraph_that_names_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start_server(str(save_study(tmp_path)), "--port", str(port)) as server:
            out, err = server.communicate(timeout=60)
    assert server.returncode == 2
    assert out == ""
    assert f"port {port} on 127.0.0.1: it cannot be used" in err
    assert f"--port {port + 1}" in err
    assert len(err.strip().splitlines()) == 2
