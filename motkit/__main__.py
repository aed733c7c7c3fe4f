"""The command line: `motkit run | serve | report | demo | erase | bench | capacity`, with one clear paragraph for what went wrong."""

import errno
import os
import sys
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal

import polars as pl
import typer

from motkit.errors import MotkitError, shorten

app = typer.Typer(
    name="motkit",
    help="The moments-of-truth toolkit: from a log of customer interactions to a study, a report and a served page.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Option("--out", help="Folder of the study; made, or brought up to date.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the local address.")]
Address = Annotated[str, typer.Option("--address", help="Address to listen at; 127.0.0.1 is this machine only.")]
Allow = Annotated[list[str] | None, typer.Option("--allow", help="HOST:PORT by which others open the pages; may be repeated.")]
StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that `motkit run` made.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Draw no progress bar.")]


def _overrides(pairs: list[str]) -> dict[str, str]:
    """Turn `section.name=value` into a mapping."""
    for pair in pairs:
        if "=" not in pair:
            raise typer.BadParameter(f"{pair!r} needs the form section.name=value, for instance sessions.gap_minutes=20")
    return dict(pair.split("=", 1) for pair in pairs)


def _as_text(table: pl.DataFrame, formatting: Literal["UTF8_FULL_CONDENSED", "ASCII_MARKDOWN"] = "UTF8_FULL_CONDENSED") -> str:
    """A small table, whole, as text."""
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=180,
        fmt_str_lengths=60,
        float_precision=3,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_formatting=formatting,
    ):
        return str(table)


@app.command()
def run(
    events: Annotated[str, typer.Option("--events", help="The log: a file, folder, pattern, DuckDB file or database URL.")] = "",
    source: Annotated[Path | None, typer.Option("--source", help="source.toml: which columns mean what.")] = None,
    settings: Annotated[Path | None, typer.Option("--settings", help="settings.ini; left out, the defaults hold.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="One setting, as section.name=value; may be repeated.")] = None,
    table: Annotated[str | None, typer.Option("--table", help="Table of a DuckDB file.")] = None,
    query: Annotated[str | None, typer.Option("--query", help="SQL query of a database.")] = None,
    source_format: Annotated[str, typer.Option("--format", help="Format of the log, such as ga4 or xes; auto looks at it.")] = "auto",
    pseudonym_key: Annotated[Path | None, typer.Option("--pseudonym-key", help="File with a secret; names become keyed hashes.")] = None,
    profiles: Annotated[Path | None, typer.Option("--profiles", help="What is known of customers: Parquet or CSV with customer_id.")] = None,
    consents: Annotated[Path | None, typer.Option("--consents", help="What customers agreed to: Parquet or CSV.")] = None,
    contacts: Annotated[Path | None, typer.Option("--contacts", help="What customers were sent: Parquet or CSV.")] = None,
    rollouts: Annotated[str, typer.Option("--rollouts", help="Programmes that are rolled out: a ledger's file or address, or a .jsonl.")] = "",
    on: Annotated[str, typer.Option("--on", help="Engine for what touches every event: spark://host:port, local[2] or sc://host:port.")] = "",
    out: Out = Path("study"),
    quiet: Quiet = False,
) -> None:
    """Compute a study: every table of a log.

    Run again, it computes only what a change of data or settings touches."""
    from motkit.events import read_events
    from motkit.settings import read_settings
    from motkit.study import describe_log, run_study

    if not events and source is None:
        raise typer.BadParameter("name the log with --events, or a source.toml that names it with --source")
    chosen = read_settings(settings, _overrides(change or []))
    secret = pseudonym_key.read_bytes().strip() if pseudonym_key else None
    given = source if events else None
    log = read_events(events or source, description=given, source_format=source_format, table=table, query=query, pseudonym_key=secret)
    study = run_study(chosen, log, out, progress=not quiet, profiles=profiles, consents=consents, contacts=contacts, rollouts=rollouts or None, on=on or None)
    typer.echo(f"{describe_log(study)}\n{study!r}")
    typer.echo(f"Look at it:  motkit serve {out}\nOne file:    motkit report {out}")


@app.command()
def serve(
    study: StudyFolder,
    port: Port = 5006,
    address: Address = "127.0.0.1",
    allow: Allow = None,
    auth: Annotated[Path | None, typer.Option("--auth", help="Who may enter: roles and hashed passwords, or OAuth.")] = None,
    num_procs: Annotated[int, typer.Option("--num-procs", min=1, max=64, help="Server processes.")] = 1,
    prefix: Annotated[str, typer.Option("--prefix", help="Path under which a proxy shows the pages.")] = "",
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="Believe a proxy's headers about who asks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write no line a request.")] = False,
    api: Annotated[bool, typer.Option("--api", help="Make decisions over HTTP instead of showing pages.")] = False,
    policy: Annotated[Path | None, typer.Option("--policy", help="With --api: policy.toml; left out, the one of the study.")] = None,
    offers: Annotated[Path | None, typer.Option("--offers", help="With --api: offers.toml; left out, those of the study.")] = None,
    triggers: Annotated[Path | None, typer.Option("--triggers", help="With --api: triggers.toml; left out, that of the study.")] = None,
    promises: Annotated[Path | None, typer.Option("--promises", help="With --api: promises.toml; left out, that of the study.")] = None,
    ledger: Annotated[str, typer.Option("--ledger", help="Where decisions are kept, e.g. postgresql://...; the pages show it on the customer card.")] = "",
    keys: Annotated[Path, typer.Option("--keys", help="With --api: the file of keys; `motkit key` makes one.")] = Path("keys.toml"),
) -> None:
    """Serve the pages of a study at a local address, or decisions with --api."""
    if api:
        from motkit.apps.api import run_api

        run_api(study, port, address, policy=policy, offers=offers, triggers=triggers, promises=promises, ledger=ledger or "sqlite:///ledger.db", keys=keys)
        return
    from motkit.apps import Serving
    from motkit.apps import serve as serve_pages

    how = Serving(auth, num_procs, prefix, behind_proxy, not quiet, ledger)
    serve_pages(study, port=port, address=address, allow=allow or (), how=how)


@app.command()
def password() -> None:
    """Hash a password for the access file of `motkit serve --auth`.

    The password is asked for twice and shown nowhere."""
    from motkit.access import hash_password

    typer.echo(hash_password(typer.prompt("Password", hide_input=True, confirmation_prompt=True)))


@app.command()
def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who gets it.")],
    role: Annotated[str, typer.Option("--role", help="sender, observer, agent or admin.")] = "sender",
    keys: Annotated[Path, typer.Option("--keys", help="The file of keys; the hash is added to it.")] = Path("keys.toml"),
) -> None:
    """Make a key for decisions over HTTP. It is shown once; the file holds its hash."""
    from motkit.apps.api import add_key

    typer.echo(f"The key of {name}, shown this once:\n{add_key(keys, name, role)}")


@app.command()
def report(
    study: StudyFolder,
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file; left out, report.html in the study.")] = None,
) -> None:
    """Write a study as one HTML file that needs no network."""
    from motkit.report import write_report
    from motkit.study import open_study

    typer.echo(f"Written: {write_report(open_study(study), out or study / 'report.html')}")


@app.command()
def demo(
    out: Out = Path("demo-study"),
    port: Port = 5006,
    address: Address = "127.0.0.1",
    allow: Allow = None,
    customers: Annotated[int | None, typer.Option("--customers", min=50, help="How many to simulate; left out, the demo data of the project.")] = None,
    serving: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the result, or only compute it.")] = True,
    quiet: Quiet = False,
) -> None:
    """Run the analysis on simulated customers and serve it."""
    from motkit.simulate import DEMO_CUSTOMERS
    from motkit.study import run_demo

    made = run_demo(out, customers or DEMO_CUSTOMERS, progress=not quiet)
    typer.echo(repr(made))
    if serving:
        from motkit.apps import serve as serve_pages

        serve_pages(out, port=port, address=address, allow=allow or ())


@app.command()
def validate(
    replicates: Annotated[int, typer.Option("--replicates", min=2, help="Simulated cohorts of each kind; 400 take some minutes.")] = 400,
    out: Annotated[Path | None, typer.Option("--out", help="A Markdown file to write the table to as well.")] = None,
    personas: Annotated[bool, typer.Option("--personas", help="Try personas in place of the threshold search.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Try promises and charts in place of the threshold search.")] = False,
    moments: Annotated[bool, typer.Option("--moments", help="Try the search for moments in place of the threshold search; 60 cohorts do.")] = False,
    tests: Annotated[bool, typer.Option("--tests", help="Try comparisons of arms in place of the threshold search; 10000 made-up tests tell 5% well.")] = False,
    quiet: Quiet = False,
) -> None:
    """Try the threshold search, or personas, moments, tests, or promises and charts, where the truth is known.

    Prints what it reaches beside its bars."""
    if personas:
        _validate_personas(out)
        return
    if watch:
        _validate_watch(replicates, out)
        return
    if moments:
        _validate_moments(replicates, out, quiet)
        return
    if tests:
        _validate_tests(replicates, out, quiet)
        return
    from motkit.validation import run_validation

    table = run_validation(replicates, progress=not quiet)
    typer.echo(_as_text(table))
    if out:
        made = f"Made by `motkit validate --replicates {replicates} --out {out}` with motkit {version('motkit')}."
        out.write_text(f"# Validation of the threshold search\n\n{made}\n\n{_as_text(table, 'ASCII_MARKDOWN')}\n", encoding="utf-8")


def _validate_personas(out: Path | None) -> None:
    """Print what personas reach beside their bars."""
    from motkit.persona_validation import validate_personas

    table = validate_personas()
    typer.echo(_as_text(table))
    if out:
        made = f"Made by `motkit validate --personas --out {out}` with motkit {version('motkit')}. Seconds are CPU seconds of one machine."
        out.write_text(f"# Validation of personas\n\n{made}\n\n{_as_text(table, 'ASCII_MARKDOWN')}\n", encoding="utf-8")


def _show_validation(table: pl.DataFrame, kind: str, replicates: int, out: Path | None) -> None:
    """Print what was reached beside the bars, and write it as a page where one is named."""
    typer.echo(_as_text(table))
    if out:
        made = f"Made by `motkit validate --{kind} --replicates {replicates} --out {out}` with motkit {version('motkit')}."
        out.write_text(f"# Validation of {kind}\n\n{made}\n\n{_as_text(table, 'ASCII_MARKDOWN')}\n", encoding="utf-8")


def _validate_moments(replicates: int, out: Path | None, quiet: bool) -> None:
    """Print how many moments that do nothing are found, and how many that do something, beside the bars."""
    from motkit.moment_validation import validate_moments

    table = validate_moments(replicates, progress=not quiet)
    _show_validation(table, "moments", replicates, out)


def _validate_tests(replicates: int, out: Path | None, quiet: bool) -> None:
    """Print how often tests about nothing find something, how often intervals hold, and whether power is as planned, beside the bars."""
    from motkit.experiment_validation import validate_tests

    table = validate_tests(replicates, progress=not quiet)
    _show_validation(table, "tests", replicates, out)


def _validate_watch(replicates: int, out: Path | None) -> None:
    """Print what promises and charts reach beside their bars."""
    from motkit.watch_validation import validate_watch

    table = validate_watch(replicates)
    typer.echo(_as_text(table))
    if out:
        made = f"Made by `motkit validate --watch --replicates {replicates} --out {out}` with motkit {version('motkit')}."
        out.write_text(f"# Validation of promises and charts\n\n{made}\n\n{_as_text(table, 'ASCII_MARKDOWN')}\n", encoding="utf-8")


@app.command()
def erase(
    study: StudyFolder,
    customers: Annotated[list[str], typer.Argument(metavar="CUSTOMER...", help="Ids as the study spells them.")],
    ledger: Annotated[str, typer.Option("--ledger", help="The ledger that decisions about them are kept in: a file, or an address.")] = "",
) -> None:
    """Remove customers from every table of a study, and from a ledger.

    Their events count as rejected, and a later run keeps them out."""
    from motkit.erasure import erase as erase_customers
    from motkit.study import describe_log

    left = erase_customers(study, customers, ledger or None)
    typer.echo(f"{len(customers):,} customer{'s' * (len(customers) != 1)} erased{' from the study and the ledger' if ledger else ''}.\n{describe_log(left)}")


@app.command()
def bench(
    sections: Annotated[list[str] | None, typer.Argument(metavar="[SECTION]...", help="speed, large, peers, records, run, long_run, live, loyalty, decisions, markets, experiments, or all; left out: speed, loyalty, experiments.")] = None,
    events: Annotated[int, typer.Option("--events", min=10_000, help="Size of the larger simulated log; the section large draws ten times as many.")] = 10_000_000,
    decisions: Annotated[bool, typer.Option("--decisions", help="The section decisions: deciding, policy, assignment and triggers.")] = False,
    large: Annotated[bool, typer.Option("--large", help="The section large: ten times as many events, and how cost grows; with --decisions, the section markets.")] = False,
    peers: Annotated[Path | None, typer.Option("--peers", help="The section peers; folder of an environment with retentioneering, pm4py and pandas, made there.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A Markdown file to write as well; sections that were measured before stay in it.")] = None,
) -> None:
    """Measure speed and memory section by section, beside limits and peers."""
    from motkit.bench_page import DEFAULT, SECTIONS, measure_sections, read_sections, read_table, write_page

    asked = [name for name, wanted in (("decisions", decisions), ("markets" if decisions else "large", large), ("peers", peers is not None)) if wanted]
    names = list(SECTIONS) if "all" in (sections or []) else [*(sections or []), *asked] or list(DEFAULT)
    found = read_sections(out) if out else {}
    for name in dict.fromkeys(names):
        found = measure_sections([name], events, peers, found)
        typer.echo("\n".join(_as_text(read_table(table)) for table in found[name]["tables"]))
        if out:
            write_page(found, out)


@app.command()
def capacity(
    rates: Annotated[Path, typer.Option("--rates", help="The page of `motkit bench --out`, whose figures lie beside it.")] = Path("docs/benchmarks.md"),
    change: Annotated[list[str] | None, typer.Option("--set", help="One assumption, as name=value, for instance events_a_day=1e9; may be repeated.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The Markdown file to write.")] = Path("docs/capacity.md"),
) -> None:
    """Reckon what a log of a given size needs, from measured rates and stated assumptions."""
    from motkit.bench_page import read_sections
    from motkit.capacity import MEANING, Assumptions, write_capacity
    from motkit.errors import SettingError

    given = _overrides(change or [])
    if unknown := sorted(set(given) - set(MEANING)):
        raise SettingError("capacity", f"{unknown} is no assumption", f"Choose from {list(MEANING)}.")
    try:
        assumed = Assumptions(**{name: float(value) for name, value in given.items()})
    except ValueError:
        raise SettingError("capacity", f"{given} has a value that is no number", "Type e.g. `--set events_a_day=1e9`.") from None
    write_capacity(read_sections(rates), out, assumed)
    typer.echo(f"Written: {out}")


def _tell_surprise(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Say in one paragraph that something unforeseen happened; the traceback is shown on request only."""
    if os.environ.get("MOTKIT_TRACEBACK"):
        sys.__excepthook__(kind, error, traceback)
        return
    what = " ".join(str(error).split())
    print(f"motkit stopped on something that it did not foresee: {kind.__name__}: {what}", file=sys.stderr)
    print("With MOTKIT_TRACEBACK=1 in front of the command it shows where; please report that.", file=sys.stderr)


def main() -> None:
    """Run the command line: exit code 0 on success, 2 on bad usage or input, 1 on anything else."""
    try:
        app(prog_name="motkit")
    except MotkitError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"{shorten(str(error.filename))}: the name is too long for a file.\nName a file that exists.", file=sys.stderr)
        sys.exit(2)
    finally:
        sys.excepthook = _tell_surprise  # last, because typer sets its own


if __name__ == "__main__":
    main()
