"""The engagement model on a simulation whose best possible AUC is known, its guards against leaks, its laws and refusals."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from statsmodels.discrete.discrete_model import Logit

from motkit.engagement_landmarks import _fit, _plain_logit, _ridge_logit
from motkit.engagement_model import EngagementModel, fit_engagement
from motkit.errors import DesignError, SchemaError, SettingError
from motkit.schema import ENGAGEMENT, EVENTS

START = datetime(2025, 1, 6, tzinfo=UTC)
WEEKS = 26  # of observation; four weeks of outcome follow
END = START + timedelta(weeks=WEEKS + 4)
Ints = NDArray[np.int64]


def weekly(n: int, seed: int) -> tuple[Ints, Ints, NDArray[np.float64], Ints]:
    """Visits, deep actions, seconds and purchases a week of customers who have a pace, a depth and a last week."""
    rng, weeks = np.random.default_rng(seed), WEEKS + 4
    pace, leaving, begin = rng.gamma(1.2, 0.8, n), rng.beta(1.2, 22, n), rng.integers(0, WEEKS - 3, n)
    long, deep = rng.normal(3.5, 0.5, n), rng.beta(1.5, 6, n)
    life, week = rng.geometric(np.clip(leaving, 1e-6, 1 - 1e-9)), np.arange(weeks)[None]
    alive = ((week >= begin[:, None]) & (week < (begin + life)[:, None])).astype(float)
    visits = rng.poisson(pace[:, None] * alive)
    visits[np.arange(n), begin] = np.maximum(visits[np.arange(n), begin], 1)
    actions, seconds = rng.binomial(visits, deep[:, None]), np.zeros((n, weeks))
    for nth in range(visits.max()):
        more = visits > nth
        seconds[more] += np.exp(np.repeat(long, weeks).reshape(n, weeks)[more] + 0.8 * rng.standard_normal(more.sum()))
    return visits, actions, seconds, rng.poisson(alive * 0.06 * pace[:, None] * (0.3 + 2.5 * deep[:, None]))


def as_log(n: int, seed: int) -> pl.DataFrame:
    """The same as events, at any time of their week."""
    visits, actions, seconds, purchases = weekly(n, seed)
    rng, parts = np.random.default_rng(seed + 1000), []
    for event, counts in (("visit", visits), ("deep", actions), ("purchase", purchases)):
        who, week = (np.repeat(index, counts[counts > 0]) for index in np.nonzero(counts))
        at = np.datetime64("2025-01-06", "us") + ((week + rng.random(len(week))) * 7 * 86_400e6).astype("timedelta64[us]")
        lasts = seconds[who, week] / visits[who, week] if event == "visit" else None
        part = pl.DataFrame({"customer_id": who, "timestamp": at}).with_columns(
            pl.col("customer_id").cast(pl.String),
            pl.col("timestamp").dt.replace_time_zone("UTC"),
            event=pl.lit(event),
            channel=pl.lit("web"),
            value=pl.lit(None, pl.Float64),
            duration_s=pl.lit(None, pl.Float64) if lasts is None else pl.Series(lasts),
        )
        parts.append(part)
    return pl.concat(parts)


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    return as_log(2500, 7)


@pytest.fixture(scope="module")
def model(log: pl.DataFrame) -> EngagementModel:
    return fit_engagement(log, "purchase", 28, END, half_life_days=14, signals={"deep": "deep"})


def test_the_simulation_is_ranked_and_calibrated_about_as_well_as_can_be() -> None:
    rows = []
    for seed in range(3):
        fitted = fit_engagement(as_log(10_000, seed), "purchase", 28, END, half_life_days=14, signals={"deep": "deep"})
        rows.append(fitted.validation.row(0, named=True))
    means = pl.DataFrame(rows).select(pl.col("auc", "slope", "in_the_large", "brier", "brier_null", "lift_top_tenth").mean()).row(0, named=True)
    assert means["auc"] >= 0.83  # who knows every customer's true state reaches .874
    assert 0.9 <= means["slope"] <= 1.1
    assert abs(means["in_the_large"]) <= 0.15
    assert means["brier"] < 0.068 < means["brier_null"]
    assert means["lift_top_tenth"] >= 3.8


def test_a_hundred_thousand_rows_and_nine_features_take_about_a_second() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100_000, 9))
    y = (rng.random(100_000) < 1 / (1 + np.exp(2 - x @ np.linspace(-0.5, 0.5, 9)))).astype(float)
    table = pl.DataFrame(x, schema=[f"x{k}" for k in range(9)]).with_columns(customer_id=pl.Series(np.arange(100_000) // 2).cast(pl.String), _y=pl.Series(y))
    begin = time.process_time()
    fitted = _fit(table)
    assert time.process_time() - begin < 4  # about 1 s on an idle core
    assert np.allclose(fitted.beta[1:] / fitted.sd, np.linspace(-0.5, 0.5, 9), atol=0.05)


def test_two_ways_to_fit_agree_in_coefficients_and_clustered_errors() -> None:
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(3000), rng.standard_normal((3000, 3))])
    y, group = (rng.random(3000) < 1 / (1 + np.exp(1 - x[:, 1]))).astype(float), np.arange(3000) // 3
    one, two = _plain_logit(x, y, group), _ridge_logit(x, y, group, 0.0)
    assert np.allclose(one[0], two[0], atol=1e-6)
    assert np.allclose(one[1], two[1], rtol=1e-4)
    theirs = Logit(y, x).fit(disp=0, cov_type="cluster", cov_kwds={"groups": group}).cov_params()
    small = 1000 / 999 * 2999 / 2996  # the factor by which statsmodels corrects for few groups
    assert np.allclose(theirs, two[1] * small, rtol=1e-4)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2499), st.integers(1, 500_000), st.sampled_from(["visit", "purchase", "deep"])), min_size=1, max_size=30))
def test_events_added_after_the_instant_change_nothing(log: pl.DataFrame, model: EngagementModel, added: list[tuple[int, int, str]]) -> None:
    at = END - timedelta(days=3)
    rows = [(str(who), at + timedelta(seconds=s), event, "web", 1.0, 30.0) for who, s, event in added]
    later = pl.concat([log.filter(pl.col("timestamp") <= at), pl.DataFrame(rows, schema=EVENTS, orient="row")])
    assert_frame_equal(model.score(later, at), model.score(log, at), check_exact=True)
    assert_frame_equal(model.contributions(later, at), model.contributions(log, at), check_exact=True)


def test_a_fit_does_not_look_after_as_of_nor_at_the_order_of_rows(log: pl.DataFrame, model: EngagementModel) -> None:
    more = pl.concat([log, log.with_columns(pl.col("timestamp") + timedelta(days=400))]).sample(fraction=1, shuffle=True, seed=3)
    again = fit_engagement(more, "purchase", 28, END, half_life_days=14, signals={"deep": ["deep"]})
    assert_frame_equal(again.validation, model.validation, rel_tol=1e-8)
    assert_frame_equal(again.coefficients, model.coefficients, rel_tol=1e-6)


def test_what_arrived_late_was_not_known(log: pl.DataFrame, model: EngagementModel) -> None:
    at = END - timedelta(days=28)
    late = log.with_columns(ingested_at=pl.when(pl.col("customer_id") == "1").then(END).otherwise(pl.col("timestamp")))
    assert_frame_equal(model.score(late, at), model.score(log.filter(pl.col("customer_id") != "1"), at), check_exact=True)


def test_contributions_add_up_to_the_logit_and_change_adds_up_to_its_change(log: pl.DataFrame, model: EngagementModel) -> None:
    scores = model.score(log, END)
    for by in ("signal", "feature"):
        why = model.contributions(log, END, by=by)
        total = why.select(pl.sum_horizontal(why.columns[1:-2])).to_series()
        assert np.abs((total - why["logit"]).to_numpy()).max() < 1e-12
        assert np.abs((why["probability"] - scores["probability"]).to_numpy()).max() < 1e-12
    change = model.contributions(log, END, since=END - timedelta(days=28))
    assert np.abs((change.select(pl.sum_horizontal(change.columns[2:-2])).to_series() - change["logit"]).to_numpy()).max() < 1e-12
    one = model.contributions(log, END, customers=["5"])
    assert_frame_equal(one, model.contributions(log, END).filter(pl.col("customer_id") == "5"), rel_tol=1e-12)


def test_a_score_is_a_percentile_of_a_reference_that_stays(log: pl.DataFrame, model: EngagementModel) -> None:
    last = model.score(log, model.landmarks[-1])
    assert {name: last.schema[name] for name in ENGAGEMENT} == dict(ENGAGEMENT)
    assert last["score"].is_between(0, 100).all()
    assert abs(last["score"].mean() - 50) < 3
    assert last.sort("probability")["score"].is_sorted()
    alone = model.score(log.filter(pl.col("customer_id").is_in(last["customer_id"].head(3).to_list())), model.landmarks[-1])
    assert_frame_equal(alone, last.head(3), rel_tol=1e-12)
    assert (last["ci_low"] < last["probability"]).all()
    assert (last["probability"] < last["ci_high"]).all()


def test_shuffled_customers_are_not_predicted(log: pl.DataFrame) -> None:
    names = log["customer_id"].unique(maintain_order=True)
    other = dict(zip(names, names.sample(fraction=1, shuffle=True, seed=5), strict=True))
    orders = log.filter(pl.col("event") == "purchase").with_columns(pl.col("customer_id").replace_strict(other), event=pl.lit("order"))
    null = fit_engagement(pl.concat([log, orders]), "order", 28, END, half_life_days=14, features=_only_visits)
    quality = null.validation.row(0, named=True)
    assert quality["auc_ci_low"] < 0.5 < quality["auc_ci_high"]


def _only_visits(events: pl.LazyFrame, at: datetime) -> pl.DataFrame:
    seen = events.filter((pl.col("timestamp") <= at) & (pl.col("event") == "visit"))
    return seen.group_by("customer_id").agg(visits=pl.len().log1p()).collect()


def test_the_half_life_is_chosen_without_the_last_landmark(log: pl.DataFrame) -> None:
    fitted = fit_engagement(log, "purchase", 28, END, half_life_days=(3.5, 112.0))
    assert fitted.half_lives["half_life_days"].to_list() == [3.5, 112.0]
    assert fitted.half_life_days == fitted.half_lives.sort("log_loss")["half_life_days"][0]
    cut = log.filter(~((pl.col("timestamp") > END - timedelta(days=28)) & (pl.col("event") == "purchase") & (pl.col("customer_id") < "2")))
    assert_frame_equal(fit_engagement(cut, "purchase", 28, END, half_life_days=(3.5, 112.0)).half_lives, fitted.half_lives)


def test_each_segment_is_validated_by_itself(log: pl.DataFrame) -> None:
    segments = log.select("customer_id").unique().with_columns(segment=pl.when(pl.col("customer_id") < "2").then(pl.lit("north")).otherwise(pl.lit("south")))
    table = fit_engagement(log, "purchase", 28, END, half_life_days=14, segments=segments).validation
    parts = table.filter(pl.col("segment").is_in(["north", "south"]))
    assert parts["n"].sum() == table["n"][0]
    assert (parts["auc"] > 0.7).all()


def test_after_a_loss_a_customer_is_no_longer_asked(log: pl.DataFrame) -> None:
    last = log.group_by("customer_id").agg(pl.col("timestamp").max()).filter(pl.col("timestamp") < END - timedelta(days=10))
    gone = last.with_columns(pl.col("timestamp") + timedelta(days=9), event=pl.lit("leave"), channel=pl.lit("web"), value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))
    fitted = fit_engagement(pl.concat([log, gone]), "leave", 28, END, half_life_days=14, loss=True)
    scores = fitted.score(pl.concat([log, gone]), END)
    assert not set(scores["customer_id"]) & set(gone["customer_id"])
    assert scores.sort("probability", descending=True)["score"].is_sorted()


def test_windows_that_are_shared_or_open_are_refused(log: pl.DataFrame) -> None:
    for landmarks, told in (
        ([END - timedelta(days=40), END - timedelta(days=28)], "within the window of outcomes of the one before"),
        ([END - timedelta(days=60), END - timedelta(days=10)], "not known yet"),
        ([END - timedelta(days=28)], "needs 2 or more"),
    ):
        with pytest.raises(DesignError, match=told):
            fit_engagement(log, "purchase", 28, END, landmarks=landmarks)
    with pytest.raises(DesignError, match="outcomes lie within the days of the features"):
        fit_engagement(log, "purchase", 28, END, gap_days=-7)


def test_features_that_know_the_answer_are_refused(log: pl.DataFrame) -> None:
    with pytest.raises(DesignError, match="change when events after the landmark are added"):
        fit_engagement(log, "purchase", 28, END, features=lambda events, at: events.group_by("customer_id").agg(n=pl.len()).collect())
    whole = log.filter(pl.col("event") == "purchase")

    def answer(events: pl.LazyFrame, at: datetime) -> pl.DataFrame:
        return whole.filter(pl.col("timestamp").is_between(at, at + timedelta(days=28), closed="right")).group_by("customer_id").agg(n=pl.len())

    with pytest.raises(DesignError, match="seems to know the answer"):
        fit_engagement(log, "purchase", 28, END, features=answer)


def test_other_bad_input_is_refused(log: pl.DataFrame, model: EngagementModel) -> None:
    with pytest.raises(SchemaError, match="missing"):
        fit_engagement(log.drop("channel"), "purchase", 28, END)
    with pytest.raises(SettingError, match="it is 'colour'"):
        model.contributions(log, END, by="colour")
    with pytest.raises(DesignError, match="rarer outcome"):
        fit_engagement(log, "never", 28, END, half_life_days=14)


@pytest.mark.data
@pytest.mark.filterwarnings("ignore::motkit.errors.FewEventsWarning")
def test_clicks_foretell_who_leaves_a_course(real_data: Path) -> None:
    keys = ["code_module", "code_presentation", "id_student"]
    name = pl.concat_str(keys, separator="/").alias("customer_id")
    day = lambda column: (pl.lit(START) + pl.duration(days=pl.col(column))).dt.cast_time_unit("us").alias("timestamp")  # noqa: E731
    clicks = pl.read_parquet(real_data / "oulad" / "studentVle.parquet")
    rest = {"channel": pl.lit("web"), "value": pl.lit(None, pl.Float64), "duration_s": pl.lit(None, pl.Float64)}
    register = pl.read_csv(real_data / "oulad" / "studentRegistration.csv.gz", null_values=["", "?"]).with_columns(pl.col("date_unregistration").cast(pl.Int64))
    left = register.drop_nulls("date_unregistration").select(name, day("date_unregistration"), event=pl.lit("left"), **rest)
    seen = clicks.select(name, day("date"), event="s" + pl.col("id_site").cast(pl.String), **rest)
    at = [START + timedelta(days=d) for d in (28, 56, 84, 112)]
    fitted = fit_engagement(pl.concat([seen, left]), "left", 28, START + timedelta(days=140), landmarks=at, loss=True, half_life_days=(7, 14, 28))
    quality = fitted.validation.row(0, named=True)
    assert quality["auc"] > 0.65
    assert quality["brier"] < quality["brier_null"]


@pytest.mark.data
def test_purchases_of_the_next_thirty_days_are_foretold(real_data: Path) -> None:
    lines = pl.read_csv(real_data / "online_retail_uci.csv.gz", infer_schema=False).drop_nulls("CustomerID")
    bought = lines.filter(~pl.col("InvoiceNo").str.starts_with("C"), pl.col("Quantity").cast(pl.Int64) > 0)
    log = bought.group_by(customer_id="CustomerID", timestamp=pl.col("InvoiceDate").str.to_datetime(time_unit="us", time_zone="UTC")).agg(
        value=(pl.col("Quantity").cast(pl.Float64) * pl.col("UnitPrice").cast(pl.Float64)).sum()
    )
    log = log.with_columns(event=pl.lit("purchase"), channel=pl.lit("web"), duration_s=pl.lit(None, pl.Float64)).select(*EVENTS)
    fitted = fit_engagement(log, "purchase", 30, datetime(2011, 12, 9, tzinfo=UTC))
    quality = fitted.validation.row(0, named=True)
    assert quality["auc"] > 0.7
    assert quality["brier"] < quality["brier_null"]


def test_customers_who_are_gone_are_neither_learnt_from_nor_scored(log: pl.DataFrame) -> None:
    gone = log.group_by("customer_id").agg(pl.col("timestamp").min()).filter(pl.int_range(pl.len()) % 3 == 0)
    closed = gone.with_columns(pl.col("timestamp") + pl.duration(microseconds=1), event=pl.lit("closed"), channel=pl.lit("web"))
    both = pl.concat([log, closed.with_columns(value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64)).select(log.columns)])
    without = log.join(gone, on="customer_id", how="anti")
    fits = [fit_engagement(events, "visit", 21, END, half_life_days=14, gone=ended) for events, ended in ((both, "closed"), (without, ()))]
    assert fits[0].n == fits[1].n
    assert set(fits[0].score(both, END)["customer_id"]).isdisjoint(gone["customer_id"])
    assert fits[0].validation["auc"][0] == pytest.approx(fits[1].validation["auc"][0], abs=1e-9)
    assert fits[0].calibration["n"].sum() == fits[0].validation["n"][0]
