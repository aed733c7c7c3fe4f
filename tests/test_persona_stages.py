"""The personas of a study: tables, ids kept from an earlier study, names, profile columns, refusals."""

from pathlib import Path

import polars as pl
import pytest

from motkit.errors import DesignError, SettingError, SourceError
from motkit.onboarding import onboarding_table
from motkit.persona_cards import read_persona_names
from motkit.personas import build_personas
from motkit.settings import PersonaSettings, Settings
from motkit.simulate import Simulation, simulate_customers
from motkit.study import Study, run_study
from motkit.thresholds import find_threshold

COMPANY = ("*_sent", "*_promised", "delivered")


@pytest.fixture(scope="module")
def made() -> Simulation:
    return simulate_customers(n=400, seed=5)


def run(made: Simulation, folder: Path, **settings: object) -> Study:
    chosen = {"k_max": 4, "resamples": 4, "ignore": COMPANY} | settings
    return run_study(Settings(personas=PersonaSettings(**chosen)), made.events, folder, progress=False, profiles=made.profiles)


@pytest.fixture(scope="module")
def study(made: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return run(made, tmp_path_factory.mktemp("personas") / "study", k=3)


def test_a_study_holds_everything_that_stands_on_a_card(study: Study) -> None:
    assert "personas" not in study.problems
    who = study.table("personas")
    assert who["customer_id"].is_unique().all()
    assert set(who["persona"]) == {"P1", "P2", "P3"}
    assert who["persona_basis"].str.starts_with("behaviour up to").all()
    names = {"persona_cards", "persona_choice", "persona_traits", "persona_map", "persona_signifiers", "persona_habits", "persona_examples", "persona_notes"}
    assert names | {"persona_columns", "persona_memory", "persona_audit", "persona_outcomes"} <= set(study.tables)
    assert study.table("persona_cards")["n"].sum() == who.height
    columns = study.table("persona_columns")
    assert columns.filter(pl.col("role") == "protected")["column"].to_list() == ["age_band"]
    assert columns.filter(pl.col("role") == "basis")["source"].unique().to_list() == ["behaviour"]


def test_ids_and_names_are_kept_from_an_earlier_study(made: Simulation, study: Study, tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    memory.write_text(study.table("persona_memory")["memory"].item())
    names = tmp_path / "personas.toml"
    names.write_text('[P2]\nname = "The careful ones"\n')
    assert read_persona_names(names) == {"P2": "The careful ones"}
    again = run(made, tmp_path / "again", k=3, before=memory, names=names)
    assert set(again.table("personas")["persona"]) == {"P1", "P2", "P3"}
    assert again.table("persona_ledger")["happened"].to_list() == ["kept"] * 3
    assert not again.table("persona_warnings")["warning"].any()
    assert "The careful ones" in again.table("persona_cards")["name"].to_list()


def test_personas_of_profiles_alone_say_so(made: Simulation, tmp_path: Path) -> None:
    study = run(made, tmp_path / "study", k=2, made_of="profile")
    assert study.table("personas")["persona_basis"].unique().to_list() == ["profile"]


def test_a_missing_file_of_names_stops_the_run_and_says_so(made: Simulation, tmp_path: Path) -> None:
    with pytest.raises((SourceError, FileNotFoundError), match="nowhere"):
        run(made, tmp_path / "study", k=2, names=tmp_path / "nowhere.toml")


def test_an_event_to_ignore_that_nobody_has_is_a_problem_of_the_stage(made: Simulation, tmp_path: Path) -> None:
    study = run(made, tmp_path / "study", ignore=("no_such_event",))
    assert "no event is called 'no_such_event'" in study.problems["personas"]
    assert "personas" not in study.tables


def test_thresholds_refuse_personas_that_were_made_of_later_behaviour(made: Simulation, study: Study) -> None:
    personas = study.table("personas").select("customer_id", "persona", "persona_basis")
    ends = {"milestone": "onboarded", "churn": "account_closed", "as_of": made.end}
    table = onboarding_table(made.events, start="sign_up", **ends)
    with pytest.raises(DesignError, match="`persona` is made of behaviour up to"):
        find_threshold(table.table.join(personas, on="customer_id"), strata=["persona"])
    starts = made.profiles.select("customer_id", timestamp="signed_up").join(personas, on="customer_id")
    with pytest.raises(DesignError, match="not known at the start"):
        onboarding_table(made.events, start=starts, by="persona", **ends)


def test_thresholds_take_personas_that_were_made_of_profiles_alone(made: Simulation) -> None:
    personas = build_personas(made.profiles, k=2, resamples=0, starts=2)
    assert personas.profile_only
    starts = made.profiles.select("customer_id", timestamp="signed_up").join(personas.assignments, on="customer_id")
    table = onboarding_table(made.events, start=starts, by="persona", milestone="onboarded", churn="account_closed", as_of=made.end)
    assert set(table.table["persona"].drop_nulls()) == {"P1", "P2"}


def test_a_protected_column_is_let_in_with_a_reason_and_never_without(made: Simulation, tmp_path: Path) -> None:
    let_in = run(made, tmp_path / "in", k=2, resamples=0, made_of="profile", allow_protected=("age_band: a youth tariff, by law",))
    note = let_in.table("persona_columns").filter(pl.col("column") == "age_band")
    assert note["role"].to_list() == ["basis"]
    assert note["note"].to_list() == ["protected, let in: a youth tariff, by law"]
    with pytest.raises(SettingError, match="has no reason"):
        run(made, tmp_path / "none", k=2, resamples=0, made_of="profile", allow_protected=("age_band",))
    unknown = run(made, tmp_path / "unknown", k=2, resamples=0, made_of="profile", allow_protected=("agee: why",))
    assert "no column `agee`" in unknown.problems["personas"]


def test_promises_are_judged_by_persona_with_open_cases_censored(tmp_path: Path) -> None:
    from motkit.promise_outcomes import promise_cases
    from motkit.promise_register import read_promises
    from motkit.promise_stages import PROMISE_STAGES
    from motkit.promises import attainment
    from motkit.settings import PromiseSettings
    from motkit.store import write_store
    from motkit.workbench import Bench

    log = simulate_customers(n=300, seed=8)
    store = write_store(log.events.lazy(), tmp_path / "store", n_events=log.events.height)
    register = Path(__file__).parent.parent / "motkit" / "demo" / "promises.toml"
    who = log.profiles.select("customer_id", persona=pl.format("P{}", pl.int_range(pl.len()) % 2 + 1))
    delivery = pl.LazyFrame({"promise": ["delivery"], "segment": ["all"]})
    beside = {"personas": who.lazy(), "promise_segments": delivery}
    stage = next(stage for stage in PROMISE_STAGES if stage.name == "persona_promises")
    bench = Bench(store, Settings(promises=PromiseSettings(file=register)), log.end, beside.__getitem__, beside.keys)
    made = stage.make(bench)["persona_promises"].lazy().collect()
    assert made["persona"].to_list() == ["P1", "P2", "all"]
    own = who.filter(pl.col("persona") == "P2").select("customer_id")
    cases = promise_cases(log.events.join(own, on="customer_id"), read_promises(register)["delivery"], log.end)
    alone = attainment(cases).row(0, named=True)
    assert {name: made.row(1, named=True)[name] for name in alone} == pytest.approx(alone)
    assert made["n"][0] + made["n"][1] == made["n"][2]
