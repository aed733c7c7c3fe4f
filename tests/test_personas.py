"""Customers and personas: planted kinds found again, nothing in noise, laws, new rows, protected columns, refusals."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import hypergeom

from motkit.customers import customer_table, protected_columns
from motkit.encoding import fit_encoding
from motkit.errors import DesignError, SchemaError, SettingError
from motkit.large_fits import refine_personas
from motkit.mixture import Mixture
from motkit.persona_lifts import persona_traits, propose_names, top_traits
from motkit.persona_stability import distances, overlap
from motkit.personas import Personas, RepeatedColumnsWarning, build_personas
from motkit.schema import EVENTS
from motkit.simulate import simulate_customers

START = datetime(2026, 3, 2, tzinfo=UTC)


def agreement(one: list[str], other: list[str]) -> float:
    """The adjusted Rand index of two groupings, by its definition on pairs of counts."""
    table = pl.DataFrame({"a": one, "b": other}).group_by("a", "b").len()
    pairs = lambda n: n * (n - 1) / 2  # noqa: E731
    both = pairs(table["len"].cast(pl.Float64)).sum()
    a, b = (pairs(table.group_by(name).agg(pl.col("len").sum())["len"].cast(pl.Float64)).sum() for name in "ab")
    expected = a * b / pairs(len(one))
    return (both - expected) / ((a + b) / 2 - expected)


def survey(n: int = 800, seed: int = 0) -> tuple[pl.DataFrame, list[str]]:
    """Three kinds of people, in amounts with zeros, words with gaps, and a protected column that stands for nothing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    plans = np.where(rng.random(n) < 0.8, kind, rng.integers(0, 3, n))
    table = pl.DataFrame(
        {
            "customer_id": [f"c{number:04}" for number in range(n)],
            "spent": np.where(rng.random(n) < 0.3, 0.0, np.exp(3 + 1.5 * kind + rng.normal(0, 0.6, n))),
            "visits": 2.0 + 3 * (kind == 1) + rng.normal(size=n),
            "plan": pl.Series(["basic", "plus", "pro"]).gather(plans),
            "gender": rng.choice(["f", "m"], n),
        }
    )
    return table.with_columns(plan=pl.when(pl.Series(rng.random(n) > 0.1)).then("plan")), [str(k) for k in kind]


@cache
def made() -> Personas:
    return build_personas(survey()[0], resamples=20, starts=4, k_max=5)


def test_planted_kinds_are_found_and_hold_still() -> None:
    personas, truth = made(), survey()[1]
    assert (personas.k, personas.passed, personas.method) == (3, True, "mixture")
    assert agreement(personas.assignments["persona"].to_list(), truth) > 0.8
    assert personas.quality["badge"].to_list() == ["stable"] * 3
    quality = personas.quality
    assert quality["n"].sum() == 800
    assert (quality["ci_low"] < quality["share"]).all()
    assert (quality["share"] < quality["ci_high"]).all()
    assert quality["n"].to_list() == sorted(quality["n"], reverse=True)


def test_noise_has_no_personas() -> None:
    rng = np.random.default_rng(0)
    for seed in range(3):
        noise = pl.DataFrame({"a": rng.normal(size=600), "b": rng.lognormal(size=600), "c": rng.choice(list("xyz"), 600), "d": rng.choice(["no", "yes"], 600)})
        personas = build_personas(noise, seed=seed, resamples=10, starts=4, k_max=4)
        assert personas.k == 1
        assert personas.passed is False
        assert "no personas" in personas.verdict


def test_a_customer_gets_the_same_persona_alone_and_in_a_batch() -> None:
    personas, table = made(), survey()[0]
    for row in range(0, 800, 40):
        assert personas.assign(table[row]).row(0) == personas.assignments.row(row)
    assert personas.assign(table.sample(fraction=1, shuffle=True, seed=1)).sort("customer_id").equals(personas.assignments)
    assert personas.assign(table.clear()).schema == personas.assignments.schema


def test_the_order_of_customers_changes_no_persona() -> None:
    table = survey(400, 3)[0]
    one = build_personas(table, k=3, resamples=8, starts=3)
    other = build_personas(table.sample(fraction=1, shuffle=True, seed=5), k=3, resamples=8, starts=3)
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-8)
    assert one.assignments["persona"].to_list() == other.assignments.sort("customer_id")["persona"].to_list()
    assert one.quality["overlap"].to_list() == pytest.approx(other.quality["overlap"].to_list(), abs=1e-9)


def test_weights_are_repeated_rows() -> None:
    table = survey(150, 2)[0].drop("customer_id").with_columns(times=pl.int_range(pl.len()) % 3 + 1)
    repeated = table.select(pl.all().repeat_by("times").explode()).drop("times")
    weighted = build_personas(table, k=2, numeric=["spent", "visits"], categorical=["plan"], weight="times", resamples=0, starts=3)
    plain = build_personas(repeated, k=2, numeric=["spent", "visits"], categorical=["plan"], resamples=0, starts=3)
    assert weighted.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-8)
    assert weighted.quality["n"].to_list() == plain.quality["n"].to_list()
    assert weighted.n == plain.n == table["times"].sum()


def test_strange_new_rows_never_raise() -> None:
    personas = made()
    strange = pl.DataFrame({"spent": [None, float("nan"), -1e9], "visits": [None, 1e9, float("inf")], "plan": [None, "never seen", ""]}, strict=False)
    placed = personas.assign(strange)
    assert placed["customer_id"].to_list() == ["row 1", "row 2", "row 3"]
    assert placed["probability"].is_between(1 / 3 - 1e-9, 1).all()
    nothing = placed.row(0, named=True)
    assert nothing["persona"] == "P1"  # of nothing known: the largest
    assert nothing["mixed"]


def test_sums_over_chunks_add_up_to_those_of_all() -> None:
    personas, table = made(), survey()[0]
    parts = [personas.sums(table[start : start + 200]) for start in range(0, 800, 200)]
    total = parts[0] + parts[1] + parts[2] + parts[3]
    assert total.features == pytest.approx(personas.sums(table).features, abs=1e-8)
    assert total.log_likelihood == pytest.approx(personas.log_likelihood, abs=1e-8)


def test_sql_gives_the_same_personas() -> None:
    duckdb = pytest.importorskip("duckdb")
    personas, table = made(), survey()[0]
    with duckdb.connect() as connection:
        connection.register("people", table.to_arrow())
        found = connection.execute(personas.sql("people") + " ORDER BY customer_id").fetchall()
    assert [row[1] for row in found] == personas.assignments["persona"].to_list()
    assert [row[2] for row in found] == pytest.approx(personas.assignments["probability"].to_list(), abs=1e-9)


def test_protected_columns_are_kept_apart_unless_let_in_with_a_reason() -> None:
    table = survey()[0]
    assert made().protected.columns == ["customer_id", "gender"]
    assert "gender" not in made().encoding.columns
    with pytest.raises(DesignError, match="protected attribute"):
        build_personas(table, k=2, categorical=["gender", "plan"])
    told = {"gender": "the range is sold by gender"}
    let_in = build_personas(table, k=2, numeric=["spent"], categorical=["gender", "plan"], allow_protected=told, resamples=0, starts=2)
    note = let_in.provenance.filter(pl.col("column") == "gender")["note"].item()
    assert "sold by gender" in note
    assert not any("gender" in name.lower() for name in let_in.cards["proposed_name"])
    assert protected_columns(["MaritalStatus", "Kidhome", "page", "average_age", "language"]) == ["MaritalStatus", "Kidhome", "average_age"]


def test_columns_that_say_the_same_are_left_out_or_warned_of() -> None:
    table = survey(300)[0].with_columns(cents=pl.col("spent") * 100)
    auto = build_personas(table, k=2, resamples=0, starts=2)
    assert any("`cents` is left out" in note for note in auto.notes)
    with pytest.warns(RepeatedColumnsWarning, match="say the same"):
        build_personas(table, k=2, numeric=["spent", "cents"], resamples=0, starts=2)


def test_names_of_the_analyst_stand_in_the_cards() -> None:
    named = made().rename({"P2": "Families on the move"})
    assert named.cards.filter(pl.col("persona") == "P2")["name"].item() == "Families on the move"
    with pytest.raises(SettingError, match="no persona 'P9'"):
        made().rename({"P9": "x"})


def test_cards_say_what_marks_a_persona() -> None:
    cards = made().cards
    assert cards.height == 3
    assert all(len(words) for words in cards["is_"])
    assert {"persona", "name", "proposed_name", "n", "share", "ci_low", "ci_high", "badge", "overlap", "is_", "is_not"} <= set(cards.columns)


def test_unusable_questions_are_refused_in_words() -> None:
    table = survey(100)[0]
    with pytest.raises(SettingError, match="`k` is 0"):
        build_personas(table, k=0)
    with pytest.raises(SettingError, match="`method`"):
        build_personas(table, k=2, method="magic")
    with pytest.raises(SchemaError, match="colour"):
        build_personas(table, k=2, numeric=["colour"])
    with pytest.raises(DesignError, match="no column can be used"):
        build_personas(pl.DataFrame({"customer_id": ["a", "b"], "born": ["1990", "1991"]}))
    with pytest.raises(DesignError, match="repeat a customer"):
        build_personas(pl.concat([table, table]), k=2)


# traits


def test_lifts_and_tests_are_those_of_a_plain_loop() -> None:
    table = survey(300, 4)[0].drop_nulls()
    group = np.arange(table.height) % 3
    traits = persona_traits(table, fit_encoding(table, [], ["plan"]), group, ["P1", "P2", "P3"], ["gender"])
    for row in traits.iter_rows(named=True):
        own = table.filter(pl.Series(group == int(row["persona"][1]) - 1))
        both, level = (int((part[row["attribute"]] == row["level"]).sum()) for part in (own, table))
        assert (row["n"], row["n_persona"]) == (both, own.height)
        assert row["lift"] == pytest.approx((both / own.height) / (level / table.height))
        assert row["log2_lift"] == pytest.approx(np.log2((both + 0.5) / (own.height * level / table.height + 0.5)))
        if row["basis"]:
            assert row["p_value"] is None
        else:
            law = hypergeom(table.height, level, own.height)
            assert row["p_value"] == pytest.approx(min(1, 2 * min(law.cdf(both), law.sf(both - 1))))


def test_no_proposed_name_mentions_what_it_must_not() -> None:
    top = top_traits(made().traits)
    assert all("plan" not in name.lower() for name in propose_names(top, made().ids, never=["plan"]).values())


def test_overlap_and_distance_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 3, 60), rng.integers(0, 4, 60)
    best, together = overlap(one, other, 3)
    for g in range(3):
        mine = set(np.flatnonzero(one == g))
        assert best[g] == max(len(mine & b) / len(mine | b) for b in (set(np.flatnonzero(other == q)) for q in range(4)))
        pairs = [other[a] == other[b] for a in mine for b in mine if a != b]
        assert together[g] == pytest.approx(np.mean(pairs))
    alike = Mixture(np.ones(1), np.array([[0.3]]), np.array([[2.0]]), (np.array([[0.2, 0.8]]),))
    assert distances(alike, alike)[0, 0] == pytest.approx(0)


# customers


def event(who: str, days: float, what: str, channel: str = "web", value: float | None = None) -> tuple:
    return who, START + timedelta(days=days), what, channel, value, None


def log(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def test_rates_are_per_week_of_active_time() -> None:
    rows = [event("ann", 10 * week, "home") for week in range(8)] + [event("ann", 70.01, "purchase", value=20.0), event("bo", 0, "home")]
    table = customer_table(log(rows), as_of=START + timedelta(days=140)).table
    ann, bo = table.to_dicts()
    assert ann["visits_per_week"] == pytest.approx(8 / (70.01 / 7))
    assert ann["purchases_per_month"] == pytest.approx(1 / 10.00142857 * 365.25 / 12 / 7, rel=1e-4)
    assert ann["median_purchase_value"] == 20.0
    assert bo["visits_per_week"] == 0.25  # one visit in four weeks, the least that is taken
    assert bo["days_since_last"] == 140


def test_later_events_and_events_of_the_company_change_nothing() -> None:
    rows = [event("ann", day, "home") for day in range(5)] + [event("bo", day, "search", "app") for day in range(5)]
    as_of = START + timedelta(days=6)
    before = customer_table(log(rows), as_of=as_of).table
    after = customer_table(log([*rows, event("ann", 50, "purchase", value=1.0)]), as_of=as_of).table
    assert before.equals(after)
    sent = customer_table(log([*rows, event("bo", 2.5, "email_sent", "email")]), as_of=as_of, ignore=["*_sent"]).table
    assert before.equals(sent)


def test_the_clock_is_the_customers_own() -> None:
    rows = [event("ann", day + 0.8, "home") for day in range(20)] + [event("bo", day + 0.8, "home") for day in range(20)]  # 19:12 UTC
    rows += [event("cy", day + 0.4, "home") for day in range(20)]
    profile = pl.DataFrame({"customer_id": ["ann", "bo"], "time_zone": ["UTC", "Asia/Tokyo"]})
    table = customer_table(log(rows), profile).table
    night = dict(table.select("customer_id", "time_night_share").rows())
    assert night["bo"] > 0.9
    assert night["ann"] < 0.1


def test_the_personas_of_the_simulation_are_found_again() -> None:
    made = simulate_customers(n=700, seed=3)
    company = ["*_sent", "*_promised", "delivered", "refund_paid", "called_back", "price_increase_notice", "account_closed", "tracking_opted_out"]
    customers = customer_table(made.events, made.profiles, ignore=company)
    assert "age_band" in customers.protected.columns
    behaviour = customers.provenance.filter(pl.col("source") == "behaviour", pl.col("role") == "basis")["column"].to_list()
    personas = build_personas(customers, k=3, numeric=behaviour, resamples=0)
    truth = personas.assignments.join(made.truth.customers, on="customer_id", how="left", maintain_order="left", suffix="_true")
    assert agreement(truth["persona"].to_list(), truth["persona_true"].to_list()) > 0.4
    assert personas.basis.startswith("behaviour up to")
    assert not personas.profile_only


def test_each_column_says_from_which_list_it_is() -> None:
    bought = pl.DataFrame({"customer_id": ["ann", "bo"], "income": [5, None], "town": ["x", "y"], "provenance": ["crm.csv, bought list", "crm.csv"]})
    made = customer_table(log([event(who, day, "home") for who in ("ann", "bo") for day in range(3)]), bought)
    origins = dict(made.provenance.select("column", "origin").rows())
    assert (origins["income"], origins["town"], origins["visits_per_week"]) == ("bought list, crm.csv", "bought list, crm.csv", "the log")
    alone = customer_table(None, bought.filter(pl.col("customer_id") == "bo")).provenance
    assert dict(alone.select("column", "origin").rows()) == {"income": "the profile", "town": "crm.csv"}


def test_customers_without_anything_are_refused() -> None:
    with pytest.raises(DesignError, match="neither events nor a profile"):
        customer_table(None)
    with pytest.raises(DesignError, match="no event"):
        customer_table(log([]))
    with pytest.raises(SchemaError, match="customer_id"):
        customer_table(None, pl.DataFrame({"id": ["a"]}))


def test_real_customers_of_a_phone_company(real_data: Path) -> None:
    table = pl.read_csv(real_data / "telco_churn_ibm.csv.gz", null_values=[" "], infer_schema_length=None).rename({"customerID": "customer_id"})
    table = table.with_columns(pl.col("TotalCharges").cast(pl.Float64, strict=False))
    personas = build_personas(table.drop("Churn"), k=4, resamples=10, starts=4)
    assert {"gender", "SeniorCitizen", "Partner", "Dependents"} < set(personas.protected.columns)
    assert personas.assignments.height == 7043
    assert personas.quality["n"].min() > 500
    churn = personas.assignments.join(table.select("customer_id", "Churn"), on="customer_id").group_by("persona").agg((pl.col("Churn") == "Yes").mean())
    assert churn["Churn"].max() > 2 * churn["Churn"].min()  # not used in the fit, and yet told apart


# more customers than memory holds


def test_a_fit_in_batches_is_that_in_memory(tmp_path: Path) -> None:
    table = survey(3000, 5)[0]
    sample = build_personas(table.head(500), k=3, resamples=0, starts=3)
    table.write_parquet(tmp_path / "customers.parquet")
    whole = refine_personas(sample, table.lazy(), batch_rows=5000)
    for rows in (97, 1000):
        parts = refine_personas(sample, pl.scan_parquet(tmp_path / "customers.parquet"), batch_rows=rows)
        assert parts.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)
        for name in ("share", "mean", "variance"):
            assert getattr(parts.groups.mixture, name) == pytest.approx(getattr(whole.groups.mixture, name), abs=1e-9)
        assert parts.assignments["persona"].equals(whole.assignments["persona"])
        assert parts.assignments["probability"].to_numpy() == pytest.approx(whole.assignments["probability"].to_numpy(), abs=1e-9)
    before = sample.sums(table).log_likelihood
    assert whole.log_likelihood > before
    assert whole.log_likelihood == pytest.approx(whole.sums(table).log_likelihood, abs=1e-6)
    assert (np.diff(whole.groups.fit.path) >= -1e-7).all()


def test_a_fit_in_batches_takes_weights_and_refuses_what_it_cannot_use() -> None:
    table = survey(400, 6)[0].with_columns(times=pl.int_range(pl.len()) % 3 + 1)
    sample = build_personas(table.drop("times"), k=2, resamples=0, starts=2)
    weighted = refine_personas(sample, table.lazy(), weight="times")
    repeated = refine_personas(sample, table.select(pl.all().repeat_by("times").explode()).lazy())
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, abs=1e-6)
    with pytest.raises(DesignError, match="no likelihood"):
        refine_personas(build_personas(table.drop("times"), k=2, method="famd_kmeans", resamples=0, starts=2), table.lazy())
    with pytest.raises(DesignError, match="no customer"):
        refine_personas(sample, table.clear().lazy())
    with pytest.raises(SchemaError, match="plan"):
        refine_personas(sample, table.drop("plan").lazy())


def test_a_persona_that_holds_nobody_is_a_row_that_is_not_shown() -> None:
    table = pl.DataFrame({"customer_id": [f"c{k}" for k in range(60)], "age": [20.0 + k for k in range(60)], "plan": ["gold" if k % 4 else "free" for k in range(60)]})
    found = build_personas(table, 2, resamples=2, starts=1)
    assert found.quality["n"].to_list() == [60.0, 0.0]
    assert found.quality["badge"][1] == "not shown"
