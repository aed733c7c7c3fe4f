"""Explorers: a change of a control changes the view's table, the copied code gives the same table, and one in a real JupyterLab."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from light_study import run_stages
from polars.testing import assert_frame_equal

import motkit
from motkit import explorers
from motkit.candidates import Pattern
from motkit.changed_study import what_if
from motkit.choice_what_ifs import path_followed, personas_at, policy_at, sample_needed
from motkit.errors import SettingError, StudyError
from motkit.explorer import Explorer
from motkit.loyalty_what_ifs import customers_beyond_day, engagement_at, sessions_at_gap
from motkit.moment_register import Moment, Register, write_moments
from motkit.persona_views import persona_card
from motkit.showing import View
from motkit.study import DEMO_SETTINGS, Study

STAGES = {"sessions", "engagement", "onboarding", "threshold", "personas", "decisions"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = motkit.simulate_customers(n=500, seed=11, days=240)
    offers = motkit.read_offers(DEMO_SETTINGS.decisions.offers)
    contacts = motkit.simulate_contacts(made.profiles, offers, made.start, made.end, seed=11).history
    settings = motkit.settings.change_settings(DEMO_SETTINGS, {"personas.k": 3, "personas.resamples": 8, "engagement.outcome": ()})
    folder = tmp_path_factory.mktemp("explored") / "study"
    return run_stages(STAGES, settings, made.events, folder, profiles=made.profiles, consents=made.consents, contacts=contacts)


def run_code(code: str) -> Any:
    """What the last line of copied code gives, run with nothing around it."""
    *before, last = code.splitlines()
    space: dict[str, Any] = {}
    exec("\n".join(before), space)
    return eval(last, space)


CHANGES: dict[str, dict[str, Any]] = {
    "explore_session_gap": {"gap_minutes": 90.0},
    "explore_engagement": {"half_life_days": 4.0, "visits": 2.0},
    "explore_onboarding_day": {"day": 18},
    "explore_personas": {"k": 2},
    "explore_path": {"steps": ["home", "product", "purchase"], "within": "session"},
    "explore_policy": {"most": 0, "without": ("consent",)},
    "explore_test_size": {"difference": 0.05, "power": 0.9},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_a_control_changes_the_table_and_the_copied_code_gives_the_same(study: Study, name: str) -> None:
    explorer: Explorer = getattr(explorers, name)(study)
    before = explorer.result
    assert before is not None, explorer.said.value
    for parameter, value in CHANGES[name].items():
        explorer.widgets[parameter].value = value
    if explorer.question.wait:
        assert explorer.result is before
        explorer.run.click()
    after = explorer.result
    assert isinstance(after, View), explorer.said.value
    assert not after.table.equals(before.table)
    assert after.sentence in explorer.body.value.replace("&#x27;", "'").replace("&quot;", '"')
    assert_frame_equal(run_code(explorer.code).table, after.table)
    explorer.copy.value = True
    assert explorer.code.splitlines()[-1].split("(")[0] in explorer.code_box.value


def test_every_explorer_has_the_parameters_of_its_view(study: Study) -> None:
    import inspect

    for name in CHANGES:
        explorer: Explorer = getattr(explorers, name)(study)
        parameters = set(inspect.signature(explorer.question.view).parameters) - {"study", "progress"}
        assert set(explorer.widgets) == parameters, name


def test_the_card_browser_turns_cards_without_making_personas_anew(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = explorers.explore_personas(study)
    made: list[int] = []
    monkeypatch.setattr(explorers, "personas_of", lambda study, k, progress=None: made.append(k))
    shown = [explorer.result.title]
    explorer.widgets["persona"].value = "P2"
    shown.append(explorer.result.title)
    assert shown == ["Persona P1", "Persona P2"]
    assert made == []


def test_triage_is_an_explorer_whose_code_gives_the_register(tmp_path: Path) -> None:
    path = tmp_path / "moments.toml"
    write_moments(Register((Moment("advice", Pattern(("expert_advice",))),)), path)
    explorer = explorers.explore_moments(None, path, by="M. Meier", today=date(2026, 7, 1))
    before = run_code(explorer.code)
    explorer.buttons["accepted"].click()
    after = run_code(explorer.code)
    assert before["status"].to_list() == ["proposed"]
    assert after["status"].to_list() == ["accepted"]
    assert_frame_equal(after, explorer.triage.register.table)


def test_an_explorer_shows_itself_and_tells_a_fault_in_place_of_an_answer(study: Study) -> None:
    explorer = explorers.explore_path(study)
    assert "application/vnd.jupyter.widget-view+json" in explorer._repr_mimebundle_()
    explorer.widgets["steps"].value = []
    assert explorer.result is None
    assert "needs one event or more" in explorer.said.value


def test_what_if_gives_the_tables_of_a_study_run_with_the_other_settings(study: Study, tmp_path: Path) -> None:
    other = motkit.settings.change_settings(motkit.settings.settings_of(study.manifest["settings"]), {"sessions.gap_minutes": 5.0})
    made = motkit.simulate_customers(n=500, seed=11, days=240)
    run = run_stages({"sessions"}, other, made.events, tmp_path / "run")
    changed = what_if(study, {"sessions.gap_minutes": 5.0}, only=["sessions"])
    assert_frame_equal(changed.table("sessions"), run.table("sessions"))
    assert_frame_equal(changed.table("sessions_weekly"), run.table("sessions_weekly"))
    with pytest.raises(StudyError, match="does not hold"):
        changed.table("engagement")


def test_what_if_nothing_changes_gives_the_study_itself(study: Study) -> None:
    same = what_if(study, {"personas.k": 3, "personas.resamples": 8}, only=["personas"])
    assert_frame_equal(same.table("persona_cards"), study.table("persona_cards"))
    assert persona_card(same).table.equals(persona_card(study).table)


def test_the_gap_of_the_study_gives_its_visits_and_a_longer_gap_never_more(study: Study) -> None:
    table = sessions_at_gap(study).table
    assert table.filter("chosen")["visits"].item() == study.table("sessions").height
    assert table["visits"].is_sorted(descending=True)


def test_engagement_as_it_is_moves_nobody_and_any_weights_alike_are_equal_weights(study: Study) -> None:
    same, tripled = engagement_at(study), engagement_at(study, visits=3, engaged_minutes=3, depth=3)
    assert "0% of customers change their level" in same.sentence
    assert_frame_equal(same.table, tripled.table)


def test_the_day_that_was_found_has_the_ratio_and_the_customers_of_the_study(study: Study) -> None:
    found = study.table("threshold").row(0, named=True)
    own = customers_beyond_day(study).table.row(by_predicate=pl.col("chosen"), named=True)
    assert own["day"] == found["day"]
    assert own["ratio"] == pytest.approx(found["hazard_ratio"])
    assert own["beyond"] == study.table("at_risk").height


def test_a_small_group_is_not_shown_by_a_what_if(study: Study) -> None:
    changed = what_if(study, {"study.min_cell": 200}, only=["threshold"])
    row = customers_beyond_day(changed).table.row(by_predicate=pl.col("chosen"), named=True)
    assert row["beyond"] is None
    assert row["hidden"] == "fewer than 200"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda study: sessions_at_gap(study, -1), "needs a number above 0"),
        (lambda study: engagement_at(study, half_life_days=0), "needs a number above 0"),
        (lambda study: customers_beyond_day(study, 400), "was not among those of the search"),
        (lambda study: personas_at(study, 0), "greater than or equal to 1"),
        (lambda study: path_followed(study, ["nothing of the kind"]), "no event is called"),
        (lambda study: policy_at(study, "cap_week", -1), "`most` is -1"),
        (lambda study: policy_at(study, "cap_week", 1, ["cap_week"]), "is switched off"),
        (lambda study: sample_needed(study, 0.0), "difference = 0"),
        (lambda study: what_if(study, {"personas.number": 3}), "is not a setting"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_with_its_reason(study: Study, call: Callable[[Study], object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        call(study)


def test_a_study_without_what_an_explorer_needs_says_which_setting_to_fill(study: Study, tmp_path: Path) -> None:
    bare = run_stages({"sessions"}, motkit.read_settings(), motkit.simulate_customers(n=80, seed=1, days=150).events, tmp_path / "bare")
    with pytest.raises(StudyError, match=re.escape("[decisions] policy and offers")):
        explorers.explore_policy(bare)
    with pytest.raises(StudyError, match=re.escape("[onboarding] milestone")):
        explorers.explore_onboarding_day(bare)


def _notebook(study: Study, path: Path) -> None:
    """A notebook that opens the study and explores the session gap."""
    source = f"import motkit\nstudy = motkit.open_study({str(study.path)!r})\nmotkit.explorers.explore_session_gap(study)"
    cell = {"cell_type": "code", "id": "explore", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")


@contextmanager
def serve_lab(folder: Path) -> Iterator[str]:
    """A JupyterLab of its own for a folder, with its settings and kernels beside it, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {name: str(folder / "jupyter") for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", "--ServerApp.password="]
    options += ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", f"--ServerApp.root_dir={folder}"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    log = folder / "lab.log"
    with log.open("w") as said, subprocess.Popen(command, cwd=folder, env=os.environ | places, stdout=said, stderr=said) as server:
        try:
            until = time.monotonic() + 90
            while "is running at" not in log.read_text():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=30)


@pytest.mark.browser
def test_an_explorer_works_in_a_real_jupyterlab(study: Study, chromium: Any, tmp_path: Path) -> None:
    _notebook(study, tmp_path / "explore.ipynb")
    visits = dict(sessions_at_gap(study, 31.0).table.select("gap_minutes", "visits").iter_rows())
    asked: list[str] = []
    with serve_lab(tmp_path) as address:
        context = chromium.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/lab/tree/explore.ipynb")
        page.wait_for_function("window.jupyterapp !== undefined", timeout=40_000)
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=40_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=40_000)
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        answer = page.locator(".motkit-explorer").filter(has_text="When does a visit end?")
        answer.wait_for(timeout=40_000)
        assert f"{visits[30.0]:,} visits" in answer.inner_text()
        page.locator(".noUi-handle").first.focus()
        page.keyboard.press("ArrowRight")
        page.get_by_text(f"more than 31 minutes cuts the log into {visits[31.0]:,} visits").wait_for(timeout=10_000)
        page.get_by_role("button", name="Copy as code").click()
        page.get_by_text("sessions_at_gap(study, gap_minutes=31.0)").wait_for(timeout=10_000)
        assert page.locator(".motkit-explorer svg circle").count() == 1
        if shots := os.environ.get("MOTKIT_SHOTS"):
            page.screenshot(path=f"{shots}/explorer-lab.png")
        context.close()
    assert [url for url in asked if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))] == []


def test_nothing_is_printed_while_an_explorer_is_made(study: Study) -> None:
    with redirect_stdout(io.StringIO()) as said:
        explorers.explore_session_gap(study)
    assert said.getvalue() == ""
