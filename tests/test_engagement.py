"""Engagement signals against plain loops, event-by-event updates, their laws, the scale of the score, and refusals."""

from datetime import UTC, date, datetime, timedelta, timezone
from math import log

import polars as pl
import polars.testing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.engagement import FULL_MARKS, SIGNALS, as_instant, engagement_signals, fade, score_engagement
from motkit.errors import SchemaError, SettingError
from motkit.schema import ENGAGEMENT, EVENTS
from motkit.sessions import split_sessions

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Row = tuple[str, int, str, float | None, float | None]  # customer, minutes before NOW (negative: after), event, value, duration

logs = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.one_of(st.integers(-3000, 90_000), st.integers(-10, 120)),
        st.sampled_from(["home", "search", "purchase", "refund"]),
        st.none() | st.floats(0, 100),
        st.none() | st.floats(0, 900),
    ),
    max_size=40,
    unique_by=lambda row: row[:2],  # the order of ties is the business of sessions
)


def as_log(rows: list[Row]) -> pl.DataFrame:
    full = [(who, NOW - ago * MINUTE, event, "web", value, duration) for who, ago, event, value, duration in rows]
    return pl.DataFrame(full, schema=EVENTS, orient="row")


def by_hand(rows: list[Row], half_life: float) -> dict[str, dict[str, float | None]]:
    """Every signal from its definition, one customer and one event after the other."""
    signals = {}
    for who in sorted({row[0] for row in rows if row[1] >= 0}):
        mine = sorted((row for row in rows if row[0] == who and row[1] >= 0), key=lambda row: -row[1])
        weight = {row[1]: 2 ** (-row[1] / 1440 / half_life) for row in mine}
        visits: list[list[Row]] = []
        for i, row in enumerate(mine):
            if i and mine[i - 1][1] - row[1] <= 30:
                visits[-1].append(row)
            else:
                visits.append([row])
        seconds: list[tuple[float, float]] = []
        for visit in visits:
            for i, row in enumerate(visit):
                if row[4] is not None:
                    seconds.append((min(row[4], row[1] * 60), weight[visit[0][1]]))
                elif i + 1 < len(visit):
                    seconds.append(((row[1] - visit[i + 1][1]) * 60, weight[visit[0][1]]))
        latest = {row[2]: row[1] for row in mine}
        bought = [row for row in mine if row[2] == "purchase"]
        days = {(NOW - row[1] * MINUTE).date() for row in mine}
        age = {day: (NOW - datetime(day.year, day.month, day.day, tzinfo=UTC)) / timedelta(days=1) for day in days}
        signals[who] = {
            "visits": len(visits),
            "visits_decayed": sum(weight[visit[0][1]] for visit in visits),
            "engaged_minutes": sum(s for s, _ in seconds) / 60 if seconds else None,
            "engaged_minutes_decayed": sum(s * w for s, w in seconds) / 60 if seconds else None,
            "depth": len(latest),
            "depth_decayed": sum(weight[ago] for ago in latest.values()),
            "purchases": len(bought),
            "purchases_decayed": sum(weight[row[1]] for row in bought),
            "value": sum(row[3] or 0 for row in bought),
            "value_decayed": sum((row[3] or 0) * weight[row[1]] for row in bought),
            "active_days": len(days),
            "active_days_decayed": sum(2 ** (-a / half_life) for a in age.values()),
            "active_share_28d": sum((NOW.date() - day).days < 28 for day in days) / 28,
            "events": len(mine),
            "recency_days": mine[-1][1] / 1440,
            "tenure_days": mine[0][1] / 1440,
        }
    return signals


@settings(max_examples=120, deadline=None)
@given(rows=logs, half_life=st.sampled_from([0.5, 3.5, 14.0, 112.0]))
def test_signals_equal_a_plain_loop_over_customers_and_events(rows: list[Row], half_life: float) -> None:
    found = {row.pop("customer_id"): row for row in engagement_signals(as_log(rows), NOW, half_life).rows(named=True)}
    expected = by_hand(rows, half_life)
    assert list(found) == list(expected)
    for who, signals in expected.items():
        assert set(found[who]) == set(signals)
        for name, value in signals.items():
            measured = found[who][name]
            # attention is summed in whole microseconds, faded amounts in steps of 2**-64, hence the absolute part
            assert measured == value if value is None else measured == pytest.approx(value, rel=1e-12, abs=2e-6 if "minutes" in name else 1e-15), name


@settings(max_examples=30, deadline=None)
@given(rows=logs, seed=st.integers(0, 99))
def test_row_order_splits_by_customer_and_laziness_give_the_same(rows: list[Row], seed: int) -> None:
    events = as_log(rows)
    whole = engagement_signals(events, NOW)
    shuffled = events.sample(fraction=1, shuffle=True, seed=seed)
    parts = [engagement_signals(part.lazy(), NOW) for part in shuffled.partition_by("customer_id")]
    for other in (engagement_signals(shuffled, NOW), *([pl.concat(parts).sort("customer_id")] if parts else [])):
        pl.testing.assert_frame_equal(other, whole, rel_tol=1e-12, abs_tol=0)


@settings(max_examples=30, deadline=None)
@given(rows=logs)
def test_events_after_as_of_change_no_bit_with_or_without_given_sessions(rows: list[Row]) -> None:
    future = as_log([row for row in rows if row[1] < 0])
    past = as_log([row for row in rows if row[1] >= 0])
    known = engagement_signals(past, NOW)
    assert engagement_signals(pl.concat([past, future]), NOW).equals(known)
    numbered = split_sessions(pl.concat([past, future])).collect()
    pl.testing.assert_frame_equal(engagement_signals(numbered, NOW), known, rel_tol=1e-12, abs_tol=0)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 90_000), st.floats(0.01, 100)), min_size=1, max_size=40), order=st.randoms())
def test_event_by_event_updates_equal_the_batch_also_when_events_come_late(rows: list[tuple[int, float]], order: object) -> None:
    arrivals = list(rows)
    order.shuffle(arrivals)
    total, at = 0.0, arrivals[0][0]
    for ago, value in arrivals:  # the state is two numbers: the faded sum and its time
        total, at = (total * fade((at - ago) / 1440) + value, ago) if ago <= at else (total + value * fade((ago - at) / 1440), at)
    batch = engagement_signals(as_log([("a", ago, "purchase", value, None) for ago, value in rows]), NOW)
    assert total * fade(at / 1440) == pytest.approx(batch["value_decayed"][0], rel=1e-12)


def test_a_faded_sum_computed_in_two_pieces_adds_up() -> None:
    rows = [("a", ago, "purchase", 10.0, None) for ago in range(0, 80_000, 977)]
    pieces = [engagement_signals(as_log(piece), NOW)["value_decayed"][0] for piece in (rows[::2], rows[1::2])]
    assert sum(pieces) == pytest.approx(engagement_signals(as_log(rows), NOW)["value_decayed"][0], rel=1e-12)


def test_an_event_at_as_of_counts_whole_and_a_microsecond_later_not_at_all() -> None:
    events = as_log([("a", 0, "purchase", 10.0, None)])
    assert engagement_signals(events, NOW)["value_decayed"].to_list() == [10.0]
    assert engagement_signals(events, NOW - timedelta(microseconds=1)).is_empty()


def test_very_old_events_and_short_half_lives_do_not_overflow() -> None:
    events = as_log([("a", 0, "home", None, None), ("a", 60 * 24 * 365 * 50, "home", None, None)])
    row = engagement_signals(events, NOW, half_life_days=0.01).row(0, named=True)
    assert (row["visits"], row["visits_decayed"]) == (2, 1.0)


def test_an_empty_log_gives_empty_tables_with_the_right_schema() -> None:
    full, empty = (score_engagement(as_log(rows), NOW) for rows in ([("a", 5, "home", None, None)], []))
    assert empty.is_empty()
    assert empty.schema == full.schema
    assert {name: full.schema[name] for name in ENGAGEMENT} == dict(ENGAGEMENT)


def test_other_events_can_be_purchases() -> None:
    events = as_log([("a", 5, "order", 3.0, None), ("a", 9, "renewal", 4.0, None), ("a", 12, "purchase", 5.0, None)])
    assert engagement_signals(events, NOW, purchase=["order", "renewal"])["value"].to_list() == [7.0]
    assert score_engagement(events, NOW, purchase="order")["purchases"].to_list() == [1]


def steady(customer: str, every_days: float, weeks: int, until: datetime = NOW) -> pl.DataFrame:
    """A customer who comes at a steady pace, two kinds of event in 10 measured minutes a visit."""
    n = int(weeks * 7 / every_days)
    visits = [until - timedelta(days=every_days * i) for i in range(n)]
    rows = [(customer, at - 5 * MINUTE * k, event, "web", None, 300.0) for at in visits for k, event in ((2, "home"), (1, "search"))]
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


@pytest.mark.parametrize("half_life", [7.0, 14.0, 28.0])
def test_a_steady_pace_reads_the_same_at_any_half_life(half_life: float) -> None:
    scores = score_engagement(steady("a", 3.5, 104), NOW, half_life)
    assert scores["visits_per_week"][0] == pytest.approx(2.0, rel=0.2)
    assert scores["engaged_minutes_per_week"][0] == pytest.approx(20.0, rel=0.2)


def test_the_score_is_the_sum_of_its_points_from_the_written_formula() -> None:
    row = score_engagement(pl.concat([steady("a", 5, 30), steady("b", 1, 30)]), NOW).rows(named=True)[0]
    pace = log(2) / 14 * 7
    parts = [
        min(row["visits_decayed"] * pace / FULL_MARKS["visits"], 1),
        min(row["engaged_minutes_decayed"] * pace / FULL_MARKS["engaged_minutes"], 1),
        min(row["depth_decayed"] / FULL_MARKS["depth"], 1),
    ]
    assert row["score"] == pytest.approx(100 * sum(parts) / 3, rel=1e-12)
    assert row["score"] == pytest.approx(sum(row[f"{name}_points"] for name in FULL_MARKS), rel=1e-12)
    assert row["basis"] == "uncalibrated index"


def test_a_score_means_the_same_among_others_and_next_month() -> None:
    month = timedelta(days=30)
    alone = score_engagement(steady("a", 4, 30), NOW)
    crowd = score_engagement(pl.concat([steady("a", 4, 30), *(steady(f"b{i}", 0.5, 20) for i in range(5))]), NOW)
    later = score_engagement(steady("a", 4, 30, NOW + month), NOW + month)
    assert alone["score"][0] == crowd["score"][0] == pytest.approx(later["score"][0], rel=1e-12)


def test_scores_lie_between_0_and_100_and_more_activity_never_scores_less() -> None:
    paces = [0.25, 1, 2, 4, 8, 16, 32]
    scores = score_engagement(pl.concat([steady(f"{i}", pace, 40) for i, pace in enumerate(paces)]), NOW)["score"]
    assert scores.is_sorted(descending=True)
    assert scores.is_between(0, 100).all()


def test_levels_follow_the_score_and_silence() -> None:
    silent = pl.concat([steady("busy", 0.1, 8, NOW - timedelta(days=57)), steady("once", 7, 1, NOW - timedelta(days=40))])
    events = pl.concat([silent, steady("daily", 1, 20), steady("weekly", 5, 20)])
    events = pl.concat([events, *(events.filter(pl.col("customer_id") == "daily").with_columns(event=pl.lit(kind)) for kind in "xyz")])
    levels = dict(score_engagement(events, NOW).select("customer_id", "level").rows())
    assert levels == {"busy": "dormant", "once": "dormant", "daily": "high", "weekly": "medium"}


def test_customers_whose_attention_cannot_be_measured_are_scored_on_the_rest() -> None:
    store = as_log([("a", 5, "purchase", 30.0, None), ("a", 5000, "visit", None, None)])
    row = score_engagement(store, NOW).row(0, named=True)
    assert row["engaged_minutes_points"] is None
    assert row["score"] == pytest.approx(row["visits_points"] + row["depth_points"])


def test_customers_of_fewer_than_28_days_are_marked_new() -> None:
    scores = score_engagement(pl.concat([steady("old", 5, 30), steady("young", 5, 3)]), NOW)
    assert dict(scores.select("customer_id", "new").rows()) == {"old": False, "young": True}


def test_scores_say_nothing_about_a_label_that_was_dealt_at_random() -> None:
    events = pl.concat([steady(f"{i:03}", 0.5 + i % 17, 10 + i % 7) for i in range(150)])
    scores = score_engagement(events, NOW)
    gaps = []
    for seed in range(40):
        label = pl.Series([i % 2 for i in range(scores.height)]).sample(fraction=1, shuffle=True, seed=seed).cast(pl.Boolean)
        gaps.append(scores.filter(label)["score"].mean() - scores.filter(~label)["score"].mean())
    error = 2 * scores["score"].std() / scores.height**0.5
    assert abs(sum(gaps) / len(gaps)) < 3 * error / len(gaps) ** 0.5


def test_an_instant_may_be_a_date_or_a_local_time() -> None:
    assert as_instant(date(2026, 3, 2)) == datetime(2026, 3, 2, tzinfo=UTC)
    assert as_instant(datetime(2026, 3, 2, 9)) == NOW
    assert as_instant(datetime(2026, 3, 2, 11, tzinfo=timezone(timedelta(hours=2)))) == NOW


REFUSED = [
    ({"half_life_days": 0}, "half_life_days: it is 0, needs a number above 0"),
    ({"half_life_days": float("nan")}, "half_life_days: it is nan"),
    ({"as_of": "today"}, "as_of: it is str, needs a datetime or a date"),
    ({"full_marks": {"likes": 1.0, "visits": 0.0}}, "`likes` is not a signal; `visits` is 0.0, needs a number above 0"),
    ({"full_marks": {}}, "it names no signal"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_parameters_out_of_their_range_are_refused(change: dict, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        score_engagement(as_log([]), **({"as_of": NOW} | change))
    assert message in str(caught.value)


def test_a_missing_column_is_a_schema_error() -> None:
    with pytest.raises(SchemaError, match="missing"):
        engagement_signals(as_log([]).drop("event"), NOW)
    assert len(SIGNALS) == 6
