"""Views: their numbers by plain computation, small groups, empty studies, filters, refusals."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_study import SEGMENTS, MadeStudy, make_empty_study, make_study

from motkit import views
from motkit.errors import SchemaError, SettingError
from motkit.showing import label_names, say_name

ALL_VIEWS = (
    views.overview,
    views.sessions_by_week,
    views.engagement_levels,
    views.engagement_distribution,
    views.onboarding_by_day,
    views.loyalty_by_day,
    views.data_quality,
)


@pytest.fixture(scope="module")
def study() -> MadeStudy:
    return make_study()


def _with(study: MadeStudy, **frames: pl.DataFrame) -> MadeStudy:
    return replace(study, frames=study.frames | frames)


def test_sessions_by_week_are_those_of_a_plain_loop(study: MadeStudy) -> None:
    shown = views.sessions_by_week(study, ["web", "app"])
    expected: dict[date, int] = {}
    for row in study.table("sessions_weekly").iter_rows(named=True):
        if row["channel"] in ("web", "app"):
            expected[row["week"]] = expected.get(row["week"], 0) + row["sessions"]
    got = dict(shown.table.group_by("week").agg(pl.col("sessions").sum()).iter_rows())
    assert got == expected
    last = sorted(expected)[-2]
    assert f"customers came {expected[last]:,} times" in shown.sentence


def test_the_sentence_speaks_of_whole_weeks_only(study: MadeStudy) -> None:
    shown = views.sessions_by_week(study)
    partial = study.table("sessions_weekly").filter(~pl.col("whole_week"))["week"][0]
    assert str(partial) not in shown.sentence
    assert partial in shown.table["week"].to_list()


def test_a_week_without_any_session_counts_as_nought() -> None:
    weekly = make_study().table("sessions_weekly").filter(pl.col("week") != date(2026, 2, 2))
    shown = views.sessions_by_week(_with(make_study(), sessions_weekly=weekly))
    assert shown.table.filter(pl.col("week") == date(2026, 2, 2))["sessions"].to_list() == [0] * 4


def test_shares_on_a_day_are_those_of_a_plain_look_up(study: MadeStudy) -> None:
    shown = views.loyalty_by_day(study, ["all"])
    day_60 = [row for row in study.table("loyalty_curve").iter_rows(named=True) if row["segment"] == "all" and row["time"] <= 60][-1]
    assert shown.sentence.startswith(f"{day_60['survival']:.0%} of customers stay for at least 60 days")
    brief = shown.short.filter(pl.col("time") == 60).row(0, named=True)
    assert brief["survival"] == day_60["survival"]
    assert (shown.table["at_risk"] >= 11).all()


def test_curves_begin_on_day_0_and_never_pass_the_last_day_with_enough_customers(study: MadeStudy) -> None:
    for view, at_start, column in ((views.onboarding_by_day(study), 0.0, "incidence"), (views.loyalty_by_day(study), 1.0, "survival")):
        first = view.table.group_by("segment", maintain_order=True).first()
        assert first["time"].to_list() == [0.0] * first.height
        assert first[column].to_list() == [at_start] * first.height


def test_levels_are_shares_of_all_customers_inside_their_intervals(study: MadeStudy) -> None:
    table = views.engagement_levels(study).table
    scores = study.table("engagement")
    for row in table.iter_rows(named=True):
        assert row["customers"] == (scores["level"] == row["level"]).sum()
        assert row["ci_low"] < row["share"] == row["customers"] / scores.height < row["ci_high"]
    assert table["share"].sum() == pytest.approx(1)


def test_read_rows_are_accepted_and_rejected_rows(study: MadeStudy) -> None:
    shown = views.data_quality(study)
    assert shown.table["rows"].sum() == 40_200
    assert "add up" in shown.footing
    wrong = _with(study, log_summary=study.table("log_summary").with_columns(events=pl.lit(39_990)))
    assert "10 rows are missing" in views.data_quality(wrong).footing


def test_segments_too_small_to_show_are_hidden_with_one_more(study: MadeStudy) -> None:
    assert SEGMENTS["phone"] < 11
    assert views.list_segments(study) == ("all", "paid search", "newsletter")
    shown = views.onboarding_by_day(study)
    assert set(shown.table["segment"]) == {"all", "paid search", "newsletter"}
    assert "1 segment of fewer than 11 customers is hidden, and 1 more" in shown.footing
    assert "phone" not in f"{shown}{shown.table}"
    with pytest.raises(SettingError, match="no 'phone'"):
        views.onboarding_by_day(study, ["phone"])


def test_segments_of_two_columns_are_hidden_column_by_column() -> None:
    study = make_study()
    row = study.table("onboarding_summary").head(1)
    counts = {"all": 100, "plan: a": 60, "plan: b": 40, "city: x": 70, "city: y": 25, "city: z": 5}
    parts = [row.with_columns(segment=pl.lit(name), customers=pl.lit(n)) for name, n in counts.items()]
    assert views.list_segments(_with(study, onboarding_summary=pl.concat(parts))) == ("all", "city: x", "plan: a", "plan: b")


def _split(parts: dict[str, int], left_out: int) -> MadeStudy:
    """A study with these segments; the curve is the same for all of them."""
    study = make_study()
    row = study.table("onboarding_summary").head(1)
    counts = {"all": sum(parts.values())} | parts
    summary = pl.concat([row.with_columns(segment=pl.lit(name), customers=pl.lit(n, pl.Int64)) for name, n in counts.items()])
    everybody = {name: study.table(name).filter(pl.col("segment") == "all") for name in ("onboarding_curve", "loyalty_curve")}
    curves = {name: pl.concat([curve.with_columns(segment=pl.lit(part)) for part in counts]) for name, curve in everybody.items()}
    reasons = pl.DataFrame({"reason": ["no start"], "customers": [left_out]})
    return _with(study, onboarding_summary=summary, onboarding_left_out=reasons, **curves)


def test_a_tiny_segment_does_not_take_a_large_one_where_the_total_can_stay_unknown() -> None:
    study = _split({"web": 1300, "app": 320, "phone": 5}, left_out=40)
    assert views.list_segments(study) == ("web", "app")
    shown = views.loyalty_by_day(study)
    assert set(shown.table["segment"]) == {"web", "app"}
    assert "n = 1,620 customers (web 1,300, app 320)" in shown.footing
    assert "Everybody together is not drawn" in shown.footing
    assert "40" not in shown.footing.split("Followed")[0]
    with pytest.raises(SettingError, match="no 'all'"):
        views.loyalty_by_day(study, ["all"])
    figures = views.overview(study).table.filter(pl.col("figure").str.starts_with("stay"))
    assert figures["rests_on"][0].endswith("n = at least 1,620")


@pytest.mark.parametrize(
    ("parts", "left_out", "shown"),
    [
        ({"web": 1300, "app": 320, "phone": 5}, 0, ("all", "web")),  # the log's number of customers is the total
        ({"web": 1300, "app": 100, "phone": 5}, 40, ("all", "web")),  # under a tenth: everybody is worth more
        ({"web": 130, "app": 32, "phone": 5}, 40, ("all", "web")),  # five of 167 move a share by more than its rounding
        ({"c: web": 1300, "c: app": 320, "c: phone": 5, "p: a": 800, "p: b": 825}, 40, ("all", "c: web", "p: b", "p: a")),  # a and b add up to the total
    ],
)
def test_where_the_total_can_be_had_the_next_smallest_segment_is_hidden(parts: dict[str, int], left_out: int, shown: tuple[str, ...]) -> None:
    study = _split(parts, left_out)
    if "p: a" in parts:
        summary = study.table("onboarding_summary").with_columns(pl.when(pl.col("segment") == "all").then(1625).otherwise("customers").alias("customers"))
        study = _with(study, onboarding_summary=summary)
    assert views.list_segments(study) == shown


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(11, 3000), min_size=1, max_size=4), st.integers(1, 10), st.integers(1, 10), st.integers(11, 60))
def test_with_everybody_withheld_nothing_shown_depends_on_the_size_of_the_tiny_segment(sizes: list[int], tiny: int, other: int, left_out: int) -> None:
    parts = {f"part {place}": n for place, n in enumerate(sizes)}
    one, two = _split({**parts, "phone": tiny}, left_out), _split({**parts, "phone": other}, left_out + tiny - other)
    if "all" not in views.list_segments(one):
        for view in (views.overview, views.onboarding_by_day, views.loyalty_by_day):
            assert str(view(one)) == str(view(two))
            assert view(one).table.equals(view(two).table)


def test_what_is_hidden_does_not_depend_on_the_filter(study: MadeStudy) -> None:
    whole = views.sessions_by_week(study).table
    one = views.sessions_by_week(study, ["call_centre"]).table
    assert whole.filter(pl.col("channel") == "call_centre").equals(one)
    assert one["hidden"].to_list().count("fewer than 11") > 0
    assert one.filter(pl.col("hidden") != "")["sessions"].null_count() == one.filter(pl.col("hidden") != "").height


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=12), st.integers(1, 20))
def test_no_small_group_can_be_read_off_the_total(counts: list[int], min_cell: int) -> None:
    table = pl.DataFrame({"customers": counts}, schema={"customers": pl.Int64})
    shown = views.hide_small_groups(table, min_cell)
    kept = [n for n, why in zip(counts, shown["hidden"], strict=True) if why == ""]
    gone = [n for n, why in zip(counts, shown["hidden"], strict=True) if why != ""]
    assert all(n == 0 or n >= min_cell for n in kept)
    assert shown["customers"].drop_nulls().to_list() == kept
    if gone and any(kept):
        assert len(gone) >= 2
        assert sum(gone) >= min_cell
    if not any(0 < n < min_cell for n in counts):
        assert gone == []


def test_names_are_shown_in_words_and_chosen_as_they_are(study: MadeStudy) -> None:
    weekly = views.sessions_by_week(study, ["call_centre"])
    assert set(weekly.table["channel"]) == {"call_centre"}
    shown = weekly._repr_html_()
    assert "call centre" in shown
    assert "call_centre" not in f"{shown}{weekly}"
    manifest = study.manifest | {"settings": study.manifest["settings"] | {"onboarding": {"churn": ["account_closed"]}}}
    assert 'A customer has left at "account closed".' in views.loyalty_by_day(replace(study, manifest=manifest)).footing


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab_ ", min_size=1, max_size=4), max_size=6, unique=True))
def test_every_name_has_a_label_of_its_own(names: list[str]) -> None:
    labels = label_names(names)
    assert sorted(labels.values()) == sorted(names)
    assert all(words in (say_name(name), name) for words, name in labels.items())


UNCHECKED = "not been checked yet against what customers did later"


def test_wherever_scores_are_shown_it_is_said_that_they_are_not_checked(study: MadeStudy) -> None:
    for view in (views.engagement_levels, views.engagement_distribution):
        assert UNCHECKED in view(study).sentence
        assert UNCHECKED in view(_with(study, engagement=study.table("engagement").drop("basis"))).sentence
    card = views.overview(study).table.filter(pl.col("figure") == "highly engaged")["rests_on"][0]
    assert "not checked yet against what customers did later" in card
    checked = _with(study, engagement=study.table("engagement").with_columns(basis=pl.lit("chance to stay")))
    assert "The score is the chance to stay." in views.engagement_levels(checked).sentence
    assert "not checked" not in str(views.overview(checked))


def test_row_order_of_the_study_does_not_matter(study: MadeStudy) -> None:
    mixed = replace(study, frames={name: table.sample(fraction=1, shuffle=True, seed=3) for name, table in study.frames.items()})
    for view in ALL_VIEWS:
        assert view(mixed).sentence == view(study).sentence
        assert view(mixed).table.equals(view(study).table)


@pytest.mark.parametrize("view", ALL_VIEWS)
def test_an_empty_study_gives_a_reason_and_the_same_columns(view, study: MadeStudy) -> None:
    nothing = view(make_empty_study())
    assert nothing.empty.endswith(".")
    assert nothing.table.schema == view(study).table.schema
    assert nothing.empty in str(nothing)
    assert nothing.empty in nothing._repr_html_()


@pytest.mark.parametrize("view", ALL_VIEWS)
def test_a_study_of_a_handful_of_customers_shows_no_count_of_them(view) -> None:
    study = make_study(min_cell=5000)
    if view is not views.data_quality:
        assert "Fewer than 5000 customers" in view(study).empty or "fewer than 5000 customers" in view(study).empty


@pytest.mark.parametrize("view", ALL_VIEWS)
def test_every_view_says_n_and_shows_itself(view, study: MadeStudy) -> None:
    shown = view(study)
    assert shown.footing.startswith("n = ")
    assert shown.sentence.endswith(".")
    assert shown.sentence in str(shown)
    assert "<table" in shown._repr_html_()


def test_names_from_the_data_are_escaped() -> None:
    weekly = make_study().table("sessions_weekly").with_columns(pl.col("channel").replace("web", "<img src=x onerror=alert(1)>"))
    shown = views.sessions_by_week(_with(make_study(), sessions_weekly=weekly))._repr_html_()
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_a_table_of_another_form_is_refused_with_all_its_faults() -> None:
    study = make_study()
    wrong = _with(study, sessions_weekly=study.table("sessions_weekly").drop("customers").cast({"week": pl.String}))
    with pytest.raises(SchemaError, match=r"missing \['customers'\]; `week` is String"):
        views.sessions_by_week(wrong)


def test_an_unknown_channel_is_told_with_those_that_there_are(study: MadeStudy) -> None:
    with pytest.raises(SettingError, match=r"no 'fax'; the study has no 'telex'(.|\n)*Choose from web, app, store, call_centre"):
        views.sessions_by_week(study, ["fax", "web", "telex"])
