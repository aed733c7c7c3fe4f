"""Identity: a plain union-find says the same, nothing joins strangers, and every decision can be taken back and played again."""

import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motkit
from motkit.errors import SchemaError, SettingError
from motkit.identity import compare_levels, last_login, stitch_identities
from motkit.joining import REASONS
from motkit.rows import NO_CUSTOMER

START = datetime(2026, 3, 1, tzinfo=UTC)
KEYS = ["cookie", "user_id", "email"]
MISSING = [None, "", "  ", *NO_CUSTOMER, "-1", "00000000-0000-0000-0000-000000000000", "anonymous", "(not set)", "-", "NULL", "NaN"]


def as_log(rows: list[tuple[str | None, ...]], keys: list[str] = KEYS) -> pl.DataFrame:
    columns = {key: pl.Series([row[place] for row in rows], dtype=pl.String) for place, key in enumerate(keys)}
    times = pl.Series([START + timedelta(hours=hour) for hour in range(len(rows))], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"timestamp": times, **columns}).with_columns(customer_id=pl.coalesce(*keys[::-1], pl.lit("nobody")))


def partition(clusters: pl.DataFrame) -> set[frozenset[tuple[str, str]]]:
    """Which values belong together."""
    found = defaultdict(set)
    for key, value, customer in clusters.select("key", "value", "customer_id").iter_rows():
        found[customer].add((key, value))
    return {frozenset(members) for members in found.values()}


def plain_partition(rows: list[tuple[str | None, ...]], keys: list[str] = KEYS) -> set[frozenset[tuple[str, str]]]:
    """The same by a plain loop: sets of values that grow together."""
    groups: list[set[tuple[str, str]]] = []
    for row in rows:
        own = {(key, value) for key, value in zip(keys, row, strict=True) if value not in MISSING}
        if own:
            near = [group for group in groups if group & own]
            groups = [group for group in groups if not group & own] + [own.union(*near)]
    return {frozenset(group) for group in groups}


few = st.integers(0, 6)
row_lists = st.lists(
    st.tuples(
        st.one_of(few.map(lambda n: f"c{n}"), st.sampled_from(MISSING)),
        st.one_of(few.map(lambda n: f"u{n}"), st.sampled_from(MISSING)),
        st.one_of(few.map(lambda n: f"e{n}"), st.sampled_from(MISSING)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(row_lists)
def test_under_loose_rules_a_plain_loop_gives_the_same_customers(rows: list[tuple[str | None, ...]]) -> None:
    found = stitch_identities(as_log(rows), KEYS, level="loose")
    assert partition(found.clusters) == plain_partition(rows)
    assert found.links["used"].all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4).map(lambda n: f"c{n}"), st.sampled_from(MISSING), st.sampled_from(MISSING)), max_size=20), st.sampled_from(["strict", "default", "loose"]))
def test_missing_values_never_join_anybody(rows: list[tuple[str | None, ...]], level: str) -> None:
    found = stitch_identities(as_log(rows), KEYS, level=level)
    assert partition(found.clusters) == {frozenset({("cookie", row[0])}) for row in rows}
    assert found.links.is_empty()


@settings(max_examples=60, deadline=None)
@given(row_lists, st.sampled_from(["strict", "default"]), st.integers(2, 8), st.integers(1, 3))
def test_no_customer_has_two_logins_or_more_values_than_allowed(rows: list[tuple[str | None, ...]], level: str, most: int, shared: int) -> None:
    found = stitch_identities(as_log(rows), KEYS, level=level, max_cluster=most, max_shared=shared)
    sizes = found.clusters.group_by("customer_id").agg(values=pl.len(), logins=pl.col("value").filter(key="user_id").len())
    assert (sizes["values"] <= most).all()
    assert (sizes["logins"] <= 1).all()
    loose = {value: customer for key, value, customer in stitch_identities(as_log(rows), KEYS, level="loose").clusters.select("key", "value", "customer_id").iter_rows()}
    for group in partition(found.clusters):
        assert len({loose[value] for _, value in group}) == 1
    assert set(found.links.filter(~pl.col("used"))["reason"]) <= set(REASONS[1:])


@settings(max_examples=30, deadline=None)
@given(row_lists, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter_and_rows_are_kept(rows: list[tuple[str | None, ...]], random: object) -> None:
    log = as_log(rows)
    shuffled = log.sample(fraction=1, shuffle=True, seed=random.randint(0, 99))
    one, two = stitch_identities(log, KEYS), stitch_identities(shuffled, KEYS)
    assert one.clusters.equals(two.clusters)
    assert one.links.equals(two.links)
    applied = one.apply(log).collect()
    assert applied.drop("customer_id", "source_customer_id").equals(log.drop("customer_id"))
    assert applied["source_customer_id"].equals(log["customer_id"].alias("source_customer_id"))
    assert applied["customer_id"].null_count() == 0
    assert one.apply(applied).collect().equals(applied)


@settings(max_examples=30, deadline=None)
@given(row_lists, st.integers(0, 25))
def test_what_was_known_at_a_moment_is_what_the_log_up_to_it_says(rows: list[tuple[str | None, ...]], hour: int) -> None:
    moment = START + timedelta(hours=hour)
    log = as_log(rows)
    then = stitch_identities(log.filter(pl.col("timestamp") <= moment), KEYS, level="loose")
    assert partition(stitch_identities(log, KEYS, level="loose").as_of(moment).clusters) == partition(then.clusters)


def test_an_anonymous_past_belongs_to_the_later_login() -> None:
    rows = [("c1", None, None), ("c1", "ann", None), ("c2", None, "Ann@x.org "), (None, "ann", "ann@x.org")]
    found = stitch_identities(as_log(rows), KEYS)
    assert found.apply(as_log(rows)).collect()["customer_id"].to_list() == ["ann"] * 4
    assert found.links.filter(key="user_id").select("value", "other_value", "n", "evidence").rows() == [("ann", "ann@x.org", 1, "seen together on 1 events")]


def test_a_kiosk_names_nobody_and_a_family_tablet_stays_with_whom_it_is_surest_of() -> None:
    kiosk = [("kiosk", f"u{n}", None) for n in range(9)] + [("kiosk", None, None), ("c1", "u1", None)]
    found = stitch_identities(as_log(kiosk), KEYS)
    assert found.blocked.select("key", "value", "reason").rows() == [("cookie", "kiosk", "shared value")]
    assert found.apply(as_log(kiosk)).collect()["customer_id"].to_list()[-2:] == ["kiosk", "u1"]
    family = [("tab", "ann", None)] * 5 + [("tab", "bo", None)] * 2 + [("c1", "bo", None)] * 5
    expected = {"strict": {"tab"}, "default": {"ann", "tab"}, "loose": {"ann", "bo", "tab", "c1"}}
    for level, members in expected.items():
        group = next(group for group in partition(stitch_identities(as_log(family), KEYS, level=level).clusters) if ("cookie", "tab") in group)
        assert {value for _, value in group} == members


def test_without_a_login_a_value_with_half_a_cluster_of_partners_is_shared() -> None:
    keys = ["device", "card"]
    rows = [("till", f"k{n}") for n in range(30)] + [(f"d{n}", f"k{n}") for n in range(30)]
    found = stitch_identities(as_log(rows, keys), keys, max_cluster=20)
    assert found.blocked["value"].to_list() == ["till"]
    assert partition(found.clusters) == {frozenset({("device", f"d{n}"), ("card", f"k{n}")}) for n in range(30)}
    assert partition(stitch_identities(as_log(rows, keys), keys, ignore=["till"]).clusters) == partition(found.clusters)
    assert partition(stitch_identities(as_log(rows, keys), keys, ignore={"device": ["till"]}).clusters) == partition(found.clusters)


def test_the_same_text_under_two_keys_is_two_people() -> None:
    found = stitch_identities(as_log([("5", None, None), (None, "5", None)]), KEYS)
    assert found.clusters.select("key", "customer_id").rows() == [("cookie", "cookie:5"), ("user_id", "user_id:5")]


def test_decisions_are_carried_out_in_order_and_can_be_played_again() -> None:
    rows = [("c1", "ann", None), ("c2", "ann", None), ("c2", None, "a@x.org"), ("c3", "bo", None)]
    found, at = stitch_identities(as_log(rows), KEYS), START + timedelta(days=9)
    apart = found.split("c2", "a@x.org", at=at)
    assert partition(apart.clusters) == {frozenset({("cookie", "c1"), ("user_id", "ann")}), frozenset({("cookie", "c2"), ("email", "a@x.org")}), frozenset({("cookie", "c3"), ("user_id", "bo")})}
    assert set(apart.links.filter(~pl.col("used"))["reason"]) == {"split by hand"}
    joined = apart.merge(("user_id", "bo"), "c2", at=at + timedelta(hours=1), why="told on the phone")
    assert joined.clusters.filter(value="a@x.org")["customer_id"].item() == "bo"
    assert joined.links.filter(pl.col("evidence").str.starts_with("merged by hand"))["evidence"].to_list() == ["merged by hand: told on the phone"]
    assert partition(joined.split("c2", "a@x.org", at=at + timedelta(hours=2)).clusters) == partition(apart.clusters)
    assert found.replay(joined.decisions).clusters.equals(joined.clusters)
    assert joined.as_of(at).clusters.equals(apart.clusters)
    assert found.clusters.equals(stitch_identities(as_log(rows), KEYS).clusters)
    with pytest.raises(SettingError, match="no key has this value"):
        found.split("c9", at=at)


def test_an_empty_log_gives_empty_tables_with_their_columns() -> None:
    found = stitch_identities(as_log([]), KEYS)
    assert found.clusters.columns[:3] == ["key", "value", "customer_id"]
    assert found.links.is_empty()
    assert found.counts.select("values", "customers", "largest").row(0) == (0, 0, 0)
    assert found.apply(as_log([])).collect().columns == ["timestamp", *KEYS, "customer_id", "source_customer_id"]


def test_levels_are_compared_side_by_side() -> None:
    rows = [("tab", "ann", None)] * 3 + [("tab", "bo", None)] * 2
    table = compare_levels(as_log(rows), KEYS, lambda events: events.select(people=pl.col("customer_id").n_unique()).collect())
    assert table["people"].to_list() == [2, 2, 2, 1]
    assert table["customers"].to_list() == [None, 3, 2, 1]


@pytest.mark.data
def test_the_last_login_of_a_cookie_is_that_of_a_plain_loop(real_data: Path) -> None:
    events = motkit.read_events(real_data / "formats/snowplow/snowplow_web_events.csv").events.collect()
    expected: dict[str, str] = {}
    for cookie, login in events.sort("timestamp", maintain_order=True).select("domain_userid", "user_id").iter_rows():
        if cookie and login:
            expected[cookie] = login
    assert dict(last_login(events).select("domain_userid", "user_id").iter_rows()) == expected


@pytest.mark.data
def test_real_cookies_and_logins_keep_their_rows(real_data: Path) -> None:
    log = motkit.read_events(real_data / "formats/snowplow/snowplow_web_events.csv")
    for level in ("strict", "default", "loose"):
        found = stitch_identities(log.events, ["user_id", "domain_userid", "network_userid"], level=level)
        assert found.apply(log.events).collect().height == 157
        assert "NULL domain_userid" in found.clusters["customer_id"].to_list() or level == "loose"


def test_three_keys_of_many_events_are_stitched_in_time() -> None:
    n = 200_000
    who = pl.int_range(n, eager=True) * 7919 % 20_000
    frame = pl.DataFrame({"who": who}).with_columns(device=pl.col("who") * 3 + pl.int_range(pl.len()) % 3, at=pl.int_range(pl.len()))
    events = frame.select(
        timestamp=(1_770_000_000_000_000 + pl.col("at") * 1_000_000).cast(pl.Datetime("us", "UTC")),
        cookie=pl.format("c-{}", "device"),
        user_id=pl.when(pl.col("at") % 3 == 0).then(pl.format("u{}", "who")),
        email=pl.when(pl.col("at") % 20 == 0).then(pl.format("p{}@x.org", "who")),
    )
    started = time.process_time()
    found = stitch_identities(events, KEYS)
    assert found.clusters.height > 60_000
    assert time.process_time() - started < 3


def test_wrong_keys_and_limits_are_told_all_at_once() -> None:
    log = as_log([("c1", "ann", None)])
    with pytest.raises(SchemaError, match=r"missing \['phone'\]"):
        stitch_identities(log, ["cookie", "phone"])
    with pytest.raises(SettingError, match="no keys"):
        stitch_identities(log, [])
    with pytest.raises(SettingError, match=r"one_per_customer names 'x'.*max_cluster.*level = 'wild'"):
        stitch_identities(log, ["cookie"], one_per_customer=["x"], max_cluster=1, level="wild")
    with pytest.raises(SettingError, match="ignore= names"):
        stitch_identities(log, ["cookie"], ignore={"phone": ["1"]})


def test_a_customer_whose_ids_are_merged_stays_held_out_and_is_free_again_when_the_merge_is_taken_back() -> None:
    log = as_log([("c1", None, None), ("c2", "ann", None), ("c3", None, None)])
    people = stitch_identities(log, KEYS)
    dealt = pl.DataFrame({"customer_id": ["c1", "c2", "c3", "elsewhere"], "held_out": ["mail", None, None, "all"]})
    before = motkit.merge_holdouts(dealt, people.merged_ids("cookie"), ["all", "mail"])
    assert before.rows() == [("ann", None, False), ("c1", "mail", False), ("c3", None, False), ("elsewhere", "all", False)]
    one = people.merge("c1", "ann", at=START + timedelta(days=2))
    assert motkit.merge_holdouts(dealt, one.merged_ids(), ["all", "mail"]).rows() == [("ann", "mail", True), ("c3", None, False), ("elsewhere", "all", False)]
    assert one.replay(one.decisions.clear()).merged_ids().equals(people.merged_ids())


def test_merged_ids_name_the_same_customers_as_the_stitched_events() -> None:
    log = as_log([(f"c{n % 7}", f"u{n % 3}" if n % 2 else None, None) for n in range(40)])
    people = stitch_identities(log, KEYS)
    seen = people.apply(log).select(customer_id="cookie", into="customer_id").unique().collect()
    merged = people.merged_ids("cookie")
    assert merged["customer_id"].is_unique().all()
    logged_in = seen.join(merged, on=["customer_id", "into"], how="semi")["customer_id"].n_unique()
    assert logged_in == merged.height
    assert stitch_identities(log.head(0), KEYS).merged_ids().is_empty()


def test_an_id_that_could_be_two_customers_is_refused_until_its_key_is_told() -> None:
    people = stitch_identities(as_log([("7", "ann", None), ("c2", "7", None)]), KEYS)
    with pytest.raises(SettingError, match=r"1 values stand under several keys.*\n?.*key="):
        people.merged_ids()
    assert people.merged_ids("cookie").rows() == [("7", "ann"), ("c2", "7")]
