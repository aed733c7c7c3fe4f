"""The map against plain loops on random logs, its laws, what is censored, and real processes."""

import gzip
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.conformance import judge_path, variant_shares
from motkit.errors import DesignError, SchemaError
from motkit.events import read_events
from motkit.journey_map import JourneyMap, map_journey
from motkit.journey_rows import code_rows, place_events, place_rows
from motkit.journeys import Journey, check_journey, read_journey
from motkit.numbers import as_number
from motkit.schema import EVENTS
from motkit.stays import share_by_customer, share_of_each
from motkit.store import write_store

ROOT = Path(__file__).parent.parent
START = datetime(2026, 3, 2, tzinfo=UTC)
PLAN: dict[str, Any] = {
    "title": "Shoes",
    "outcome": ["pay"],
    "leaves": ["close"],
    "lost": ["gone"],
    "silence_days": 10,
    "friction": {"repeats": 2, "complaints": ["complain"], "complaint_hours": 48},
    "paths": [
        {"name": "plan", "kind": "planned", "path": "choose -> buy -> get"},
        {"name": "once more", "path": "choose -> buy -> choose -> buy -> get"},
    ],
    "steps": [
        {
            "name": "choose",
            "opens": True,
            "wait_days": 3,
            "substeps": [
                {"name": "look", "events": ["look*"], "browsing": True},
                {"name": "basket", "events": ["basket"]},
                {"name": "list", "events": ["look at list"], "personas": ["planner"]},
            ],
            "paths": [{"name": "plan", "kind": "planned", "path": "look -> basket"}],
        },
        {"name": "buy", "substeps": [{"name": "pay", "events": ["form", "pay"]}]},
        {"name": "get", "final": True, "follows": True, "substeps": [{"name": "parcel", "events": ["parcel"]}]},
        {
            "name": "ask",
            "aside": True,
            "substeps": [{"name": "call", "events": ["call"], "channels": ["phone"]}],
            "requests": [{"request": "Help", "response": "Answer", "events": ["call"], "answered_by": ["answer"], "within_hours": 24}],
        },
    ],
}
KINDS = ["look", "look at list", "basket", "form", "pay", "parcel", "call", "answer", "complain", "email", "close", "gone"]
STEP = {"look": "choose", "look at list": "choose", "basket": "choose", "form": "buy", "pay": "buy", "parcel": "get", "call": "ask"}
logs = st.lists(st.tuples(st.sampled_from(["ann", "bo", "cy"]), st.integers(0, 60), st.sampled_from(KINDS)), max_size=24, unique_by=lambda row: row[:2])


@pytest.fixture(scope="module")
def journey() -> Journey:
    return check_journey(PLAN, "", "plan")


def make_events(drawn: list[tuple[str, float, str]], **also: Any) -> pl.DataFrame:
    """Events at days after the start."""
    columns: dict[str, Any] = {
        "customer_id": [row[0] for row in drawn],
        "timestamp": [START + timedelta(days=row[1]) for row in drawn],
        "event": [row[2] for row in drawn],
        "channel": ["phone" if row[2] == "call" else "web" for row in drawn],
        "value": [None] * len(drawn),
        "duration_s": [None] * len(drawn),
    }
    return pl.DataFrame(columns, schema=EVENTS).with_columns(**{name: pl.Series(values) for name, values in also.items()})


def loop_cycles(own: list[tuple[int, str]]) -> list[int]:
    """Cycles of one customer by walking along."""
    cycles, cycle, done, before, paid_in = [], 1, False, None, 0
    for day, event in own:
        if before is not None and (day - before > 10 or (done and STEP.get(event) == "choose")):
            cycle, done = cycle + 1, False if STEP.get(event) == "choose" else done
        if event == "pay":
            done, paid_in = True, cycle
        elif STEP.get(event) == "choose":
            done = False
        cycles.append(paid_in if STEP.get(event) == "get" and paid_in else cycle)
        before = day
    return cycles


def loop_rows(drawn: list[tuple[str, int, str]]) -> dict[tuple[str, int], list[tuple[int, str]]]:
    """Rows of each journey: (customer, cycle) -> (day, event)."""
    rows: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for who in sorted({row[0] for row in drawn}):
        own = sorted((day, event) for name, day, event in drawn if name == who)
        for cycle, row in zip(loop_cycles(own), own, strict=True):
            rows.setdefault((who, cycle), []).append(row)
    return rows


def make_map(drawn: list[tuple[str, int, str]], journey: Journey) -> JourneyMap | None:
    """The map, or None where no event is on it."""
    if not any(row[2] in STEP for row in drawn):
        with pytest.raises(DesignError, match="no event of the log is on the map"):
            map_journey(make_events(drawn), journey)
        return None
    return map_journey(make_events(drawn), journey)


def test_paths_as_frequent_as_each_other_are_ranked_alike_in_any_order_of_rows() -> None:
    kinds = (("planned", "plan", 3), ("cut short", "plan", 2), ("on the way", "plan", 2), ("on the way", "second", 2), ("unplanned", "second", 1))
    rows = [("journey", f"c{n % 40}", n, "ab"[n % 2], *kinds[n % 5], ["a", "b", "c"]) for n in range(200)]
    names = ["scope", "customer_id", "cycle", "variant", "kind", "way", "followed", "path"]
    judged = pl.DataFrame(rows, schema=names, orient="row").with_columns(persona=pl.lit(""), month=pl.lit("2026-03"))
    first, *others = (variant_shares(judged.sample(fraction=1, shuffle=True, seed=seed)) for seed in range(10))
    assert first.height == 10
    assert first["units"].to_list() == [20] * 10
    assert all(other.equals(first) for other in others)


@given(logs, st.randoms())
@settings(max_examples=40, deadline=None)
def test_cycles_reach_and_variants_are_those_of_a_plain_loop_in_any_order_of_rows(drawn: Any, chance: Any) -> None:
    journey = check_journey(PLAN, "", "plan")
    rows = loop_rows(drawn)
    chance.shuffle(drawn)
    made = make_map(drawn, journey)
    if made is None:
        return
    assert made.counts["n"].sum() == len(drawn)
    assert made.unassigned["n"].sum() == sum(row[2] not in STEP for row in drawn)
    assert made.journeys.height == len(rows)
    everybody = {row["step"]: row for row in made.steps.filter(segment="all").to_dicts()}
    for step in {STEP[row[2]] for row in drawn if row[2] in STEP}:
        reached = sum(any(STEP.get(event) == step for _, event in own) for own in rows.values())
        assert (everybody[step]["reached"], everybody[step]["n"]) == (reached, len(rows))
    paths = [[name for name, _ in groupby(STEP[event] for _, event in own if STEP.get(event, "ask") != "ask")] for own in rows.values()]
    variants = made.variants.filter(scope="journey").group_by("variant").agg(pl.col("units").sum())
    assert dict(variants.iter_rows()) == Counter(" > ".join(path) for path in paths if path)


@given(logs)
@settings(max_examples=25, deadline=None)
def test_pains_are_those_of_a_plain_loop(drawn: Any) -> None:
    journey = check_journey(PLAN, "", "plan")
    made = make_map(drawn, journey)
    if made is None:
        return
    order = ["choose", "buy", "get"]
    expected: Counter[tuple[str, str]] = Counter()
    for own in loop_rows(drawn).values():
        for event, run in groupby(own, key=lambda row: row[1]):
            if event in STEP and not event.startswith("look") and len(list(run)) >= 2:
                expected[STEP[event], "repeated"] += 1
        steps = [name for name, _ in groupby(STEP[event] for _, event in own if STEP.get(event) in order)]
        expected.update((a, "went back") for a, b in pairwise(steps) if order.index(b) < order.index(a))
        expected.update((STEP[event], "long wait") for (day, event), (then, _) in pairwise(own) if STEP.get(event) == "choose" and then - day > 3)
        for place, (day, event) in enumerate(own):
            before = [row for row in own[:place] if STEP.get(row[1]) in order]
            if event == "complain" and before and day - before[-1][0] <= 2:
                expected[STEP[before[-1][1]], "complaint near by"] += 1
    found = made.pains.filter(segment="all")
    assert {(row["step"], row["pain"]): row["times"] for row in found.to_dicts() if row["times"]} == expected
    assert (found["touched"] <= found["n"]).all()


@given(logs)
@settings(max_examples=15, deadline=None)
def test_every_group_adds_up_and_every_share_lies_in_its_interval(drawn: Any) -> None:
    made = make_map(drawn, check_journey(PLAN, "", "plan"))
    if made is None:
        return
    for table, share in ((made.steps, "reach"), (made.substeps, "reach"), (made.pains, "share"), (made.conformance, "share"), (made.variants, "share")):
        known = table.drop_nulls(share)
        assert known.filter(~pl.col(share).is_between(pl.col("ci_low") - 1e-9, pl.col("ci_high") + 1e-9)).is_empty()
    by_month = made.steps.filter(pl.col("segment").str.starts_with("month")).group_by("step").agg(pl.col("reached").sum()).sort("step")
    assert by_month.rows() == made.steps.filter(segment="all").select("step", "reached").cast({"reached": by_month.schema["reached"]}).sort("step").rows()
    settled = made.conformance.filter(pl.col("segment") == "all", pl.col("kind") != "on the way").group_by("scope").agg(pl.col("units").sum() == pl.col("n").first())
    assert settled["units"].all()


def test_a_store_gives_the_same_map(journey: Journey, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    drawn = [(f"c{who}", int(day), KINDS[kind]) for who in range(40) for day, kind in zip(chance.permutation(60)[:8], chance.integers(0, 10, 8), strict=True)]
    one, other = map_journey(make_events(drawn), journey), map_journey(write_store(make_events(drawn), tmp_path / "store"), journey)
    for name in ("steps", "substeps", "pains", "requests", "conformance", "variants", "leaving", "moves"):
        assert getattr(one, name).equals(getattr(other, name)), name


def test_a_map_holds_no_text_of_the_log_and_few_bytes_an_event(journey: Journey, tmp_path: Path) -> None:
    events = make_events([(f"customer {who}", day, KINDS[(who + day) % 12]) for who in range(200) for day in range(20)], text=["a long remark " * 9] * 4000)
    end = int(as_number(events["timestamp"].to_physical().max()))
    for log in (events, write_store(events, tmp_path / "store")):
        rows, customers = code_rows(log, end)
        placed = place_rows(rows, customers, journey, pl.DataFrame({"customer_id": ["customer 7"], "persona": ["planner"]})).collect()
        assert pl.String not in placed.dtypes
        assert placed.estimated_size() / placed.height < 40
        texts = place_events(log, journey, pl.DataFrame({"customer_id": ["customer 7"], "persona": ["planner"]})).collect()
        assert placed.with_columns(customer_id=customers.gather(placed["customer_id"])).rows() == texts.select(placed.columns).rows()


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.sets(st.sampled_from("xyz"))), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_shares_of_each_answer_are_those_of_a_row_for_each_unit_and_answer(drawn: Any) -> None:
    units = pl.DataFrame([(who, group) for who, group, _ in drawn], schema={"customer_id": pl.Int64, "group": pl.String}, orient="row")
    having = pl.DataFrame([(who, group, one) for who, group, found in drawn for one in found], schema={**units.schema, "answer": pl.String}, orient="row")
    long = pl.DataFrame([(who, group, one, one in found) for who, group, found in drawn for one in "xyz"], schema={**having.schema, "has": pl.Boolean}, orient="row")
    asked = long.select("group", "answer").unique()
    found = share_of_each(units, having, asked)
    assert found.drop("touched").equals(share_by_customer(long, "has", ["group", "answer"]))
    assert found["touched"].to_list() == long.group_by("group", "answer").agg(pl.col("customer_id").filter("has").n_unique()).sort("group", "answer")["customer_id"].to_list()


def test_a_stay_holds_its_own_rows_where_times_tie(journey: Journey) -> None:
    made = map_journey(make_events([("ann", 0, "look"), ("ann", 0, "pay"), ("ann", 0, "basket"), ("bo", 90, "look")]), journey)
    stays = made.variants.filter(scope="choose").group_by("variant").agg(pl.col("units").sum())
    assert dict(stays.iter_rows()) == {"look": 2, "basket": 1}


def test_who_is_still_there_is_censored_and_not_lost(journey: Journey) -> None:
    drawn = [(f"a{k}", 0, "look") for k in range(4)] + [(f"a{k}", 5, "pay") for k in range(2)] + [("a2", 40, "email"), ("b", 39, "look"), ("c", 25, "look"), ("c", 33, "email")]
    made = map_journey(make_events(drawn), journey)  # told as of day 30
    choose = made.steps.filter(segment="all", step="choose").row(0, named=True)
    assert (choose["timed"], choose["still_there"]) == (5, 1)  # b came too late to be timed, c is not silent for long enough
    assert choose["drop_off"] == pytest.approx(0.4)  # of a2 and a3 at day 0, among five
    assert made.journeys.filter(customer_id="b")["state"].item() == "open"
    late = map_journey(make_events(drawn), journey, as_of=START + timedelta(days=60)).steps.filter(segment="all", step="choose").row(0, named=True)
    assert (late["timed"], late["still_there"], late["drop_off"]) == (6, 0, pytest.approx(4 / 6))


def test_who_opted_out_is_neither_dropped_nor_on_the_plan(journey: Journey) -> None:
    made = map_journey(make_events([("ann", 0, "look"), ("ann", 1, "gone"), ("bo", 0, "look"), ("bo", 1, "close"), ("cy", 50, "look")]), journey)
    assert dict(made.moves.select("next_step", "n").iter_rows()) == {"(dropped out)": 1, "(lost from sight)": 1, "(still there)": 1}
    kinds = made.conformance.filter(segment="all", scope="journey", kind="on the way")
    assert kinds["units"].to_list() == [2]


def test_a_delivery_belongs_to_its_order_even_after_a_new_look(journey: Journey) -> None:
    placed = place_events(make_events([("ann", 0, "look"), ("ann", 1, "pay"), ("ann", 2, "look"), ("ann", 4, "parcel"), ("ann", 5, "pay"), ("ann", 6, "parcel")]), journey).collect()
    assert placed["cycle"].to_list() == [1, 1, 2, 1, 2, 2]


def test_a_persona_has_its_own_sub_step_and_its_own_numbers(journey: Journey) -> None:
    events = make_events([("ann", 0, "look at list"), ("bo", 0, "look at list"), ("cy", 0, "look")])
    personas = pl.DataFrame({"customer_id": ["ann", "bo"], "persona": ["planner", "browser"]})
    made = map_journey(events, journey, personas)
    assert made.events.select("customer_id", "substep").rows() == [("ann", "list"), ("bo", "look"), ("cy", "look")]
    assert set(made.steps["segment"]) == {"all", "persona: planner", "persona: browser", "persona: not known", "month: 2026-03"}
    assert made.steps.filter(segment="persona: planner")["n"].to_list() == [1]


def test_requests_are_kept_late_or_open(journey: Journey) -> None:
    drawn = [("a", 0, "call"), ("a", 0.5, "answer"), ("b", 0, "call"), ("b", 3, "answer"), ("c", 0, "call"), ("d", 9.5, "call"), ("e", 10, "look")]
    made = map_journey(make_events(drawn), journey)
    assert made.requests.select("n", "answered", "still_open").rows() == [(3, 1, 1)]


def test_sentiment_and_attention_are_told_by_customer(journey: Journey) -> None:
    drawn = [(f"c{k}", day, "look") for k in range(30) for day in (0, 1)] + [("z", 90, "look")]
    mood = [0.5 if k % 2 else -0.1 for k in range(30) for _ in (0, 1)] + [None]
    events = make_events(drawn, sentiment=mood).with_columns(duration_s=pl.Series([float(k + 1) for k in range(30) for _ in (0, 1)] + [None]))
    row = map_journey(events, journey).steps.filter(segment="all", step="choose").row(0, named=True)
    assert (row["engaged_n"], row["engaged_median_s"]) == (30, 31.0)
    assert row["engaged_ci_low"] < 31 < row["engaged_ci_high"]
    assert row["sentiment"] == pytest.approx(0.2)
    assert row["sentiment_ci_low"] < 0.2 < row["sentiment_ci_high"]


def test_moments_lie_at_the_step_of_their_event(journey: Journey) -> None:
    moments = pl.DataFrame({"moment": ["form", "unknown", "look at list, in web"], "hazard_ratio": [1.4, 2.0, None], "ci_low": [1.1, 1.0, None], "ci_high": [1.8, 4.0, None]})
    made = map_journey(make_events([("ann", 0, "look at list"), ("ann", 1, "form")]), journey, moments=moments)
    assert made.moments["step"].to_list() == ["buy", None, "choose"]
    assert "leaving x 1.40 (1.10 to 1.80)" in made._repr_html_()
    with pytest.raises(SchemaError, match="moment"):
        map_journey(make_events([("ann", 0, "look")]), journey, moments=moments.drop("moment"))


def test_intervals_of_shares_cover_the_truth_when_journeys_of_a_customer_hang_together() -> None:
    chance, hits = np.random.default_rng(7), 0
    for _ in range(300):
        rate = chance.beta(1, 2, 60)
        sizes = 1 + chance.poisson(3, 60)
        who = np.repeat(np.arange(60), sizes)
        table = pl.DataFrame({"customer_id": who.astype(str), "all": "x", "did": chance.random(who.size) < rate[who]})
        low, high = share_by_customer(table, "did", ["all"]).select("ci_low", "ci_high").row(0)
        hits += low <= 1 / 3 <= high
    assert 0.92 <= hits / 300 <= 0.985


def test_groups_drawn_at_random_have_the_same_reach(journey: Journey) -> None:
    chance = np.random.default_rng(8)
    drawn = [(f"c{who}", day, KINDS[kind]) for who in range(200) for day, kind in enumerate(chance.integers(0, 6, 5))]
    events = make_events(drawn)
    outside = total = 0
    for _ in range(12):
        personas = pl.DataFrame({"customer_id": [f"c{who}" for who in range(200)], "persona": np.where(chance.random(200) < 0.5, "a", "b")})
        made = map_journey(events, journey, personas, by_month=False)
        truth = dict(made.steps.filter(segment="all").select("step", "reach").iter_rows())
        for row in made.steps.filter(pl.col("segment") != "all").to_dicts():
            total += 1
            outside += not row["ci_low"] <= truth[row["step"]] <= row["ci_high"]
    assert outside / total < 0.06


def test_planned_paths_are_judged_before_alternatives(journey: Journey) -> None:
    assert judge_path(["choose", "buy", "get"], journey.paths, None, True) == ("planned", "plan", 3)
    assert judge_path(["choose", "buy", "choose", "buy", "get"], journey.paths, None, True)[0] == "alternative"
    assert judge_path(["choose", "buy", "choose"], journey.paths, None, False)[0] == "on the way"
    assert judge_path(["choose", "buy", "choose"], journey.paths, None, True) == ("cut short", "once more", 3)
    assert judge_path(["buy"], journey.paths, None, True) == ("unplanned", "", 0)


def test_the_demo_is_mapped_and_displays_itself() -> None:
    events = pl.read_parquet(ROOT / "data" / "demo_events.parquet")
    some = events.filter(pl.col("customer_id").str.slice(1).cast(pl.Int64) % 4 == 0)
    made = map_journey(some, read_journey(ROOT / "motkit" / "demo" / "journey.toml"), by_month=False)
    assert made.counts["n"].sum() == some.height
    assert set(made.unassigned["event"]) == {"email_sent", "sms_sent", "price_increase_notice", "account_closed", "tracking_opted_out"}
    for text in (repr(made), made._repr_html_()):
        assert "Discover" in text
        assert "95% intervals" in text
        assert "nan" not in text


def read_tickets(path: Path) -> pl.DataFrame:
    """The help desk's tickets as events."""
    space, rows = "{http://www.xes-standard.org/}", []
    with gzip.open(path) as file:
        for trace in ET.parse(file).getroot().iter(f"{space}trace"):
            case = next(child.get("value") for child in trace if child.get("key") == "concept:name")
            for event in trace.iter(f"{space}event"):
                held = {child.get("key"): child.get("value") for child in event}
                rows.append((case, held["time:timestamp"], held["concept:name"]))
    table = pl.DataFrame(rows, schema=["case", "at", "activity"], orient="row")
    return read_events(table, columns={"customer_id": "case", "timestamp": "at", "event": "activity"}).events.collect()


@pytest.mark.data
def test_a_journey_written_for_a_help_desk_works_as_it_is(real_data: Path) -> None:
    events = read_tickets(real_data / "helpdesk_italian.xes.gz")
    made = map_journey(events, read_journey(ROOT / "tests" / "journeys" / "helpdesk.toml"), by_month=False)
    assert made.unassigned.is_empty()
    assert made.counts["n"].sum() == events.height
    planned = made.conformance.filter(segment="all", scope="journey", kind="planned").row(0, named=True)
    paths = [[name for name, _ in groupby(group["step"].to_list())] for _, group in made.events.group_by("customer_id", "cycle", maintain_order=True)]
    assert planned["units"] == sum(path == ["open", "work", "close"] for path in paths)
    assert planned["ci_low"] < planned["share"] < planned["ci_high"]
    assert made.variants.filter(scope="journey")["variant"][0] == "open > work > close"


@pytest.mark.data
def test_a_journey_written_for_a_course_works_as_it_is(real_data: Path) -> None:
    clicks = pl.scan_parquet(real_data / "oulad" / "studentVle.parquet").filter(pl.col("id_student") % 10 == 0)
    pages = pl.read_csv(real_data / "oulad" / "vle.csv.gz").select("id_site", "activity_type").lazy()
    table = clicks.join(pages.cast({"id_site": pl.Int64}), on="id_site").select(
        customer_id=pl.col("id_student").cast(pl.String), timestamp=START + pl.duration(days=pl.col("date")), event=pl.lit("click ") + pl.col("activity_type")
    )
    events = read_events(table.collect(), columns={"customer_id": "customer_id", "timestamp": "timestamp", "event": "event"}).events
    made = map_journey(events, read_journey(ROOT / "motkit" / "demo" / "journey_oulad.toml"), by_month=False)
    assert made.unassigned.is_empty()
    assert made.steps.filter(segment="all", step="study")["reach"].item() > 0.5
