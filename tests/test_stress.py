"""Statistics under stress: tiny, one-sided and degenerate data give a named warning, a refusal or a missing value, never a confident number."""

import math
import warnings

import numpy as np
import polars as pl
import pytest
from degenerate import AS_OF, KINDS, LOGS, OF_LOGS, OF_TABLES, TABLES, N, ask, log_of, nonsense_of, table_of

import motkit
from motkit import survival
from motkit.errors import MotkitError, StatisticalWarning


@pytest.fixture(scope="module")
def plain() -> dict[str, pl.DataFrame]:
    chance = np.random.default_rng(2)
    log = log_of(N, 12).with_columns(pl.col("timestamp") + pl.duration(minutes=pl.Series(chance.integers(0, 90 * 1440, 12 * N))), event=pl.Series(chance.choice(KINDS[:4], 12 * N)))
    ends = log.group_by("customer_id").agg(pl.col("timestamp").max()).filter(pl.int_range(pl.len()) % 3 == 0)
    starts = log.group_by("customer_id").agg(pl.col("timestamp").min() - pl.duration(hours=1))
    more = [one.with_columns(event=pl.lit(name), channel=pl.lit("web")) for one, name in ((ends, "account_closed"), (starts, "sign_up"))]
    return {"log": pl.concat([log, *more], how="diagonal").sort("customer_id", "timestamp"), "table": table_of()}


@pytest.mark.parametrize("question", OF_LOGS)
def test_a_degenerate_log_is_answered_or_refused_and_never_with_a_confident_number(question: str) -> None:
    asked = ask(OF_LOGS[question], LOGS)
    assert asked.wrong == []
    assert asked.answered + asked.refused == len(LOGS)


@pytest.mark.parametrize("question", OF_TABLES)
def test_a_degenerate_table_is_answered_or_refused_and_never_with_a_confident_number(question: str) -> None:
    asked = ask(OF_TABLES[question], TABLES)
    assert asked.wrong == []
    assert asked.answered + asked.refused == len(TABLES)


@pytest.mark.parametrize("question", [*OF_LOGS, *OF_TABLES])
def test_each_question_has_an_answer_where_there_is_something_to_tell(question: str, plain: dict[str, pl.DataFrame]) -> None:
    given = {"a log": plain["log"]} if question in OF_LOGS else {"a table": plain["table"]}
    assert ask((OF_LOGS | OF_TABLES)[question], given).answered


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pl.DataFrame({"p_value": [float("nan")]}), "no number"),
        (pl.DataFrame({"share": [1.2]}), "beyond 0 and 1"),
        (pl.DataFrame({"mean": [1.0], "ci_low": [1.0], "ci_high": [1.0]}), "one number"),
        (pl.DataFrame({"ci_low": [2.0], "ci_high": [1.0]}), "lies above"),
        (pl.DataFrame({"p_value": [0.01]}), "one or two customers"),
        (pl.DataFrame({"lift": [float("inf")]}), "no end"),
    ],
)
def test_nonsense_is_seen(table: pl.DataFrame, said: str) -> None:
    assert [fault for fault in nonsense_of(table, tiny=True) if said in fault]


def test_nobody_who_left_gives_no_moment_that_breaks_or_makes() -> None:
    try:
        found = motkit.find_moments(LOGS["nobody leaves"].lazy(), outcome="account_closed", as_of=AS_OF).table
    except MotkitError:
        return
    assert not found["verdict"].is_in(["makes", "breaks"]).any()


def test_perfect_separation_gives_no_narrow_interval() -> None:
    n = 200
    table = pl.DataFrame({"day": [5.0] * (n // 2) + [100.0] * (n // 2), "left": [1] * (n // 2) + [0] * (n // 2), "broken": [1.0] * (n // 2) + [0.0] * (n // 2)})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            fit = survival.cox(table, "day", "left", ["broken"])
        except MotkitError:
            return
    row = fit.table.row(0, named=True)
    open_end = any(value is None or not math.isfinite(value) for value in (row["ci_low"], row["ci_high"])) or row["ci_high"] / max(row["ci_low"], 1e-300) > 1e3
    assert open_end
    assert any(issubclass(one.category, StatisticalWarning) for one in told)


def test_everybody_censored_says_so() -> None:
    table = pl.DataFrame({"day": np.arange(1.0, 51), "left": [0] * 50})
    curve = survival.kaplan_meier(table, "day", "left")
    assert (curve["survival"] == 1).all()
    assert survival.survival_quantiles(curve)["time"].to_list() in ([None], [])
    assert (curve["ci_high"].fill_null(1) == 1).all()


def test_ten_thousand_segments_of_no_difference_find_next_to_nothing() -> None:
    chance = np.random.default_rng(4)
    n = 100_000
    table = pl.DataFrame({"day": chance.exponential(50, n).clip(0.5, 90), "segment": chance.integers(0, 10_000, n)})
    table = table.with_columns(left=(pl.col("day") < 90).cast(pl.Int64))
    curve = survival.restricted_mean(table, "day", "left", 60.0, by="segment")
    assert curve.height == 10_000
    assert curve.select((pl.col("ci_low") <= pl.col("rmst")) & (pl.col("rmst") <= pl.col("ci_high"))).to_series().fill_null(True).all()


@pytest.mark.parametrize(("won", "n"), [((0, 0), (5, 5)), ((5, 5), (5, 5)), ((0, 1), (1, 1)), ((0, 3), (3, 3))])
def test_tiny_arms_never_win_with_certainty(won: tuple[int, int], n: tuple[int, int]) -> None:
    rows = [(arm, int(k < w)) for arm, w, m in zip("ab", won, n, strict=True) for k in range(m)]
    table = pl.DataFrame(rows, schema={"arm": pl.String, "bought": pl.Int64}, orient="row")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StatisticalWarning)
            found = motkit.compare_arms(table, arm="arm", outcome="bought", control="a").table
    except MotkitError:
        return
    p = found.filter(pl.col("arm") == "b")["p_value"].item()
    assert p is None or p > 0.05
