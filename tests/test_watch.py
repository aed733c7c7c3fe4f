"""Charts against published run lengths and plain sums, at their stated rate of false alarms; planted and documented changes are flagged."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from motkit.charts import (
    count_log_ratios,
    cusum,
    run_learning_chart,
    share_log_ratios,
    shiryaev_roberts,
    survival_cusum,
)
from motkit.errors import DesignError, SchemaError, SettingError
from motkit.events import read_events
from motkit.promise_outcomes import CASES
from motkit.promise_register import Promise
from motkit.run_lengths import cusum_arl, cusum_limit, ewma_arl, ewma_limit, survival_cusum_arl, survival_cusum_limit
from motkit.schema import EVENTS
from motkit.store import write_store
from motkit.watch import Watch, watch, watch_series
from motkit.watch_counts import COVERAGE, DailySeries
from motkit.watch_promises import timing_series
from motkit.watch_validation import validate_watch

ROOT = Path(__file__).parent.parent
ARL = json.loads((ROOT / "tests" / "reference" / "run_lengths" / "arl.json").read_text())
START = date(2026, 1, 5)


def test_run_lengths_of_cusum_and_ewma_are_the_published_ones() -> None:
    for row in ARL["cusum"]:
        assert cusum_arl(row["k"], row["h"], row["shift"]) == pytest.approx(row["arl_two_sided"], rel=0.005)
    for row in ARL["ewma"]:
        assert ewma_arl(row["lam"], row["L"], row["shift"]) == pytest.approx(row["arl"], rel=0.005)


def test_run_lengths_and_limits_are_those_of_the_r_package_spc() -> None:
    known = ARL["r"]
    for h, name in ((4, "cusum_two_k05_h4"), (5, "cusum_two_k05_h5")):
        assert [cusum_arl(0.5, h, shift) for shift in known["mu"]] == pytest.approx(known[name], rel=1e-3)
    assert [ewma_arl(0.2, 2.86, shift) for shift in known["mu"]] == pytest.approx(known["ewma_l02_c286"], rel=1e-3)
    assert cusum_limit(0.5, 370) == pytest.approx(known["h_two_k05_ARL370"], rel=1e-3)
    assert cusum_limit(0.5, 500, two_sided=False) == pytest.approx(known["h_one_k05_ARL500"], rel=1e-3)
    assert cusum_limit(0.25, 500) == pytest.approx(known["h_two_k025_ARL500"], rel=1e-3)
    assert ewma_limit(0.1, 500) == pytest.approx(known["ewma_crit_l01_ARL500"], rel=1e-3)


def run_cusum(chance: np.random.Generator, ratio: float, h: float, truth: float, runs: int) -> float:
    """Mean expected events until a survival CUSUM that is looked at all the time speaks, by following its paths."""
    statistic, spent, done = np.zeros(runs), np.zeros(runs), np.full(runs, np.nan)
    while np.isnan(done).any():
        gap = chance.exponential(1 / truth, runs)
        before = np.maximum(0, statistic - (ratio - 1) * gap)
        crossed = np.isnan(done) & (before >= h)
        done[crossed] = spent[crossed] + (h - statistic[crossed]) / (1 - ratio)
        statistic, spent = np.maximum(0, before + np.log(ratio)), spent + gap
        jumped = np.isnan(done) & (statistic >= h)
        done[jumped] = spent[jumped]
    return float(done.mean())


@pytest.mark.parametrize(("ratio", "h"), [(1.5, 3), (2, 4), (2 / 3, 3), (0.5, 4)])
def test_run_lengths_of_the_survival_cusum_are_those_of_its_paths(ratio: float, h: float) -> None:
    chance = np.random.default_rng(8)
    assert survival_cusum_arl(ratio, h) == pytest.approx(run_cusum(chance, ratio, h, 1.0, 2500), rel=0.08)
    assert survival_cusum_arl(ratio, h, ratio) == pytest.approx(run_cusum(chance, ratio, h, ratio, 2500), rel=0.08)
    assert survival_cusum_arl(ratio, survival_cusum_limit(ratio, 400)) == pytest.approx(400, rel=1e-4)


def test_the_survival_cusum_as_a_table_has_its_run_length() -> None:
    chance, runs = np.random.default_rng(9), []
    for _ in range(300):
        gaps = chance.exponential(1, 600)
        looks = survival_cusum(np.tile([0.0, 1.0], 600), np.column_stack([gaps, 0 * gaps]).ravel(), ratio=2, threshold=3)
        runs.append(looks["expected"].cum_sum()[looks["alarm"].arg_max() or 0])
    assert np.mean(runs) == pytest.approx(survival_cusum_arl(2, 3), rel=0.15)


def test_a_cusum_is_that_of_a_loop() -> None:
    values = np.random.default_rng(1).standard_normal(300) + 0.3
    chart = cusum(values, reference=0.4, threshold=4, restart=False)
    sums = [max(max(values[start : end + 1].sum() - 0.4 * (end + 1 - start) for start in range(end + 1)), 0) for end in range(300)]
    assert np.allclose(chart["high"], sums)


@pytest.mark.parametrize("size", [np.inf, 8.0])
def test_shiryaev_roberts_is_the_sum_over_all_changes_that_could_have_been(size: float) -> None:
    chance = np.random.default_rng(2)
    counts, expected = chance.poisson(6, 30), np.full(30, 5.0)
    steps = count_log_ratios(counts.astype(float), expected, [0.7, 1.4], size)
    direct = [np.mean([sum(np.exp(steps[start : end + 1, r].sum()) for start in range(end + 1)) for r in range(2)]) for end in range(30)]
    assert np.allclose(shiryaev_roberts(counts, expected, [0.7, 1.4], threshold=1e9, size=size)["statistic"], direct)


def test_a_chart_with_an_unknown_reference_averages_over_what_it_may_be() -> None:
    chance = np.random.default_rng(3)
    counts, expected, factors, ratios = chance.poisson(6, 25).astype(float), np.full(25, 5.0), np.array([0.8, 1.0, 1.25]), [0.5, 2.0]
    same = count_log_ratios(counts, expected, factors.tolist())
    other = count_log_ratios(counts, expected, np.outer(ratios, factors).ravel().tolist()).reshape(25, 2, 3)
    prior = np.array([0.2, 0.5, 0.3])
    direct = []
    for end in range(1, 26):
        null = prior @ np.exp(same[:end].sum(axis=0))
        changed = [[prior @ np.exp(same[:start].sum(axis=0) + other[start:end, r].sum(axis=0)) for start in range(end)] for r in range(2)]
        direct.append(np.mean([sum(row) for row in changed]) / null)
    assert np.allclose(run_learning_chart(same, other, prior, 1e9)[0], direct)


@pytest.mark.parametrize(("rate", "ratio"), [(20, 1.25), (20, 1.2), (100, 1.1)])
def test_shiryaev_roberts_speaks_falsely_no_sooner_than_it_says_and_truly_within_days(rate: float, ratio: float) -> None:
    chance, false, true = np.random.default_rng(4), [], []
    for _ in range(80):
        alarms = shiryaev_roberts(chance.poisson(rate, 1500), np.full(1500, float(rate)), ratio, threshold=60)["alarm"]
        false.append((alarms.arg_max() or 0) + 1 if alarms.any() else 1500)
        true.append((shiryaev_roberts(chance.poisson(rate * ratio, 300), np.full(300, float(rate)), ratio, threshold=365)["alarm"].arg_max() or 0) + 1)
    assert np.mean(false) >= 60
    assert np.mean(true) < 20


def draw_series(chance: np.random.Generator, kind: str, days: int) -> DailySeries:
    """A series in which nothing changes: weekly rhythm, more spread than chance, shares or a mix."""
    week = np.where(np.arange(days) % 7 >= 5, 0.5, 1.2)
    if kind == "mix":
        seen = chance.poisson(np.outer(week, [6, 4, 2])).astype(float)
        return DailySeries("m", "mix", "", START, ("a", "b", "c"), seen, np.ones_like(seen))
    if kind == "kept":
        of = chance.poisson(8 * week).astype(float)
        return DailySeries("m", "kept", "", START, ("all",), chance.binomial(of.astype(int), 0.8)[:, None].astype(float), of[:, None])
    mean = {"rate": 12.0, "spread": 12.0, "few": 0.7}[kind] * week
    counts = chance.poisson(chance.gamma(9, mean / 9) if kind == "spread" else mean)
    return DailySeries("m", "rate", "", START, ("all",), counts[:, None].astype(float), np.ones((days, 1)))


@pytest.mark.parametrize("kind", ["rate", "spread", "few", "kept", "mix"])
def test_false_alarms_stay_within_the_stated_rate_when_nothing_changes(kind: str) -> None:
    chance, runs, days, between = np.random.default_rng(6), 150, 180, 200.0
    nothing = pl.DataFrame(schema=COVERAGE)
    results = [watch_series([draw_series(chance, kind, days)], nothing, 90, between) for _ in range(runs)]
    stated = results[0].false_alarm_rate
    assert stated == pytest.approx(90 / 200)
    share = np.mean([result.alarms.height > 0 for result in results])
    assert share <= stated
    assert all(result.charts["note"][0] == "" for result in results)


def test_shuffled_days_give_no_more_than_the_stated_share_of_alarms() -> None:
    events = pl.read_parquet(ROOT / "data" / "demo_events.parquet", columns=["timestamp", "event"])
    names = ["payment_failed", "feedback", "refund_promised", "support_call", "review_read", "store_event"]
    days = pl.date_range(date(2025, 1, 1), date(2025, 12, 31), "1d", eager=True)
    counted = events.filter(pl.col("event").is_in(names)).group_by(moment="event", day=pl.col("timestamp").dt.date()).agg(n=pl.len())
    chance, flagged = np.random.default_rng(7), []
    for _ in range(40):
        shuffled = counted.with_columns(day=pl.col("day").replace_strict(days, days.gather(chance.permutation(len(days)))))
        flagged.append(watch(shuffled, by=None, days_between_false_alarms=1000).alarms.height > 0)
    assert np.mean(flagged) <= 275 / 1000


def make_log(chance: np.random.Generator, days: int, rates: dict[tuple[str, str], Any]) -> pl.DataFrame:
    """Events of 60 customers at a daily rate by event and channel."""
    parts = []
    for (event, channel), rate in rates.items():
        day = np.repeat(np.arange(days), chance.poisson(np.broadcast_to(rate, days)))
        who = chance.integers(0, 60, len(day))
        at = pl.Series(day * 86_400_000_000 + chance.integers(0, 86_400_000_000, len(day)), dtype=pl.Int64).cast(pl.Duration("us"))
        columns = {"customer_id": pl.Series(who).cast(pl.String), "timestamp": pl.lit(START).cast(EVENTS["timestamp"]) + at, "event": pl.lit(event)}
        own = pl.DataFrame({"at": at}).select(**columns, channel=pl.lit(channel), value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))
        parts.append(own)
    return pl.concat(parts)


def test_a_channel_that_only_now_reports_is_no_change_and_one_that_grows_is() -> None:
    chance, days = np.random.default_rng(11), 200
    later = np.where(np.arange(days) < 130, 0, 12)
    rates = {("look", "web"): 15, ("look", "kiosk"): later, ("buy", "web"): 4, ("buy", "kiosk"): later / 3}
    seen = watch(make_log(chance, days, rates), exposure="days")
    assert seen.coverage.select("segment", "what", "since").rows() == [("channel: kiosk", "only reports since", date(2026, 5, 15))]
    assert seen.alarms.is_empty()
    silent = watch(make_log(np.random.default_rng(12), days, {("look", "web"): 15, ("look", "app"): 12 - later}), exposure="days")
    assert silent.coverage.select("segment", "what").rows() == [("channel: app", "silent since")]
    assert silent.alarms.is_empty()
    grows = watch(make_log(np.random.default_rng(13), days, {("look", "web"): 15, ("look", "app"): 6 + later}), exposure="days")
    assert grows.coverage.is_empty()
    first = grows.alarms.filter(kind="rate").row(0, named=True)
    assert (first["moment"], first["direction"]) == ("look", "up")
    assert date(2026, 5, 15) <= first["at"] <= date(2026, 5, 25)
    assert first["drivers"][0].startswith("channel: app")


def test_a_mix_that_shifts_is_flagged_although_the_total_stays() -> None:
    chance, days = np.random.default_rng(12), 200
    shift = np.where(np.arange(days) < 130, 0, 5)
    seen = watch(make_log(chance, days, {("look", "web"): 10 - shift, ("look", "app"): 10 + shift}), exposure="days")
    assert set(seen.alarms["kind"]) == {"mix"}
    assert {("channel: app", "up"), ("channel: web", "down")} & set(seen.alarms.select("segment", "direction").rows())


def test_an_event_that_was_never_seen_is_flagged_as_new() -> None:
    chance, days = np.random.default_rng(13), 160
    seen = watch(make_log(chance, days, {("look", "web"): 10, ("crash", "web"): np.where(np.arange(days) < 120, 0, 2)}), exposure="days")
    assert seen.alarms.select("moment", "direction", "new").rows() == [("crash", "up", True)]
    assert seen.alarms["at"][0] <= date(2026, 5, 14)


def test_an_effect_that_changes_is_flagged_and_a_general_change_is_not() -> None:
    chance, days, n = np.random.default_rng(14), 260, 4000
    had = chance.integers(0, days, n)
    for broken, more in ((8.0, 1.0), (1.0, 2.5)):
        hazard = np.full((n, days), 0.004)
        hazard[:, 130:] *= more
        exposed = (np.arange(days)[None, :] > had[:, None]) & (np.arange(days)[None, :] <= had[:, None] + 60)
        hazard[exposed & (np.arange(days)[None, :] >= 130)] *= broken
        hits = chance.random((n, days)) < np.minimum(hazard, 1)
        left = np.where(hits.any(axis=1), hits.argmax(axis=1), days + 1)
        rows = [(str(who), 0, "begun") for who in range(n)]
        rows += [(str(who), int(day), "failed") for who, day in enumerate(had) if day < left[who]]
        rows += [(str(who), int(day), "closed") for who, day in enumerate(left) if day < days]
        table = pl.DataFrame(rows, schema=["customer_id", "day", "event"], orient="row").with_columns(
            timestamp=pl.lit(START).cast(EVENTS["timestamp"]) + pl.duration(days=pl.col("day"), hours=23), channel=pl.lit("web")
        )
        seen = watch(table, moments="failed", outcome="closed", kinds=["effect"])
        assert [row["direction"] for row in seen.alarms.to_dicts()] == (["up"] if broken > 1 else [])


@pytest.fixture(scope="module")
def demo() -> Watch:
    events = pl.scan_parquet(ROOT / "data" / "demo_events.parquet")
    names = list(pl.read_parquet(ROOT / "data" / "demo_truth_moments.parquet")["moment"])
    return watch(events, moments=names, promises=ROOT / "motkit" / "demo" / "promises.toml", outcome="account_closed", lost_by="tracking_opted_out")


def test_the_planted_changes_are_flagged_soon_and_nothing_else_is(demo: Watch) -> None:
    truth = pl.read_parquet(ROOT / "data" / "demo_truth_change.parquet")
    changed_at = truth["changed_at"][0].date()
    planted = dict(zip(truth["name"], ["down" if ratio < 1 else "up" for ratio in truth["ratio"]], strict=True))
    assert set(demo.alarms.select("moment", "direction").rows()) == set(planted.items())
    for name in planted:
        first = demo.alarms.filter(moment=name).row(0, named=True)
        assert 0 <= (first["at"] - changed_at).days <= 14
        assert "channel: web" in first["drivers"][0]
    assert demo.false_alarm_rate == pytest.approx(275 / 365)
    assert "once in 365 days" in demo.reading


def test_charts_say_what_they_could_have_seen(demo: Watch) -> None:
    watched = demo.charts.filter((pl.col("note") == "") & (pl.col("kind") != "mix"))
    assert (watched["smallest_rise"].drop_nulls() > 1).all()
    assert (watched["delay_days"] > 0).all()
    assert demo.charts.filter(pl.col("note") != "")["note"].str.contains("needs 20|fewer than 20").all()
    assert demo.chart.filter(pl.col("reference"))["statistic"].max() == 0
    assert demo.chart["threshold"].unique().len() == 1


def test_a_store_and_its_events_in_any_order_are_watched_alike(tmp_path: Path) -> None:
    log = make_log(np.random.default_rng(15), 130, {("look", "web"): 10, ("look", "app"): 5})
    plain = watch(log)
    for other in (write_store(log, tmp_path / "store"), log.sample(fraction=1, shuffle=True, seed=1).lazy()):
        assert watch(other).chart.equals(plain.chart)


def test_what_is_expected_of_open_cases_is_the_same_number_in_any_order_of_the_cases() -> None:
    rng, begin = np.random.default_rng(7), datetime(2026, 3, 2, tzinfo=UTC)
    rows = []
    for day, took in zip(rng.uniform(0, 60, 3000), rng.exponential(1.5, 3000), strict=True):
        at, used = begin + timedelta(days=day), min(took, 3.0)
        rows.append(("parcel", "ann", at, at + timedelta(days=3), at + timedelta(days=used), "kept", used / 3, int(took < 3)))
    cases = pl.DataFrame(rows, schema=CASES, orient="row")
    first, *others = (timing_series(cases.sample(fraction=1, shuffle=True, seed=seed), None, date(2026, 3, 2), 70, "UTC", 70) for seed in range(12))
    assert first.of.sum() > 1000
    assert all((other.of == first.of).all() and (other.seen == first.seen).all() for other in others)


def test_the_module_is_a_function_whichever_is_imported_first() -> None:
    for first in ("import motkit; motkit.watch", "from motkit.watch import cusum", "from motkit import watch"):
        code = f"{first}; import motkit; print(callable(motkit.watch), motkit.watch.cusum.__name__, callable(motkit.watch.watch))"
        assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == ["True", "cusum", "True"]


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ({"baseline_days": 7}, SettingError, "needs 28 or more"),
        ({"kinds": ["speed"]}, SettingError, "no kinds of chart"),
        ({"ratios": [1.0]}, SettingError, "other than 1"),
        ({"exposure": "weeks"}, DesignError, "exposure"),
        ({"by": "plan"}, SchemaError, "plan"),
        ({"baseline_days": 300}, DesignError, "reference period alone"),
    ],
)
def test_questions_that_cannot_be_watched_are_refused(call: Any, error: Any, said: str) -> None:
    log = make_log(np.random.default_rng(16), 120, {("look", "web"): 5})
    with pytest.raises(error, match=said):
        watch(log, **call)


def test_shares_have_the_likelihood_of_the_binomial_law() -> None:
    from scipy.stats import binom

    seen, of, share = np.array([3.0, 9.0]), np.array([10.0, 12.0]), np.array([0.4, 0.6])
    changed = 2 * share / (1 - share + 2 * share)
    direct = binom.logpmf(seen, of, changed) - binom.logpmf(seen, of, share)
    assert np.allclose(share_log_ratios(seen, of, share, [2.0])[:, 0], direct)


@pytest.mark.data
def test_the_documented_incidents_of_a_shop_are_flagged_and_nothing_outside_them(real_data: Path) -> None:
    events = read_events(real_data / "ecom_retentioneering.csv.gz").events
    steps = [
        Promise("shipping leads to payment", "shipping_details", "payment_details", kind="tacit", within_hours=2),
        Promise("payment goes through", "payment_details", "purchase", kind="tacit", within_hours=2),
    ]
    moments = ["payment_error", "checkout_bug", "error_page", "support_chat", "purchase"]
    seen = watch(events, moments=moments, promises=steps, exposure="customers")
    incidents = {"checkout": (date(2024, 4, 9), date(2024, 5, 9)), "payment": (date(2024, 5, 19), date(2024, 6, 7))}
    found = {name: seen.alarms.filter(pl.col("at").is_between(*span)) for name, span in incidents.items()}
    assert {"checkout_bug", "shipping leads to payment"} <= set(found["checkout"]["moment"])
    assert all("mobile" in row[0] for row in found["checkout"]["drivers"])
    assert {"payment_error", "payment goes through", "support_chat"} <= set(found["payment"]["moment"])
    assert found["payment"]["at"][0] <= date(2024, 5, 21)
    outside = seen.alarms.height - sum(part.height for part in found.values())
    assert outside <= seen.false_alarm_rate  # 24 % stated, none seen


def test_the_validation_passes_its_bars_also_when_it_is_small() -> None:
    table = validate_watch(120, seed=1, parts=("promises", "shiryaev-roberts"))
    assert table.filter(pl.col("measure").is_in(["kept", "days to a false alarm", "days to a true one"]))["passes"].all()
    assert 0.88 <= table.filter(measure="covered")["value"].item() <= 1
    with pytest.raises(SettingError, match="unknown parts"):
        validate_watch(2, parts=("speed",))
