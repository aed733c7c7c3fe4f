"""The mixture behind personas: published latent classes, R's mixed axes, laws of the fit, new rows, SQL, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.encoding import (
    MISSING,
    OTHER,
    Encoded,
    cramers_v,
    encode,
    find_repeats,
    fit_encoding,
    fit_levels,
    fit_number,
)
from motkit.errors import DesignError, SchemaError
from motkit.mixed_axes import fit_mixed_axes, group_scorer, k_means
from motkit.mixture import Mixture, features, fit_mixture, merge_rows, sum_block
from motkit.scoring import place, posterior, score_sql

REFERENCE = Path(__file__).parent / "reference" / "personas_engagement"


def published() -> list[dict[str, Any]]:
    return json.loads((REFERENCE / "lca_expected.json").read_text(encoding="utf-8"))["rows"]


def mixed(n: int = 500, seed: int = 0, gaps: float = 0.0) -> pl.DataFrame:
    """Two kinds of customers over numbers, one of them with many zeros, and words."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(2, n, p=[0.65, 0.35])
    spent = np.where(rng.random(n) < 0.3, 0.0, np.exp(2 + kind + rng.normal(0, 0.5, n)))
    table = pl.DataFrame(
        {
            "spent": spent,
            "visits": 3 + 2.0 * kind + rng.normal(size=n),
            "plan": np.array(["basic", "plus", "it's \"all\""])[(kind + rng.choice(3, n, p=[0.7, 0.2, 0.1])) % 3],
            "app": np.where(rng.random(n) < 0.8, kind, 1 - kind) == 1,
        }
    )
    known = {name: pl.when(pl.Series(rng.random(n) >= gaps)).then(name).alias(name) for name in table.columns}
    return table.with_columns(**known)


def read(table: pl.DataFrame) -> tuple[Any, Encoded, tuple[int, ...]]:
    encoding = fit_encoding(table, ["spent", "visits"], ["plan", "app"])
    return encoding, encode(table, encoding), tuple(len(rule.levels) for rule in encoding.levels)


@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row['data']}-{row['k']}")
def test_latent_class_models_are_those_that_were_published(row: dict[str, Any]) -> None:
    # published log-likelihoods of the R package poLCA's manual (Linzer and Lewis 2011); see lca_expected.json
    patterns = pl.read_csv(REFERENCE / f"lca_{row['data']}_patterns.csv")
    weight = patterns["count"].cast(pl.Float64).to_numpy()
    encoding = fit_encoding(patterns, [], [name for name in patterns.columns if name != "count"], weight)
    sizes = tuple(len(rule.levels) for rule in encoding.levels)
    fit = fit_mixture(encode(patterns, encoding), sizes, row["k"], weight, alpha=0)
    expected = row["published_ll"] or row["own_ll"]
    assert fit.log_likelihood == pytest.approx(expected, abs=5e-4)
    assert fit.bic == pytest.approx(row["bic"], abs=2e-3)
    assert fit.mixture.parameters == row["npar"]


def test_mixed_axes_are_those_of_r(real_data: Path) -> None:
    # FactoMineR 2.7 FAMD(ncp=5) on R 4.2.2; see famd_expected.json
    expected = json.loads((REFERENCE / "famd_expected.json").read_text(encoding="utf-8"))
    table = pl.read_csv(real_data / "telco_churn_ibm.csv.gz", null_values=[" "], infer_schema_length=None)
    names = {"tenure": "tenure", "MonthlyCharges": "monthly", "TotalCharges": "total"}
    table = table.with_columns(pl.col("TotalCharges").cast(pl.Float64, strict=False)).drop_nulls("TotalCharges")
    words = [name for name in table.columns if name not in (*names, "customerID", "Churn")]
    encoding = fit_encoding(table, [], words, merge_repeats=False)
    rows = Encoded(table.select(list(names)).to_numpy().T.astype(float), encode(table, encoding).codes)
    axes = fit_mixed_axes(rows, tuple(len(rule.levels) for rule in encoding.levels), 5)
    assert axes.eigenvalues == pytest.approx(expected["eigenvalues"], abs=1e-6)
    assert 100 * axes.eigenvalues / axes.inertia == pytest.approx(expected["pct"], abs=1e-5)
    coordinates = np.abs(axes.coordinates(rows)[:, :20].T)
    assert coordinates == pytest.approx(np.array(expected["abs_coordinates_first20"]), abs=2e-5)
    assert (axes.coordinates(rows.take([4]))[:, 0] == axes.coordinates(rows)[:, 4]).all()  # alone as in a batch


def test_the_likelihood_never_falls_from_step_to_step() -> None:
    for alpha in (0.0, 1.0):
        for seed in range(4):
            _, rows, sizes = read(mixed(300, seed, 0.1))
            path = np.array(fit_mixture(rows, sizes, 3, alpha=alpha, starts=3).path)
            assert (np.diff(path) >= -1e-9 * abs(path[0])).all()


def test_order_chunks_and_weights_leave_the_fit_as_it_is() -> None:
    _, rows, sizes = read(mixed(400, 3, 0.05))
    fit = fit_mixture(rows, sizes, 3, starts=4)
    shuffled = np.random.default_rng(0).permutation(400)
    twice, double = Encoded(np.tile(rows.numbers, 2), np.tile(rows.codes, 2)), np.full(400, 2.0)
    same = [fit_mixture(rows.take(shuffled), sizes, 3, starts=4), fit_mixture(rows, sizes, 3, starts=4, chunk_rows=37)]
    pairs = [(fit, other) for other in same]
    pairs.append((fit_mixture(twice, sizes, 3, starts=4), fit_mixture(rows, sizes, 3, double, starts=4)))
    for one, other in pairs:
        assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-8)
        for name in ("share", "mean", "variance"):
            assert getattr(other.mixture, name) == pytest.approx(getattr(one.mixture, name), abs=1e-8)


def test_sums_of_parts_are_the_sum_of_all() -> None:
    _, rows, sizes = read(mixed(200, 1))
    mixture = fit_mixture(rows, sizes, 2, starts=2).mixture
    parts = [sum_block(mixture, (features(rows.take(part), sizes), np.ones(100))) for part in (slice(100), slice(100, 200))]
    whole = sum_block(mixture, (features(rows, sizes), np.ones(200)))
    assert (parts[0] + parts[1]).features == pytest.approx(whole.features, abs=1e-9)
    assert (parts[0] + parts[1]).log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-9)


def test_the_score_of_a_row_is_the_density_in_a_plain_loop() -> None:
    encoding, rows, sizes = read(mixed(120, 2, 0.2))
    mixture = fit_mixture(rows, sizes, 2, starts=2).mixture
    scores = mixture.scorer().scores(rows)
    for i in range(0, 120, 7):
        for k in range(2):
            total = np.log(mixture.share[k])
            for j, z in enumerate(rows.numbers[:, i]):
                if not np.isnan(z):
                    s2 = mixture.variance[k, j]
                    total += -((z - mixture.mean[k, j]) ** 2) / (2 * s2) - 0.5 * np.log(2 * np.pi * s2)
            for table, code in zip(mixture.levels, rows.codes[:, i], strict=True):
                total += np.log(table[k, code]) if code >= 0 else 0
            assert scores[k, i] == pytest.approx(total, abs=1e-10)
    assert [rule.name for rule in encoding.levels] == ["plan", "app", "spent"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 499), min_size=1, max_size=40), st.integers(0, 3))
def test_a_row_scores_alone_as_in_any_batch(picked: list[int], seed: int) -> None:
    table = mixed(500, seed, 0.1)
    encoding, rows, _ = read(table)
    scorer = _mixture(seed).scorer()
    group, chance, _ = place(rows, scorer)
    some = place(encode(table[picked], encoding), scorer)
    assert some[0].tolist() == group[picked].tolist()
    assert some[1].tolist() == chance[picked].tolist()  # to the last digit


_FITS: dict[int, Mixture] = {}


def _mixture(seed: int) -> Mixture:
    if seed not in _FITS:
        _, rows, sizes = read(mixed(500, seed, 0.1))
        _FITS[seed] = fit_mixture(rows, sizes, 3, starts=2).mixture
    return _FITS[seed]


def test_unseen_levels_missing_values_and_strange_numbers_never_raise() -> None:
    encoding, _, _ = read(mixed())
    strange = pl.DataFrame(
        {"spent": [None, float("nan"), float("inf"), -5.0, 1e12], "visits": [None] * 5, "plan": ["never seen", None, "", "plus", "basic"], "app": [None, True, None, None, False]},
        schema={"spent": pl.Float64, "visits": pl.Float64, "plan": pl.String, "app": pl.Boolean},
    )
    group, chance, log_likelihood = place(encode(strange, encoding), _mixture(0).scorer())
    assert set(group) <= {0, 1, 2}
    assert np.isfinite(chance).all()
    assert np.isfinite(log_likelihood).all()
    numbers_as_text = strange.with_columns(pl.col("spent").cast(pl.String))
    assert place(encode(numbers_as_text, encoding), _mixture(0).scorer())[0].tolist() == group.tolist()


def test_sql_gives_the_same_groups_as_python() -> None:
    duckdb = pytest.importorskip("duckdb")
    table = mixed(800, 5, 0.1).with_columns(customer_id=pl.format("c{}", pl.int_range(pl.len())), app=pl.when("app").then(pl.lit("yes")).when(~pl.col("app")).then(pl.lit("no")))
    encoding, rows, sizes = read(table)
    axes = fit_mixed_axes(rows, sizes, 2)
    _, centres, _ = k_means(axes.coordinates(rows), np.ones(800), 3)
    for scorer in (fit_mixture(rows, sizes, 3, starts=2).mixture.scorer(), group_scorer(axes, centres, np.ones(3) / 3, 1.0)):
        group, chance, _ = place(rows, scorer)
        with duckdb.connect() as connection:
            connection.register("customers", table.to_arrow())
            found = connection.execute(score_sql(encoding, scorer, ("P1", "P2", "P3"), "customers") + " ORDER BY CAST(substr(customer_id, 2) AS INT)").fetchall()
        assert [row[1] for row in found] == [f"P{g + 1}" for g in group]
        assert [row[2] for row in found] == pytest.approx(chance, abs=1e-9)


def test_ranks_are_normal_scores_and_new_values_are_read_by_frozen_knots() -> None:
    rng = np.random.default_rng(4)
    values = rng.lognormal(3, 1.2, 5000)
    rule = fit_number("spent", values, np.ones(5000))
    z = rule.score(values)
    assert len(rule.knots) <= 258
    inner = np.abs(z) < 2.5
    assert z[inner] == pytest.approx((np.log(values[inner]) - 3) / 1.2, abs=0.2)  # log-normal: the exact answer is known
    assert rule.score(values[:1]) == z[0]
    assert rule.score(np.array([-1.0, 1e12])).tolist() == [rule.scores[0], rule.scores[-1]]
    assert (np.diff(rule.scores) > 0).all()


def test_a_tame_number_keeps_its_distances_and_a_weight_is_so_many_rows() -> None:
    values = np.random.default_rng(1).normal(size=400)
    rule = fit_number("x", values, np.ones(400))
    assert rule.score(values) == pytest.approx((values - values.mean()) / values.std(), abs=0.02)
    wild = np.round(np.exp(values), 2)
    assert fit_number("x", np.tile(wild, 3), np.ones(1200)).scores == pytest.approx(fit_number("x", wild, np.full(400, 3.0)).scores, abs=1e-12)


def test_rare_levels_are_other_and_a_missing_word_can_mean_something() -> None:
    towns = pl.Series("town", [f"t{n % 30:02}" for n in range(300)] + [None] * 20)
    rule = fit_levels(towns, np.ones(320))
    assert len(rule.levels) == 13
    assert rule.levels[-1] == OTHER
    assert rule.code(pl.Series("town", ["t29", "nowhere", None])).tolist() == [12, 12, -1]
    told = fit_levels(towns, np.ones(320), missing_is_level=True)
    assert MISSING in told.levels


def test_columns_that_say_the_same_are_found() -> None:
    table = mixed(300).with_columns(cents=pl.col("visits") * 100, tariff=pl.col("plan") + "!")
    encoding = fit_encoding(table, ["visits", "cents"], ["plan", "tariff"], merge_repeats=False)
    found = find_repeats(encode(table, encoding), encoding, np.ones(300))
    assert {pair[:2] for pair in found} == {("visits", "cents"), ("plan", "tariff")}
    one = np.array([0, 0, 1, 1, 2, -1])
    assert cramers_v(one, one[::1], np.ones(6)) == pytest.approx(1.0)
    assert cramers_v(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.ones(4)) == 0


def test_chances_add_up_and_do_not_depend_on_the_size_of_scores() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 50)) * 100
    chance, total = posterior(scores + 5000)
    assert chance.sum(axis=0) == pytest.approx(np.ones(50))
    assert total - 5000 == pytest.approx(posterior(scores)[1])


def test_too_few_customers_and_missing_columns_are_refused() -> None:
    encoding, rows, sizes = read(mixed(50))
    with pytest.raises(DesignError, match="cannot make 3 groups"):
        fit_mixture(rows.take([0, 0, 1]), sizes, 3)
    with pytest.raises(DesignError, match="no customer"):
        fit_mixture(rows.take([]), sizes, 2)
    with pytest.raises(DesignError, match="no column"):
        merge_rows(Encoded(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int16)), np.ones(3))
    with pytest.raises(SchemaError, match="plan"):
        encode(mixed(5).drop("plan"), encoding)
    assert encode(mixed(5).clear(), encoding).rows == 0
