"""Tests and texts as tables of a study: who counts, the gate, planted effects, and what is missing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from light_study import run_stages

from motkit.errors import SettingError
from motkit.holdouts import deal_arms
from motkit.settings import ExperimentSettings, Settings, StudySettings, TextSettings
from motkit.study import Study

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STAGES = {"followed_arms", "experiment", "uplift", "frequency", "intents"}


def make_customers(n: int = 2000, lift: float = 0.1, seed: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A log and profiles: half, by house, get a mail that lifts buying from 20%; the last tenth signed up too late to be followed."""
    rng = np.random.default_rng(seed)
    who = [f"c{k:05}" for k in range(n)]
    mail, cap = np.repeat(rng.random(n // 2) < 0.5, 2), rng.choice([0, 1, 2], n)
    start = [BEGIN + timedelta(days=float(70 if k >= n * 0.9 else rng.uniform(0, 30))) for k in range(n)]
    bought = rng.random(n) < 0.2 + lift * mail
    rows: list[dict[str, Any]] = [{"customer_id": c, "timestamp": at, "event": "sign_up", "text": "Where is your shop?"} for c, at in zip(who, start, strict=True)]
    for c, at, yes in zip(who, start, bought, strict=True):
        rows += [{"customer_id": c, "timestamp": at + timedelta(days=1), "event": "mail", "text": None}] * int(rng.integers(0, 3))
        rows += [{"customer_id": c, "timestamp": at + timedelta(days=3), "event": "purchase", "text": None}] if yes else []
        rows.append({"customer_id": c, "timestamp": at + timedelta(days=20), "event": "purchase", "text": None})  # after the window
    log = pl.DataFrame(rows, schema_overrides={"text": pl.String}).with_columns(channel=pl.lit("web"), value=pl.lit(5.0), duration_s=pl.lit(None, pl.Float64))
    profiles = pl.DataFrame({"customer_id": who, "group": ["mail" if m else "control" for m in mail], "cap": cap, "size": rng.normal(size=n), "house": [f"h{k // 2}" for k in range(n)]})
    return log, profiles


def run(folder: Path, lift: float = 0.1, text: str = "text", drop: int = 0, **chosen: Any) -> Study:
    log, profiles = make_customers(lift=lift)
    asked: dict[str, Any] = {"arm": "group", "start": ("sign_up",), "outcome": ("purchase",), "outcome_within_days": 14.0} | chosen
    settings = Settings(study=StudySettings(as_of=BEGIN + timedelta(days=80)), experiments=ExperimentSettings(**asked), text=TextSettings(column=text))
    return run_stages(STAGES, settings, log, folder / "study", profiles=profiles.tail(profiles.height - drop))


def test_everybody_who_was_dealt_an_arm_and_followed_for_the_whole_window_counts(tmp_path: Path) -> None:
    study = run(tmp_path, features=("size",), cap="cap")
    log, profiles = make_customers()
    firsts = log.filter(pl.col("event") == "purchase").group_by("customer_id").agg(first=pl.col("timestamp").min())
    starts = log.filter(pl.col("event") == "sign_up").select("customer_id", start="timestamp")
    own = profiles.join(starts, on="customer_id").join(firsts, on="customer_id").filter(pl.col("start") + timedelta(days=14) <= BEGIN + timedelta(days=80))
    own = own.with_columns(bought=pl.col("first") <= pl.col("start") + timedelta(days=14))
    assert own.height == 1800
    told = {row["arm"]: row for row in study.table("experiment").iter_rows(named=True)}
    for arm in ("control", "mail"):
        assert told[arm]["n"] == own.filter(pl.col("group") == arm).height
        assert told[arm]["value"] == pytest.approx(own.filter(pl.col("group") == arm)["bought"].mean())
    assert told["mail"]["ci_low"] > 0
    assert told["mail"]["ci_low"] < 0.1 < told["mail"]["ci_high"]
    summary = study.table("experiment_summary").row(0, named=True)
    assert (summary["not_followed"], summary["no_start"], summary["no_arm"], summary["sound"]) == (200, 0, 0, True)
    assert study.table("frequency_summary")["randomised"].to_list() == [True]
    assert set(study.table("uplift_rules")["rule"]) == {"nobody", "all", "by score"}


@pytest.mark.parametrize(("kind", "other"), [("count", {}), ("mean", {"covariate": "size"}), ("time", {}), ("rate", {"cluster": "house"})])
def test_other_kinds_find_the_same_lift(tmp_path: Path, kind: str, other: dict[str, Any]) -> None:
    study = run(tmp_path, kind=kind, **other)
    assert not study.problems
    row = study.table("experiment").row(1, named=True)
    assert (row["difference"] > 0) == (kind != "time")
    assert row["p_value"] < 0.01


def test_without_an_effect_no_difference_is_read(tmp_path: Path) -> None:
    row = run(tmp_path, lift=0.0).table("experiment").row(1, named=True)
    assert row["ci_low"] < 0 < row["ci_high"]


def test_arms_that_are_not_as_meant_stop_the_reading_and_who_responds(tmp_path: Path) -> None:
    study = run(tmp_path, shares=("control=3", "mail=1"), features=("size",))
    assert study.table("experiment_summary")["reading"][0].startswith("Do not read")
    assert "uplift_rules" not in study.tables
    assert "not as large" in study.problems["uplift"]


def test_contacts_that_were_not_dealt_are_confounded_and_customers_without_an_arm_are_counted(tmp_path: Path) -> None:
    study = run(tmp_path, contacts=("mail",), drop=100)
    assert study.table("frequency_summary")["reading"][0].startswith("Confounded")
    assert study.table("experiment_summary")["no_arm"].to_list() == [100]


def test_what_the_profiles_do_not_have_is_said_and_nothing_is_made_without_settings(tmp_path: Path) -> None:
    study = run(tmp_path, arm="nothing", text="nothing")
    assert "have no ['nothing']" in study.problems["followed_arms"]
    assert "the log has no 'nothing'" in study.problems["intents"]
    assert "no share" in run(tmp_path / "b", arm="", salt="s", shares=("control", "mail=1")).problems["followed_arms"]
    empty = run(tmp_path / "a", outcome=(), text="")
    assert not set(empty.tables) & {"followed_arms", "experiment", "frequency", "intents"}


def test_every_text_is_in_a_week_and_a_month_once(tmp_path: Path) -> None:
    table = run(tmp_path).table("intents")
    assert table.filter(pl.col("by") == "whole").select("intent", "n").rows() == [("go", 2000)]
    for by in ("week", "month"):
        assert table.filter(pl.col("by") == by)["n"].sum() == 2000
        assert table.filter(pl.col("by") == by)["period"].null_count() == 0


def test_arms_are_dealt_by_hash_in_their_shares_and_stay() -> None:
    people = pl.DataFrame({"customer_id": [f"c{k}" for k in range(20_000)]})
    dealt = deal_arms(people, {"control": 5, "a": 3, "b": 2}, "t")
    shares = dict(dealt.group_by("arm").len().rows())
    assert [shares[name] / 20_000 for name in ("control", "a", "b")] == pytest.approx([0.5, 0.3, 0.2], abs=0.012)
    assert deal_arms(people.reverse().head(50), {"control": 5, "a": 3, "b": 2}, "t")["arm"].to_list() == dealt["arm"].reverse().head(50).to_list()
    with pytest.raises(SettingError, match="1 arms"):
        deal_arms(people, {"control": 1}, "t")
