"""People and what happens to them, against plain loops and the chain, rates and rules that were planted."""

from datetime import UTC as UTC_ZONE
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from motkit.happenings import (
    _NEXT,
    PAGES,
    ZONES,
    Exits,
    People,
    _draw_process,
    _walk_pages,
    draw_events,
    draw_people,
    names_at,
)
from motkit.planted import DAY_S, SimulationPlan, by_persona

PLAN = SimulationPlan(datetime(2025, 1, 1, tzinfo=UTC_ZONE), 365, by_persona(14), by_persona(2), 1.5, 0.2, 240, False, False)


@pytest.fixture(scope="module")
def people() -> People:
    return draw_people(np.random.default_rng(0), 1500, PLAN)


@pytest.fixture(scope="module")
def drawn(people: People) -> tuple[pl.DataFrame, pl.DataFrame, Exits]:
    return draw_events(np.random.default_rng(1), people, PLAN, first_promise=100)


def test_sign_ups_leave_90_days_of_follow_up_and_at_most_60_before_the_log(people):
    assert (people.signed_up_s >= -61 * DAY_S).all()
    assert (365 * DAY_S - people.signed_up_s >= 90 * DAY_S).all()
    assert (people.entry_s == np.maximum(0, -people.signed_up_s)).all()
    assert (people.horizon_s <= 365 * DAY_S - people.signed_up_s).all()
    assert ((people.horizon_s < 365 * DAY_S - people.signed_up_s) == people.lost).all()
    assert set(people.zone) == set(range(len(ZONES)))


def test_a_process_follows_activity_while_the_customer_is_seen(people):
    who, tenure = _draw_process(np.random.default_rng(2), people, 0.2)
    expected = np.zeros(len(people.persona))
    for i, (entry, horizon) in enumerate(zip(people.entry_s, people.horizon_s, strict=True)):
        for week, level in enumerate(people.activity[i]):
            expected[i] += 0.2 * level * max(min(horizon, (week + 1) * 7 * DAY_S) - max(entry, week * 7 * DAY_S), 0) / DAY_S
    assert ((tenure >= people.entry_s[who]) & (tenure < people.horizon_s[who])).all()
    counts = np.bincount(who, minlength=len(expected))
    for group in np.array_split(np.argsort(expected), 5):
        # Up to a day's events fall outside at the two ends, as times of day are drawn anew.
        assert abs(counts[group].sum() - expected[group].sum()) < 4 * np.sqrt(expected[group].sum()) + 0.005 * expected[group].sum()


def test_a_walk_moves_from_page_to_page_as_the_chain_says():
    session, page = _walk_pages(np.random.default_rng(3), np.arange(20_000) % 6)
    seen = np.zeros((len(PAGES), len(PAGES) + 1))
    for i in range(len(page)):
        goes_on = i + 1 < len(page) and session[i + 1] == session[i]
        seen[page[i], page[i + 1] if goes_on else len(PAGES)] += 1
    visits = seen.sum(axis=1, keepdims=True)
    assert (np.abs(seen / visits - _NEXT) <= 4 * np.sqrt(_NEXT * (1 - _NEXT) / visits)).all()
    assert (np.diff(session) >= 0).all()


def test_events_are_cut_at_entry_and_exit_and_end_with_one_reason(people, drawn):
    events, promises, exits = drawn
    assert promises["number"].min() == 100
    who, tenure = events["customer"].to_numpy(), events["tenure_s"].to_numpy()
    ends = events["event"].is_in(["account_closed", "tracking_opted_out"]).to_numpy()
    assert exits.in_log[who].all()
    assert (tenure >= people.entry_s[who]).all()
    assert (tenure[~ends] < exits.exit_s[who[~ends]]).all()
    assert (tenure[ends] == exits.exit_s[who[ends]]).all()
    assert np.array_equal(np.sort(who[ends]), np.flatnonzero(exits.in_log & (exits.churned | people.lost)))


def test_who_left_before_the_log_is_not_in_it(people, drawn):
    _, _, exits = drawn
    before = people.entry_s > 0
    assert exits.in_log[~before].all()
    gone = before & (exits.churn_day <= np.ceil(people.entry_s / DAY_S))
    assert gone.any()
    assert not exits.in_log[gone].any()


def test_names_are_taken_by_their_place():
    assert names_at(PAGES, np.array([8, 0])).to_list() == ["purchase", "home"]
    assert names_at(PAGES, np.array([], dtype=np.int64)).to_list() == []
