"""Offers apart from channels, templates that cannot reach out, and every fault of a file with its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import motkit
from motkit.errors import DesignError, SettingError
from motkit.offers import find_fields, parse_offers, render_text

TEXT = """
[[offers]]
id = "tyres"
title = "Winter tyres"
category = "car"
value = 42.0
valid_from = 2026-10-01
interest = ["tyre page"]

[[offers.treatments]]
channel = "email"
subject = "{{ name }}, winter is near"
text = "Your tyres have run {{ miles }} miles."
cost = 0.01
usage = { money = 0.01 }

[[offers.treatments]]
channel = "call"
cost = 4
usage = { money = 4.0, minutes = 7 }
exempt = ["cap_week"]

[[offers]]
id = "loan"
value = 100
package = "home"
lever = 1.5
[[offers.treatments]]
channel = "email"
"""


def test_one_offer_has_many_treatments_and_each_is_an_action(tmp_path: Path) -> None:
    (tmp_path / "offers.toml").write_text(TEXT)
    offers = motkit.read_offers(tmp_path / "offers.toml")
    assert [(a.action_id, a.channel, a.category, a.package_id, a.value, a.cost) for a in offers.actions] == [
        ("tyres_email", "email", "car", None, 42.0, 0.01), ("tyres_call", "call", "car", None, 42.0, 4.0), ("loan_email", "email", None, "home", 100.0, 0.0),
    ]  # fmt: skip
    assert offers.actions[0].valid_from == datetime(2026, 10, 1, tzinfo=UTC)
    assert offers.actions[1].usage == (("minutes", 7.0), ("money", 4.0))
    assert offers.actions[1].exempt == ("cap_week",)
    assert offers.find("tyres_email")[1].subject == "{{ name }}, winter is near"
    assert offers.version == parse_offers("# note\n" + TEXT).version != parse_offers(TEXT.replace("42.0", "43.0")).version


def test_a_template_is_filled_in_and_every_missing_field_is_named() -> None:
    assert find_fields("{{ name }} {% if miles %}{{ miles }}{% endif %}") == {"name", "miles"}
    assert render_text("{{ name }}, {{ miles }}", {"name": "Ann", "miles": 40_000}) == "Ann, 40000"
    with pytest.raises(DesignError) as refusal:
        render_text("{{ name }} {{ miles }} {{ place }}", {"name": "Ann", "miles": None})
    assert refusal.value.faults == ("no value for `miles`", "no value for `place`")


@pytest.mark.parametrize(
    "text",
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ name.__init__.__globals__ }}", "{{ names.append(1) }}", "{% include 'x' %}", "{{ cycler.__init__.__globals__.os }}"],
)
def test_a_template_cannot_reach_into_the_program(text: str) -> None:
    with pytest.raises(DesignError):
        render_text(text, {"name": "Ann", "names": ["Ann"]})


FAULTS = [
    ('text = "Your tyres have run {{ miles }} miles."', 'text = "{{ miles }"', "`text` is no template"),
    ('channel = "call"', 'channel = "email"', "a channel comes twice"),
    ("value = 42.0", 'value = "much"', "line 6: offers `tyres`: `value` = 'much' needs the money of one acceptance"),
    ('id = "loan"', 'id = "tyres"', "the name 'tyres' comes twice"),
    ("lever = 1.5", "levr = 1.5", "`levr` is not known; do you mean `lever`?"),
    ("usage = { money = 0.01 }", "usage = { money = -1 }", "`usage.money` = -1 needs a number, 0 or more"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS, ids=[new for _, new, _ in FAULTS])
def test_a_fault_is_named(old: str, new: str, message: str) -> None:
    with pytest.raises(SettingError) as refusal:
        parse_offers(TEXT.replace(old, new))
    assert any(message in fault for fault in refusal.value.faults), refusal.value.faults


def test_an_unknown_action_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="tyres_email, tyres_call, loan_email"):
        parse_offers(TEXT).find("tyres_letter")
    with pytest.raises(SettingError, match="no such file"):
        motkit.read_offers(tmp_path / "none.toml")
