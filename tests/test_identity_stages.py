"""People whom no identifier joins: found among profiles if a study asks for it, with a table, a page, guards and a way out."""

import random
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from light_study import run_stages
from test_erasure import mentions

from motkit.__main__ import main
from motkit.erasure import erase
from motkit.errors import MissingExtraError, SettingError, StudyError
from motkit.identity_views import likely_people
from motkit.ledger import Ledger
from motkit.settings import read_settings
from motkit.stages import STAGES
from motkit.study import Study, open_study

START = datetime(2026, 3, 1, tzinfo=UTC)
PEOPLE, TWICE = 60, 12  # the first twelve came back under another login and from another device
ASKED = {"identity.keys": "cookie, login", "identity.customer_key": "login"}
LINK = ASKED | {"identity.link": "first_name, birth_date, phone, street"}
LIGHT = {"sessions", "identity"}


def make_log() -> pl.DataFrame:
    """Everybody comes twice with one login and cookie, the first of them twice more with others."""
    rows = [(f"{who}{n}", n + day) for who, count in (("first-", PEOPLE), ("other-", TWICE)) for n in range(count) for day in (0, 2)]
    columns = {"customer_id": [who for who, _ in rows], "timestamp": [START + timedelta(days=day) for _, day in rows]}
    return pl.DataFrame(columns).with_columns(event=pl.lit("look"), channel=pl.lit("web"), login="customer_id", cookie=pl.format("cookie-{}", "customer_id"))


def make_profiles(brothers: bool = False) -> pl.DataFrame:
    """What is known of everybody; of those who came twice the same, but that a brother has a name and a birth date of his own."""
    chance, rows = random.Random(3), []
    for n in range(PEOPLE):
        day, street, phone = chance.randrange(12_000), f"{chance.choice(['Elm', 'Oak', 'Mill', 'Lake'])} {n}", f"0171 {chance.randrange(10**6):06}"
        rows.append((f"first-{n}", f"Name{chr(97 + n % 26)}{chr(97 + n // 5)}", str(START.date() - timedelta(days=day)), phone, street))
        if n < TWICE:
            who = ("Brother" + chr(97 + n), str(START.date() - timedelta(days=day + 700 + n))) if brothers else rows[-1][1:3]
            rows.append((f"other-{n}", *who, phone, street))
    return pl.DataFrame(rows, schema=["customer_id", "first_name", "birth_date", "phone", "street"], orient="row")


def run(folder: Path, changes: dict[str, str], profiles: pl.DataFrame | None = None) -> Study:
    return run_stages(LIGHT, read_settings(overrides=changes), make_log(), folder / "study", profiles=profiles)


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that found people under two logins."""
    folder = tmp_path_factory.mktemp("linked")
    run(folder, LINK, make_profiles())
    return folder


def test_people_under_two_logins_are_found_among_profiles_if_it_is_asked_for(linked: Path, tmp_path: Path) -> None:
    apart = run(tmp_path, ASKED, make_profiles())
    assert apart.table("identity_counts")["customers"].item() == PEOPLE + TWICE
    assert "identity_likely" not in apart.tables
    assert "[identity] link" in likely_people(apart).empty
    study = open_study(linked / "study")
    found = study.table("identity_likely")
    assert set(found.filter("used").select("customer_id", "other_customer_id").rows()) == {(f"first-{n}", f"other-{n}") for n in range(TWICE)}
    assert study.table("identity_counts")["customers"].item() == PEOPLE
    assert study.table("sessions")["customer_id"].n_unique() == PEOPLE
    assert study.table("identity_links").filter(n=0)["evidence"].str.starts_with("probably one person: probability").all()
    levels = dict(study.table("identity_sensitivity").select("level", "people").iter_rows())
    assert levels == {"none": PEOPLE + TWICE, "strict": PEOPLE + TWICE, "default": PEOPLE, "loose": PEOPLE}
    view = likely_people(study)
    assert f"{TWICE} of them were joined" in view.sentence
    assert not any(name in str(view) for name in ("first-", "Name", "0171"))
    assert run(linked, LINK, make_profiles()).manifest["stages"]["record"]["reused"]


def test_brothers_in_one_house_stay_apart_and_what_is_less_probable_is_listed_only(tmp_path: Path) -> None:
    study = run(tmp_path, LINK, make_profiles(brothers=True))
    assert study.table("identity_counts")["customers"].item() == PEOPLE + TWICE
    assert not study.table("identity_likely")["used"].any()
    sure = run(tmp_path, LINK | {"identity.link_probability": "0.9999999"}, make_profiles())
    assert not sure.manifest["stages"]["record"]["reused"]
    found = sure.table("identity_likely")
    assert found.filter(pl.col("probability") < 0.9999999)["reason"].unique().to_list() in ([], ["less probable than asked for"])
    assert sure.table("identity_counts")["customers"].item() == PEOPLE + TWICE - int(found["used"].sum())


def test_what_linking_needs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingError, match=r"no profiles that could be compared(.|\n)*--profiles"):
        run(tmp_path, LINK)
    faults = {"identity.keys": "keys names none", "identity.customer_key": "customer_key is empty", "identity.link": "members of a household"}
    for name, told in faults.items():
        with pytest.raises(SettingError, match=told):
            run(tmp_path, LINK | {name: "phone, street" if name == "identity.link" else ""}, make_profiles())
    monkeypatch.setitem(sys.modules, "splink", None)
    with pytest.raises(MissingExtraError):
        run(tmp_path, LINK, make_profiles())
    make_log().write_csv(tmp_path / "log.csv")
    make_profiles().write_csv(tmp_path / "people.csv")
    asked = [word for name, value in LINK.items() for word in ("--set", f"{name}={value}")]
    monkeypatch.setattr("sys.argv", ["motkit", "run", "--events", str(tmp_path / "log.csv"), "--profiles", str(tmp_path / "people.csv"), "--out", str(tmp_path / "s"), "--quiet", *asked])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "pip install 'motkit[identity]'" in capsys.readouterr().err


def test_who_is_erased_leaves_study_links_and_ledger_and_the_counts_stay(linked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(linked / "study", tmp_path / "study")
    study, book = open_study(tmp_path / "study"), Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    for who in ("first-1", "other-1", "first-2"):
        book.append("contact", who, START, {"status": "sent", "channel": "email"})
    book.close()
    log, names = study.table("log_summary").row(0, named=True), ["first-1", "other-1", "cookie-first-1", "cookie-other-1"]
    assert mentions(study.path, names)
    with pytest.raises(StudyError, match="no such ledger"):
        erase(study, "first-1", tmp_path / "other.db")
    monkeypatch.setattr("sys.argv", ["motkit", "erase", str(study.path), "first-1", "--ledger", str(tmp_path / "ledger.db")])
    monkeypatch.setattr("motkit.study.STAGES", tuple(stage for stage in STAGES if stage.name in LIGHT))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "1 customer erased from the study and the ledger" in capsys.readouterr().out
    left = run(tmp_path, LINK, make_profiles())  # the same log and profiles come again
    after = left.table("log_summary").row(0, named=True)
    assert mentions(left.path, names) == []
    assert (after["rows_read"], after["events"], after["rejected"]) == (log["rows_read"], log["events"] - 4, log["rejected"] + 4)
    assert left.table("identity_likely").filter("used").height == TWICE - 1
    book = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert [entry.customer_id for entry in book.entries(["contact"])] == ["first-2"]
    assert [entry.content["entries"] for entry in book.entries(["erased"])] == [{"contact": 1}, {"contact": 1}]
    book.close()
