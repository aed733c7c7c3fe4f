"""Journeys are read with the line of every fault; the examples that ship can be read."""

import tomllib
from pathlib import Path

import pytest

from motkit.errors import SettingError
from motkit.journeys import check_journey, find_places, read_journey

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "motkit" / "demo"
PLAN = """title = "Shoes"
outcome = "pay"

[[paths]]
name = "plan"
kind = "planned"
path = "choose -> buy"

[[steps]]
name = "choose"

[[steps.substeps]]
name = "look"
events = ["look"]

[[steps.substeps]]
name = "basket"
events = ["basket"]

[[steps.requests]]
request = "Help"
response = "We call"
events = ["help"]
answered_by = "call"
within_hours = 24

[[steps]]
name = "buy"

[[steps.substeps]]
name = "pay"
events = ["pay"]
"""


@pytest.mark.parametrize("file", [DEMO / "journey.toml", DEMO / "journey_oulad.toml", ROOT / "tests" / "journeys" / "helpdesk.toml"], ids=lambda path: path.name)
def test_the_examples_can_be_read_and_show_themselves(file: Path) -> None:
    journey = read_journey(file)
    assert all(step.owner and step.substeps for step in journey.steps)
    assert all(step.title in repr(journey) and step.title in journey._repr_html_() for step in journey.steps)
    assert any(way.kind == "planned" for way in journey.paths)


def test_the_demo_shows_every_part_of_a_journey() -> None:
    journey = read_journey(DEMO / "journey.toml")
    assert journey.personas == ("hesitant",)
    assert any(step.aside for step in journey.steps)
    assert sum(len(step.requests) for step in journey.steps) >= 3
    assert journey.opening == ("join", "discover", "choose")
    assert journey.closing == ("order", "receive")
    assert 'colour "red"' not in str(journey)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "basket"', 'nam = "basket"', "line 16: `name` is missing"),
        ('name = "basket"', 'nam = "basket"', "line 17: `nam` is not a key here"),
        ('events = ["basket"]', "events = []", "line 18: `events`"),
        ('events = ["basket"]', 'events = ["look"]', "line 18: 'look' already shows the sub-step 'choose: look'"),
        ('path = "choose -> buy"', 'path = "chose -> buy"', "line 7: the path names 'chose', which is none of choose, buy \\(near: choose\\)"),
        ('path = "choose -> buy"', 'path = "choose -> "', "line 7: `` is no event"),
        ('kind = "planned"', 'kind = "plan"', "line 6: `kind` = 'plan'"),
        ('kind = "planned"\n', "", "line 4: there are alternatives but no planned path"),
        ("within_hours = 24", "within_hours = -1", "line 25: `within_hours` = -1: input should be greater than 0"),
        ("within_hours = 24", "", "line 20: `answered_by` and `within_hours` belong together"),
        ('name = "buy"\n', 'name = "choose"\n', "two steps are called 'choose'"),
        ('name = "buy"\n', 'name = "buy"\nback_to = ["chose"]\n', "line 29: there is no step 'chose'"),
        ('name = "basket"', 'name = "look"', "two sub-steps are called 'look'"),
        ('outcome = "pay"', "", "`outcome` is missing"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "journey.toml"
    file.write_text(PLAN.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SettingError, match=said):
        read_journey(file)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "journey.toml"
    file.write_text(PLAN.replace("within_hours = 24", "within_hour = 24").replace('name = "pay"', 'names = "pay"'), encoding="utf-8")
    with pytest.raises(SettingError) as caught:
        read_journey(file)
    assert len(caught.value.faults) == 3


def test_two_plans_for_the_same_customers_are_refused_and_for_personas_are_not() -> None:
    both = PLAN.replace("[[steps]]", '[[paths]]\nname = "second"\nkind = "planned"\npath = "buy"\n\n[[steps]]', 1)
    with pytest.raises(SettingError, match="two planned paths"):
        check_journey(tomllib.loads(both), both, "plan")
    apart = both.replace('path = "buy"', 'path = "buy"\npersonas = ["hurried"]')
    assert check_journey(tomllib.loads(apart), apart, "plan").personas == ("hurried",)


def test_what_is_no_file_or_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journey.toml").write_text("title = ", encoding="utf-8")
    with pytest.raises(SettingError, match="is not TOML"):
        read_journey(tmp_path / "journey.toml")
    with pytest.raises(SettingError, match=r"near: journey\.toml"):
        read_journey(tmp_path / "journeys.toml")
    journey = check_journey(tomllib.loads(PLAN), PLAN, "plan")
    with pytest.raises(SettingError, match="there is no step 'sell'"):
        journey["sell"]


def test_lines_are_found_in_nested_lists_and_past_long_texts() -> None:
    text = '[a]\nx = """\ny = 1\n[[b]]\n"""\nz = 2\n[[b]]\n[[b.c]]\n[[b.c]]\nk = 1\n[[b]]\n[[b.c]]\nk = 2\n[b.d]\nm = 1\n'
    places = find_places(text)
    assert places["a", "z"] == 6
    assert places["b", 0, "c", 1, "k"] == 10
    assert places["b", 1, "c", 0, "k"] == 13
    assert places["b", 1, "d", "m"] == 15
    assert ("a", "y") not in places
