"""Profiles, consents and pseudonyms: known as of a time, never looking ahead, and no name that should be hidden is left."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import motkit
from motkit.__main__ import main
from motkit.consents import CONSENTS, read_consents, sort_out_consents
from motkit.errors import SettingError, SourceError
from motkit.events import read_events
from motkit.profiles import profiles_at, read_profiles, sort_out_profiles
from motkit.settings import Settings

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = "a key that is long enough"


@pytest.mark.data
def test_the_persons_of_a_mail_system_become_profiles(real_data: Path) -> None:
    made = read_profiles(real_data / "formats/klaviyo/person.csv")
    assert made.height == 2
    assert made.columns[0] == "customer_id"
    assert made.columns[-2:] == ["valid_from", "provenance"]
    assert made["provenance"].unique().to_list() == ["person.csv"]
    assert made["valid_from"].to_list() == [datetime(2021, 4, 13, 14, 44, 6, tzinfo=UTC), datetime(2021, 4, 13, 18, 9, 10, tzinfo=UTC)]
    assert made["LATITUDE"].dtype == pl.Float64


@pytest.mark.data
def test_a_table_of_real_customers_keeps_its_types(real_data: Path) -> None:
    made = read_profiles(real_data / "telco_churn_ibm.csv.gz", {"customer_id": "customerID", "tenure": "tenure", "paid": "TotalCharges", "contract": "Contract"})
    assert made.columns == ["customer_id", "tenure", "paid", "contract", "valid_from", "provenance"]
    assert made.height == 7043
    assert [made.schema[name] for name in ("tenure", "paid", "contract")] == [pl.Int64, pl.Float64, pl.String]
    assert made["paid"].null_count() == 11


def test_rows_that_are_no_profiles_are_told_and_all_are_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "crm.csv").write_text("id,updated,zip,vip\n7,2026-01-01,01234,true\nNA,2026-01-01,1,false\n8,some day,2,\n9,,3,false\n")
    good, bad = sort_out_profiles(tmp_path / "crm.csv")
    assert good.select("customer_id", "zip", "vip", "valid_from").rows() == [("7", "01234", True, datetime(2026, 1, 1, tzinfo=UTC)), ("9", "3", False, None)]
    assert bad["reason"].to_list() == ["no customer", "unparsable time"]
    with pytest.raises(SourceError, match="no column is known to be the customer"):
        read_profiles(pl.DataFrame({"x": [1]}))
    with pytest.raises(SourceError, match=r"no row is a profile \(no customer: 1\)"):
        read_profiles(pl.DataFrame({"id": [""]}))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 9)), st.one_of(st.none(), st.integers(0, 99))), max_size=12), st.integers(-1, 10))
def test_what_is_known_at_a_moment_is_what_a_plain_loop_finds(rows: list[tuple[str, int | None, int | None]], day: int) -> None:
    frame = pl.DataFrame(
        [(who, value, None if since is None else START + timedelta(days=since), "crm") for who, since, value in rows],
        schema={"customer_id": pl.String, "plan": pl.Int64, "valid_from": pl.Datetime("us", "UTC"), "provenance": pl.String},
        orient="row",
    )
    expected: dict[str, int | None] = {}
    for who, since, value in sorted(rows, key=lambda row: -1 if row[1] is None else row[1]):
        if since is None or since <= day:
            expected[who] = value if value is not None else expected.get(who)
    found = profiles_at(frame, START + timedelta(days=day))
    assert dict(found.select("customer_id", "plan").iter_rows()) == expected


def test_a_profile_by_mail_belongs_to_the_customer_of_that_mail_at_that_time() -> None:
    events = pl.DataFrame({"timestamp": [START, START + timedelta(days=5)], "user_id": ["ann", "bo"], "email": ["Ann@x.org", "bo@x.org"], "customer_id": ["ann", "bo"]}, schema_overrides={"timestamp": pl.Datetime("us", "UTC")})
    people = motkit.stitch_identities(events, ["user_id", "email"])
    bought = read_profiles(pl.DataFrame({"email": ["ann@x.org", "BO@x.org", "stranger@x.org"], "income": [5, 6, 7]}), {"customer_id": "email"}, provenance="bought list")
    early = profiles_at(bought, START + timedelta(days=1), people, "email")
    assert early.select("customer_id", "income", "provenance").rows() == [("ann", 5, "bought list")]
    assert profiles_at(bought, START + timedelta(days=9), people, "email")["customer_id"].to_list() == ["ann", "bo"]


@pytest.mark.data
def test_consent_preferences_of_real_events_become_intervals(real_data: Path) -> None:
    events = read_events(real_data / "formats/snowplow/snowplow_web_events.csv").events
    good, bad = sort_out_consents(real_data / "formats/snowplow/snowplow_web_consent_preferences.csv", events=events)
    raw = pl.read_csv(real_data / "formats/snowplow/snowplow_web_consent_preferences.csv")
    purposes = {"necessary", "preferences", "statistics", "marketing"}
    assert set(good["purpose"]) == purposes
    assert good.schema == CONSENTS
    assert good.height + bad.height <= raw.height * len(purposes)
    assert good.height > 0
    assert (good["valid_from"] < good["valid_to"]).all()
    assert good.group_by("customer_id", "purpose").agg(pl.col("valid_to").null_count())["valid_to"].unique().to_list() == [1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.booleans()), max_size=12))
def test_at_any_moment_the_last_statement_holds_and_only_one_interval_does(rows: list[tuple[str, int, bool]]) -> None:
    frame = pl.DataFrame([(who, START + timedelta(days=day), "mail", "yes" if said else "no") for who, day, said in rows], schema={"customer_id": pl.String, "time": pl.Datetime("us", "UTC"), "purpose": pl.String, "status": pl.String}, orient="row")
    consents = read_consents(frame)
    for day in range(11):
        at = START + timedelta(days=day, hours=1)
        holds = consents.filter((pl.col("valid_from") <= at) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > at)))
        last: dict[str, bool] = {}
        for who, when, said in sorted(rows, key=lambda row: row[1]):
            if when <= day:
                last[who] = said
        assert dict(holds.select("customer_id", "given").iter_rows()) == last
        assert holds.height == len(last)


def test_a_consent_ends_when_it_expires() -> None:
    frame = pl.DataFrame({"customer_id": ["ann"], "time": [START], "given": ["granted"]})
    assert read_consents(frame, expires_days=1.5)["valid_to"].item() == START + timedelta(hours=36)
    assert read_consents(frame)["purpose"].item() == "all"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_with_a_key_no_name_is_left_in_events_or_rejected_rows(kind: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": ["ann@x.org", "ann@x.org", "bo@x.org", ""], "time": ["2026-03-01", "2026-03-02", "soon", "2026-03-02"], "event": "look", "phone": ["555", "555", "666", "777"]})
    path = tmp_path / f"log.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    log = read_events(path, pseudonym_key=KEY, pseudonym_columns=["phone"])
    shown = str(log.events.collect().rows()) + str(log.rejected.rows()) + str(log.describe())
    assert not any(name in shown for name in ("ann", "bo@", "555", "666", "777", KEY))
    assert log.summary.rejected_by_reason == {"no customer": 1, "unparsable time": 1}
    assert log.events.collect()["customer_id"].n_unique() == 1
    plain, other = read_events(path), read_events(path, pseudonym_key=KEY + "!")
    assert plain.describe() != log.describe() != other.describe()
    assert log.events.collect()["customer_id"][0] != other.events.collect()["customer_id"][0]
    with pytest.raises(SettingError, match="needs 16 or more"):
        read_events(path, pseudonym_key="short")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("amplitude/amplitude_event_data.csv", ["a@gmail.com", "3b41cbe7"]),
        ("posthog/posthog_capture_events.jsonl", ["pWAkITyQ3CN", "redacted@example.com", "018a981f-4b2d-78ae"]),
        ("snowplow/snowplow_web_events.csv", ["No edge cases", "5d27ff97148de9e5"]),
        ("running-example.xes", []),
    ],
)
def test_with_a_key_real_exports_give_no_name_away(name: str, held: list[str], real_data: Path) -> None:
    plain = read_events(real_data / "formats" / name)
    log = read_events(real_data / "formats" / name, pseudonym_key=KEY)
    shown = str(log.events.collect().rows()) + str(log.rejected.rows())
    assert [word for word in held if word in shown] == []
    assert log.summary.customers == plain.summary.customers
    assert log.summary.events == plain.summary.events
    assert log.events.collect()["customer_id"].str.len_chars().unique().to_list() == [32]


def test_names_inside_of_nested_columns_are_refused_with_a_key(tmp_path: Path) -> None:
    row = {"uuid": "u", "event": "look", "distinct_id": "ann", "properties": '{"$device_id": "d1"}', "timestamp": START, "person_id": "p", "created_at": START}
    pl.DataFrame([row]).write_parquet(tmp_path / "a.parquet")
    assert read_events(tmp_path / "a.parquet").events.collect()["anonymous_id"].item() == "d1"
    with pytest.raises(SettingError, match="stand inside of nested columns"):
        read_events(tmp_path / "a.parquet", pseudonym_key=KEY)


def test_broken_records_lose_their_text_with_a_key(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"type": "track", "event": "look", "messageId": "m", "userId": "ann", "timestamp": "2026-03-01T10:00:00Z", "sentAt": null, "context": {}}\n{"userId": "ann", \n'))
    log = read_events(tmp_path / "a.jsonl.gz", pseudonym_key=KEY)
    assert log.summary.rejected_by_reason == {"malformed JSON": 1}
    assert "ann" not in str(log.rejected.rows()) + str(log.events.collect().rows())


def test_a_study_of_pseudonyms_differs_from_one_of_names(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": ["ann", "ann", "bo"], "time": ["2026-03-01", "2026-03-02", "2026-03-02"], "event": "look"})
    frame.write_csv(tmp_path / "log.csv")
    plain = motkit.run_study(Settings(), tmp_path / "log.csv", tmp_path / "study", progress=False)
    hidden = motkit.run_study(Settings(), tmp_path / "log.csv", tmp_path / "study", progress=False, pseudonym_key=KEY)
    assert plain.manifest["store"] != hidden.manifest["store"]
    assert "ann" not in hidden.table("customers")["customer_id"]


def test_the_command_line_takes_a_format_and_a_file_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    (tmp_path / "log.csv").write_text("user_id,event,timestamp,session_id\nann,look,2026-03-01,s\nann,look,2026-03-02,s\n")
    words = ["motkit", "run", "--events", str(tmp_path / "log.csv"), "--out", str(tmp_path / "study"), "--quiet"]
    monkeypatch.setattr("sys.argv", [*words, "--format", "retentioneering", "--pseudonym-key", str(tmp_path / "key")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    study = motkit.open_study(tmp_path / "study")
    assert study.table("customers")["customer_id"].str.len_chars().to_list() == [32]
    assert "as named" in study.table("log_notes")["note"][0]
