"""The whole visit beside its last page: a plain loop, laws, and nothing to confuse where there is one topic."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import SchemaError
from motkit.schema import EVENTS
from motkit.sessions import split_sessions
from motkit.whole_visit import last_page_versus_whole, topics_of_visits

START = datetime(2026, 3, 1, tzinfo=UTC)
Row = tuple[str, int, str]


def as_log(rows: list[Row]) -> pl.DataFrame:
    columns = {"customer_id": [r[0] for r in rows], "timestamp": [START + timedelta(seconds=r[1]) for r in rows], "event": [r[2] for r in rows]}
    frame = pl.DataFrame(columns, schema={name: EVENTS[name] for name in columns})
    return frame.with_columns(channel=pl.lit("web"), value=pl.lit(None, pl.Float64), duration_s=pl.lit(None, pl.Float64))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9000), st.sampled_from(["car", "boat", "bike"])), max_size=25))
def test_topics_are_those_of_a_plain_loop(rows: list[Row]) -> None:
    numbered = split_sessions(as_log(rows)).collect()
    visits = defaultdict(list)
    for row in numbered.iter_rows(named=True):
        visits[row["customer_id"], row["session"]].append((row["event"], row["engaged_s"] or 0.0))
    wanted = []
    for visit, pages in sorted(visits.items()):
        seconds, number = Counter(), Counter()
        for topic, s in pages:
            seconds[topic] += s
            number[topic] += 1
        first = {topic: place for place, (topic, _) in reversed(list(enumerate(pages)))}
        whole = min(first, key=lambda t: (-seconds[t], -number[t], first[t]))
        wanted.append((*visit, pages[-1][0], whole, len(pages)))
    assert topics_of_visits(numbered).collect().rows() == wanted


def test_one_topic_never_disagrees_and_single_pages_are_counted_apart() -> None:
    found = last_page_versus_whole(split_sessions(as_log([("a", 0, "car"), ("a", 60, "car"), ("b", 5, "boat")])))
    assert (found.disagree, found.n, found.single, found.customers) == (0.0, 1, 1, 1)
    empty = last_page_versus_whole(split_sessions(as_log([])))
    assert (empty.disagree, empty.ci_low, empty.n) == (None, None, 0)
    assert "no visit" in repr(empty)


def test_the_interval_is_wilsons_and_a_missing_column_is_told() -> None:
    from statsmodels.stats.proportion import proportion_confint

    log = [(f"c{n}", s, topic) for n in range(40) for s, topic in ((0, "car"), (500, "boat" if n % 4 else "car"))]
    found = last_page_versus_whole(split_sessions(as_log(log)))
    assert (found.ci_low, found.ci_high) == pytest.approx(proportion_confint(30, 40, method="wilson"))
    with pytest.raises(SchemaError, match="session"):
        last_page_versus_whole(as_log(log))
