"""Columns known too late: agreement with plain pairs and scipy, null data, planted leaks, and real data that nobody dealt."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import mannwhitneyu

from motkit.errors import DesignError, SchemaError
from motkit.experiments import compare_arms
from motkit.frequency import frequency_response
from motkit.late_columns import area_of, find_late_columns
from motkit.uplift_models import uplift


def test_the_area_is_that_of_all_pairs_in_either_direction() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        outcome, values = (rng.random(80) < 0.3).astype(float), rng.integers(0, 6, 80).astype(float)
        u = mannwhitneyu(values[outcome == 1], values[outcome == 0]).statistic / (outcome.sum() * (1 - outcome).sum())
        assert area_of(values, outcome)[0] == pytest.approx(max(u, 1 - u))
        assert area_of(-values, outcome) == pytest.approx(area_of(values, outcome))


def test_the_interval_holds_where_the_area_is_known() -> None:
    rng, covered = np.random.default_rng(2), []
    for _ in range(300):
        outcome = (rng.random(400) < 0.3).astype(float)
        area, error = area_of(rng.normal(outcome, 1), outcome)
        covered.append(abs(area - 0.7602499) < 1.96 * error)  # normal law at 1 / sqrt(2)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def draw(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    yes = rng.random(n) < 0.12
    names = [f"n{k}" for k in rng.integers(0, n // 3, n)]  # rare values, which would foretell themselves
    return pl.DataFrame({"yes": yes, "age": rng.normal(40, 10, n), "name": names, "job": [("a", "b", None)[k] for k in rng.integers(0, 3, n)], "call_s": rng.gamma(2, 100, n) + 350 * yes, "sent": rng.random(n) < 0.5})


def test_only_the_planted_leak_is_suspect_and_rare_texts_are_not() -> None:
    for seed in range(20):
        table = draw(2000, seed)
        found = find_late_columns(table, "yes", ["age", "name", "job", "call_s"])
        assert found.filter("suspect")["column"].to_list() == ["call_s"]
        assert found.filter(pl.col("column") == "name")["area"].item() < 0.6


def test_who_responds_asks_about_a_suspect_column() -> None:
    table = draw(4000, 3)
    assert "Look at 'call_s'" in uplift(table, "sent", "yes", ["age", "call_s"]).reading
    assert "Look at" not in uplift(table, "sent", "yes", ["age", "job"]).reading


def test_bad_input_is_told() -> None:
    with pytest.raises(SchemaError, match=r"missing \['shop'\]"):
        find_late_columns(draw(50, 1), "yes", ["shop"])
    with pytest.raises(DesignError, match="is not 0 for some"):
        find_late_columns(draw(50, 1), "age", ["sent"])


# Real data that nobody dealt


@pytest.fixture
def bank(real_data: Path) -> pl.DataFrame:
    """Calls that offer a deposit: `yes`, `campaign` (calls, the last included) and what is known of the customer."""
    table = pl.read_csv(real_data / "bank_additional_full.csv.gz", separator=";", infer_schema_length=50_000)
    return table.with_columns(yes=pl.col("y") == "yes", calls=pl.col("campaign").clip(1, 8))


@pytest.mark.data
def test_of_the_banks_columns_only_the_length_of_the_call_is_suspect(bank: pl.DataFrame) -> None:
    columns = [name for name in bank.columns if name not in ("y", "yes", "calls")]
    found = find_late_columns(bank, "yes", columns)
    assert found.filter("suspect")["column"].to_list() == ["duration"]
    assert found["area"][0] == pytest.approx(0.818, abs=0.001)
    assert found["area"][1] < 0.75
    assert bank.filter(pl.col("duration") == 0)["yes"].sum() == 0  # who was not spoken with cannot say yes


@pytest.mark.data
def test_the_banks_curve_of_calls_is_confounded_by_calls_that_stop_at_yes(bank: pl.DataFrame) -> None:
    why = ["calls stop once a customer has said yes, so many calls mean not yet"]
    found = frequency_response(bank, "calls", ["yes"], randomised=False, before="previous", confounded_by=why)
    assert found.reading.startswith("Confounded")
    assert f"Known reasons: {why[0]}." in found.reading
    assert "those with 8 contacts had 0.170 less than those with 1" in found.reading
    assert found.best_cap is None
    assert found.table["value"].round(4).to_list() == [0.1304, 0.1146, 0.1075, 0.0939, 0.0750, 0.0766, 0.0604, 0.0411]
    assert found.table["n"].sum() == 41_188
    said_at = [bank.filter((pl.col("campaign") == k) & pl.col("yes")).height / bank.filter(pl.col("campaign") >= k).height for k in (1, 2, 3)]
    assert said_at == pytest.approx([0.0558, 0.0514, 0.0442], abs=5e-5)  # of those still to be asked, far from 13 %


@pytest.mark.data
@pytest.mark.parametrize(("campaign", "before", "crude"), [(8, 12.4, 11.2), (13, 12.5, 11.0), (18, 12.9, 14.9)])
def test_households_with_a_campaign_bought_more_already_before_it(real_data: Path, campaign: int, before: float, crude: float) -> None:
    folder, own = real_data / "completejourney", pl.col("campaign_id") == campaign
    start, end = pl.read_parquet(folder / "campaign_descriptions.parquet").filter(own).select(pl.col("start_date", "end_date").str.to_date()).row(0)
    reached = pl.read_parquet(folder / "campaigns.parquet").filter(own)["household_id"]
    bought = pl.read_parquet(folder / "transactions_sample.parquet").with_columns(day=pl.col("transaction_timestamp").str.head(10).str.to_date())
    windows = {"before": (start - (end - start) - timedelta(days=1), start - timedelta(days=1)), "spend": (start, end)}
    sums = {name: pl.col("sales_value").filter(pl.col("day").is_between(*days)).sum() for name, days in windows.items()}
    homes = bought.group_by("household_id").agg(**sums).with_columns(arm=pl.when(pl.col("household_id").is_in(reached.implode())).then(pl.lit("campaign")).otherwise(pl.lit("none")))
    plain = compare_arms(homes, "arm", "spend", "none", kind="mean", randomised=False)
    found = compare_arms(homes, "arm", "spend", "none", kind="mean", covariate="before", randomised=False, confounded_by=["campaigns went to good customers"])
    assert plain.table["difference"][1] == pytest.approx(crude, abs=0.05)
    assert found.table["difference"][1] < 0.5 * crude  # still not what the campaign did
    assert f"Already before (before) campaign had {before} more than none" in found.reading
    assert "Known reasons: campaigns went to good customers." in found.reading
    assert found.table["n"].sum() == 1188


@pytest.mark.data
def test_more_campaigns_go_with_more_spending_and_are_called_confounded(real_data: Path) -> None:
    folder = real_data / "completejourney"
    counts = pl.read_parquet(folder / "campaigns.parquet").group_by("household_id").len(name="campaigns")
    homes = pl.read_parquet(folder / "transactions_sample.parquet").group_by("household_id").agg(spend=pl.col("sales_value").sum())
    table = homes.join(counts, on="household_id", how="left").with_columns(pl.col("campaigns").fill_null(0).clip(0, 8))
    found = frequency_response(table, "campaigns", ["spend"], randomised=False)
    assert found.reading.startswith("Confounded")
    assert found.table["value"].is_sorted()
    assert found.table["value"][-1] / found.table["value"][0] > 7
