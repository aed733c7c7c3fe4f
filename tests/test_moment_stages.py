"""Moments as tables of a study: found, left out, drawn and beside the register, with settings that are refused by name."""

from pathlib import Path

import polars as pl
import pytest

from motkit.errors import SettingError
from motkit.moment_stages import CURVES
from motkit.moments import COLUMNS
from motkit.settings import MomentSettings, OnboardingSettings, Settings
from motkit.simulate import Simulation, simulate_customers
from motkit.study import Study, run_study

REGISTER = """# Ours.
["advice in the shop"]
trigger = { event = "expert_advice" }
threshold = "onboarding_day"
believed = "It costs too much"

["calls that come again"]
trigger = { event = "support_call", again_within_days = 7 }
threshold = "never_learned"

["fax"]
trigger = { event = "fax_received" }
"""
ENDS = OnboardingSettings(start=("sign_up",), milestone=("onboarded",), churn=("account_closed",), lost=("tracking_opted_out",))


@pytest.fixture(scope="module")
def sim() -> Simulation:
    return simulate_customers(700, seed=15)


@pytest.fixture(scope="module")
def study(sim: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("moments")
    (folder / "moments.toml").write_text(REGISTER, encoding="utf-8")
    own = MomentSettings(file=folder / "moments.toml", not_activity=("*_sent",), strata=("plan",), placebo_draws=9)
    return run_study(Settings(onboarding=ENDS, moments=own), sim.events, folder / "study", progress=False, profiles=sim.profiles)


def test_a_study_has_the_moments_and_says_what_they_rest_on(study: Study) -> None:
    assert "moments" not in study.problems
    table, summary = study.table("moments"), study.table("moment_summary").row(0, named=True)
    assert table.columns == [*COLUMNS, "scale_back"]
    assert summary["customers"] >= table["n"].max()
    assert summary["strata"] == "activity, plan"
    assert summary["n_makes"] + summary["n_breaks"] + summary["n_no_evidence"] + summary["n_not_estimable"] == table.height
    assert "associations given tenure and recorded recent activity and plan" in summary["reading"]
    assert not {"account_closed", "tracking_opted_out", "sign_up"} & set(table["moment"])


def test_the_register_stands_beside_what_the_data_say(study: Study) -> None:
    rows = {row["name"]: row for row in study.table("moment_register").iter_rows(named=True)}
    assert list(rows) == ["advice in the shop", "calls that come again", "fax"]
    found = study.table("moments").filter(pl.col("moment") == "advice in the shop").row(0, named=True)
    assert found["source"] == "register"
    assert (rows["advice in the shop"]["n"], rows["advice in the shop"]["verdict"]) == (found["n"], found["verdict"])
    assert rows["advice in the shop"]["believed"] == "It costs too much"
    assert str(found["n"]) in rows["advice in the shop"]["data_say"]
    assert rows["calls that come again"]["learned"] is None
    assert (rows["fax"]["verdict"], rows["fax"]["data_say"]) == (None, "")
    assert "fax" in study.table("moments_left_out")["moment"].to_list()


def test_a_learned_threshold_is_that_of_the_study(study: Study) -> None:
    learned = study.table("moment_register")["learned"][0]
    assert learned == study.table("threshold")["day"][0]


def test_curves_are_there_for_what_was_found(study: Study) -> None:
    curves, table = study.table("moment_curves"), study.table("moments")
    found = table.filter(pl.col("verdict").is_in(["makes", "breaks"]))["moment"].to_list()
    assert curves.columns == list(CURVES)
    assert set(curves["moment"]) <= set(found)
    assert set(curves["arm"]) <= {"with", "without"}


def test_a_name_that_does_not_exist_is_the_stages_problem_and_a_faulty_register_stops_the_run(sim: Simulation, tmp_path: Path) -> None:
    wrong = Settings(onboarding=ENDS, moments=MomentSettings(outcome=("acount_closed",)))
    assert "near: account_closed" in run_study(wrong, sim.events, tmp_path / "a", progress=False).problems["moments"]
    (tmp_path / "moments.toml").write_text('["a"]\nkind = "fifth"\n', encoding="utf-8")
    faulty = Settings(onboarding=ENDS, moments=MomentSettings(file=tmp_path / "moments.toml"))
    with pytest.raises(SettingError, match="line 2"):
        run_study(faulty, sim.events, tmp_path / "b", progress=False)
