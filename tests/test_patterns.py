"""Patterns against a search by hand over all places of a path."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.errors import SettingError
from motkit.patterns import follow_pattern, match_paths, pattern_shares, read_pattern
from motkit.schema import EVENTS
from motkit.sessions import split_sessions
from motkit.store import write_store

START = datetime(2026, 3, 2, tzinfo=UTC)
paths_of_customers = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=7), min_size=1, max_size=4)
PATTERNS = ["a -> b", "a -> ... -> c", "^ a", "b $", "a{2,}", "a|b{2} -> c", "^ a+ -> b? -> c $", "a -> * -> a", "a{1,2} -> b -> ... -> a $"]


def make_events(paths: list[list[str]], minutes: int = 1) -> pl.DataFrame:
    rows = [(f"c{who}", START + timedelta(minutes=k * minutes), event) for who, path in enumerate(paths) for k, event in enumerate(path)]
    columns: dict[str, Any] = {name: [row[k] for row in rows] for k, name in enumerate(["customer_id", "timestamp", "event"])}
    columns |= {"channel": ["web"] * len(rows), "value": [None] * len(rows), "duration_s": [None] * len(rows)}
    return pl.DataFrame(columns, schema=EVENTS)


def fits(parts: Any, path: str) -> bool:
    """Does the whole path fit the parts? Tries every number of events for the first part."""
    if not parts:
        return not path
    part = parts[0]
    anything = part.names in (("...",), ("*",))
    for size in range(part.low, (len(path) if part.high is None else min(part.high, len(path))) + 1):
        if all(anything or one in part.names for one in path[:size]) and fits(parts[1:], path[size:]):
            return True
    return False


def loop_matches(text: str, path: str) -> bool:
    """Try every begin and end."""
    pattern = read_pattern(text)
    begins = [0] if pattern.begins else range(len(path) + 1)
    return any(fits(pattern.parts, path[a:b]) for a in begins for b in ([len(path)] if pattern.ends else range(a, len(path) + 1)))


@given(paths_of_customers, st.sampled_from(PATTERNS))
@settings(max_examples=150, deadline=None)
def test_a_pattern_is_found_where_a_search_over_all_places_finds_it(paths: Any, text: str) -> None:
    events = make_events([*paths, ["a", "b", "c"]])
    found = match_paths(events, text)
    words = ["".join(path) for path in [*paths, ["a", "b", "c"]]]
    assert found["matched"].to_list() == [loop_matches(text, word) for word in words]
    for word, first, last in zip(words, found["first_row"], found["last_row"], strict=True):
        assert first is None or fits(read_pattern(text).parts, word[first - 1 : last])


@given(st.lists(st.sampled_from("abc"), max_size=7), st.sampled_from(PATTERNS))
@settings(max_examples=150, deadline=None)
def test_a_path_follows_a_pattern_as_far_as_some_longer_path_could_fit(path: Any, text: str) -> None:
    pattern = read_pattern(text)
    followed, whole = follow_pattern(pattern, path)
    assert whole == fits(pattern.parts, "".join(path))
    tails = ["", *(x + y for x in ("", "a", "b", "c") for y in ("", "a", "b", "c", "aa", "ca", "bc", "ba"))]
    tails += [tail + "ba" for tail in tails]
    could = [any(fits(pattern.parts, "".join(path[:k]) + tail) for tail in tails) for k in range(len(path) + 1)]
    assert followed == max((k for k in range(len(path) + 1) if all(could[: k + 1])), default=0)


def test_shares_count_customers_once_however_many_of_their_sessions_match(tmp_path: Path) -> None:
    events = split_sessions(make_events([["a", "b", "a", "b"], ["b", "a"]], minutes=45), 40).collect()
    table = pattern_shares(events, ["a $", "a -> b"], within="session")
    assert table.select("paths", "customers", "n").rows() == [(3, 2, 2), (0, 0, 2)]
    store = write_store(make_events([["a", "b"], ["b"]]), tmp_path / "store")
    assert pattern_shares(store, ["a -> b"])["share"].to_list() == [0.5]
    assert match_paths(store, "a")["customer"].to_list() == [0, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a -> ", "is no event"), ("...", "no event at all"), ("a{3,1}", "from more to less"), ("a{0}", "to nothing"), ("a{x}", "is no event"), ("", "is no event")],
)
def test_what_cannot_be_read_is_named(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        read_pattern(text)


def test_an_unknown_event_is_named_with_those_near_it() -> None:
    with pytest.raises(SettingError, match=r"no event is called 'signup' \(near: sign_up\)"):
        match_paths(make_events([["sign_up"]]), "signup")
    with pytest.raises(SettingError, match="one or more"):
        pattern_shares(make_events([["a"]]), [])
