"""The tables of journeys in a study are those of the functions, and only what the settings ask for is there."""

from pathlib import Path

import polars as pl
import pytest

from motkit.errors import SettingError
from motkit.funnels import funnel
from motkit.journey_map import map_journey
from motkit.journeys import read_journey
from motkit.paths import transitions
from motkit.sessions import split_sessions
from motkit.settings import JourneySettings, Settings, read_settings
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS, Study, run_study

MADE = simulate_customers(n=150, seed=3)
DEMO = Path(__file__).parent.parent / "motkit" / "demo"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run_study(DEMO_SETTINGS, MADE.events, tmp_path_factory.mktemp("study"), progress=False, profiles=MADE.profiles)


def test_the_tables_of_a_study_are_those_of_the_functions(study: Study) -> None:
    steps = transitions(split_sessions(MADE.events), "session").collect()
    assert study.table("transitions").equals(steps)
    assert study.table("funnel").equals(funnel(MADE.events, ["product", "cart", "checkout", "purchase"], 30))
    made = map_journey(MADE.events, read_journey(DEMO / "journey.toml"))
    keys = ["segment", "step"]
    columns = [*keys, "n", "reached", "customers", "timed", "still_there", "drop_off"]
    own = study.table("journey_steps").filter(~pl.col("segment").str.starts_with("persona"))
    assert own.select(columns).sort(keys).equals(made.steps.select(columns).sort(keys))
    assert set(study.table("journey_moments").columns) >= {"step", "moment", "hazard_ratio"}
    assert study.table("journey_counts")["n"].sum() == MADE.events.height


def test_every_table_has_rows_that_add_up(study: Study) -> None:
    customers = study.table("sessions")["customer_id"].n_unique()
    matrix, flows = study.table("step_matrix"), study.table("step_flows")
    assert set(matrix.group_by("step").agg(pl.col("n").sum())["n"]) == {customers}
    assert flows.filter(step=1)["n"].sum() == customers
    assert matrix["event"].n_unique() <= 12  # ten, other, and the ended
    states = study.table("lifecycle").group_by("period").agg(pl.col("customers").sum() == pl.col("n").first())
    assert states["customers"].all()
    assert set(study.table("path_groups")["group_a"]) <= {"basic"}
    assert study.table("step_influence")["n"].min() >= 0


def test_a_study_without_a_plan_has_paths_and_no_map(tmp_path: Path) -> None:
    bare = run_study(Settings(), MADE.events, tmp_path, progress=False)
    assert {"transitions", "step_matrix", "step_flows", "cohort_retention", "lifecycle"} <= set(bare.tables)
    assert not any(name.startswith("journey") or name in ("funnel", "step_influence", "path_groups") for name in bare.tables)


def test_what_the_log_does_not_have_is_the_problem_of_one_stage(tmp_path: Path) -> None:
    asked = Settings(journey=JourneySettings(funnel=("product", "no such event"), goal=("nothing",), compare="no such column"))
    problems = run_study(asked, MADE.events, tmp_path, progress=False).problems
    assert set(problems) >= {"funnel", "influence", "path_groups"}
    assert "no event is called 'no such event'" in problems["funnel"]
    assert "no such column" in problems["path_groups"]


def test_a_number_that_cannot_be_is_refused() -> None:
    with pytest.raises(SettingError, match=r"journey\.steps"):
        read_settings(overrides={"journey.steps": "1"})
