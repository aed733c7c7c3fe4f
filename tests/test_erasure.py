"""Erasing: a customer leaves every file of a study, the counts still add up, and a later run does not bring them back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import motkit
from motkit.__main__ import main
from motkit.erasure import erase
from motkit.errors import SchemaError, StudyError
from motkit.settings import read_settings
from motkit.study import Study

START = datetime(2026, 3, 1, tzinfo=UTC)
PEOPLE = 40
SETTINGS = {"identity.keys": "cookie, login", "onboarding.milestone": "buy", "study.as_of": "2026-05-01"}


def write_log(folder: Path) -> Path:
    """A log in which every person has two cookies and a login that comes late, and one rejected row each."""
    rows = []
    for person in range(PEOPLE):
        for day in range(6):
            cookie, login = f"cookie-{person}-{day % 2}", f"person-{person}" if day >= 2 else None
            when = (START + timedelta(days=day * 3 + person % 5)).isoformat()
            rows.append((login or cookie, when, ["look", "buy"][day == 4], "web", cookie, login))
        rows.append((f"person-{person}", "soon", "look", "web", f"cookie-{person}-0", None))
    path = folder / "log.csv"
    pl.DataFrame(rows, schema=["customer_id", "timestamp", "event", "channel", "cookie", "login"], orient="row").write_csv(path)
    return path


def run(folder: Path, log: Path, **changes: str) -> Study:
    profiles = pl.DataFrame({"customer_id": [f"person-{person}" for person in range(PEOPLE)], "plan": "basic"})
    return motkit.run_study(read_settings(overrides=SETTINGS | changes), log, folder / "study", progress=False, profiles=profiles)


def counts(study: Study) -> tuple[int, int, int]:
    row = study.table("log_summary").row(0, named=True)
    assert row["rows_read"] == row["events"] + row["rejected"] == row["events"] + study.table("rejected").height
    assert study.table("rejected_reasons")["rows"].sum() == row["rejected"]
    return row["rows_read"], row["events"], row["rejected"]


def test_a_study_is_stitched_before_it_is_stored(tmp_path: Path) -> None:
    study = run(tmp_path, write_log(tmp_path))
    assert study.table("customers")["customer_id"].sort().to_list() == sorted(f"person-{person}" for person in range(PEOPLE))
    told = study.table("identity_counts").row(0, named=True)
    assert (told["customers"], told["ids_before"], told["links_used"], told["links_refused"]) == (PEOPLE, 3 * PEOPLE, 2 * PEOPLE, 0)
    table = study.table("identity_sensitivity")
    assert table["level"].to_list() == ["none", "strict", "default", "loose"]
    assert table["people"].to_list() == [3 * PEOPLE, PEOPLE, PEOPLE, PEOPLE]
    assert (table["came_back_low"] <= table["came_back_share"]).all()
    assert table["onboarded"].to_list()[1:] == [PEOPLE] * 3


def test_another_level_makes_the_store_anew_and_no_keys_leave_the_log_alone(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    first = run(tmp_path, log)
    second = run(tmp_path, log, **{"identity.level": "loose"})
    assert not second.manifest["stages"]["record"]["reused"]
    assert second.table("identity_counts")["level"].item() == "loose"
    third = run(tmp_path, log, **{"identity.keys": ""})
    assert third.table("customers").height == 3 * PEOPLE
    assert not [name for name in third.tables if name.startswith("identity")]
    assert first.manifest["store"] != third.manifest["store"]
    with pytest.raises(SchemaError, match=r"missing \['phone'\]"):
        run(tmp_path, log, **{"identity.keys": "phone"})


def mentions(folder: Path, names: list[str]) -> list[str]:
    """The files of a study in which a name stands, packed or not."""
    found = []
    for file in folder.rglob("*"):
        if file.suffix == ".parquet":
            texts = pl.read_parquet(file).select(pl.selectors.string(), pl.selectors.enum().cast(pl.String), pl.selectors.categorical().cast(pl.String))
            held = set().union(*(set(column) for column in texts.iter_columns())) if texts.width else set()
        else:
            held = {name for name in names if file.is_file() and name in file.read_text(errors="replace")}
        found += [str(file) for name in names if name in held]
    return found


def test_an_erased_customer_is_in_no_file_of_the_study_and_stays_out(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    study = run(tmp_path, log)
    rows, events, rejected = counts(study)
    names = ["person-7", "cookie-7-0", "cookie-7-1"]
    assert mentions(study.path, names)
    (study.path / "report.html").write_text("person-7")
    left = erase(study, "person-7")
    assert mentions(left.path, names) == []
    assert counts(left) == (rows, events - 6, rejected + 6)
    assert left.table("rejected_reasons").filter(reason="erased on request")["rows"].item() == 6
    assert left.table("customers").height == PEOPLE - 1
    again = run(tmp_path, log)
    assert again.manifest["stages"]["record"]["reused"]
    assert mentions(again.path, names) == []
    anew = run(tmp_path, log, **{"identity.level": "loose"})
    assert mentions(anew.path, names) == []
    assert counts(anew) == (rows, events - 6, rejected + 6)
    both = erase(anew, ["person-8", "person-9"])
    assert counts(both) == (rows, events - 18, rejected + 18)
    assert both.table("customers").height == PEOPLE - 3


def test_a_study_without_stitching_is_erased_too(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    study = run(tmp_path, log, **{"identity.keys": ""})
    left = erase(study.path, ["cookie-3-0", "cookie-3-1", "person-3"])
    assert left.table("customers").height == 3 * PEOPLE - 3
    for table in ("sessions", "engagement", "profiles"):
        assert left.table(table).filter(pl.col("customer_id").str.ends_with("-3")).is_empty()


def test_erasing_refuses_a_stranger(tmp_path: Path) -> None:
    study = run(tmp_path, write_log(tmp_path))
    with pytest.raises(StudyError, match="there is no customer 'nobody'"):
        erase(study, ["person-1", "nobody"])
    assert study.table("customers").height == PEOPLE


def test_the_command_erases_and_says_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    study = run(tmp_path, write_log(tmp_path))
    monkeypatch.setattr("sys.argv", ["motkit", "erase", str(study.path), "person-1", "person-2"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "12  erased on request" in capsys.readouterr().out
