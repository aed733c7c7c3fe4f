"""Holdouts, frequency, uplift, off-policy values and roll-outs: worked examples, planted truth, null data, refusals."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import DesignError, LedgerError, SchemaError, SettingError, StudyError
from motkit.frequency import _isotonic, frequency_response
from motkit.holdouts import holdout, merge_holdouts
from motkit.ledger import Ledger
from motkit.off_policy import off_policy_value
from motkit.qini_curves import qini
from motkit.rollout import (
    ROLLOUTS,
    Programme,
    RolloutStage,
    add_stage,
    gather_rollouts,
    read_programme,
    read_rollouts,
    rollout_table,
    write_programme,
    write_rollout,
)
from motkit.uplift_models import uplift

REFERENCE = Path(__file__).parent / "reference" / "experiments"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def expected(name: str) -> Any:
    return json.loads((REFERENCE / f"{name}.json").read_text())


# Holdouts


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=30, unique=True), st.floats(0.01, 0.4), st.floats(0.41, 0.9))
def test_levels_are_nested_and_growth_of_the_population_changes_nobody(ids: list[str], narrow: float, wide: float) -> None:
    people = pl.DataFrame({"customer_id": ids})
    both, one = (holdout(people, shares, "s") for shares in ({"all": narrow, "mail": wide}, {"all": narrow}))
    assert (both["held_out"] == "all").fill_null(False).to_list() == (one["held_out"] == "all").fill_null(False).to_list()
    assert holdout(people.head(1), {"all": narrow, "mail": wide}, "s")["held_out"][0] == both["held_out"][0]


def test_shares_are_met_and_salts_are_independent() -> None:
    people = pl.DataFrame({"customer_id": [f"c{n}" for n in range(50_000)]})
    one, other = (holdout(people, {"all": 0.1}, salt)["held_out"].is_not_null().to_numpy() for salt in ("2026", "2027"))
    assert one.mean() == pytest.approx(0.1, abs=0.005)
    assert (one & other).mean() == pytest.approx(0.01, abs=0.002)


def test_a_merge_keeps_held_out_and_is_flagged() -> None:
    dealt = pl.DataFrame({"customer_id": ["a", "b", "c", "d"], "held_out": [None, "mail", "all", "mail"]})
    merged = pl.DataFrame({"customer_id": ["a", "b", "c"], "into": ["x", "x", "x"]})
    assert merge_holdouts(dealt, merged, ["all", "mail"]).rows() == [("d", "mail", False), ("x", "all", True)]
    with pytest.raises(SettingError, match="missing"):
        merge_holdouts(dealt, merged, ["all"])


# Frequency


def test_the_smooth_curve_is_the_closest_that_never_falls() -> None:
    assert _isotonic([1.0, 3.0, 2.0, 4.0], [1, 1, 1, 1], True) == [1.0, 2.5, 2.5, 4.0]


def test_the_planted_cap_is_found_and_without_effect_no_contact_pays() -> None:
    rng = np.random.default_rng(1)
    caps = rng.choice([0, 1, 2, 4], 60_000)
    table = pl.DataFrame({"cap": caps, "bought": rng.random(60_000) < 0.05 + 0.03 * np.minimum(caps, 1), "nothing": rng.random(60_000) < 0.05})
    found = frequency_response(table, "cap", ["bought"], {"bought": 10.0}, cost_per_contact=0.02)
    assert found.best_cap == 1.0
    net = table.with_columns(net=10 * pl.col("bought") - 0.02 * pl.col("cap"))
    means = net.group_by("cap").agg(pl.col("net").mean()).sort("cap")["net"]
    steps = found.marginal.filter(pl.col("outcome") == "net")["per_contact"]
    assert steps.to_list() == pytest.approx([means[1] - means[0], means[2] - means[1], (means[3] - means[2]) / 2])
    assert frequency_response(table, "cap", ["nothing"], {"nothing": 10.0}, cost_per_contact=0.02).best_cap == 0.0
    assert frequency_response(table, "cap", ["bought"], {"bought": 10.0}, randomised=False).best_cap is None


def test_several_outcomes_have_a_marginal_value_of_the_next_contact_with_an_interval_that_holds() -> None:
    covered = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        caps = rng.choice([0, 2, 4], 1500)
        draws = {"bought": 0.2 + 0.02 * caps, "opt_out": 0.02 * caps, "complaint": np.full(1500, 0.05)}
        table = pl.DataFrame({"cap": caps} | {name: rng.random(1500) < p for name, p in draws.items()})
        found = frequency_response(table, "cap", list(draws), {"bought": 10.0, "opt_out": -5.0, "complaint": -20.0}, cost_per_contact=0.03)
        truth = pl.DataFrame({"outcome": ["bought", "opt_out", "complaint", "net"], "truth": [0.02, 0.02, 0.0, 10 * 0.02 - 5 * 0.02 - 0.03]})
        both = found.marginal.join(truth, on="outcome")
        covered.append(both.select((pl.col("truth") >= pl.col("ci_low")) & (pl.col("truth") <= pl.col("ci_high"))).to_series().mean())
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
    assert [part in found.reading for part in ("bought: from 0 to 2", "opt_out: from 0 to 2", "complaint: from 0 to 2")] == [True] * 3


def test_a_curve_that_chance_did_not_deal_names_its_reasons_and_how_customers_differed_before() -> None:
    rng = np.random.default_rng(7)
    calls = rng.integers(1, 5, 4000)
    table = pl.DataFrame({"calls": calls, "bought": rng.random(4000) < 0.2, "before": rng.normal(calls * 0.5, 1)})
    found = frequency_response(table, "calls", ["bought"], randomised=False, before="before", confounded_by=["calls stop once a customer has said yes"])
    assert found.reading.startswith("Confounded")
    assert "Known reasons: calls stop once a customer has said yes." in found.reading
    means = table.group_by("calls").agg(pl.col("before").mean()).sort("calls")["before"]
    assert f"had {means[3] - means[0]:.3f} more than those with 1" in found.reading
    with pytest.raises(SchemaError, match=r"`values` names \['sold'\]"):
        frequency_response(table, "calls", ["bought"], {"sold": 1.0})


# Uplift


@pytest.mark.parametrize("case", expected("qini_tiny"), ids=lambda case: case["name"])
def test_the_curve_and_its_area_are_those_of_the_worked_example(case: dict[str, Any]) -> None:
    found = qini(pl.DataFrame({"score": case["score"], "treated": case["t"], "outcome": case["y"]}))
    assert found.curve["customers"].to_list() == case["qini_x"]
    assert found.curve["incremental"].to_list() == pytest.approx(case["qini_y"])
    assert (found.area, found.area_random, found.coefficient) == pytest.approx((case["area_qini"], case["area_random"], case["qini_coefficient_raw"]))
    assert found.effect == pytest.approx(case["ate"])


def draw_test(n: int, seed: int, differ: float) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, sent = rng.normal(size=n), rng.integers(0, 2, n)
    bought = rng.random(n) < np.clip(0.2 + 0.05 * x + sent * (0.03 + differ * x), 0, 1)
    return pl.DataFrame({"x": x, "plan": [(None, "a", "b")[k] for k in rng.integers(0, 3, n)], "sent": sent, "bought": bought})


@pytest.mark.parametrize("method", ["two-model", "interaction"])
def test_planted_differences_are_found_and_tenths_are_right(method: str) -> None:
    found = uplift(draw_test(20_000, 2, 0.08), "sent", "bought", ["x", "plan"], method=method)
    assert found.worth_choosing
    assert found.qini.coefficient > 0
    inside = found.tenths.select(((pl.col("predicted") >= pl.col("ci_low")) & (pl.col("predicted") <= pl.col("ci_high"))).mean()).item()
    assert inside >= 0.7
    assert found.rules["against_all"].to_list()[1] == 0


def test_where_all_respond_alike_choosing_is_called_worth_it_in_at_most_one_of_twenty() -> None:
    found = [uplift(draw_test(3000, seed, 0.0), "sent", "bought", ["x", "plan"]) for seed in range(60)]
    assert np.mean([one.worth_choosing for one in found]) <= 0.05
    assert abs(np.mean([one.qini.coefficient for one in found])) < 2.5 * np.std([one.qini.coefficient for one in found]) / 60**0.5


def test_households_are_scored_together_and_their_sums_vary() -> None:
    rng = np.random.default_rng(3)
    home, kind = np.repeat(np.arange(1500), 2), np.repeat(rng.random(1500), 2)
    table = draw_test(3000, 3, 0.06).with_columns(home=pl.Series(home).cast(pl.String), sent=pl.Series(np.repeat(rng.integers(0, 2, 1500), 2)))
    table = table.with_columns(bought=pl.Series(kind) < 0.2 + 0.05 * pl.col("x") + pl.col("sent") * (0.03 + 0.06 * pl.col("x")))
    found, alone = (uplift(table.lazy(), "sent", "bought", ["x"], cluster=c) for c in ("home", None))
    t, y, share = table["sent"].to_numpy(), table["bought"].to_numpy().astype(float), table["sent"].mean()
    each = t / share * (y - y[t == 1].mean())  # everybody contacted: a plain mean of the treated
    sums = np.array([each[home == h].sum() for h in range(1500)])
    wanted = 1.959964 * (1500 / 1499 * (sums**2).sum()) ** 0.5 / 3000
    row = found.rules.row(1, named=True)
    assert (row["value"], row["ci_high"] - row["value"]) == pytest.approx((y[t == 1].mean(), wanted))
    assert row["ci_high"] - row["ci_low"] > 1.2 * (alone.rules["ci_high"][1] - alone.rules["ci_low"][1])
    assert found.rules["against_nobody"][0] == 0


def test_the_value_of_a_rule_lies_in_its_interval_in_nineteen_of_twenty_tests() -> None:
    from motkit.uplift_models import _rules

    rng, inside, n = np.random.default_rng(6), [], 500
    for _ in range(800):
        x, t = rng.random(n), (rng.random(n) < 0.3).astype(float)
        y = (rng.random(n) < 0.2 + 0.3 * t * x).astype(float)
        rules = _rules(0.3 * x, t, y, np.arange(n), 1.0, 0.15, 1.959964)
        truth = (0.2, 0.2, 0.2375)  # nobody; all: 0.35 - 0.15; those with x above a half: 0.2 + half of (0.3 * 0.75 - 0.15)
        inside.append([low <= v <= high for v, low, high in zip(truth, rules["ci_low"], rules["ci_high"], strict=True)])
    assert np.mean(inside, axis=0) == pytest.approx([0.95] * 3, abs=0.023)


def test_the_reading_of_a_rule_has_no_needless_digits_and_money_where_money_is_named() -> None:
    table = draw_test(6000, 5, 0.0)
    alike = uplift(table, "sent", "bought", ["x", "plan"])
    assert "outcomes per 100 customers" in alike.reading
    assert not re.search(r"\d\.\d{3}", alike.reading)
    dear = uplift(table, "sent", "bought", ["x", "plan"], value=1.0, cost=0.5)
    assert dear.reading.startswith("Contact nobody: that brings")
    assert "per customer than contacting all" in dear.reading


def test_too_small_a_test_is_refused() -> None:
    with pytest.raises(DesignError, match="fewer than 20"):
        uplift(draw_test(60, 3, 0.0), "sent", "bought", ["x"])
    with pytest.raises(SettingError, match="folds"):
        uplift(draw_test(600, 3, 0.0), "sent", "bought", ["x"], folds=1)
    own = draw_test(600, 3, 0.0).with_columns(who=pl.int_range(pl.len()).cast(pl.String), home=pl.when(pl.int_range(pl.len()) > 5).then(pl.lit("h")))
    with pytest.raises(SchemaError, match=r"missing `town`; `who` has 600 different values, needs at most 50; 6 customers have no `home`"):
        uplift(own, "sent", "bought", ["x", "town", "who"], cluster="home")


# Off-policy values


def test_values_are_those_of_the_worked_example_and_chance_logs_give_the_truth() -> None:
    case = expected("ope_tiny")
    rows = [{"reward": r["r"], "propensity": r["p"], "target": case["target_policy"][r["a"]], "fitted": case["reward_model"][r["a"]]} for r in case["log"]]
    log = pl.DataFrame(rows).with_columns(direct=pl.lit(sum(a * b for a, b in zip(case["target_policy"], case["reward_model"], strict=True))))
    found = dict(off_policy_value(log, direct="direct", fitted="fitted").table.select("method", "value").rows())
    assert [found[name] for name in ("IPS", "SNIPS", "direct model", "DR")] == pytest.approx([case[name] for name in ("IPS", "SNIPS", "DM", "DR")])
    rng, covered = np.random.default_rng(4), []
    for _ in range(200):
        action = rng.integers(0, 4, 1500)
        reward = (rng.random(1500) < 0.1 + 0.1 * action).astype(float)
        row = off_policy_value(pl.DataFrame({"reward": reward, "propensity": 0.25, "target": np.array([0, 0, 0.5, 0.5])[action]})).table.row(0, named=True)
        covered.append(row["ci_low"] <= 0.35 <= row["ci_high"])
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)


def test_a_log_that_hardly_tried_is_not_trusted_and_one_without_chances_is_refused() -> None:
    log = pl.DataFrame({"reward": [1.0] * 200, "propensity": [0.99] * 199 + [0.01], "target": [0.0] * 199 + [1.0]})
    assert not off_policy_value(log).trustworthy
    assert "Not trustworthy" in off_policy_value(log, unsupported=0.3).reading
    with pytest.raises(DesignError, match="not known"):
        off_policy_value(log.drop("propensity"))
    with pytest.raises(DesignError, match="outside 0 to 1"):
        off_policy_value(log.with_columns(propensity=pl.lit(0.0)))
    with pytest.raises(SchemaError, match="not given together"):
        off_policy_value(log, direct="target")
    with pytest.raises(SchemaError, match="missing"):
        off_policy_value(log, direct="model", fitted="target")
    with pytest.raises(SettingError, match="confidence"):
        off_policy_value(log, confidence=2)


# Roll-outs


def test_a_programme_grows_only_with_results_and_its_file_only_grows(tmp_path: Path) -> None:
    pilot = RolloutStage("pilot", 0.05, "two shops", metrics=("sales",), stop_rule="complaints double")
    programme = add_stage(Programme("callback"), pilot, NOW)
    with pytest.raises(DesignError, match="is not followed by expand"):
        add_stage(programme, RolloutStage("expand", 0.5, "all"), NOW)
    measured = add_stage(programme, RolloutStage("measure", 0.05, "two shops"), NOW)
    with pytest.raises(DesignError, match="without a result"):
        add_stage(measured, RolloutStage("expand", 0.5, "all"), NOW)
    with pytest.raises(SettingError, match="stop rule"):
        add_stage(Programme("x"), RolloutStage("pilot", 0.05, "two shops"), NOW)
    file = write_programme(measured, tmp_path / "callback.jsonl")
    assert read_programme(file) == measured
    assert write_programme(measured, file).read_text().count("\n") == 2
    file.write_text(file.read_text() + "not a stage\n")
    with pytest.raises(StudyError, match="line 3"):
        read_programme(file)


def grown() -> Programme:
    """A programme that was piloted, measured and expanded."""
    pilot = RolloutStage("pilot", 0.05, "two shops", {"agents": "call back within an hour", "head of service": "reads complaints daily"}, ("callbacks kept", "complaints"), "telephone", "complaints double")
    measured = RolloutStage("measure", 0.05, "two shops", result="kept +12 points (95% interval 8 to 16, n = 1,420)", decision="expand")
    programme = Programme("callback")
    for day, stage in enumerate((pilot, measured, RolloutStage("expand", 0.5, "all shops"))):
        programme = add_stage(programme, stage, NOW + timedelta(days=day))
    return programme


def test_a_ledger_gives_programmes_back_as_they_were_and_never_changes_a_stage(tmp_path: Path) -> None:
    ledger, programme = Ledger(f"sqlite:///{tmp_path}/ledger.db"), grown()
    assert write_rollout(ledger, Programme("callback", programme.stages[:2])) == 2
    assert write_rollout(ledger, programme) == 1
    assert write_rollout(ledger, programme) == 0
    other = Programme("leaflet", programme.stages[:1])
    write_rollout(ledger, other)
    assert read_rollouts(ledger) == (programme, other)
    assert [entry.at for entry in ledger.entries(["rollout"], ref="callback")] == [round((NOW + timedelta(days=day)).timestamp() * 1e6) for day in range(3)]
    with pytest.raises(LedgerError, match="another stage 1"):
        write_rollout(ledger, Programme("callback", programme.stages[1:]))
    table = rollout_table(read_rollouts(ledger))
    assert table.schema == ROLLOUTS
    row = table.row(0, named=True)
    assert row["roles"] == "agents: call back within an hour; head of service: reads complaints daily"
    assert (row["participants"], row["metrics"], row["technology"], row["phase"], row["share"], row["stop_rule"]) == ("two shops", "callbacks kept, complaints", "telephone", "pilot", 0.05, "complaints double")
    assert table["decision"].to_list() == ["", "expand", "", ""]
    assert ledger.export_events().height == 0
    ledger.close()


def test_roll_outs_are_gathered_from_a_ledger_a_file_or_a_table_alike(tmp_path: Path) -> None:
    ledger, programme = Ledger(f"sqlite:///{tmp_path}/ledger.db"), grown()
    write_rollout(ledger, programme)
    whole = rollout_table([programme])
    sources = [ledger, f"sqlite:///{tmp_path}/ledger.db", tmp_path / "ledger.db", write_programme(programme, tmp_path / "callback.jsonl"), whole.with_columns(more=1)]
    for source in sources:
        assert gather_rollouts(source).equals(whole)
    with pytest.raises(StudyError, match="no such ledger"):
        gather_rollouts(tmp_path / "nowhere.db")
    with pytest.raises(SchemaError, match="missing"):
        gather_rollouts(whole.drop("phase"))
    with pytest.raises(SchemaError, match="lacks"):
        ledger.append("rollout", "", NOW, {"programme": "callback"})
    assert rollout_table([]).schema == ROLLOUTS
    ledger.close()
