"""Bad input: every door reads what it is given, or refuses it with a clear error; nothing crashes, nothing is lost in silence."""

import gzip
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from bad_inputs import Door, knock, spoil
from doors import CSV, all_doors, read_log

import motkit
from motkit.errors import MotkitError, SourceError
from motkit.written import read_toml

TRIES = 12  # of each door here; `make reliability` tries more


NAMES = [door.name for door in all_doors(Path())]  # nothing is opened yet


@pytest.mark.parametrize("place", range(len(NAMES)), ids=NAMES)
def test_spoilt_input_is_read_or_refused_clearly(place: int, tmp_path: Path) -> None:
    tally = knock(all_doors(tmp_path)[place], TRIES)
    assert tally.crashed == []
    assert tally.tried == TRIES == tally.read + sum(tally.refused.values())


def test_naming_the_doors_writes_nothing(tmp_path: Path) -> None:
    assert len(all_doors(tmp_path)) > 30
    assert list(tmp_path.iterdir()) == []


def test_a_crash_is_counted_as_one() -> None:
    tally = knock(Door("broken", [b"a,b\n1,2\n"], lambda given: given.decode("ascii")), 200)
    assert tally.crashed
    assert all(error.startswith("UnicodeDecodeError") for _, error in tally.crashed)


def test_an_error_without_a_way_out_is_counted_as_a_crash() -> None:
    def refuse(given: bytes) -> None:
        raise SourceError("a.csv", "is wrong", "")

    assert len(knock(Door("mute", [b"a"], refuse), 3).crashed) == 3


def test_the_same_seed_spoils_in_the_same_way() -> None:
    assert [spoil(CSV, seed) for seed in range(50)] == [spoil(CSV, seed) for seed in range(50)]
    assert len({spoil(CSV, seed) for seed in range(50)}) > 40


# ---------------------------------------------------------------- what no random change finds


def test_three_thousand_columns_are_read() -> None:
    frame = pl.DataFrame({"customer_id": ["a"], "timestamp": ["2026-01-01"], "event": ["visit"]} | {f"x{n}": [n] for n in range(3000)})
    read_log(frame)


def test_a_hundred_thousand_columns_are_refused_at_once(tmp_path: Path) -> None:
    names = ["customer_id", "timestamp", "event", *(f"x{n}" for n in range(100_000))]
    (tmp_path / "wide.csv").write_text(",".join(names) + "\n" + ",".join(["a", "2026-01-01", "visit", *["1"] * 100_000]) + "\n")
    with pytest.raises(SourceError, match="first line is longer"):
        read_log(tmp_path / "wide.csv")
    with pytest.raises(SourceError, match="100,003 columns, more than 20,000"):
        read_log(pl.DataFrame({name: ["1"] for name in names}))


def test_a_letter_of_half_a_million_signs_is_read(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"customer_id,timestamp,event,text\na,2026-01-01,visit,\"{'long,_' * 80_000}\"\n")
    assert motkit.read_events(tmp_path / "log.csv", time_zone="UTC").events.select(pl.col("text").str.len_chars()).collect().item() == 480_000


def test_a_small_file_that_unpacks_to_much_is_read_in_pieces(tmp_path: Path) -> None:
    line = b"u1,2026-01-01,visit\n"
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"customer_id,timestamp,event\n" + line * 400_000, 9))
    assert (tmp_path / "bomb.csv.gz").stat().st_size < 40_000
    log = motkit.read_events(tmp_path / "bomb.csv.gz", time_zone="UTC")
    assert (log.summary.rows_read, log.summary.events, log.summary.rejected) == (400_000, 1, 399_999)


def test_numbers_that_are_none_and_far_times_keep_their_rows_or_give_reasons() -> None:
    frame = pl.DataFrame(
        {
            "customer_id": ["a", "b", "c", "d", "e"],
            "timestamp": ["1970-01-01", "9999-12-31T23:59:59Z", "0001-01-01", "-5000-01-01", "10000-01-01"],
            "event": ["visit"] * 5,
            "value": [float("nan"), float("inf"), -float("inf"), 1e308, -0.0],
            "duration_s": [-5.0, 1e12, 0.0, None, float("nan")],
        }
    )
    log = motkit.read_events(frame, time_zone="UTC")
    assert log.summary.rows_read == 5 == log.summary.events + log.summary.rejected
    assert log.events.select(pl.col("value").is_infinite().any() | pl.col("value").is_nan().any()).collect().item() is not True


def test_two_columns_of_one_name_are_both_kept_and_told(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("customer_id,timestamp,event,event\na,2026-01-01,visit,buy\n")
    log = motkit.read_events(tmp_path / "log.csv", time_zone="UTC")
    assert log.events.select("event", "event_duplicated_0").collect().row(0) == ("visit", "buy")
    assert "log.csv has several columns of one name; the later ones are called event_duplicated_0" in log.summary.notes


def test_an_hour_that_does_not_exist_is_told(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("customer_id,timestamp,event\na,2026-03-29 02:30:00,visit\nb,2026-10-25 02:30:00,visit\n")
    log = motkit.read_events(tmp_path / "log.csv", time_zone="Europe/Berlin")
    assert log.summary.rows_read == 2 == log.summary.events + log.summary.rejected
    assert log.summary.rejected + len(log.summary.notes) >= 1


def test_merges_in_a_circle_end_in_one_customer() -> None:
    log = motkit.read_events(pl.DataFrame({"customer_id": ["a", "b", "c"], "timestamp": ["2026-01-01"] * 3, "event": ["visit"] * 3}), time_zone="UTC")
    people = motkit.stitch_identities(log.events, ["customer_id"])
    for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
        with suppress(MotkitError):
            people = people.merge(one, other, at=datetime(2026, 2, 1, tzinfo=UTC))
    assert people.apply(log.events).select(pl.col("customer_id").n_unique()).collect().item() == 1


@pytest.mark.parametrize("text", ["a = " + "[" * 3000 + "]" * 3000, "a = " + "9" * 5000, "a = 1\na = 2", "\0"])
def test_deep_long_and_doubled_toml_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(MotkitError, match="it is not TOML"):
        read_toml(tmp_path / "a.toml", "Write `key = value`.")
