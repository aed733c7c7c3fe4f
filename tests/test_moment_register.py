"""The register of moments: read, written, refused with its line, decided on by people, and shown without a browser."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motkit.candidates import Pattern
from motkit.errors import SettingError
from motkit.kinds import KINDS, WANTS
from motkit.moment_register import (
    Moment,
    Register,
    decide,
    propose_register,
    read_moments,
    say_effect,
    threshold_of,
    write_moments,
)
from motkit.moment_triage import MomentExplorer, Triage, explore_moments
from motkit.moments import Moments, find_moments
from motkit.simulate import simulate_customers

ROOT = Path(__file__).parent.parent
DAY = date(2026, 7, 1)
TWO = Register((Moment("advice", Pattern(("expert_advice",)), "first", "know"), Moment("letter", Pattern(("newsletter_read",)), believed="It keeps them")))
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
patterns = st.builds(
    Pattern,
    event=st.lists(names, min_size=1, max_size=3).map(tuple),
    channel=st.lists(names, max_size=2).map(tuple),
    where=st.dictionaries(names, names, max_size=2).map(lambda found: tuple(found.items())),
    again_within_days=st.none() | st.floats(0.001, 1000),
)
parts = st.builds(
    Moment, names, patterns, st.sampled_from(("", *KINDS)), st.sampled_from(("", *WANTS)), st.sampled_from(("", "explicit", "tacit")), words, words,
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | names, words, words, words, st.just("accepted"), names, st.dates(), words,
)  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Moments:
    sim = simulate_customers(1200, seed=13)
    moments = ["expert_advice", "price_increase_notice", "newsletter_read", "review_read"]
    return find_moments(sim.events, "account_closed", candidates=moments, lost="tracking_opted_out", placebo_draws=39, not_activity=["email_sent", "sms_sent"])


@given(st.lists(parts, max_size=3, unique_by=lambda moment: moment.name))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_as_the_same(tmp_path_factory: pytest.TempPathFactory, moments: list[Moment]) -> None:
    place = tmp_path_factory.mktemp("register") / "moments.toml"
    write_moments(Register(tuple(moments), "# ours"), place)
    assert read_moments(place) == Register(tuple(moments), "# ours")


def test_the_register_of_the_demo_is_read_and_survives_a_round(tmp_path: Path) -> None:
    register = read_moments(ROOT / "motkit" / "demo" / "moments.toml")
    assert {one.status for one in register} == {"accepted", "proposed", "rejected"}
    assert register.preface.startswith("# The moments of truth")
    write_moments(register, tmp_path / "moments.toml")
    assert read_moments(tmp_path / "moments.toml") == register
    assert threshold_of(register["setup help in the app"], {"onboarding_day": 14.0}) == 14
    with pytest.raises(SettingError, match="there is not"):
        threshold_of(register["setup help in the app"], {})


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('["a"]\ntrigger = { event = "x" }\nowners = "me"\n', 3, "`owners` is not a part of a moment"),
        ('["a"]\n\ntrigger = { events = "x" }\n', 3, "`events` is not a part of a pattern"),
        ('["a"]\nkind = "first"\n', 1, "`trigger` needs a pattern"),
        ('["a"]\ntrigger = { event = "x" }\nkind = "fifth"\n', 3, "needs one of zero, first, second, third"),
        ('["a"]\ntrigger = { event = "x" }\nstatus = "accepted"\n', 3, "not said by whom and when"),
        ('["a"]\ntrigger = { event = "x" }\nthreshold = [3]\n', 3, "needs a number"),
        ('["a"]\ntrigger = { event = "x", again_within_days = -1 }\n', 2, "above 0"),
        ('["a"]\ntrigger = { event = 3 }\n', 2, "a name or a list of names"),
        ('["a"]\ntrigger = { event = "x" }\ndecided_at = "yesterday"\n', 3, "needs a date"),
        ('owner = "me"\n["a"]\ntrigger = { event = "x" }\n', 1, "stands outside a moment"),
        ('["a"]\ntrigger = { event = "x" }\n\n# a note\n[b]\ntrigger = { event = "y" }\nwant = "fly"\n', 7, "needs one of know, go, do, buy"),
        ('["a"]\ntrigger = { event = "x" \nkind = "first"\n', 2, "line 2"),
    ],
)
def test_a_fault_in_the_register_names_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    (tmp_path / "moments.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=said) as caught:
        read_moments(tmp_path / "moments.toml")
    assert f"line {line}" in str(caught.value)


def test_all_faults_come_at_once_and_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "moments.toml").write_text('["a"]\nkind = "x"\n["b"]\nwant = "y"\n', encoding="utf-8")
    with pytest.raises(SettingError) as caught:
        read_moments(tmp_path / "moments.toml")
    assert len(caught.value.faults) == 4
    with pytest.raises(SettingError, match="there is no such file"):
        read_moments(tmp_path / "none.toml")


def test_a_decision_needs_a_person_and_can_be_taken_back() -> None:
    one = decide(TWO, "advice", "accepted", "M. Meier", DAY, note="as expected")
    assert (one["advice"].status, one["advice"].decided_by, one["advice"].decided_at, one["advice"].note) == ("accepted", "M. Meier", DAY, "as expected")
    back = decide(one, "advice", "proposed", "", DAY)
    assert (back["advice"].status, back["advice"].decided_by, back["advice"].decided_at) == ("proposed", "", None)
    for status, by in (("accepted", " "), ("maybe", "me")):
        with pytest.raises(SettingError):
            decide(TWO, "advice", status, by, DAY)


def test_what_the_data_say_comes_beside_what_was_believed_and_decisions_stay(found: Moments) -> None:
    known = decide(TWO, "letter", "rejected", "M. Meier", DAY)
    register = propose_register(found, known)
    assert register["advice"].data_say.startswith("Associated with")
    assert "less risk" in register["advice"].data_say
    assert register["letter"].data_say.startswith("No evidence")
    assert replace(register["letter"], data_say="") == known["letter"]
    new = [one for one in register if one.name not in ("advice", "letter")]
    assert [(one.name, one.status) for one in new] == [("price_increase_notice", "proposed")]
    assert propose_register(found, register) == register
    assert "causes" not in " ".join(one.data_say for one in register)


def test_a_moment_that_nobody_with_it_left_after_has_words() -> None:
    row = {"n": 20, "verdict": "not estimable"}
    assert say_effect(row, "churn", 100).startswith("Not estimable: 20 of 100")


def test_a_triage_writes_every_decision_at_once_and_goes_on_to_what_is_open(tmp_path: Path) -> None:
    triage = Triage(TWO, tmp_path / "moments.toml", by="M. Meier", today=DAY)
    triage.decide("rejected", note="a cost")
    assert triage.name == "letter"
    assert read_moments(tmp_path / "moments.toml")["advice"].status == "rejected"
    triage.annotate(owner="Marketing", threshold="learned: onboarding_day", kind="zero")
    assert read_moments(tmp_path / "moments.toml")["letter"].threshold == "onboarding_day"
    triage.decide("accepted")
    assert triage.open == []
    for parts in ({"status": "accepted"}, {"kind": "fifth"}):
        with pytest.raises(SettingError):
            triage.annotate(**parts)
    with pytest.raises(SettingError, match="no moment to look at"):
        Triage(Register(()), tmp_path / "x.toml")


def test_the_explorer_does_what_its_buttons_say_without_a_browser(tmp_path: Path, found: Moments) -> None:
    place = tmp_path / "moments.toml"
    write_moments(TWO, place)
    explorer = explore_moments(found, place, today=DAY)
    assert isinstance(explorer, MomentExplorer)
    assert [value for _, value in explorer.choose.options] == ["advice", "letter", "price_increase_notice"]
    assert "Associated with" in explorer.card.value
    explorer.buttons["accepted"].click()
    assert "not said who decides" in explorer.said.value
    assert read_moments(place) == TWO
    explorer.by.value = "M. Meier"
    explorer.fields["note"].value = "agreed"
    explorer.buttons["accepted"].click()
    assert (read_moments(place)["advice"].status, read_moments(place)["advice"].note) == ("accepted", "agreed")
    assert explorer.choose.value == "letter"
    explorer.choose.value = "price_increase_notice"
    assert "price_increase_notice" in explorer.card.value
    explorer.fields["owner"].value = "Pricing"
    explorer.save.click()
    assert read_moments(place)["price_increase_notice"].owner == "Pricing"
    explorer.choose.value = "advice"
    explorer.buttons["proposed"].click()
    assert read_moments(place)["advice"].status == "proposed"


def test_what_a_person_typed_is_shown_as_text_and_not_as_markup(tmp_path: Path) -> None:
    bad: Any = Register((Moment("<b>x</b>", Pattern(("<i>",)), believed="<script>alert(1)</script>"),))
    explorer = MomentExplorer(Triage(bad, tmp_path / "m.toml"))
    assert "<script>" not in explorer.card.value
    assert "&lt;b&gt;x" in explorer.card.value
