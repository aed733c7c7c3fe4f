"""Rows by customer and time: as a plain stable sort says, for few customers and many, ties and missing values included."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from motkit.ordering import in_order, order_rows, rank_texts


def log(customers: int, rows: int = 200_000, seed: int = 0) -> pl.DataFrame:
    """Rows out of order, many at the same time, some without customer."""
    chance = np.random.default_rng(seed)
    who = pl.Series(chance.integers(0, customers, rows)).cast(pl.String)
    at = pl.Series([datetime(2026, 1, 1)]).gather(np.zeros(rows, np.int64)) + pl.Series(chance.integers(0, 5, rows) * 1_000_000).cast(pl.Duration("us"))
    event = pl.Series(np.array(["look", "buy", "Ärger", "call"])[chance.integers(0, 4, rows)])
    return pl.DataFrame({"customer_id": who.set(pl.Series(chance.random(rows) < 0.001), None), "timestamp": at, "event": event, "arrived": range(rows)})


@pytest.mark.parametrize("customers", [1, 50, 65_535, 150_000])
def test_rows_are_as_a_stable_sort_puts_them(customers: int) -> None:
    rows = log(customers)
    plain = rows.sort("customer_id", "timestamp", "arrived")
    assert_frame_equal(in_order(rows.lazy()).collect(), plain)
    assert_frame_equal(in_order(plain.lazy()).collect(), plain)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_what_is_not_asked_for_is_not_missed(engine: str) -> None:
    """Columns, rows and values that a plan leaves out do not change the order of the others."""
    rows = log(50)
    plain, lazy = rows.sort("customer_id", "timestamp", "arrived"), in_order(rows.lazy(), "event")
    assert lazy.select("arrived").collect(engine=engine)["arrived"].equals(plain["arrived"])
    assert lazy.filter(pl.col("event") == "buy").select("arrived").collect(engine=engine)["arrived"].equals(plain.filter(pl.col("event") == "buy")["arrived"])
    assert lazy.select("event").head(7).collect(engine=engine).height == 7
    assert lazy.select(pl.len()).collect(engine=engine).item() == rows.height


def test_a_rank_is_the_place_in_the_alphabet() -> None:
    rows = log(50)
    ranks, names = rank_texts(rows["customer_id"])
    assert names.equals(rows["customer_id"].drop_nulls().unique().sort())
    assert ((ranks == 0) == rows["customer_id"].is_null().to_numpy()).all()


@pytest.mark.parametrize("customers", [1, 50, 150_000])
def test_coded_customers_stand_together_with_the_same_rows_in_the_same_order(customers: int) -> None:
    rows = log(customers)
    coded = in_order(rows.lazy(), "customer_id", "event").collect()
    assert coded["customer_id"].to_physical().rle_id().n_unique() == rows["customer_id"].n_unique()
    texts = coded.with_columns(pl.col("customer_id", "event").cast(pl.String))
    assert_frame_equal(texts.sort("customer_id", maintain_order=True), rows.sort("customer_id", "timestamp", "arrived"))


def test_what_a_plan_uses_twice_is_ordered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = []
    monkeypatch.setattr("motkit.ordering.order_rows", lambda ranks, at: times.append(1) or order_rows(ranks, at))
    lazy = in_order(log(50, 100).lazy())
    twice = lazy.join(lazy.group_by("customer_id").agg(pl.len()), on="customer_id", nulls_equal=True)
    assert twice.collect(engine="streaming").height == 100
    assert len(times) == 1


def test_no_rows_stay_none() -> None:
    empty = log(5, 10).head(0)
    assert_frame_equal(in_order(empty.lazy(), "event").collect().cast({"event": pl.String}), empty)


def test_a_missing_time_comes_first() -> None:
    start = datetime(2026, 1, 1)
    rows = pl.DataFrame({"customer_id": ["a", "a", "a"], "timestamp": [start + timedelta(days=1), None, start]})
    assert in_order(rows.lazy()).collect()["timestamp"].to_list() == [None, start, start + timedelta(days=1)]


def test_times_at_the_two_ends_of_time_are_ordered() -> None:
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    order = order_rows(np.array([1, 1, 1, 1]), np.array([0, most, least, -5]))
    assert order is not None
    assert order.tolist() == [2, 3, 0, 1]
    assert order_rows(np.array([1, 1, 1, 1]), np.array([least, -5, 0, most])) is None
