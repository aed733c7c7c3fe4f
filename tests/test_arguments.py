"""Arguments of another kind: every public function refuses them at its door, in words, and answers as before when they are right."""

import inspect
import pickle
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from wrong_arguments import calls, functions, sweep

import motkit
from motkit.errors import SchemaError, SettingError


@pytest.mark.parametrize("name", sorted(functions()))
def test_no_argument_of_another_kind_gets_further_than_the_door(name: str, tmp_path: Path) -> None:
    swept = sweep(tmp_path, {name: functions()[name]})
    assert swept.wrong == []
    assert swept.tried == swept.refused + swept.answered


def test_what_is_asked_is_what_every_public_function_needs() -> None:
    assert len(functions()) > 130
    assert sum(len(list(calls(name, one, optional=False))) for name, one in functions().items()) > 3000


def test_a_frame_of_pandas_is_told_how_to_become_one_of_polars() -> None:
    with pytest.raises(SchemaError, match=r"split_sessions: `events` is a pandas DataFrame, needs a polars DataFrame or a polars LazyFrame.\nType events=pl.from_pandas\(events\)."):
        motkit.split_sessions(pd.DataFrame({"customer_id": ["a"]}))


def test_an_argument_that_is_missing_or_unknown_is_told_with_those_there_are() -> None:
    with pytest.raises(SettingError, match=r"missing a required argument: 'events'.\nIt takes events, gap_minutes."):
        motkit.split_sessions()
    with pytest.raises(SettingError, match="unexpected keyword argument 'gap'"):
        motkit.split_sessions(pl.DataFrame(), gap=3)


def test_no_error_quotes_what_was_given() -> None:
    with pytest.raises(SettingError) as told:
        motkit.deal_arms(pl.DataFrame({"customer_id": ["ann"]}), {"a": "ann.smith@example.org"}, "x")
    assert "ann.smith" not in str(told.value)


def test_a_function_that_asks_is_the_one_in_its_module_and_can_be_sent_to_another_process() -> None:
    assert motkit.split_sessions is motkit.sessions.split_sessions
    assert pickle.loads(pickle.dumps(motkit.split_sessions)) is motkit.split_sessions
    assert list(inspect.signature(motkit.split_sessions).parameters) == ["events", "gap_minutes"]


@pytest.mark.parametrize(("name", "value"), [("sessions.gap_minutes", "inf"), ("sessions.gap_minutes", "nan"), ("sessions.gap_minutes", "1e300"), ("onboarding.churn_after_days", "99999"), ("complaints.answer_hours", "1e7")])
def test_a_span_of_time_that_is_none_or_longer_than_a_century_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"`{name}` = "):
        motkit.read_settings(None, {name: value})


def test_a_gap_without_end_is_refused_before_it_overflows() -> None:
    for gap in (float("inf"), 1e300):
        with pytest.raises(SettingError, match="below a billion"):
            motkit.split_sessions(motkit.simulate_customers(n=50, seed=1).events, gap)
