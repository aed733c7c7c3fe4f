"""What can go wrong around motkit, done for real: processes that are killed, disks that are full, files that are gone, clocks that go back."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import motkit
from motkit.decider import Decider
from motkit.errors import LedgerError, StudyError
from motkit.journal import Journal
from motkit.policy import parse_policy
from motkit.settings import read_settings
from motkit.study import Study, open_study, run_study

SETTINGS = {"onboarding.start": "sign_up", "onboarding.milestone": "first_purchase"}


@dataclass(frozen=True)
class Fault:
    """Something that went wrong, and what was looked at afterwards."""

    what: str
    checked: str
    do: Callable[[Path], None]  # raises AssertionError when something is lost or unclear


def make_study(folder: Path) -> Study:
    """A small study, whole."""
    return run_study(read_settings(overrides=SETTINGS), motkit.simulate_customers(n=80, seed=9).events, folder / "study", progress=False)


def contents(study: Study) -> dict[str, pl.DataFrame]:
    return {name: study.table(name) for name in study.tables}


def in_a_process(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run Python apart; what it says is kept."""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], check=False, capture_output=True, text=True, timeout=280)


def check_same(study: Study) -> None:
    """The study is as it was, and another run brings it up to date and leaves nothing behind."""
    before = contents(study)
    left = open_study(study.path)
    assert left.manifest == study.manifest
    assert all(table.equals(before[name]) for name, table in contents(left).items())


KILLED = """
import dataclasses, os, signal, sys
import motkit, motkit.study as s
from motkit.settings import read_settings
kill = lambda bench: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "record":
    s.write_store = lambda *given, **more: kill(None)
s.STAGES = tuple(dataclasses.replace(stage, make=kill) if stage.name == sys.argv[2] else stage for stage in s.STAGES)
motkit.run_study(read_settings(overrides={"sessions.gap_minutes": "20"}), motkit.simulate_customers(n=80, seed=10).events, sys.argv[1], progress=False)
"""


def killed_at(stage: str) -> Callable[[Path], None]:
    """A run that is killed while a stage is computed."""

    def do(folder: Path) -> None:
        study = open_study(folder / "study") if (folder / "study").exists() else make_study(folder)
        done = in_a_process(KILLED, study.path, stage)
        assert done.returncode == -signal.SIGKILL, done.stderr
        check_same(study)
        again = make_study(folder)
        assert contents(again).keys() == contents(study).keys()
        assert not list(again.path.glob("**/*.part"))

    return do


FULL = """
import resource, signal, sys
import motkit
from motkit.__main__ import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
motkit.simulate_customers(n=400, seed=3).events.write_parquet(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
sys.argv = ["motkit", "run", "--events", sys.argv[2], "--out", sys.argv[1], "--quiet"]
main()
"""


def full_disk(folder: Path) -> None:
    """No file can grow beyond 60 kB while a run writes."""
    study = make_study(folder)
    done = in_a_process(FULL, study.path, folder / "log.parquet")
    assert done.returncode == 2, (done.returncode, done.stderr[-2000:])
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    check_same(study)
    assert not list(study.path.glob("**/*.part")) or make_study(folder)


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -m motkit run --events "$3" --out "$1/study" --quiet'


def read_only(folder: Path) -> None:
    """The study's folder is mounted so that it may only be read; without the right to mount, its mode says so."""
    study = make_study(folder)
    log = folder.parent / f"{folder.name}.parquet"
    motkit.simulate_customers(n=80, seed=3).events.write_parquet(log)
    if os.geteuid() == 0:
        command = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", folder, sys.executable, log]
    else:
        command = [sys.executable, "-m", "motkit", "run", "--events", log, "--out", study.path, "--quiet"]
    modes = {place: place.stat().st_mode for place in (study.path, *study.path.rglob("*"))}
    for place, mode in modes.items():
        place.chmod(mode & ~0o222)
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True, timeout=280)
    for place, mode in modes.items():
        place.chmod(mode)
    assert done.returncode == 2, (done.returncode, done.stderr[-2000:])
    assert "Traceback" not in done.stderr
    assert str(study.path) in done.stderr, done.stderr
    check_same(study)


def missing_file(folder: Path) -> None:
    """A table's file is gone, another is cut."""
    study = make_study(folder)
    gone, cut = (study.path / study.manifest["tables"][name]["file"] for name in ("sessions", "engagement"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:50])
    left = open_study(study.path)
    for name in ("sessions", "engagement"):
        with pytest.raises(StudyError, match=f"the file of the table '{name}' is (missing|spoilt)"):
            left.table(name)
    again = make_study(folder)
    assert again.table("sessions").height
    assert again.table("engagement").height


CAP = '[[actions]]\nid = "text"\nchannel = "sms"\nvalue = 60\n[[rules]]\nid = "cap"\ntype = "count"\nmax = 2\nwindow = "7d"\nof = { kind = "contact" }\n'


def clock_back(folder: Path) -> None:
    """The clock goes back by an hour between two decisions."""
    journal = Journal(f"sqlite:///{folder}/ledger.db")
    decider = Decider(parse_policy(CAP), ledger=journal, prior=0.5)
    noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    instants = [noon, noon + timedelta(minutes=1), noon - timedelta(hours=1), noon - timedelta(minutes=30), noon + timedelta(minutes=2)]
    chosen = [decider.decide("ann", at).chosen for at in instants]
    assert [one is not None for one in chosen] == [True, True, False, False, False], chosen
    assert len(journal.entries(["decision"])) == len(instants)
    journal.close()


def database_gone(folder: Path) -> None:
    """PostgreSQL is stopped at once while decisions are made, and started again."""
    from postgres_fixture import running_postgres

    noon, told = datetime(2026, 3, 4, 12, tzinfo=UTC), []
    with running_postgres() as server:
        journal = Journal(server.address)
        decider = Decider(parse_policy(CAP), ledger=journal, prior=0.5)
        told += [decider.decide(f"c{k}", noon + timedelta(seconds=k)).decision_id for k in range(10)]
        server.stop()
        for k in range(3):
            with pytest.raises(LedgerError):
                decider.decide("ann", noon + timedelta(seconds=20 + k), key=f"while gone {k}")
        server.start()
        told += [decider.decide("ann", noon + timedelta(seconds=30 + k), key=f"while gone {k % 3}").decision_id for k in range(6)]
        kept = {entry.ref for entry in journal.entries(["decision"])}
        assert set(told) <= kept, (told, kept)
        assert len(set(told[10:])) == 3
        chosen = [decider.decide("ann", noon + timedelta(seconds=40 + k)).chosen for k in range(3)]
        assert chosen == [None, None, None]
        journal.close()


STAGES = ("record", "sessions", "engagement", "threshold", "moments", "decisions", "intents")
FAULTS = (
    *(Fault(f"killed with -9 in the stage `{stage}`", "the last study, and a run after it", killed_at(stage)) for stage in STAGES),
    Fault("the disk is full while a study is written", "the last study, the message, exit code 2", full_disk),
    Fault("the study's folder may only be read", "the last study, the message, exit code 2", read_only),
    Fault("a table's file is missing, another is cut", "the message, and a run after it", missing_file),
    Fault("the database is stopped at once and started again", "every acknowledged decision, no contact beyond the cap", database_gone),
    Fault("the clock goes back by an hour", "no contact beyond the cap, every decision in the ledger", clock_back),
)
