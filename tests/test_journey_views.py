"""The views of journeys and paths say what the study's tables say, nothing about few people, and every one is drawn."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from made_study import MadeStudy, make_empty_study

from motkit import journey_plots, journey_views, path_views
from motkit.errors import SchemaError, SettingError
from motkit.journey_map import map_journey
from motkit.journey_page import JOURNEY_PAGE, PATHS_PAGE
from motkit.journey_stages import map_tables
from motkit.journeys import read_journey
from motkit.lifts import compare_paths
from motkit.page_parts import look_at
from motkit.page_shelf import show_look
from motkit.paths import transitions
from motkit.patterns import pattern_shares
from motkit.showing import View
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS, Study, run_study

MADE = simulate_customers(n=400, seed=5)
LOOKS = (*JOURNEY_PAGE.looks, *PATHS_PAGE.looks)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run_study(DEMO_SETTINGS, MADE.events, tmp_path_factory.mktemp("study"), progress=False, profiles=MADE.profiles)


def _with(study: Study, **frames: pl.DataFrame) -> MadeStudy:
    return MadeStudy({name: study.table(name) for name in study.tables if name != "rejected"} | frames, study.manifest, study.path)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_every_view_has_a_sentence_its_basis_and_a_picture(study: Study, look: Any) -> None:
    shown = show_look(look, study)
    view = shown.view
    if not view.empty:
        assert view.sentence
        assert view.footing
        assert view.table.height
        assert "nan" not in f"{view.sentence} {view.footing}".lower().split()
        assert shown.picture.startswith("{") or "motkit-map" in shown.picture
        assert "cause" not in str(view).lower()


def test_views_of_a_study_without_journeys_say_why_they_are_empty() -> None:
    for look in LOOKS:
        view = look_at(look, make_empty_study())
        assert view.empty
        assert look.draw is None or look.draw(view) is not None


def test_the_map_hides_numbers_of_few_customers(study: Study) -> None:
    few = study.table("journey_steps").with_columns(customers=pl.when(pl.col("step") == "receive").then(7).otherwise("customers"), timed=pl.when(pl.col("step") == "receive").then(7).otherwise("timed"))
    view = journey_views.journey_map_view(_with(study, journey_steps=few))
    row = view.table.filter(step="receive").row(0, named=True)
    assert row["hidden"] == "fewer than 11"
    assert [row[name] for name in ("reached", "customers", "reach", "timed", "drop_off")] == [None] * 5
    assert "fewer than 11 customers" in view.html


def test_no_shown_count_of_customers_is_small(study: Study) -> None:
    for look in LOOKS:
        table = look_at(look, study).table
        for column in ("customers", "n_stayed", "customers_a", "customers_b", "touched", "at_risk"):
            if column in table.columns:
                assert table.filter((pl.col(column) > 0) & (pl.col(column) < 11)).is_empty(), (look.name, column)


def test_a_map_by_persona_is_that_of_the_persona(study: Study) -> None:
    personas = MADE.truth.customers.select("customer_id", "persona")
    made = map_journey(MADE.events, read_journey(str(DEMO_SETTINGS.journey.file)), personas)
    told = _with(study, **{name: table.lazy().collect() for name, table in map_tables(made).items()})
    assert "persona: hesitant" in journey_views.list_journey_segments(told)
    view = journey_views.journey_map_view(told, "persona: hesitant")
    assert view.sentence.startswith("For persona hesitant:")
    own = made.steps.filter(segment="persona: hesitant", step="discover")["reached"].item()
    assert view.table.filter(step="discover")["reached"].item() == own
    with pytest.raises(SettingError, match="persona: nobody"):
        journey_views.plan_followed(told, "persona: nobody")


def test_a_table_of_another_version_is_refused(study: Study) -> None:
    with pytest.raises(SchemaError, match="journey_pains"):
        journey_views.journey_pains(_with(study, journey_pains=study.table("journey_pains").drop("mostly")))
    with pytest.raises(SchemaError, match="funnel"):
        path_views.funnel_steps(_with(study, funnel=study.table("funnel").drop("event")))


def test_who_stops_at_a_step_of_the_funnel_cannot_be_worked_out(study: Study) -> None:
    steps = study.table("funnel").with_columns(customers=pl.Series([100, 97, 60, 50], dtype=pl.UInt32))
    table = path_views.funnel_steps(_with(study, funnel=steps)).table
    assert table["customers"].to_list() == [100, None, 60, None]


def test_tables_outside_a_study_are_drawn_too() -> None:
    events = MADE.events.filter(pl.col("timestamp") < datetime(2025, 6, 1, tzinfo=UTC))
    shares = View("patterns", "Patterns", "", pattern_shares(events, ["sign_up -> ... -> purchase", "cart{2,}"]), "")
    steps = View("transitions", "Transitions", "", transitions(events).collect(), "")
    assert journey_plots.plot_pattern_shares(shares) is not None
    assert journey_plots.plot_transitions(steps) is not None


@pytest.mark.filterwarnings("ignore::motkit.errors.FewEventsWarning")
def test_clear_differences_between_groups_are_told() -> None:
    groups = MADE.truth.customers.select("customer_id", group="persona").filter(pl.col("group") != "regular")
    table = compare_paths(MADE.events, groups)
    view = path_views.group_differences(MadeStudy({"path_groups": table}, {"settings": {"study": {"min_cell": 11}}}))
    assert "for hesitant" in view.sentence
    assert (view.table["ci_low"] * view.table["ci_high"] > 0).all()
