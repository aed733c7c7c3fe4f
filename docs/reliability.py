"""Write docs/reliability.md: inputs tried, faults survived, sessions and decisions held, rows lost, connections opened; all counted here."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from bad_inputs import Tally, knock  # noqa: E402
from degenerate import LOGS, OF_LOGS, OF_TABLES, TABLES, ask_all  # noqa: E402
from doors import all_doors  # noqa: E402
from faults import FAULTS, STAGES, Fault, killed_at  # noqa: E402
from wrong_arguments import functions, sweep  # noqa: E402

import motkit  # noqa: E402
from motkit.stages import STAGES as ALL_STAGES  # noqa: E402


def as_table(heads: list[str], rows: list[list[str]]) -> str:
    """Rows as a table of Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, ["---"] * len(heads), *rows])


def try_inputs(tries: int) -> list[Tally]:
    """Knock at every door."""
    with tempfile.TemporaryDirectory() as folder:
        return [knock(door, tries, first=10_000) for door in tqdm(all_doors(Path(folder)), "bad input", ascii=" =")]


def show_inputs(tallies: list[Tally]) -> str:
    """A row a door."""
    rows = [[one.door, f"{one.tried:,}", f"{one.read:,}", f"{sum(one.refused.values()):,}", f"{len(one.crashed):,}"] for one in tallies]
    total = [f"**{sum(column):,}**" for column in zip(*((one.tried, one.read, sum(one.refused.values()), len(one.crashed)) for one in tallies), strict=True)]
    return as_table(["door", "inputs tried", "read", "refused clearly", "anything else"], [*rows, ["**all**", *total]])


def try_arguments() -> str:
    """Every public function, asked with one argument at a time put wrong."""
    with tempfile.TemporaryDirectory() as folder:
        swept = sweep(Path(folder), functions(), optional=True)
    row = [f"{len(functions()):,}", f"{swept.tried:,}", f"{swept.answered:,}", f"{swept.refused:,}", f"{len(swept.wrong):,}"]
    told = "".join(f"- `{name}({parameter}=)` given {what}: {came.splitlines()[0][:160]}\n" for name, parameter, what, came in swept.wrong)
    return as_table(["public functions", "calls tried", "answered", "refused clearly", "anything else"], [row]) + (f"\n\n{told}" if told else "")


def ask_degenerate() -> str:
    """Every question of statistics, asked of data that can hardly say anything."""
    seen = ask_all()
    row = [f"{len(OF_LOGS) + len(OF_TABLES):,}", f"{len(LOGS)} and {len(TABLES)}", f"{seen.answered:,}", f"{seen.refused:,}", f"{len(seen.wrong):,}"]
    told = "".join(f"- {fault[:160]}\n" for fault in seen.wrong)
    return as_table(["questions", "logs and tables", "answered", "refused clearly", "anything else"], [row]) + (f"\n\n{told}" if told else "")


def do_fault(fault: Fault) -> list[str]:
    """One fault, done for real."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fault.do(Path(folder))
    return [fault.what, fault.checked, "yes", f"{time.perf_counter() - started:.0f} s"]


def try_faults() -> str:
    """Every fault, and a kill in every further stage; a fault that is not survived ends this with its reason."""
    more = [Fault(f"killed with -9 in the stage `{stage.name}`", "the last study, and a run after it", killed_at(stage.name)) for stage in ALL_STAGES if stage.name not in STAGES]
    return as_table(["what went wrong", "looked at afterwards", "survived", "took"], [do_fault(fault) for fault in tqdm([*FAULTS, *more], "faults", ascii=" =")])


def count_connections() -> str:
    """What the test without connections says."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/test_no_network.py"], cwd=ROOT, check=False, capture_output=True, text=True)
    return "0" if done.returncode == 0 else f"the test fails:\n{done.stdout[-600:]}"


def main(tries: int = 300, out: Path = ROOT / "docs" / "reliability.md") -> None:
    """Try bad input and faults, and write the page."""
    tallies = try_inputs(tries)
    crashed = [f"{one.door}, seed {seed}: {error}" for one in tallies for seed, error in one.crashed]
    soak = ROOT / "docs" / "soak.md"
    out.write_text(
        f"# Reliability\n\nMade by `make reliability` with motkit {motkit.__version__}; every number was counted by it.\n\n"
        f"## Bad input\n\nGood samples, spoilt in one to three of nine ways: cut, bits flipped, texts such as `NaN`, `1e309`, a date in 9999 or 100,000 letters put in place of numbers and words, "
        f"lines doubled or in another order, another encoding, deep nesting. Each must be read, with counts that add up, or refused by an error that says what to type.\n\n{show_inputs(tallies)}\n\n"
        + ("".join(f"- {line}\n" for line in crashed) + "\n" if crashed else "")
        + "## Wrong arguments\n\nEvery public function is called with good arguments of which one at a time is something else: `None`, a frame of pandas, an empty frame, a frame of other columns, a series, "
        f"a list, a dictionary, a text, an empty text, a number below 0, no number, an object. A call must be answered, or refused by an error that names the argument and says what to type.\n\n{try_arguments()}\n\n"
        + "## Statistics under stress\n\nOne customer, two customers, everybody at one instant, nobody or everybody censored, nobody who onboards or all at once, perfect separation, a segment for each customer, one arm, "
        f"columns of one value, of nothing, of no numbers. An answer may hold no number that is none, no share beyond 0 and 1, no interval without width, no finding from one or two customers.\n\n{ask_degenerate()}\n\n"
        + f"## Faults\n\n{try_faults()}\n\nRows lost: 0. An acknowledged row that is missing afterwards ends this run before the page is written.\n\n"
        f"## Connections\n\nConnections opened by the core while the demo is computed and its report written: {count_connections()}.\n\n"
        + (soak.read_text(encoding="utf-8").replace("# ", "## ", 1) if soak.exists() else ""),
        encoding="utf-8",
    )
    print(f"{out}: {sum(one.tried for one in tallies):,} inputs, {len(crashed)} of them neither read nor refused.")


if __name__ == "__main__":
    typer.run(main)
