"""Tests and texts as tables of a study: who counts, the gate, planted effects, and what is missing."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from light_study import run_stages

from motkit.errors import MissingExtraError, SettingError
from motkit.experiment_views import (
    arms_as_meant,
    arms_compared,
    contact_response,
    list_outcomes,
    rollouts_told,
    who_responds,
)
from motkit.holdouts import deal_arms
from motkit.rollout import Programme, RolloutStage, add_stage, write_programme
from motkit.settings import ExperimentSettings, IdentitySettings, Settings, StudySettings, TextSettings, read_settings
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
    for c, at, most in zip(who, start, cap, strict=True):
        rows += [{"customer_id": c, "timestamp": at + timedelta(days=4), "event": "opt_out", "text": None}] if rng.random() < 0.05 * most else []
    log = pl.DataFrame(rows, schema_overrides={"text": pl.String}).with_columns(channel=pl.lit("web"), value=pl.lit(5.0), duration_s=pl.lit(None, pl.Float64))
    profiles = pl.DataFrame({"customer_id": who, "paid": [None if k % 10 == 0 else bool(yes) for k, yes in enumerate(bought)], "spent": np.where(bought, 30.0, 0.0), "group": ["mail" if m else "control" for m in mail], "cap": cap, "size": rng.normal(size=n), "house": [f"h{k // 2}" for k in range(n)]})
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


@pytest.mark.parametrize(("column", "kind", "unit", "lost"), [("paid", "rate", 1.0, 200), ("spent", "mean", 30.0, 0)])
def test_an_outcome_of_the_profiles_counts_without_a_start_and_an_empty_one_was_not_followed(tmp_path: Path, column: str, kind: str, unit: float, lost: int) -> None:
    study = run(tmp_path, outcome=(), outcome_column=column, kind=kind)
    summary, row = study.table("experiment_summary").row(0, named=True), study.table("experiment").row(1, named=True)
    assert (summary["n"], summary["not_followed"], summary["no_start"], summary["within_days"]) == (2000 - lost, lost, 0, None)
    assert row["ci_low"] < 0.1 * unit < row["ci_high"]
    view = arms_compared(study)
    assert "None" not in view.sentence + view.footing
    assert "days" not in view.footing
    assert "needs" not in arms_as_meant(study).footing


def test_an_outcome_column_of_text_is_refused(tmp_path: Path) -> None:
    assert "'house' is String" in run(tmp_path, outcome=(), outcome_column="house").problems["followed_arms"]


def test_a_cap_is_read_for_purchases_opt_outs_and_their_net_value(tmp_path: Path) -> None:
    study = run(tmp_path, cap="cap", contacts=("mail",), also=("opt_out=-5", "mail"), outcome_value=2.0, contact_cost=0.1)
    assert not study.problems
    marginal, summary = study.table("frequency_marginal"), study.table("frequency_summary").row(0, named=True)
    assert marginal["outcome"].unique(maintain_order=True).to_list() == ["purchase", "opt_out", "mail", "net"]
    gaps = {row["outcome"]: row for row in marginal.filter(pl.col("from_cap") == 0).iter_rows(named=True)}
    assert gaps["opt_out"]["ci_low"] < 0.05 < gaps["opt_out"]["ci_high"]
    assert gaps["net"]["per_contact"] == pytest.approx(2 * gaps["purchase"]["per_contact"] - 5 * gaps["opt_out"]["per_contact"], abs=0.02)
    assert summary["best_cap"] == 0.0
    assert "opt_out" in list_outcomes(study)
    assert contact_response(study, "opt_out").table["value"].to_list() == pytest.approx([0.0, 0.05, 0.1], abs=0.03)
    assert "points" in contact_response(study).brief.columns[1]
    assert "points" not in contact_response(study, "net").brief.columns[1]
    assert "no event is called 'nothing'" in run(tmp_path / "a", cap="cap", also=("nothing",)).problems["followed_arms"]


def test_households_with_several_caps_or_numbers_of_contacts_are_read_all_the_same(tmp_path: Path) -> None:
    dealt, seen = run(tmp_path, cap="cap", cluster="house"), run(tmp_path / "a", contacts=("mail",), cluster="house")
    assert not dealt.problems
    assert not seen.problems
    alone = run(tmp_path / "b", cap="cap").table("frequency_marginal")
    assert dealt.table("frequency_marginal").equals(alone)  # caps were dealt to customers
    assert seen.table("frequency_summary")["randomised"].to_list() == [False]


def test_who_responds_is_told_in_money_where_money_is_named(tmp_path: Path) -> None:
    study = run(tmp_path, features=("size",), outcome_value=30.0, contact_cost=1.0)
    rules = dict(study.table("uplift_rules").select("rule", "value").rows())
    shares = {row["arm"]: row["value"] for row in study.table("experiment").iter_rows(named=True)}
    assert rules["all"] == pytest.approx(30 * shares["mail"] - 1, abs=0.6)
    assert "money per customer" in who_responds(study).footing
    assert "outcomes per 100" not in who_responds(study).sentence


def test_any_fault_of_a_stage_becomes_its_problem_and_the_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise MissingExtraError("read_intents", "needs onnxruntime, which is not installed", "Type: pip install 'motkit[text]'")

    monkeypatch.setattr("motkit.experiment_stages.read_intents", lacking)
    study = run(tmp_path)
    assert "pip install 'motkit[text]'" in study.problems["intents"]
    assert "intents" not in study.tables
    assert study.table("experiment").height == 2


def test_roll_outs_beside_a_log_are_a_table_of_the_study_and_are_shown(tmp_path: Path) -> None:
    pilot = RolloutStage("pilot", 0.05, "two shops", {"agents": "call back"}, ("sales",), "telephone", "complaints double")
    file = write_programme(add_stage(Programme("call_back"), pilot, BEGIN), tmp_path / "call_back.jsonl")
    log, _ = make_customers(200)
    study = run_stages(set(), Settings(), log, tmp_path / "study", rollouts=file)
    assert study.table("rollouts")["programme"].to_list() == ["call_back"]
    view = rollouts_told(study)
    assert view.sentence == "Call back: piloted with 5% of customers since 2026-01-01."
    assert {"roles and activities", "stop rule", "next decision"} <= set(view.brief.columns)
    again = run_stages(set(), Settings(), log, tmp_path / "study", rollouts=file)
    assert again.manifest["stages"]["rollouts"]["reused"]
    with pytest.raises(SettingError, match="programme"):
        rollouts_told(study, ["leaflet"])


def test_without_an_effect_no_difference_is_read(tmp_path: Path) -> None:
    row = run(tmp_path, lift=0.0).table("experiment").row(1, named=True)
    assert row["ci_low"] < 0 < row["ci_high"]


def test_arms_that_are_not_as_meant_stop_the_reading_and_who_responds(tmp_path: Path) -> None:
    study = run(tmp_path, shares=("control=3", "mail=1"), features=("size",))
    assert study.table("experiment_summary")["reading"][0].startswith("Do not read")
    assert "uplift_rules" not in study.tables
    assert "not as large" in study.problems["uplift"]
    assert "not as large" in who_responds(study).empty


def test_contacts_that_were_not_dealt_are_confounded_and_customers_without_an_arm_are_counted(tmp_path: Path) -> None:
    study = run(tmp_path, contacts=("mail",), drop=100, covariate="size", confounded_by=("mails stop once somebody has bought",))
    reading = study.table("frequency_summary")["reading"][0]
    assert reading.startswith("Confounded")
    assert "Known reasons: mails stop once somebody has bought; no contact came after the outcome (" in reading
    assert "Already before (size) those with" in reading
    assert study.table("experiment_summary")["no_arm"].to_list() == [100]


def test_what_the_profiles_do_not_have_is_said_and_nothing_is_made_without_settings(tmp_path: Path) -> None:
    study = run(tmp_path, arm="nothing", text="nothing")
    assert "have no ['nothing']" in study.problems["followed_arms"]
    assert "the log has no 'nothing'" in study.problems["intents"]
    empty = run(tmp_path / "a", outcome=(), text="")
    assert not set(empty.tables) & {"followed_arms", "experiment", "frequency", "intents"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"arm": "group", "salt": "s", "shares": "control=1, mail=1"}, "name `arm` or `salt`, not both"),
        ({"salt": "s", "shares": "control, mail=1"}, "'control' needs a number above 0"),
        ({"salt": "s"}, "needs the shares of two arms or more"),
        ({"arm": "group", "shares": "a=1, mail=1"}, "lack the control arm 'control'"),
        ({"arm": "group", "also": "opt_out=much"}, "what 'opt_out' is worth is no number"),
        ({"outcome": "purchase", "outcome_column": "paid"}, "not both"),
        ({"kind": "time", "outcome_column": "spent", "cluster": "house"}, "kind = time takes no `outcome_column` and no `cluster`"),
    ],
)
def test_a_test_that_does_not_fit_together_is_told_when_the_settings_are_read(asked: dict[str, str], told: str) -> None:
    with pytest.raises(SettingError, match=re.escape(told)):
        read_settings(None, {f"experiments.{name}": value for name, value in asked.items()})


@pytest.mark.parametrize("column", ["value", "timestamp"])
def test_a_column_that_is_no_text_costs_the_intents_alone(tmp_path: Path, column: str) -> None:
    study = run(tmp_path, text=column)
    assert "needs text" in study.problems["intents"]
    assert study.table("experiment").height == 2


def test_a_column_of_few_kinds_is_read_as_text_and_any_refusal_of_a_reader_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, text="channel").table("intents").filter(by="whole")["n"].sum() > 2000

    def refuse(*_: object, **__: object) -> None:
        raise SettingError("read_intents", "least = 2, needs 0 to 1", "Type least=0.1.")

    monkeypatch.setattr("motkit.experiment_stages.read_intents", refuse)
    study = run(tmp_path / "a")
    assert "least = 2" in study.problems["intents"]
    assert study.table("experiment").height == 2


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


def stitched(folder: Path, **chosen: Any) -> tuple[Study, pl.DataFrame, pl.DataFrame]:
    """Every fourth customer comes first by a second device of an own id; profiles name the ids as they were before stitching."""
    log, profiles = make_customers()
    number = pl.col("customer_id").str.slice(1).cast(pl.Int64)
    second = (number % 4 == 0) & (pl.col("event") == "sign_up")
    log = log.with_columns(login="customer_id", device=pl.when(second).then(pl.format("d{}", number)).otherwise(pl.format("e{}", number)))
    known = log.filter(second).with_columns(event=pl.lit("look"), timestamp=pl.col("timestamp") + timedelta(hours=1))  # here both are seen together
    log = pl.concat([log.with_columns(customer_id=pl.when(second).then("device").otherwise("customer_id")), known])
    devices = profiles.filter(number % 4 == 0).with_columns(customer_id=pl.format("d{}", number), group=pl.lit("mail"))
    both = pl.concat([devices, profiles])
    asked: dict[str, Any] = {"start": ("sign_up",), "outcome": ("purchase",), "outcome_within_days": 14.0} | chosen
    settings = Settings(study=StudySettings(as_of=BEGIN + timedelta(days=80)), identity=IdentitySettings(keys=("login", "device")), experiments=ExperimentSettings(**asked))
    return run_stages(STAGES, settings, log, folder / "study", profiles=both), log, both


def test_a_customer_whose_ids_are_joined_stays_withheld_and_does_not_count_with_two_arms(tmp_path: Path) -> None:
    study, _, _ = stitched(tmp_path, arm="group")
    _, before = make_customers()
    own = dict(before.select("customer_id", "group").iter_rows())
    followed = study.table("followed_arms")
    assert dict(followed.select("customer_id", "arm").iter_rows()) == own  # control wins over the device's mail
    mixed = {who for who, arm in own.items() if arm == "control" and int(who[1:]) % 4 == 0}
    assert set(followed.filter("mixed")["customer_id"]) == mixed
    summary = study.table("experiment_summary").row(0, named=True)
    told = followed.filter("whole", "mixed").height
    assert (summary["mixed_arms"], summary["n"], summary["not_followed"]) == (told, 1800 - told, 200)
    assert any(f"{told} customers have ids in different arms" in note for note in summary["notes"])
    assert study.table("profiles").filter(customer_id="c00004")["source_customer_id"].to_list() == ["d4", "c00004"]


def test_arms_dealt_by_hash_are_those_of_the_ids_before_they_were_joined(tmp_path: Path) -> None:
    study, log, _ = stitched(tmp_path, salt="spring", shares=("control=1", "mail=1"))
    ids = pl.DataFrame({"customer_id": sorted({*log["customer_id"], *(f"d{n}" for n in range(0, 2000, 4))})})
    dealt = dict(deal_arms(ids, {"control": 1, "mail": 1}, "spring").select("customer_id", "arm").iter_rows())
    for row in study.table("followed_arms").iter_rows(named=True):
        number = int(row["customer_id"][1:])
        arms = {dealt[row["customer_id"]]} | ({dealt[f"d{number}"]} if number % 4 == 0 else set())
        assert (row["arm"], row["mixed"]) == (min(arms), len(arms) > 1)


def test_an_id_that_could_be_two_customers_is_refused_before_profiles_are_joined(tmp_path: Path) -> None:
    log, profiles = make_customers()
    twice = log.with_columns(login="customer_id", device=pl.when(pl.col("customer_id") == "c00001").then(pl.lit("c00000")))
    settings = Settings(identity=IdentitySettings(keys=("login", "device")))
    with pytest.raises(SettingError, match=r"customer_key.*several keys"):
        run_stages(set(), settings, twice, tmp_path / "study", profiles=profiles)
    chosen = Settings(identity=IdentitySettings(keys=("login", "device"), customer_key="login"))
    assert run_stages(set(), chosen, twice, tmp_path / "study", profiles=profiles).table("profiles").height == profiles.height
