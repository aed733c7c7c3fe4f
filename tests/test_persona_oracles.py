"""Personas beside other people's programs: StepMix's mixture, prince's mixed axes, kmodes' prototypes, fpc's resamples."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from motkit.encoding import Encoded, fit_encoding
from motkit.mixed_axes import fit_mixed_axes, k_means
from motkit.mixture import fit_mixture
from motkit.persona_lifts import persona_traits
from motkit.persona_stability import resample_groups
from motkit.persona_validation import NUMBERS, WORDS, Planted, agreement, plant_customers
from motkit.personas import build_personas
from motkit.scoring import posterior
from motkit.small_cells import anonymity

REFERENCE = Path(__file__).parent / "reference" / "personas_engagement"
SIZES = (3, 4, 5)


def expected(name: str) -> dict[str, Any]:
    return json.loads((REFERENCE / f"{name}_expected.json").read_text(encoding="utf-8"))


@cache
def planted(n: int, seed: int) -> Planted:
    return plant_customers(n, seed, "easy")


def columns(n: int, seed: int, each: int, gaps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and codes of words, rows x columns; NaN and -1 where a value is missing."""
    table, rng = planted(n, seed).table, np.random.default_rng(seed)
    numbers = table.select(NUMBERS[:each]).to_numpy().copy()
    words = np.column_stack([table[name].str.slice(1).cast(pl.Int16).to_numpy() for name in WORDS[:each]])
    numbers[rng.random(numbers.shape) < gaps] = np.nan
    words[rng.random(words.shape) < gaps] = -1
    return numbers, words


@pytest.mark.parametrize("gaps", [0.0, 0.1], ids=["complete", "10 % missing"])
def test_the_mixture_is_that_of_stepmix(gaps: float) -> None:
    # StepMix 3.0: maximum likelihood for the same model; its likelihood leaves out what is missing, as ours does
    from stepmix.stepmix import StepMix

    numbers, words = columns(300, 3, 3, gaps)
    rows = Encoded(numbers.T.copy(), words.T.copy())
    own = fit_mixture(rows, SIZES, 3, alpha=0)
    kind = "_nan" if gaps else ""
    parts = {"numbers": {"model": f"gaussian_diag{kind}", "n_columns": 3}, "words": {"model": f"categorical{kind}", "n_columns": 3}}
    how = {"n_init": 10, "random_state": 0, "abs_tol": 1e-10, "rel_tol": 0, "max_iter": 5000, "verbose": 0, "progress_bar": 0}
    table = np.hstack([numbers, np.where(words < 0, np.nan, words)])
    other = StepMix(n_components=3, measurement=parts, **how).fit(table)
    assert own.log_likelihood == pytest.approx(300 * other.score(table), abs=1e-4)
    assert own.bic == pytest.approx(other.bic(table), abs=1e-3)
    assert own.mixture.parameters == other.n_parameters
    found = other.get_parameters()
    order = np.argsort(-found["weights"])
    assert own.mixture.share == pytest.approx(found["weights"][order], abs=1e-4)
    assert own.mixture.mean == pytest.approx(found["measurement"]["numbers"]["means"][order], abs=1e-4)
    assert own.mixture.variance == pytest.approx(found["measurement"]["numbers"]["covariances"][order], abs=1e-3)
    for place, levels in enumerate(own.mixture.levels):  # StepMix keeps all columns in one table, five levels each
        assert levels == pytest.approx(found["measurement"]["words"]["pis"][order, 5 * place : 5 * place + SIZES[place]], abs=1e-4)
    chance = posterior(own.mixture.scorer().scores(rows))[0]
    theirs = other.predict_proba(table)[:, order]
    assert np.abs(chance.T - theirs).max() < 0.01  # StepMix stops earlier where the chance of a rare level goes to nothing


def test_mixed_axes_are_those_of_prince_and_a_row_alone_stays_where_it_is() -> None:
    # prince 0.23 on the same small table; its axes may point the other way
    import prince

    numbers, words = columns(200, 3, 3)
    names = [*NUMBERS[:3], *WORDS[:3]]
    table = planted(200, 3).table.select(names).to_pandas()
    other = prince.FAMD(n_components=3, engine="scipy").fit(table)
    rows = Encoded(numbers.T.copy(), words.T.copy())
    own = fit_mixed_axes(rows, SIZES, 3)
    assert own.eigenvalues == pytest.approx(other.eigenvalues_, abs=1e-9)
    theirs = other.row_coordinates(table).to_numpy()
    assert np.abs(own.coordinates(rows).T) == pytest.approx(np.abs(theirs), abs=1e-9)
    alone = own.coordinates(rows.take([0]))[:, 0]
    assert np.abs(alone) == pytest.approx(np.abs(theirs[0]), abs=1e-9)
    assert np.abs(other.row_coordinates(table.iloc[[0]]).to_numpy()[0] - theirs[0]).max() > 0.1  # why prince does not serve at run time


def test_prototypes_are_a_challenger_that_the_mixture_beats() -> None:
    # kmodes 0.12 from the start that the reference names, then against the planted kinds
    from kmodes.kprototypes import KPrototypes

    made, reference = planted(400, 3), expected("kproto")
    numbers, words = columns(400, 3, 5)
    z = np.round((numbers - numbers.mean(axis=0)) / numbers.std(axis=0), 6)
    table = np.hstack([z.astype(object), words.astype(str).astype(object)])
    personas = build_personas(made.table, 4, NUMBERS, WORDS, resamples=0, starts=4)
    own = agreement(personas.assignments["persona"].str.slice(1).cast(pl.Int64).to_numpy(), made.kind)
    assert own > agreement(made.best, made.kind) - 0.02
    for gamma, row in reference["results"].items():
        given = None if gamma == "None" else float(gamma)
        starts = [z[reference["init_rows"]], table[reference["init_rows"], 5:]]  # anew each time: kmodes moves them
        other = KPrototypes(n_clusters=4, init=starts, n_init=1, gamma=given)
        labels = other.fit_predict(table, categorical=[5, 6, 7, 8, 9])
        assert "".join(map(str, labels)) == row["labels"]
        assert (other.gamma, other.cost_) == (pytest.approx(row["gamma"]), pytest.approx(row["cost"], abs=1e-3))
        assert agreement(labels, made.kind) == pytest.approx(row["agreement"], abs=1e-4)
        assert own > row["agreement"]


def test_as_much_of_a_group_comes_back_in_resamples_as_in_r() -> None:
    # R's fpc, clusterboot on Fisher's irises as z-scores; the resamples differ, so within 0.03
    from sklearn.datasets import load_iris

    flowers, reference = load_iris().data, expected("stability")
    z = ((flowers - flowers.mean(axis=0)) / flowers.std(axis=0)).T.copy()
    rows, weight = Encoded(z, np.zeros((0, 150), dtype=np.int16)), np.ones(150)
    group, _, _ = k_means(z, weight, 3, 1, 10)

    def refit(drawn: Encoded, counts: np.ndarray, seed: int) -> np.ndarray:
        return k_means(drawn.numbers, counts, 3, seed, 10)[0]

    found = resample_groups(rows, weight, group, refit, 100, 1)
    sizes = np.bincount(group)
    assert sorted(sizes) == sorted(reference["sizes"])
    theirs = dict(zip(reference["sizes"], reference["bootmean"], strict=True))
    for size, overlap, dissolved in zip(sizes, found.mean, found.dissolved, strict=True):
        assert overlap == pytest.approx(theirs[int(size)], abs=0.03)
        assert dissolved <= 0.05  # of 100 in R: 2, 0 and 0


def telco_groups(folder: Path) -> tuple[pl.DataFrame, np.ndarray]:
    """The customers of a phone company, named as in the reference, and a grouping of them."""
    names = {"female": "gender", "senior_citizen": "SeniorCitizen", "streaming_tv": "StreamingTV", "multiple_lines": "MultipleLines"}
    words = ("churn", "contract", "dependents", "device_protection", "internet_service", "online_backup", "online_security", "paperless_billing")
    words += ("partner", "payment_method", "phone_service", "streaming_movies", "tech_support")
    names |= {name: "".join(part.capitalize() for part in name.split("_")) for name in words}
    table = pl.read_csv(folder / "telco_churn_ibm.csv.gz", null_values=[" "], infer_schema_length=None).drop_nulls("TotalCharges")
    kept = table.select(pl.col(old).cast(pl.String).alias(new) for new, old in names.items())
    marks = {"female": {"Female": "1", "Male": "0"}} | {name: {"Yes": "1", "No": "0"} for name in ("dependents", "partner", "paperless_billing", "phone_service")}
    labels = (REFERENCE / "lift_telco_k4_labels.txt").read_text(encoding="utf-8").replace("\n", "")
    return kept.with_columns(pl.col(name).replace(values) for name, values in marks.items()), np.array(list(labels), dtype=np.int64)


def test_lifts_and_their_tests_on_real_customers_are_those_of_scipy_and_statsmodels(real_data: Path) -> None:
    table, group = telco_groups(real_data)
    traits = persona_traits(table, fit_encoding(table, [], []), group, ["0", "1", "2", "3"], table.columns)
    theirs = pl.read_csv(REFERENCE / "lift_telco_k4.csv").with_columns(pl.col("persona").cast(pl.String))
    both = theirs.join(traits, on=["persona", "attribute", "level"], suffix="_own")
    assert both.height == theirs.height == 180
    for own, other in (("n", "n_both"), ("n_persona_own", "n_persona"), ("lift_own", "lift"), ("p_value", "p"), ("q_value", "q_bh")):
        assert both[own].to_numpy() == pytest.approx(both[other].to_numpy(), rel=1e-6, abs=1e-300), other


def test_a_persona_beside_what_others_know_leaves_people_alone_as_counted(real_data: Path) -> None:
    # the classes of five protected or known attributes and the persona, counted by pandas
    table, group = telco_groups(real_data)
    known = ["female", "senior_citizen", "partner", "dependents", "contract", "persona"]
    found = anonymity(table.with_columns(persona=pl.Series(group)), known, "churn").row(0, named=True)
    assert (found["k"], found["classes"], found["small_classes"], found["people_in_small"]) == (1, 152, 52, 199)
    assert found["l"] == 1
