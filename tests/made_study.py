"""A made-up study in memory, of the form that `motkit.study.open_study` gives, with every number drawn from one seed."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


@dataclass
class MadeStudy:
    """The members of a study that views and pages read."""

    frames: dict[str, pl.DataFrame]
    manifest: dict[str, Any] = field(default_factory=dict)
    path: Path = Path("made-study")

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self.frames)

    def table(self, name: str) -> pl.DataFrame:
        return self.frames[name]

    def scan(self, name: str) -> pl.LazyFrame:
        return self.frames[name].lazy()


CHANNELS = ("web", "app", "store", "call_centre")
SEGMENTS = {"paid search": 700, "newsletter": 500, "friend": 300, "phone": 7}


def _manifest(min_cell: int) -> dict[str, Any]:
    settings = {
        "study": {"seed": 0, "confidence": 0.95, "min_cell": min_cell},
        "sessions": {"gap_minutes": 30.0},
        "engagement": {"half_life_days": 14.0},
        "onboarding": {"start": ["sign_up"], "milestone": ["first_order"], "churn": [], "churn_after_days": 30.0},
    }
    inputs = [{"name": "events.parquet", "fingerprint": "sha256:4f0a11"}, {"name": "<script>alert(1)</script>.csv", "fingerprint": "sha256:77"}]
    return {"motkit": "0.1.0", "as_of": "2026-06-30T00:00:00+00:00", "settings": settings, "inputs": inputs, "tables": {}}


def make_weekly(rng: np.random.Generator, weeks: int = 26) -> pl.DataFrame:
    """Sessions by week and channel with a slow rise; the last week is covered in part, the call centre is tiny at first."""
    rows = []
    for number in range(weeks):
        whole = number < weeks - 1
        for place, channel in enumerate(CHANNELS):
            level = (420, 300, 120, 4 + 2 * number)[place] * (1 + number / 60) * (1 if whole else 0.35)
            customers = int(rng.poisson(level))
            sessions = customers + int(rng.poisson(level * 0.6))
            median = float(rng.normal(90, 8)) if channel in ("web", "app") else None
            rows.append((date(2026, 1, 5) + timedelta(weeks=number), channel, sessions, customers, sessions * 4, median, whole))
    names = ["week", "channel", "sessions", "customers", "n_events", "engaged_median_s", "whole_week"]
    types = [pl.Date, pl.String, pl.UInt32, pl.UInt32, pl.UInt32, pl.Float64, pl.Boolean]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def _lives(rng: np.random.Generator) -> pl.DataFrame:
    """For each customer: segment, day of onboarding and of leaving as they would be, and the days they were followed."""
    parts = []
    for place, (segment, n) in enumerate(SEGMENTS.items()):
        onboarding, leaving = rng.exponential(25 + 12 * place, n).round() + 1, rng.exponential(260 - 50 * place, n).round() + 1
        followed = rng.integers(20, 180, n).astype(float)
        parts.append(pl.DataFrame({"segment": [segment] * n, "onboarding": onboarding, "leaving": leaving, "followed": followed}))
    return pl.concat(parts)


def plain_curve(days: list[float], kinds: list[int], cause: int) -> list[dict[str, float]]:
    """Aalen and Johansen in a plain loop: (time, at_risk, share with an end of `cause`, share without any end)."""
    rows, free, share = [], 1.0, 0.0
    for time in sorted(set(days)):
        at_risk = sum(day >= time for day in days)
        ends = sum(day == time and kind for day, kind in zip(days, kinds, strict=True) for kind in [kind != 0])
        of_cause = sum(day == time and kind == cause for day, kind in zip(days, kinds, strict=True))
        share += free * of_cause / at_risk
        free *= 1 - ends / at_risk
        rows.append({"time": float(time), "at_risk": float(at_risk), "events": float(of_cause), "share": share, "free": free})
    return rows


def _with_bands(table: pl.DataFrame, value: str) -> pl.DataFrame:
    error = (pl.col(value) * (1 - pl.col(value)) / pl.col("at_risk")).sqrt()
    low, high = (pl.col(value) - 1.96 * error).clip(0, 1), (pl.col(value) + 1.96 * error).clip(0, 1)
    return table.with_columns(std_error=error, ci_low=low, ci_high=high)


def make_curves(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """The two curves and their summary, for everybody and by segment, from simulated lives."""
    lives, onboarding, loyalty, summary = _lives(rng), [], [], []
    for segment in ("all", *SEGMENTS):
        own = lives if segment == "all" else lives.filter(pl.col("segment") == segment)
        first = own.select(pl.min_horizontal("onboarding", "leaving", "followed")).to_series()
        ends = (pl.col("onboarding") <= pl.min_horizontal("leaving", "followed"), pl.col("leaving") <= pl.col("followed"))
        kind = own.select(pl.when(ends[0]).then(1).when(ends[1]).then(2).otherwise(0)).to_series()
        for row in plain_curve(first.to_list(), kind.to_list(), 1):
            onboarding.append({"segment": segment, "time": row["time"], "at_risk": row["at_risk"], "incidence": row["share"]})
        gone = own.select(pl.min_horizontal("leaving", "followed"), (pl.col("leaving") <= pl.col("followed")).cast(pl.Int64).alias("kind"))
        for row in plain_curve(gone["leaving"].to_list(), gone["kind"].to_list(), 1):
            loyalty.append({"segment": segment} | {key: row[key] for key in ("time", "at_risk", "events")} | {"survival": row["free"]})
        followed = gone["leaving"]
        counts = {"customers": own.height, "onboarded": int((kind == 1).sum()), "churned": int(gone["kind"].sum())}
        more = {"censored": own.height - counts["churned"], "follow_up_median_days": float(followed.median()), "follow_up_max_days": float(followed.max())}
        summary.append({"segment": segment} | counts | more)
    return {
        "onboarding_curve": _with_bands(pl.DataFrame(onboarding), "incidence"),
        "loyalty_curve": _with_bands(pl.DataFrame(loyalty), "survival"),
        "onboarding_summary": pl.DataFrame(summary),
        "onboarding_left_out": pl.DataFrame({"reason": ["no start"], "customers": [12]}),
    }


def _engagement(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    scores = rng.beta(1.2, 2.4, 1507) * 100
    level = np.select([scores >= 60, scores >= 35, scores >= 8], ["high", "medium", "low"], "dormant")
    engagement = pl.DataFrame({"customer_id": [f"c{n}" for n in range(scores.size)], "score": scores, "level": level})
    engagement = engagement.with_columns(basis=pl.lit("uncalibrated index"))
    counts = np.histogram(scores, np.arange(0, 101, 5))[0]
    bins = pl.DataFrame({"low": np.arange(0.0, 100, 5), "high": np.arange(5.0, 101, 5), "customers": counts.astype(np.uint32)})
    levels = engagement.group_by("level").agg(pl.len().alias("customers"))
    return {"engagement": engagement, "engagement_bins": bins, "engagement_levels": levels}


@cache
def _make_frames(seed: int) -> dict[str, pl.DataFrame]:
    """The tables of the study, drawn once; frames cannot be changed in place, so they can be shared."""
    rng = np.random.default_rng(seed)
    weekly = make_weekly(rng)
    log = pl.DataFrame({"rows_read": [40_200], "events": [40_000], "rejected": [200], "customers": [1507]})
    log = log.with_columns(first=pl.lit(datetime(2026, 1, 5, 8, tzinfo=UTC)), last=pl.lit(datetime(2026, 6, 30, 20, tzinfo=UTC)))
    rejected = pl.DataFrame({"reason": ["no customer", "time cannot be read", "duplicate row"], "rows": [120, 60, 20]})
    return {"log_summary": log, "rejected_reasons": rejected, "sessions_weekly": weekly} | _engagement(rng) | make_curves(rng)


def make_study(seed: int = 0, min_cell: int = 11) -> MadeStudy:
    """A study of 1,507 customers, 4 channels and 4 segments, one of them too small to show.

    12 customers are left out, too few for the total to stay unknown, so the next smallest segment is hidden, too.
    """
    return MadeStudy(dict(_make_frames(seed)), _manifest(min_cell))


def make_empty_study() -> MadeStudy:
    """The same tables with no rows: a log in which nothing happened."""
    full = make_study()
    return MadeStudy({name: table.clear() for name, table in full.frames.items()}, full.manifest)
