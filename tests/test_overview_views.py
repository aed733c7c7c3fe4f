"""The overview's four answers: the numbers are those of the study, small groups stay hidden, and a run knows the one before."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from light_study import run_stages
from made_study import MadeStudy

from motkit.overview_views import changes_since_last_run, moments_now, promises_now
from motkit.run_figures import run_figures
from motkit.simulate import simulate_customers
from motkit.study import DEMO_SETTINGS

STAGES = {"sessions", "engagement", "onboarding", "threshold", "customers"}
MADE = simulate_customers(n=150, seed=5)
LAST = datetime(2025, 12, 1, tzinfo=UTC)


def _moment(name: str, verdict: str, ratio: float, importance: float, n: int = 300) -> dict:
    numbers = {"hazard_ratio": ratio, "ci_low": ratio * 0.8, "ci_high": ratio * 1.25, "reach": n / 1000, "importance": importance}
    rest = {"rmst_difference": 0.0, "rmst_ci_low": -1.0, "rmst_ci_high": 1.0, "horizon_days": 90.0, "landmark_day": 30}
    return {"moment": name, "kind": "first", "want": "know", "verdict": verdict, "n": n} | numbers | rest


def _study(moments: list[dict], **more: pl.DataFrame) -> MadeStudy:
    summary = {"customers": 1000, "outcomes": 200, "customer_days": 90_000, "n_makes": 1, "n_breaks": 1, "n_no_evidence": 0, "n_not_estimable": 0, "left_out": 0}
    about = pl.DataFrame([summary | {"outcome": "closed", "strata": "activity", "outcome_is": "loss", "fdr": 0.1}])
    return MadeStudy({"moments": pl.DataFrame(moments), "moment_summary": about, **more}, {"as_of": "2026-01-31", "settings": {"study": {"min_cell": 11}}})


def test_the_weightiest_moments_of_either_side_are_told_and_small_ones_are_not() -> None:
    moments = [_moment(f"good_{k}", "makes", 0.5, 1 - k / 10) for k in range(6)] + [_moment("bad", "breaks", 2.0, 0.5)]
    moments += [_moment("few", "breaks", 9.0, 2.0, n=5), _moment("nearly_all", "makes", 0.1, 2.0, n=995), _moment("unclear", "no evidence", 1.0, 3.0)]
    view = moments_now(_study(moments))
    assert set(view.table["moment"]) == {"good_0", "good_1", "good_2", "good_3", "bad"}
    assert view.sentence == "“good 0”, “good 1” and “good 2” go with loyalty; “bad” goes with leaving."
    assert "n = 1,000 customers, 200 with the outcome" in view.footing
    assert "followed for 90,000 days" in view.footing


def _promises(alarms: list[tuple[str, str, str, str]]) -> MadeStudy:
    register = pl.DataFrame({"promise": ["delivery", "refund"], "says": "We said so", "kind": "time", "owner": "ann", "due": "3 days"})
    numbers = {"n": 400, "customers": 300, "kept": 0.8, "ci_low": 0.76, "ci_high": 0.84, "still_open": 3, "broken": 80, "left": 1, "lost": 0, "goal": 0.9}
    judged = pl.DataFrame([{"promise": name, "segment": "all"} | numbers for name in ("delivery", "refund")])
    flagged = pl.DataFrame(alarms, schema=["moment", "kind", "direction", "segment"], orient="row").with_row_index("at").with_columns(since=pl.date(2026, 1, 5))
    return _study([_moment("good", "makes", 0.5, 1.0)], promise_register=register, promise_segments=judged, watch_alarms=flagged, watch_summary=pl.DataFrame({"charts": [3]}))


def test_a_promise_slips_when_its_latest_flag_is_for_the_worse() -> None:
    down, up = ("delivery", "kept", "down", ""), ("delivery", "kept", "up", "")
    assert promises_now(_promises([down])).sentence == "1 promise slips: delivery, 80% (76% to 84%) of all cases kept, kept less since 2026-01-05."
    for alarms in ([down, up], [("delivery", "kept", "down", "plan: pro")], [("delivery", "rate", "down", "")]):
        assert promises_now(_promises(alarms)).sentence.startswith("No promise has been flagged as slipping.")
    assert promises_now(_promises([("refund", "timing", "down", "")])).table.filter("slips")["promise"].to_list() == ["refund"]


def test_a_run_keeps_the_figures_of_the_one_before_and_an_idle_one_leaves_them(tmp_path: Path) -> None:
    early = MADE.events.lazy().filter(pl.col("timestamp") < LAST).collect()
    first = run_stages(STAGES, DEMO_SETTINGS, early, tmp_path, profiles=MADE.profiles)
    assert first.manifest["last_run"] is None
    assert "first run" in changes_since_last_run(first).empty
    second = run_stages(STAGES, DEMO_SETTINGS, MADE.events, tmp_path, profiles=MADE.profiles)
    assert second.manifest["last_run"] == json.loads(json.dumps({name: first.manifest[name] for name in ("made_at", "as_of", "figures")}))
    view = changes_since_last_run(second)
    assert {"customers in the log", "highly engaged", "still customers after 90 days"} <= set(view.table["figure"])
    assert f"which looked up to {first.manifest['as_of'][:10]}" in view.sentence
    idle = run_stages(STAGES, DEMO_SETTINGS, MADE.events, tmp_path, profiles=MADE.profiles)
    assert changes_since_last_run(idle).table.equals(view.table)


def test_figures_are_those_of_the_tables(tmp_path: Path) -> None:
    study = run_stages(STAGES, DEMO_SETTINGS, MADE.events, tmp_path, profiles=MADE.profiles)
    found = {row["figure"]: row for row in study.manifest["figures"]}
    levels = study.table("engagement")["level"].to_list()
    assert found["level: high"]["value"] == levels.count("high") / len(levels)
    curve = study.table("loyalty_curve").filter(pl.col("segment") == "all", pl.col("time") <= 90)
    assert found["survival"]["value"] == curve["survival"][-1]
    assert run_figures(study.scan, []) == []


def test_a_figure_that_tells_of_few_customers_is_not_compared() -> None:
    figure = {"figure": "level: high", "says": "highly engaged", "page": "engagement", "unit": "share", "value": 0.01, "ci_low": 0.0, "ci_high": 0.02, "n": 800.0, "follow_up_days": None}
    for least, shown in ((8.0, 0), (11.0, 1), (0.0, 1)):
        run = [figure | {"least": least}]
        manifest = {"as_of": "2026-01-31", "settings": {}, "figures": run, "last_run": {"made_at": "2026-01-05", "as_of": "2026-01-04", "figures": run}}
        assert changes_since_last_run(MadeStudy({}, manifest)).table.height == shown
