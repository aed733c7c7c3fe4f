"""The command line: what is printed, where it goes, and the exit code."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import motkit.__main__ as commands
from motkit.stages import STAGES
from motkit.study import open_study

ROOT = Path(__file__).parent.parent
LOG = ROOT / "data" / "ecom_retentioneering.csv.gz"


def motkit(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    command = [sys.executable, "-m", "motkit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "", "NO_COLOR": "1", "COLUMNS": "100", **environment})


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("cli") / "study"
    return motkit("run", "--events", LOG, "--out", out, "--set", "onboarding.milestone=purchase"), out


def test_help_names_every_command_and_what_it_does() -> None:
    done = motkit("--help")
    assert done.returncode == 0
    for command in ("run", "serve", "report", "demo", "bench"):
        assert f"  {command} " in done.stdout


def test_run_computes_a_study_and_says_what_to_type_next(ran: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = ran
    assert done.returncode == 0, done.stderr
    assert f"motkit serve {out}" in done.stdout
    assert "31,106 rows read = 31,076 events + 30 rejected" in done.stdout
    assert "30  exact duplicate" in done.stdout
    assert "note: no time_zone was given" in done.stdout
    assert "100%" in done.stderr
    study = open_study(out)
    assert study.manifest["settings"]["onboarding"]["milestone"] == ["purchase"]
    assert study.table("log_summary")["rows_read"].item() == 31106


def test_a_second_run_takes_over_what_is_there(ran: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done = motkit("run", "--events", LOG, "--out", ran[1], "--set", "onboarding.milestone=purchase", "--quiet")
    assert done.returncode == 0
    assert done.stderr == ""
    idle = done.stdout.split("Nothing in the settings or the log asks for: ")[1].split(".\n")[0].split(", ")
    assert "experiment" in idle
    assert done.stdout.count("as before") == 1 + len(STAGES) - len(idle)


def test_report_writes_one_file(ran: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path) -> None:
    done = motkit("report", ran[1], "--out", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--events", "no-such.csv"), "no-such.csv"),
        (("run", "--events", LOG, "--set", "sessions.gap=3"), "`sessions.gap` is not a setting"),
        (("run", "--events", LOG, "--settings", "no.ini"), "no such file"),
        (("run", "--events", LOG, "--source", "no.toml"), "no.toml"),
        (("report", "nowhere"), "motkit run"),
        (("serve", "nowhere"), "motkit run"),
        (("run",), "--events"),
        (("run", "--events", LOG, "--set", "nonsense"), "section.name=value"),
        (("fly",), "fly"),
    ],
)
def test_bad_input_is_one_paragraph_and_exit_code_2(
    arguments: tuple[object, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["motkit", *map(str, arguments)])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards
    with pytest.raises(SystemExit) as ended:
        commands.main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_wrong_column_says_what_to_type(tmp_path: Path) -> None:
    pl.DataFrame({"who": ["ann"], "when": ["2026-01-01"]}).write_csv(tmp_path / "log.csv")
    done = motkit("run", "--events", tmp_path / "log.csv", "--out", tmp_path / "study")
    assert done.returncode == 2
    assert "log.csv" in done.stderr
    assert "columns" in done.stderr


def test_a_surprise_is_exit_code_1_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("a file where a folder is wanted")
    done = motkit("run", "--events", LOG, "--out", tmp_path / "study" / "deeper")
    assert done.returncode == 1
    assert "did not foresee" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in motkit("run", "--events", LOG, "--out", tmp_path / "study" / "deeper", MOTKIT_TRACEBACK="1").stderr


def test_demo_runs_without_serving(tmp_path: Path) -> None:
    done = motkit("demo", "--out", tmp_path / "study", "--customers", 100, "--no-serve", "--quiet")
    assert done.returncode == 0, done.stderr
    assert open_study(tmp_path / "study").table("customers").height == 100
