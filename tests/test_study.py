"""The study: counts add up, only what changed is computed anew, and a killed run leaves the last good one."""

import json
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from filelock import FileLock

from motkit.errors import StatisticalWarning, StudyError
from motkit.events import read_events
from motkit.onboarding import onboarding_table
from motkit.sessions import session_table, split_sessions
from motkit.settings import Settings, read_settings
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS, Study, open_study, run_study
from motkit.thresholds import find_threshold

# the demo's settings, with what the log alone can tell: `plan` is in the profiles
SETTINGS = replace(DEMO_SETTINGS, onboarding=replace(DEMO_SETTINGS.onboarding, by=("channel",)))


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return simulate_customers(n=150, seed=3).events


@pytest.fixture
def study(events: pl.DataFrame, tmp_path: Path) -> Study:
    return run_study(SETTINGS, events, tmp_path / "study", progress=False)


def reused(study: Study) -> dict[str, bool]:
    """Which stages took over the tables of the run before."""
    return {name: stage["reused"] for name, stage in study.manifest["stages"].items()}


def contents(study: Study) -> dict[str, pl.DataFrame]:
    return {name: study.table(name) for name in study.tables}


def test_counts_add_up_from_rows_read_to_sessions_and_customers(study: Study, events: pl.DataFrame) -> None:
    log = study.table("log_summary").row(0, named=True)
    assert log["rows_read"] == events.height == log["events"] + log["rejected"]
    assert study.table("rejected").height == log["rejected"] == study.table("rejected_reasons")["rows"].sum()
    assert study.table("sessions")["n_events"].sum() == log["events"]
    assert study.table("sessions_weekly")["sessions"].sum() == study.table("sessions").height
    assert study.table("customers").height == log["customers"] == study.table("engagement").height
    assert study.table("engagement_bins")["customers"].sum() == study.table("engagement_levels")["customers"].sum() == log["customers"]
    onboarding = study.table("onboarding_summary").filter(pl.col("segment") == "all").row(0, named=True)
    assert onboarding["customers"] + onboarding["left_out"] == log["customers"]
    assert onboarding["churned"] + onboarding["censored"] == onboarding["customers"]


def test_the_store_gives_the_tables_that_the_functions_give_for_the_log(study: Study, events: pl.DataFrame) -> None:
    plain = session_table(split_sessions(events)).collect()
    assert study.table("sessions").sort("customer_id", "session").equals(plain)
    asked = SETTINGS.onboarding
    made = onboarding_table(events, asked.start, asked.milestone, asked.churn, lost=asked.lost, as_of=events["timestamp"].max(), by=asked.by)
    assert study.table("onboarding").sort("customer_id").equals(made.table.sort("customer_id"))


def test_the_threshold_is_that_of_the_function_for_the_same_strata_also_from_profiles(tmp_path: Path) -> None:
    made = simulate_customers(n=600, seed=3)
    study = run_study(DEMO_SETTINGS, made.events, tmp_path / "study", progress=False, profiles=made.profiles)
    asked, table = DEMO_SETTINGS.onboarding, study.table("onboarding")
    assert table.join(made.profiles, on="customer_id").select((pl.col("plan") == pl.col("plan_right")).all()).item()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StatisticalWarning)
        found = find_threshold(table, strata=list(asked.by), by=list(asked.by))
    row = study.table("threshold").row(0, named=True)
    assert (row["day"], row["p_value"], row["hazard_ratio"], row["strata"]) == (found.day, found.p_value, found.hazard_ratio, list(asked.by))
    assert study.table("threshold_scan").equals(found.scan)
    assert set(study.table("at_risk")["customer_id"]) == set(found.at_risk()["customer_id"])


def test_a_second_run_computes_nothing_and_changes_nothing(study: Study, events: pl.DataFrame) -> None:
    before = contents(study)
    again = run_study(SETTINGS, events, study.path, progress=False)
    assert all(reused(again).values())
    assert all(table.equals(before[name]) for name, table in contents(again).items())


def test_a_run_elsewhere_gives_the_same_tables(study: Study, events: pl.DataFrame, tmp_path: Path) -> None:
    other = run_study(SETTINGS, events, tmp_path / "elsewhere", progress=False)
    first = contents(study)
    assert [name for name, table in contents(other).items() if not table.equals(first[name])] == []


def test_a_changed_setting_computes_only_what_reads_it(study: Study, events: pl.DataFrame) -> None:
    changed = replace(SETTINGS, engagement=read_settings(overrides={"engagement.half_life_days": "7"}).engagement)
    again = run_study(changed, events, study.path, progress=False)
    taken = {"record": True, "sessions": True, "engagement": False, "onboarding": True, "threshold": True, "customers": False}
    assert {name: reused(again)[name] for name in taken} == taken


@pytest.mark.parametrize("change", ["value", "order"])
def test_a_changed_value_or_order_of_the_data_computes_everything(study: Study, events: pl.DataFrame, change: str) -> None:
    first = pl.int_range(pl.len()) == 0
    changed = events.with_columns(value=pl.when(first).then(pl.col("value").fill_null(0) + 1).otherwise("value")) if change == "value" else events[[1, 0, *range(2, events.height)]]
    again = run_study(SETTINGS, changed, study.path, progress=False)
    assert not any(reused(again).values())


def test_a_file_that_only_moved_is_not_read_again(events: pl.DataFrame, tmp_path: Path) -> None:
    events.write_parquet(tmp_path / "a.parquet")
    first = run_study(SETTINGS, tmp_path / "a.parquet", tmp_path / "study", progress=False)
    (tmp_path / "a.parquet").rename(tmp_path / "b.parquet")
    again = run_study(SETTINGS, tmp_path / "b.parquet", first.path, progress=False)
    assert reused(again)["record"]


def test_files_of_earlier_runs_are_removed(study: Study, events: pl.DataFrame) -> None:
    again = run_study(Settings(), events, study.path, progress=False)
    kept = {path.name for path in (again.path / "tables").iterdir()}
    assert kept == {Path(entry["file"]).name for entry in again.manifest["tables"].values()}
    assert len(list(again.path.glob("store.*"))) == 1


def test_a_run_that_is_killed_leaves_the_last_good_study_readable(study: Study, tmp_path: Path) -> None:
    before = contents(study)
    code = (
        "import motkit, motkit.study as s, os, signal, dataclasses\n"
        "stages = list(s.STAGES)\n"
        "kill = lambda bench: os.kill(os.getpid(), signal.SIGKILL)\n"
        "s.STAGES = (*stages[:2], dataclasses.replace(stages[2], make=kill))\n"
        f"motkit.run_study(motkit.Settings(), motkit.simulate_customers(n=80, seed=9).events, {str(study.path)!r}, progress=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    left = open_study(study.path)
    assert left.manifest == study.manifest
    assert all(table.equals(before[name]) for name, table in contents(left).items())
    mended = run_study(SETTINGS, simulate_customers(n=80, seed=9).events, study.path, progress=False)
    assert len(list(mended.path.glob("store.*"))) == 1
    assert not list(mended.path.glob("**/*.part"))


def test_nothing_after_as_of_is_looked_at(events: pl.DataFrame, tmp_path: Path) -> None:
    as_of = events["timestamp"].min() + (events["timestamp"].max() - events["timestamp"].min()) / 2
    settings = Settings(study=read_settings(overrides={"study.as_of": as_of.isoformat()}).study, onboarding=SETTINGS.onboarding)
    whole = run_study(settings, events, tmp_path / "whole", progress=False)
    cut = run_study(settings, events.filter(pl.col("timestamp") <= as_of), tmp_path / "cut", progress=False)
    for name in set(whole.tables) - {"log_summary", "rejected", "rejected_reasons"}:
        assert whole.table(name).equals(cut.table(name)), name


def test_a_question_without_an_answer_does_not_stop_the_others(events: pl.DataFrame, tmp_path: Path) -> None:
    settings = read_settings(overrides={"onboarding.milestone": "no such event"})
    study = run_study(settings, events, tmp_path / "study", progress=False)
    assert "onboarding" in study.problems
    assert "onboarding_curve" not in study.tables
    assert study.table("engagement").height > 0
    with pytest.raises(StudyError, match=r"no table 'onboarding_curve'.*no event is called 'no such event'"):
        study.table("onboarding_curve")


def test_two_runs_in_one_folder_do_not_meet(study: Study, events: pl.DataFrame) -> None:
    with FileLock(study.path / ".lock"), pytest.raises(StudyError, match="another run"):
        run_study(SETTINGS, events, study.path, progress=False)


def test_a_log_without_events_is_refused_with_the_reasons(events: pl.DataFrame, tmp_path: Path) -> None:
    nobody = events.head(5).with_columns(customer_id=pl.lit(None, pl.String))
    with pytest.raises(StudyError, match=r"nothing to study.*\n.*no customer: 5"):
        run_study(Settings(), nobody, tmp_path / "study", progress=False)


def test_a_study_of_another_format_is_told_apart(study: Study) -> None:
    file = study.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 0}))
    with pytest.raises(StudyError, match="format 0"):
        open_study(study.path)


def test_a_folder_without_a_study_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no study here.*\n.*motkit run"):
        open_study(tmp_path)


def test_rows_rejected_in_the_log_are_in_the_study_with_their_reason(events: pl.DataFrame, tmp_path: Path) -> None:
    messy = pl.concat([events.head(300), events.head(2), events.head(1).with_columns(customer_id=pl.lit(None, pl.String))])
    log = read_events(messy)
    study = run_study(Settings(), log, tmp_path / "study", progress=False)
    assert dict(study.table("rejected_reasons").rows()) == {"no customer": 1, "exact duplicate": 2}
    assert study.table("rejected").height == 3


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "customers", "churned", "refused"),
    [
        ("ecom", "ecom_retentioneering.csv.gz", 600, 423, set()),
        ("online_retail", "online_retail_uci.csv.gz", 4371, 2713, {"threshold", "threshold_quarters"}),  # a second visit ends the silence that is leaving
        ("oulad", "oulad", 2515, 630, set()),
    ],
)
def test_real_logs_become_studies_whose_counts_add_up(real_data: Path, tmp_path: Path, name: str, file: str, customers: int, churned: int, refused: set[str]) -> None:
    here = Path(__file__).parent / "sources" / name
    settings = read_settings(here / "settings.ini")
    study = run_study(settings, read_events(real_data / file, description=here / "source.toml"), tmp_path, progress=False)
    log = study.table("log_summary").row(0, named=True)
    assert log["rows_read"] == log["events"] + study.table("rejected_reasons")["rows"].sum()
    assert study.table("sessions")["n_events"].sum() == log["events"]
    onboarding = study.table("onboarding_summary").filter(pl.col("segment") == "all").row(0, named=True)
    assert onboarding["customers"] + onboarding["left_out"] == log["customers"] == customers
    assert onboarding["churned"] == churned
    assert set(study.problems) == refused
    assert all("late customers leave by definition" in words for words in study.problems.values())
