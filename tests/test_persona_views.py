"""Persona views, plots and pages: numbers are those of the tables, small groups are hidden, pictures are drawn."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from motkit import persona_plots, persona_views
from motkit.page_parts import look_at
from motkit.persona_page import AUDIT_PAGE, PERSONA_PAGE
from motkit.persona_stages import PERSONA_STAGES
from motkit.settings import PersonaSettings, Settings
from motkit.simulate import simulate_customers
from motkit.store import write_store
from motkit.workbench import Bench


@dataclass
class Kept:
    frames: dict[str, pl.DataFrame]
    manifest: dict[str, Any] = field(default_factory=dict)
    path: Path = Path("study")

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self.frames)

    def table(self, name: str) -> pl.DataFrame:
        return self.frames[name]

    def scan(self, name: str) -> pl.LazyFrame:
        return self.frames[name].lazy()


@cache
def tables(folder: Path) -> dict[str, pl.DataFrame]:
    made = simulate_customers(n=500, seed=4)
    chosen = Settings(personas=PersonaSettings(ignore=("*_sent", "*_promised", "delivered"), k_max=3, resamples=6))
    store = write_store(made.events.lazy(), folder / "store", n_events=made.events.height)
    left = made.truth.customers.select("customer_id", event_kind=pl.col("churned").cast(pl.Int8)).lazy()
    beside = {"profiles": made.profiles.lazy(), "onboarding": left}
    found = PERSONA_STAGES[0].make(Bench(store, chosen, made.end, beside.__getitem__, beside.keys))
    return {name: table.lazy().collect() for name, table in found.items()} | later_tables()


def promise_row(promise: str, persona: str, customers: int, kept: float) -> dict[str, Any]:
    row = {"promise": promise, "persona": persona, "n": customers * 2, "customers": customers, "kept": kept, "ci_low": kept - 0.05, "ci_high": kept + 0.05}
    return row | dict.fromkeys(("still_open", "broken", "left", "lost"), 1)


def later_tables(smallest: int = 40) -> dict[str, pl.DataFrame]:
    """Promises by persona and what changed since an earlier study, as later stages write them."""
    rows = [promise_row("one_call", persona, people, kept) for persona, people, kept in (("all", 440, 0.8), ("P1", 250, 0.7), ("P2", 150, 0.82), ("P3", smallest, 0.8))]
    ledger = {"happened": ["kept", "birth", "death", "split", "merge"], "persona": ["P1", "P4", "P3", "P2", "P3"], "other": [None, None, None, "P4", "P1"], "distance": [0.01, 0.1, None, 0.1, 0.08]}
    warned = {"measure": ["shares", "looks"], "persona": [None, "P1"], "value": [0.3, 0.01], "limit": [0.1, 0.03], "warning": [True, False]}
    return {"persona_promises": pl.DataFrame(rows), "persona_ledger": pl.DataFrame(ledger), "persona_warnings": pl.DataFrame(warned)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(dict(tables(tmp_path_factory.mktemp("views"))))


def test_every_look_has_a_sentence_with_its_numbers_and_what_it_rests_on(study: Kept) -> None:
    for look in (PERSONA_PAGE.lead, *PERSONA_PAGE.looks, *AUDIT_PAGE.looks):
        assert look is not None
        view = look_at(look, study)
        assert view.empty == "", (look.name, view.empty)
        assert view.sentence
        assert "n = " in view.footing
        assert view.table.height


def test_every_picture_is_drawn(study: Kept) -> None:
    hv = pytest.importorskip("holoviews")
    hv.extension("bokeh")
    for look in PERSONA_PAGE.looks:
        if look.draw is not None:
            assert hv.render(look.draw(look_at(look, study)))
    empty = persona_views.persona_sizes(Kept({}))
    assert hv.render(persona_plots.plot_persona_sizes(empty))


def test_a_card_holds_the_numbers_of_the_study(study: Kept) -> None:
    row = study.table("persona_cards").filter(pl.col("persona") == "P2").row(0, named=True)
    card = dict(persona_views.persona_card(study, "P2").table.rows())
    assert f"n = {row['n']:,.0f}" in card["share"]
    assert card["is"] == "; ".join(row["is_"])
    assert "associated with" in card["outcome"]
    assert "made-up example" in card
    assert persona_views.persona_card(study).title == "Persona P1"
    assert "no card of P9" in persona_views.persona_card(study, "P9").empty


def test_small_personas_and_those_that_do_not_hold_have_no_card(study: Kept) -> None:
    cards = study.table("persona_cards")
    small = cards.with_columns(n=pl.when(pl.col("persona") == "P1").then(5.0).otherwise("n"))
    hidden = persona_views.persona_sizes(Kept({**study.frames, "persona_cards": small}))
    assert (hidden.table["hidden"] != "").sum() >= 2  # the small one and one more, so that it cannot be worked out
    doubtful = cards.with_columns(badge=pl.when(pl.col("persona") == "P1").then(pl.lit("not shown")).otherwise("badge"))
    assert "P1" not in persona_views.list_personas(Kept({**study.frames, "persona_cards": doubtful}))


def test_the_audit_shows_no_small_cell(study: Kept) -> None:
    table = persona_views.persona_audit(study).table
    assert not ((table["customers"] > 0) & (table["customers"] < 11)).any()
    assert (table.filter(pl.col("hidden") != "")["customers"].null_count()) == (table["hidden"] != "").sum()


def test_a_study_without_personas_says_why() -> None:
    view = persona_views.persona_figures(Kept({"persona_notes": pl.DataFrame({"note": ["There are no personas in these columns."]})}))
    assert view.empty == "There are no personas in these columns."


def test_promises_kept_stand_on_the_card_and_in_a_view_of_their_own(study: Kept) -> None:
    assert dict(persona_views.persona_card(study, "P1").table.rows())["promises kept"] == "one call 70% (65% to 75%), everybody 80%"
    view = persona_views.persona_promises(study)
    assert view.sentence == "One call is kept for 70% (65% to 75%) of cases of P1, for everybody 80%."
    small = Kept(study.frames | later_tables(smallest=4))
    assert persona_views.persona_promises(small).table["hidden"].to_list() == ["", "hidden", "fewer than 11"]
    assert "promises kept" not in persona_views.persona_card(small, "P2").table["about"].to_list()
    none = Kept({name: table for name, table in study.frames.items() if name not in later_tables()})
    assert persona_views.persona_promises(none).empty
    assert "promises kept" not in persona_views.persona_card(none, "P1").table["about"].to_list()


def test_births_deaths_splits_merges_and_warnings_are_told_in_words(study: Kept) -> None:
    view = persona_views.persona_changes(study)
    assert view.sentence == "1 persona kept; 1 birth, 1 death, 1 split, 1 merge, 1 warning."
    assert view.table["what"].to_list() == [
        "is the persona it was",
        "is new",
        "is gone",
        "has split: P4 came out of it",
        "is gone, and most of it is in P1 now",
        "warning: shares of the personas moved (0.30, limit 0.10)",
    ]


def test_attributes_are_named_in_words_and_one_that_was_let_in_with_its_reason(study: Kept) -> None:
    assert "age band" in persona_views.persona_audit(study).short["attribute"].to_list()
    columns = study.table("persona_columns").with_columns(note=pl.when(pl.col("column") == "age_band").then(pl.lit("protected, let in: a youth tariff")).otherwise("note"))
    let_in = Kept(study.frames | {"persona_columns": columns})
    assert "let in for a recorded reason: age band (a youth tariff)." in persona_views.persona_figures(let_in).footing
    assert "let in" not in persona_views.persona_figures(study).footing


def test_columns_are_shown_with_where_they_are_from(study: Kept) -> None:
    seen = persona_views.persona_basis(study)
    assert set(seen.table.filter(pl.col("source") == "behaviour")["origin"]) == {"the log"}
    protected = seen.table.filter(pl.col("role") == "protected")
    assert protected.height
    assert f"{protected.height} protected one" in seen.sentence
    assert seen.brief["use"].str.contains("kept apart").sum() == protected.height
