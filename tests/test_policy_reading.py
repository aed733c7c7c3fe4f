"""Waterfalls that add up, and replays that equal the batch and keep their caps, also on real contacts."""

import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import motkit
from motkit.decision_bench import bench_policy, make_world
from motkit.errors import SchemaError
from motkit.policy import parse_policy
from motkit.policy_batch import apply_policy
from motkit.policy_reading import policy_waterfall, replay_policy

AT = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


def test_a_waterfall_adds_up_and_follows_the_order_of_the_policy() -> None:
    policy = bench_policy()
    world = make_world(policy, 80, AT, seed=7)
    answer = apply_policy(world.candidates, world.history, policy, AT, world.customers, world.consents)
    fall = policy_waterfall(answer, policy)
    assert fall["rule"].to_list() == [rule.id for rule in policy.rules]
    assert fall["removed"].sum() == (~answer["allowed"]).sum()
    assert fall["left"].to_list()[-1] == answer["allowed"].sum()
    left = answer.height
    for place, (rule, removed, after, blocked, alone) in enumerate(fall.iter_rows()):
        earlier = [one.id for one in policy.rules[:place]]
        lists = answer["blocked_by"].to_list()
        assert removed == sum(rule in names and not set(earlier) & set(names) for names in lists)
        assert blocked == sum(rule in names for names in lists)
        assert alone == sum(names == [rule] for names in lists)
        left -= removed
        assert after == left
    short = policy_waterfall(answer)
    assert short.equals(fall.filter(pl.col("blocked") > 0))
    assert policy_waterfall(answer.filter("allowed"))["rule"].to_list() == []
    with pytest.raises(SchemaError, match="apply_policy"):
        policy_waterfall(answer.drop("mask"))


def test_a_replay_gives_each_contact_what_the_batch_gives_at_its_instant() -> None:
    policy = bench_policy()
    world = make_world(policy, 90, AT, seed=11)
    history = world.history.unique(["customer_id", "timestamp"], keep="first", maintain_order=True)
    replayed = replay_policy(history, policy, world.customers, world.consents, drop_blocked=False)
    contacts = pl.concat([replayed.filter(pl.col("allowed") == kind).head(20) for kind in (True, False)])
    assert contacts["allowed"].sum() >= 5
    for row in contacts.iter_rows(named=True):
        one = pl.DataFrame([row]).select("customer_id", "action_id")
        before = history.filter((pl.col("timestamp") < row["timestamp"]) | (pl.col("event") != "contact"))
        answer = apply_policy(one, before, policy, row["timestamp"], world.customers, world.consents)
        assert answer["mask"][0] == row["mask"]
        assert answer["next_allowed"][0] == row["next_allowed"]
    assert replayed.height == history.filter((pl.col("event") == "contact") & (pl.col("status") != "released")).height


def test_after_a_replay_no_cap_is_broken() -> None:
    policy = parse_policy('[[rules]]\nid = "cap"\ntype = "count"\nmax = 2\nwindow = "7d"\nof = { kind = "contact" }')
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=7 * k % 600) for k in range(300)]
    history = pl.DataFrame({"customer_id": [f"c{k % 7}" for k in range(300)], "timestamp": times, "channel": "sms", "status": "sent", "action_id": "x"})
    kept = replay_policy(history, policy).filter("allowed").sort("timestamp")
    most = kept.rolling("timestamp", period="7d", group_by="customer_id").agg(n=pl.len())["n"].max()
    assert most == 2


def campaign_contacts(place: Path) -> pl.DataFrame:
    """The contacts of Complete Journey's even households: which campaign began for whom, and when."""
    sent = pl.read_parquet(place / "campaigns.parquet").join(pl.read_parquet(place / "campaign_descriptions.parquet"), on="campaign_id")
    return sent.select(
        customer_id=pl.col("household_id").cast(pl.String),
        timestamp=pl.col("start_date").str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC"),
        channel=pl.lit("mail"), category="campaign_type", purpose=pl.lit("marketing"), status=pl.lit("sent"), action_id=pl.col("campaign_id").cast(pl.String),
    )  # fmt: skip


CAPS = """
[[rules]]
id = "cap_month"
type = "count"
max = {most}
window = "30d"
of = {{ kind = "contact" }}
[[rules]]
id = "type"
type = "count"
max = 1
window = "14d"
of = {{ kind = "contact", same = ["category"] }}
"""


def replay_in_a_loop(history: pl.DataFrame, most: int, drop_blocked: bool) -> list[list[str]]:
    """Which rules block each contact, household by household in the order of time, with nothing but lists."""
    blocked: list[list[str]] = [[] for _ in range(history.height)]
    counted: dict[str, list[tuple[datetime, str]]] = {}
    order = sorted(range(history.height), key=lambda k: (history["customer_id"][k], history["timestamp"][k], k))
    for k in order:
        who, at, kind = history["customer_id"][k], history["timestamp"][k], history["category"][k]
        past = counted.setdefault(who, [])
        month = sum(at - then < timedelta(days=30) for then, _ in past)
        alike = sum(at - then < timedelta(days=14) and kind == other for then, other in past)
        blocked[k] = [name for name, over in (("cap_month", month + 1 > most), ("type", alike + 1 > 1)) if over]
        if not blocked[k] or not drop_blocked:
            past.append((at, kind))
    return blocked


@pytest.mark.data
@pytest.mark.parametrize("drop_blocked", [True, False])
def test_the_contacts_of_complete_journey_under_changed_caps_are_blocked_as_a_loop_says_row_by_row(real_data: Path, drop_blocked: bool) -> None:
    history = campaign_contacts(real_data / "completejourney")
    assert history.height == 3367
    sent = []
    for most in (0, 1, 2, 5):
        policy = parse_policy(CAPS.format(most=most))
        replayed = replay_policy(history, policy, drop_blocked=drop_blocked)
        assert replayed["blocked_by"].to_list() == replay_in_a_loop(history, most, drop_blocked)
        fall = policy_waterfall(replayed, policy)
        assert fall["left"].to_list()[-1] == replayed["allowed"].sum()
        sent.append(replayed["allowed"].sum())
        kept = replayed.filter("allowed").sort("timestamp")
        if most and drop_blocked:
            assert kept.rolling("timestamp", period="30d", group_by="customer_id").agg(n=pl.len())["n"].max() <= most
            assert kept.rolling("timestamp", period="14d", group_by=["customer_id", "category"]).agg(n=pl.len())["n"].max() == 1
    assert sent == sorted(sent)
    assert 0 == sent[0] < 0.5 * 3367 < sent[3] < 3367


def test_the_names_are_public() -> None:
    assert inspect.unwrap(motkit.policy_waterfall) is inspect.unwrap(policy_waterfall)
    assert inspect.unwrap(motkit.replay_policy) is inspect.unwrap(replay_policy)
