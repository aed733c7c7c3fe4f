"""Probable links: planted people are found again, families and twins stay apart, and every link passes the guards of the others."""

import random
import socket
import string
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.contradictions import Personal, is_slip, judge_links
from motkit.errors import MissingExtraError, SchemaError, SettingError
from motkit.identity import Identities, stitch_identities
from motkit.linking import LINKS, link_profiles, probable_links

pytest.importorskip("splink", reason="needs the extra 'identity': pip install 'motkit[identity]'")

START = datetime(2026, 3, 1, tzinfo=UTC)
COMMON = (
    "anna anne hanna maria marie julia julian tim tom jan jana lea leo paul paula peter petra klaus karl emil emilia max mia ben finn "
    "clara klara otto ida eva ava noah nora lukas laura felix frida hugo greta oskar olga rosa ruth simon sina theo thea"
)
FIRSTS = COMMON.split()
LASTS = [f"{a}{b}" for a in ("berg", "stein", "wald", "bach", "feld", "roth", "lind", "hof") for b in ("er", "mann", "ner", "hardt", "sen", "ke", "au", "ich")]
ATTRIBUTES = ["first_name", "last_name", "birth_date", "email", "phone", "postcode"]


class Town:
    """Made-up people, and the profiles that a shop has of them."""

    def __init__(self, seed: int):
        self.random, self.rows, self.person = random.Random(seed), list[dict[str, str]](), 0

    def household(self) -> dict[str, str]:
        last = self.random.choice(LASTS)
        number = "".join(self.random.choices(string.digits, k=8))
        return {"last_name": last, "email": f"{last}{self.random.randint(1, 999)}@x.org", "phone": f"0{number}", "postcode": f"{self.random.randint(1, 60):02d}000"}

    def someone(self, home: Mapping[str, str], first: str = "", born: str = "") -> dict[str, str]:
        day = date(1940, 1, 1) + timedelta(days=self.random.randint(0, 25_000))
        return {**home, "first_name": first or self.random.choice(FIRSTS), "birth_date": born or day.isoformat()}

    def slip(self, word: str) -> str:
        place = self.random.randrange(len(word) - 1)
        letter = self.random.choice(string.digits if word[place].isdigit() else string.ascii_lowercase)
        made = [word[:place] + letter + word[place + 1 :], word[:place] + word[place + 1 :], word[:place] + word[place + 1] + word[place] + word[place + 2 :]]
        return self.random.choice(made)

    def add(self, kind: str, *profiles: Mapping[str, str | None]) -> None:
        """One person with one profile or several."""
        self.person += 1
        for profile in profiles:
            self.rows.append({"customer_id": f"k{len(self.rows):05d}", "person": f"{kind} {self.person}"} | {name: profile.get(name) or "" for name in ATTRIBUTES})

    def table(self) -> pl.DataFrame:
        return pl.DataFrame(self.rows).sample(fraction=1, shuffle=True, seed=1)


def make_town(seed: int, size: int = 60) -> pl.DataFrame:
    """Of each kind `size`: families of three and twins with one mailbox, father and son of one name, slips, movers, the married, half-empty profiles."""
    town = Town(seed)
    for _ in range(size * 3):
        town.add("single", town.someone(town.household()))
    for _ in range(size):
        home = town.household()
        for first in town.random.sample(FIRSTS, 3):
            town.add("family", town.someone(home, first))
        home, born = town.household(), town.someone({})["birth_date"]
        for first in town.random.sample(FIRSTS, 2):
            town.add("twin", town.someone(home, first, born))
        person = town.someone(town.household())
        wrong = town.random.sample(ATTRIBUTES, 2)
        town.add("slip", person, person | {name: town.slip(person[name]) for name in wrong})
        person = town.someone(town.household())
        town.add("mover", person, person | {name: town.household()[name] for name in ("phone", "postcode")})
        person = town.someone(town.household())
        town.add("sparse", person, person | {"birth_date": None, "phone": None})
        person = town.someone(town.household())
        town.add("married", person, town.household() | {name: person[name] for name in ("first_name", "birth_date", "phone")})
        home, first = town.household(), town.random.choice(FIRSTS)
        for known in (True, town.random.random() < 0.9):
            town.add("junior", town.someone(home, first) | ({} if known else {"birth_date": None}))
    return town.table()


def score(links: pl.DataFrame, people: pl.DataFrame) -> tuple[float, float, dict[str, float]]:
    """Precision and recall of pairs, and recall by kind of person."""
    truth = {
        (a, b): person.split()[0]
        for (person,), rows in people.group_by("person")
        for a, b in combinations(sorted(rows["customer_id"]), 2)
        if isinstance(person, str)
    }
    found = set(links.filter("used").select("customer_id", "other_customer_id").rows())
    kinds = {kind: [pair in found for pair, of in truth.items() if of == kind] for kind in dict.fromkeys(truth.values())}
    right = len(found & truth.keys())
    return right / max(len(found), 1), right / len(truth), {kind: sum(hits) / len(hits) for kind, hits in kinds.items()}


@pytest.fixture(scope="module")
def town() -> pl.DataFrame:
    return make_town(1, 30)


@pytest.fixture(scope="module")
def links(town: pl.DataFrame) -> pl.DataFrame:
    return probable_links(town, ATTRIBUTES, personal=["first_name", "birth_date"])


def test_planted_people_are_found_again_and_families_and_twins_stay_apart(town: pl.DataFrame, links: pl.DataFrame) -> None:
    precision, recall, kinds = score(links, town)
    alone, _, _ = score(links.with_columns(used=True), town)
    assert precision >= 0.93
    assert alone < 0.5  # likeness alone makes one person of a household
    assert recall >= 0.7
    assert min(kinds["slip"], kinds["mover"], kinds["sparse"]) >= 0.9
    assert kinds["married"] < 1  # name, e-mail and postcode changed at once: the limit of this
    of = dict(town.select("customer_id", "person").iter_rows())
    wrong = [(of[a].split()[0], of[b].split()[0]) for a, b in links.filter("used").select("customer_id", "other_customer_id").rows() if of[a] != of[b]]
    assert set(wrong) <= {("junior", "junior")}  # father and son of one name, one without a date of birth


def test_links_come_the_surest_first_and_tell_no_value(town: pl.DataFrame, links: pl.DataFrame) -> None:
    assert links.schema == LINKS
    assert links["probability"].is_sorted(descending=True)
    assert links["probability"].is_between(0.95, 1).all()
    assert (links["used"] == links["reason"].is_null()).all()
    words = " ".join(links["evidence"].unique().to_list() + links["reason"].drop_nulls().unique().to_list())
    assert not any(word in words for word in [*FIRSTS, *LASTS, "@", "000"] if len(word) > 4)


def test_nothing_is_sent_anywhere_and_the_order_of_rows_does_not_matter(town: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    few = town.head(80)
    found = probable_links(few, ATTRIBUTES[:4])
    again = probable_links(few.sample(fraction=1, shuffle=True, seed=3), ATTRIBUTES[:4])
    assert found.equals(again)


def test_strangers_whose_attributes_are_shuffled_are_not_linked(town: pl.DataFrame) -> None:
    one_each = town.unique("person", keep="first", maintain_order=True).filter(~pl.col("person").str.contains("family|twin|junior")).head(150)
    shuffled = one_each.select("customer_id", *(pl.col(name).shuffle(seed) for seed, name in enumerate(ATTRIBUTES)))
    assert probable_links(shuffled, ATTRIBUTES)["used"].sum() <= 1


def test_missing_values_join_nobody_and_few_profiles_are_no_fault() -> None:
    empty = pl.DataFrame({"customer_id": [f"k{n}" for n in range(20)], "first_name": [None, "", "unknown", "n/a"] * 5, "email": ["", None, "NULL", "-"] * 5})
    assert probable_links(empty).is_empty()
    assert probable_links(empty.head(1)).schema == LINKS
    assert probable_links(empty.head(0)).is_empty()


words = st.text("abc", min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(words, words)
def test_a_slip_is_one_edit_of_a_plain_matrix(one: str, other: str) -> None:
    rows: dict[tuple[int, int], int] = {}
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            swapped = i > 1 and j > 1 and one[i - 2 : i] == other[j - 2 : j][::-1]
            choices = [rows.get((i - 1, j), 99) + 1, rows.get((i, j - 1), 99) + 1, rows[i - 2, j - 2] + 1 if swapped else 99]
            choices += [rows[i - 1, j - 1] + (one[i - 1] != other[j - 1])] if i and j else []
            rows[i, j] = min(choices) if i or j else 0
    assert (one != other and is_slip(one, other)) == (rows[len(one), len(other)] == 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, "ann", "bo", "cy", "ann bo"]), st.sampled_from([None, "1980", "1990"])), min_size=2, max_size=7), st.randoms(use_true_random=False))
def test_no_two_profiles_of_one_person_contradict(rows: list[tuple[str | None, str | None]], order: random.Random) -> None:
    frame = pl.DataFrame([(f"k{n}", *row) for n, row in enumerate(rows)], schema={"customer_id": pl.String, "first": pl.String, "born": pl.String}, orient="row")
    personal = Personal(frame, ["first", "born"])
    pairs = list(combinations(frame["customer_id"].to_list(), 2))
    order.shuffle(pairs)
    group = {name: {name} for name in frame["customer_id"]}
    for (one, other), reason in zip(pairs, judge_links(pairs, personal), strict=True):
        if not reason:
            both = group[one] | group[other]
            group |= dict.fromkeys(both, both)
    assert not any(personal.compare(a, b)[1] for members in group.values() for a, b in combinations(sorted(members), 2))


def known(*rows: tuple[str, str | None, str | None]) -> Identities:
    times = pl.Series([START + timedelta(hours=n) for n in range(len(rows))], dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(list(rows), schema={"crm": pl.String, "cookie": pl.String, "login": pl.String}, orient="row").with_columns(timestamp=times)
    return stitch_identities(frame, ["crm", "cookie", "login"])


def liked(*pairs: tuple[str, str, float]) -> pl.DataFrame:
    return pl.DataFrame([(a, b, p, True, None, "first_name same, email same") for a, b, p in pairs], schema=LINKS, orient="row")


def test_a_link_passes_the_guards_that_every_link_passes() -> None:
    people = known(("k1", "c1", "ann"), ("k2", "c2", None), ("k3", "c3", "bo"), ("k4", "c4", None))
    found = link_profiles(people, liked(("k1", "k2", 0.99), ("k2", "k3", 0.98), ("k3", "k4", 0.9), ("k4", "k9", 0.99)), "crm", at=START + timedelta(days=1))
    told = found.links.filter(n=0)
    assert told.select("value", "other_value", "confidence", "used", "reason").rows() == [("k1", "k2", 0.99, True, None), ("k2", "k3", 0.98, False, "one customer each")]
    assert told["evidence"][0] == "probably one person: probability 0.99: first_name same, email same"
    assert found.merged_ids("cookie").rows() == [("c1", "k1"), ("c2", "k1"), ("c3", "k3"), ("c4", "k4")]
    strict = Identities(found.evidence, stitch_identities(pl.DataFrame(schema={"timestamp": pl.Datetime("us", "UTC"), "crm": pl.String}), ["crm"], level="strict").rules, found.decisions)
    assert set(strict.links.filter(n=0)["reason"]) == {"likeness only"}


def test_a_link_is_a_decision_with_a_time_and_a_way_back() -> None:
    people, day = known(("k1", "c1", None), ("k2", "c2", None)), timedelta(days=1)
    one = link_profiles(people, liked(("k2", "k1", 0.97)), "crm", at=START + day)
    assert one.clusters["customer_id"].n_unique() == 1
    assert one.as_of(START + day / 2).clusters.equals(people.clusters)
    assert one.replay(one.decisions.clear()).clusters.equals(people.clusters)
    apart = one.split("k2", "c2", at=START + 2 * day)
    assert apart.clusters["customer_id"].n_unique() == 2
    again = link_profiles(apart, liked(("k1", "k2", 0.999)), "crm", at=START + 3 * day)
    assert again.clusters["customer_id"].n_unique() == 2  # who was split by hand stays apart
    assert again.links.filter(n=0)["reason"].to_list() == ["split by hand"]
    older = people.merge("k1", "k2", at=START + day).decisions.drop("probability")  # a list that was kept before links were in it
    assert people.replay(older).clusters["customer_id"].n_unique() == 1


def test_what_does_not_fit_is_told_all_at_once() -> None:
    table = pl.DataFrame({"customer_id": ["k1", "k1", None], "email": ["a", "b", "c"], "postcode": ["1", "2", "3"]})
    with pytest.raises(SettingError, match=r"no column 'phone'(.|\n)*no customer_id(.|\n)*one already(.|\n)*threshold = 1 is not") as refusal:
        probable_links(table, ["email", "phone"], threshold=1, personal=["first_name"])
    assert "'first_name', which is none of the attributes" in str(refusal.value)
    with pytest.raises(SettingError, match="no attribute tells the members of a household apart"):
        probable_links(table.head(1))
    with pytest.raises(SchemaError, match="customer_id"):
        probable_links(table.drop("customer_id"))
    with pytest.raises(SettingError, match=r"key = 'phone'(.|\n)*no time zone"):
        link_profiles(known(("k1", None, None)), liked(), "phone", at=datetime(2026, 3, 2))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "splink", None)
    table = pl.DataFrame({"customer_id": ["k1", "k2"], "first_name": ["ann", "ann"], "email": ["a", "a"]})
    with pytest.raises(MissingExtraError, match=r"pip install 'motkit\[identity\]'"):
        probable_links(table)


def test_the_library_is_loaded_on_use_only() -> None:
    code = "import sys, motkit; motkit.probable_links; print('splink' in sys.modules, 'duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == ["False", "False"]
