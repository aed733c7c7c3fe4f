"""Contact times against R and a simulation with known rates, the customer's clock, laws, null data, refusals."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from motkit.contact_time import SENDS, _levels, _local_hours, _who, best_contact_time, fit_beta_binomial
from motkit.errors import DesignError, FewEventsWarning, SchemaError, SettingError

REFERENCE = Path(__file__).parent / "reference" / "personas_engagement"
USUAL = np.array([0.06, 0.10, 0.16, 0.12, 0.20, 0.08])
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
Floats = NDArray[np.float64]


def read(name: str) -> dict[str, Any]:
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


def as_sends(k: NDArray[np.int64], n: NDArray[np.int64]) -> pl.DataFrame:
    """One row per send; the parts of the day are four hours long."""
    who, part = (np.repeat(index.ravel(), n.ravel()) for index in np.indices(n.shape))
    nth = np.arange(len(who)) - np.repeat(np.cumsum(n.ravel()) - n.ravel(), n.ravel())
    table = pl.DataFrame({"customer_id": who, "part": part, "responded": nth < np.repeat(k.ravel(), n.ravel())})
    return table.select(
        pl.col("customer_id").cast(pl.String).str.zfill(6),
        (pl.lit(MIDNIGHT) + pl.duration(hours=4 * pl.col("part"))).dt.cast_time_unit("us").alias("timestamp"),
        channel=pl.lit("email"),
        responded="responded",
    )


def draw(seed: int, size: int) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """True rates, responses and sends per customer and part of the day."""
    rng = np.random.default_rng(seed)
    truth = rng.beta(USUAL * 12, (1 - USUAL) * 12, size=(size, 6))
    n = rng.poisson(rng.gamma(1.0, 2.0, (size, 1)), size=(size, 6))
    return truth, rng.binomial(n, truth), n


def value(best: pl.DataFrame, truth: Floats) -> float:
    """The mean true rate at the parts that were picked."""
    return float(truth[best["customer_id"].cast(pl.Int64).to_numpy(), best["hour"].to_numpy() // 4].mean())


def test_the_spread_of_rates_is_that_of_r() -> None:
    herds, expected = pl.read_csv(REFERENCE / "betabinomial_cbpp.csv"), read("betabinomial_expected.json")
    fit = fit_beta_binomial(herds["k"], herds["n"])
    in_r = expected["ml_R_optim"]
    assert (fit.mu, fit.rho) == pytest.approx((in_r["mu"], in_r["rho"]), abs=1e-5)
    assert fit.kappa == pytest.approx(in_r["kappa"], abs=1e-3)
    assert fit.log_likelihood == pytest.approx(in_r["loglik_with_binomial_coefficients"], abs=1e-5)
    assert fit.rate(herds["k"], herds["n"]) == pytest.approx(np.array(expected["eb_posterior_mean"]), abs=1e-5)


def test_the_choice_is_better_than_one_hour_for_all_in_every_seed() -> None:
    expected, values = read("sendtime_expected.json")["mean"], []
    for seed in range(3):
        truth, k, n = draw(seed, 20_000)
        customers = pl.DataFrame({"customer_id": [f"{row:06}" for row in range(20_000)]})
        best = best_contact_time(as_sends(k, n), customers, hours_per_part=4)
        one_for_all = truth[:, (k.sum(axis=0) / n.sum(axis=0)).argmax()].mean()
        values.append(value(best, truth))
        assert values[-1] >= one_for_all
        assert best["rate"].mean() == pytest.approx(values[-1], abs=0.004)  # what it promises is what it gets
    assert np.mean(values) == pytest.approx(expected["eb"], abs=5e-4)


def test_fits_per_part_of_the_day_are_those_of_the_reference() -> None:
    _, k, n = draw(0, 20_000)
    expected = read("sendtime_expected.json")["mean"]
    who = _who(sends := as_sends(k, n), None, "UTC")
    levels = _levels(_local_hours(sends, who, 4), who)
    assert levels.kappa == pytest.approx(np.array(expected["kappa_hat"]), abs=0.02)
    assert levels.everyone == pytest.approx(np.array(expected["mu_hat"]), abs=1.5e-3)


def test_raw_rates_are_given_only_when_asked_for_and_pick_worse() -> None:
    truth, k, n = draw(3, 5000)
    raw, drawn = (best_contact_time(as_sends(k, n), hours_per_part=4, shrink=shrink) for shrink in (False, True))
    assert value(raw, truth) < value(drawn, truth) - 0.01
    assert raw["rate"].max() == 1.0
    assert drawn["rate"].max() < 0.7


def test_ninety_in_a_hundred_intervals_hold_the_true_rate() -> None:
    truth, k, n = draw(4, 20_000)
    best = best_contact_time(as_sends(k, n), hours_per_part=4)
    true = truth[best["customer_id"].cast(pl.Int64).to_numpy(), best["hour"].to_numpy() // 4]
    assert ((best["ci_low"].to_numpy() < true) & (true < best["ci_high"].to_numpy())).mean() == pytest.approx(0.9, abs=0.02)


def test_customers_who_do_not_differ_all_get_the_same_hour() -> None:
    rng = np.random.default_rng(5)
    n = rng.poisson(3, (4000, 6))
    best = best_contact_time(as_sends(rng.binomial(n, USUAL), n), hours_per_part=4)
    assert (best["hour"] == 16).mean() > 0.99
    shuffled = as_sends(rng.binomial(n, 0.15), n)
    assert best_contact_time(shuffled, hours_per_part=4)["rate"].mean() == pytest.approx(0.15, abs=0.02)


def test_a_segment_with_its_own_hour_keeps_it_for_new_customers() -> None:
    rng, size = np.random.default_rng(6), 4000
    early = np.arange(size) < 400
    mean = np.where(early[:, None], USUAL[::-1], USUAL)
    n = rng.poisson(1.5, (size, 6))
    sends = as_sends(rng.binomial(n, rng.beta(mean * 12, (1 - mean) * 12)), n)
    ids = [f"{row:06}" for row in range(size)]
    customers = pl.DataFrame({"customer_id": [*ids, "new-a", "new-b", "new-c"], "segment": ["early" if e else "late" for e in early] + ["early", "late", None]})
    best = best_contact_time(sends, customers, hours_per_part=4)
    assert best.filter(pl.col("customer_id").str.starts_with("new")).select("hour", "basis").rows() == [(4, "segment"), (16, "everyone"), (16, "everyone")]


def test_one_lucky_send_at_an_odd_hour_does_not_make_it_the_usual_choice() -> None:
    _, k, n = draw(7, 3000)
    odd = pl.DataFrame([("000001", MIDNIGHT + timedelta(hours=23), "sms", True)], schema=SENDS, orient="row")
    best = best_contact_time(pl.concat([as_sends(k, n), odd]), hours_per_part=1)
    assert (best["channel"] == "sms").mean() < 0.05  # those who let many messages at the usual hours pass
    assert best.filter(pl.col("n_sends") < 5, pl.col("customer_id") != "000001")["channel"].unique().to_list() == ["email"]


def test_hours_are_those_of_the_customers_clock_in_summer_and_winter() -> None:
    rows = [("berlin", datetime(2026, month, 1, hour, tzinfo=UTC), "email", True) for month, hour in ((1, 18), (7, 17))]
    rows += [("utc", datetime(2026, 1, 1, 9, tzinfo=UTC), "email", False)] * 5
    customers = pl.DataFrame({"customer_id": ["berlin"], "time_zone": ["Europe/Berlin"]})
    with pytest.warns(FewEventsWarning, match="a spread that is assumed"):
        best = best_contact_time(pl.DataFrame(rows, schema=SENDS, orient="row"), customers)
    assert best.filter(customer_id="berlin").select("hour", "n").row(0) == (19, 2)


def test_only_allowed_hours_are_chosen_also_by_channel_and_customer() -> None:
    _, k, n = draw(8, 500)
    sends = pl.concat([as_sends(k, n), as_sends(k, n).with_columns(channel=pl.lit("sms"))])
    rules = pl.DataFrame({"hour": [8, 9, 10, 11, 16, 17, 18], "channel": ["email"] * 4 + ["sms"] * 3})
    best = best_contact_time(sends, allowed=rules, hours_per_part=4)
    assert best.select("hour", "channel").unique().rows() == [(8, "email")]  # 19 is missing, so 16 to 19 is not open
    own = pl.DataFrame({"customer_id": ["000001"] * 4, "hour": [20, 21, 22, 23]})
    best = best_contact_time(sends, allowed=own, hours_per_part=4)
    assert best.filter(customer_id="000001")["hour"].to_list() == [20]
    others = best.filter(pl.col("customer_id") != "000001")
    assert others.select("hour", "channel", "rate", "ci_low", "basis").null_count().row(0) == (len(others),) * 5


def test_later_sends_and_those_without_an_answer_are_not_looked_at() -> None:
    _, k, n = draw(9, 300)
    sends = as_sends(k, n)
    later = sends.with_columns(pl.col("timestamp") + timedelta(days=9), responded=True)
    open_ = sends.with_columns(responded=pl.lit(None, pl.Boolean))
    best = best_contact_time(pl.concat([sends, later, open_]), as_of=MIDNIGHT + timedelta(days=2))
    assert_frame_equal(best, best_contact_time(sends), check_exact=True)


@pytest.mark.filterwarnings("ignore::motkit.errors.FewEventsWarning")
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_the_order_of_rows_does_not_matter_and_rates_are_shares(seed: int, size: int) -> None:
    _, k, n = draw(seed, size)
    n[0, 0], k[0, 0] = 1, 0
    sends = as_sends(k, n)
    best = best_contact_time(sends)
    assert_frame_equal(best_contact_time(sends.sample(fraction=1, shuffle=True, seed=seed).lazy()), best, check_exact=True)
    assert best["customer_id"].to_list() == sorted(sends["customer_id"].unique())
    assert (best["rate"].is_between(0, 1) & (best["ci_low"] <= best["ci_high"]) & (best["rate"] >= best["rate_common"] - 1e-12)).all()


def test_bad_input_is_refused() -> None:
    _, k, n = draw(9, 50)
    sends = as_sends(k, n)
    with pytest.raises(DesignError, match="there is none with a known response"):
        best_contact_time(sends.clear())
    with pytest.raises(SchemaError, match="responded"):
        best_contact_time(sends.drop("responded"))
    with pytest.raises(SettingError, match="needs a divisor of 24"):
        best_contact_time(sends, hours_per_part=5)
    with pytest.raises(SettingError, match="needs a share"):
        best_contact_time(sends, confidence=1.0)
    with pytest.raises(SettingError, match="zones are unknown"):
        best_contact_time(sends, pl.DataFrame({"customer_id": ["000001"], "time_zone": ["Berlin"]}))
    with pytest.raises(DesignError, match="repeat a customer"):
        best_contact_time(sends, pl.DataFrame({"customer_id": ["a", "a"]}))
    with pytest.raises(DesignError, match="there are no sends"):
        fit_beta_binomial([0], [0])
