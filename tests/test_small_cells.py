"""Small cells: a worked example, a linear system on random tables, totals, laws, refusals."""

import numpy as np
import polars as pl
import pytest

from motkit.errors import SchemaError, SettingError
from motkit.small_cells import _open_cells, hide_cells, hide_small_cells, solvable_cells, with_totals


def as_table(counts: np.ndarray) -> pl.DataFrame:
    cells = [(f"r{r}", f"c{c}", int(n)) for (r, c), n in np.ndenumerate(counts)]
    return pl.DataFrame(cells, schema=["persona", "plan", "customers"], orient="row")


def test_the_worked_example_hides_four_cells() -> None:
    # two small cells, each alone in its lines, can be worked out; two more hidden cells are enough
    counts = with_totals(np.array([[20, 7, 30], [15, 25, 40], [22, 18, 3]]))
    small = (counts > 0) & (counts < 11)
    assert np.argwhere(solvable_cells(small)).tolist() == [[0, 1], [2, 2]]
    assert np.argwhere(hide_cells(counts, 11)).tolist() == [[0, 1], [0, 2], [2, 1], [2, 2]]


@pytest.mark.parametrize("seed", range(60))
def test_no_hidden_cell_can_be_solved_from_what_is_shown(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 8, 2)
    counts = with_totals(rng.poisson(rng.gamma(0.6, 25, shape)))
    hidden = hide_cells(counts, 11)
    assert hidden[(counts > 0) & (counts < 11)].all()
    assert not solvable_cells(hidden).any()
    for table, mask in ((counts, hidden), (counts.T, hidden.T)):
        for line, own in zip(table, mask, strict=True):
            if own[:-1].any() and not own[-1] and line[-1] >= 11:
                assert line[:-1][own[:-1]].sum() >= 11  # the rest of a shown total tells of enough people


@pytest.mark.parametrize("seed", range(40))
def test_cells_on_no_cycle_are_those_that_linear_algebra_solves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hidden = rng.random(rng.integers(2, 7, 2)) < 0.35
    assert sorted(_open_cells(hidden)) == [tuple(place) for place in np.argwhere(solvable_cells(hidden)).tolist()]


def test_large_cells_are_all_shown_and_empty_ones_too() -> None:
    shown = hide_small_cells(as_table(np.array([[40, 0], [30, 20]])), "persona", "plan", 11)
    assert shown["hidden"].unique().to_list() == [""]
    assert shown.filter(pl.col("persona") == "all")["customers"].to_list() == [70, 20, 90]
    assert hide_small_cells(as_table(np.array([[4, 2], [3, 2]])), "persona", "plan", 1)["customers"].null_count() == 0


def test_a_table_of_few_people_is_hidden_whole() -> None:
    shown = hide_small_cells(as_table(np.array([[1, 2], [3, 4]])), "persona", "plan", 11)
    assert shown["customers"].null_count() == shown.height


def test_the_order_of_rows_changes_no_count_and_an_empty_table_stays_empty() -> None:
    table = as_table(np.array([[20, 7, 30], [15, 25, 40], [22, 18, 3]]))
    keys = ["persona", "plan"]
    one, other = (hide_small_cells(t, *keys, 11).sort(keys) for t in (table, table.sample(fraction=1, shuffle=True, seed=3)))
    assert one.equals(other)
    assert hide_small_cells(table.clear(), *keys, 11)["customers"].to_list() == [0]


def test_totals_and_missing_columns_are_refused() -> None:
    table = as_table(np.array([[20, 30]]))
    with pytest.raises(SettingError, match="already in the table"):
        hide_small_cells(table.with_columns(plan=pl.lit("all")), "persona", "plan", 11)
    with pytest.raises(SchemaError, match="missing"):
        hide_small_cells(table, "persona", "colour", 11)
